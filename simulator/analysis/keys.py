"""How a person would write the key that changes a part of the plan."""

from __future__ import annotations

from collections.abc import Callable

from simulator.record import dataclass


def as_it_is(path: str) -> str | None:
    """The key itself."""
    return path


def not_written(path: str) -> bool:
    """No: what a path says is a default."""
    return False


@dataclass(frozen=True, slots=True)
class Keys:
    """The spelling of one scenario.

    ``spelled`` turns a dotted path of the resolved document into the key to override:
    ``pools.db.size`` is ``vars.pool`` where the file says ``size: '${pool}'``; None where
    no single key changes it. ``is_written`` tells whether a path stands in the file, or is
    a default. ``loads`` are the paths of ``Plan.loads``, in their order.
    """

    spelled: Callable[[str], str | None] = as_it_is
    loads: tuple[str, ...] = ()
    is_written: Callable[[str], bool] = not_written

    def load(self, index: int) -> str:
        """The path of a load: "load", "load[1]", "routes.health.load"."""
        return self.loads[index] if index < len(self.loads) else "load"

    def override(self, path: str, value: str) -> str | None:
        """``KEY=VALUE`` that gives this path of the resolved document a value."""
        key = self.spelled(path)
        return None if key is None else f"{key}={value}"
