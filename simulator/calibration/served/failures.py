"""What goes wrong: a service that does not run, and a request that fails as simulated ones do."""

from __future__ import annotations

import re
from collections.abc import Iterator


class ServeError(Exception):
    """The service can't be started or has died: the environment's fault (exit 5)."""


class NotStarted(ServeError):
    """A pool could not open its connections: no process of the service runs."""


class NotServable(Exception):
    """What the scenario asks for can't be served; ``reasons`` holds all of it (exit 3)."""

    def __init__(self, reasons: tuple[str, ...]) -> None:
        super().__init__("\n".join(reasons))
        self.reasons = reasons


class Failed(Exception):
    """A request fails; ``outcome`` is the simulator's name for why."""

    def __init__(self, outcome: str) -> None:
        super().__init__(outcome)
        self.outcome = outcome


TOO_MANY_CONNECTIONS = "53300"
DEADLOCK_DETECTED = "40P01"
SERIALIZATION_FAILURE = "40001"

_OUTCOMES = {
    DEADLOCK_DETECTED: "deadlock_detected",
    SERIALIZATION_FAILURE: "serialization_failure",
}
# libpq gives no SQLSTATE for a connection that was refused, only the server's words.
_REFUSED = re.compile("too many clients|too many connections|remaining connection slots")


def is_refusal(error: BaseException) -> bool:
    """Whether PostgreSQL refused a connection because it has too many."""
    return any(
        getattr(cause, "sqlstate", None) == TOO_MANY_CONNECTIONS or _REFUSED.search(str(cause))
        for cause in _causes(error)
    )


def outcome_of(error: BaseException) -> str | None:
    """The simulator's name for what PostgreSQL says of a transaction; None for anything else."""
    for cause in _causes(error):
        outcome = _OUTCOMES.get(getattr(cause, "sqlstate", None) or "")
        if outcome:
            return outcome
    return None


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, and those of the driver that it wraps (SQLAlchemy)."""
    seen = 0
    while error is not None and seen < 8:
        yield error
        error, seen = getattr(error, "orig", None) or error.__cause__, seen + 1
