"""The scenario with something changed, run on the same draws; and where its counts are written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from simulator.answer import Answer, simulate
from simulator.engine import Engine
from simulator.engines.contract import LimitError
from simulator.scenario import Scenario, ScenarioError, loads


class Variants:
    """Runs of the scenario with more overrides."""

    def __init__(
        self,
        path: str,
        text: str,
        fixed: tuple[str, ...],
        seed: int | None,
        engine: Engine,
        progress: Callable[[str, int, int], None],
        arrived: Callable[[Scenario], Callable[[int], None]],
    ) -> None:
        self.path, self.text, self.fixed = path, text, fixed
        self.seed, self.engine = seed, engine
        self.progress, self.arrived = progress, arrived
        self.done, self.expected = 1, 1  # runs, the first included

    def run(self, overrides: Sequence[str], what: str, replication: int = 0) -> Answer | None:
        """The answer of a replication; None where that is no valid scenario, or reaches a limit.

        Raises
        ------
        KeyboardInterrupt
            If it was interrupted.
        """
        self.progress(what, self.done, max(self.expected, self.done + 1))
        self.done += 1
        try:
            scenario = loads(self.text, (*self.fixed, *overrides), path=self.path)
            answer = simulate(
                scenario,
                seed=self.seed,
                replication=replication,
                engine=self.engine,
                progress=self.arrived(scenario),
            )
        except (ScenarioError, LimitError):
            return None
        if answer.trace.ended == "interrupted":
            raise KeyboardInterrupt
        return answer


_COUNTS = {
    "workers": "server.workers",
    "event loop": "server.workers",
    "gil": "server.workers",
    "threads": "server.threads",
    "limit concurrency": "server.limit_concurrency",
    "cores": "server.cores",
    "pool": "pools.{}.size",
    "service": "services.{}.concurrency",
    "client": "services.{}.client.connections",
    "database": "databases.{}.max_connections",
    "database cores": "databases.{}.cores",
    "accelerator": "accelerators.{}.count",
}
"""By the words of a label: the path of the resolved document that says how many."""


def path_of(label: str) -> str | None:
    """The path of the resolved document that says how many there are of a resource."""
    for words in sorted(_COUNTS, key=len, reverse=True):
        if label == words or label.startswith(f"{words} "):
            return _COUNTS[words].format(label.removeprefix(words).strip())
    return None


def at(document: dict[str, Any], path: str) -> Any:
    """What stands at a path of a document; None where nothing does."""
    from simulator.scenario.node import parts

    value: Any = document
    for part in parts(path):
        if isinstance(part, str) and (not isinstance(value, dict) or part not in value):
            return None
        if isinstance(part, int) and (not isinstance(value, list) or part >= len(value)):
            return None
        value = value[part]
    return value
