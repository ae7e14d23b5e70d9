"""What a plan may have at most, known without running it: `connections<=97`."""

from __future__ import annotations

import re
from collections.abc import Callable

from simulator.analysis.limits import processes
from simulator.experiments.axes import AxisError
from simulator.plan import NO_DATABASE, UNLIMITED, Plan
from simulator.record import dataclass

_TEXT = re.compile(r"\s*([a-z_]+)\s*<=\s*([0-9]{1,9})\s*")


def connections(plan: Plan, pool: int) -> int:
    """Connections that a pool can open in all processes together."""
    spec = plan.pools[pool]
    return (spec.size + spec.overflow) * processes(plan)


COUNTS: dict[str, Callable[[Plan], int]] = {
    "connections": lambda plan: sum(connections(plan, i) for i in range(len(plan.pools))),
    "instances": lambda plan: plan.server.instances,
    "workers": processes,
    "threads": lambda plan: processes(plan) * plan.server.threads,
    "cores": lambda plan: plan.server.instances * plan.server.cores,
}
"""What can be limited, over all processes of all instances."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """At most so many of something; ``database``: of the pools of this database alone."""

    name: str
    most: int
    database: int = NO_DATABASE
    label: str = ""

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """The constraint of `connections<=97`.

        Raises
        ------
        AxisError
            If it is malformed; the message names what can be limited.
        """
        match = _TEXT.fullmatch(text)
        if match is None or match[1] not in COUNTS:
            known = ", ".join(COUNTS)
            raise AxisError(f"--max {text}: expected NAME<=N, NAME being one of: {known}")
        return cls(match[1], int(match[2]))

    @classmethod
    def of_databases(cls, plan: Plan) -> tuple[Constraint, ...]:
        """What the plan's databases accept."""
        return tuple(
            cls("connections", database.connections, i, database.label)
            for i, database in enumerate(plan.databases)
            if database.connections < UNLIMITED
        )

    @property
    def words(self) -> str:
        """As a person writes it: "connections<=97 of database main"."""
        of = f" of database {self.label}" if self.label else ""
        return f"{self.name}<={self.most}{of}"

    def count(self, plan: Plan) -> int:
        """How many the plan can have."""
        if self.database == NO_DATABASE:
            return COUNTS[self.name](plan)
        mine = [i for i, pool in enumerate(plan.pools) if pool.database == self.database]
        return sum(connections(plan, i) for i in mine)

    def holds(self, plan: Plan) -> bool:
        """Whether the plan stays within it."""
        return self.count(plan) <= self.most

    def broken(self, plan: Plan) -> str:
        """What to say of a plan that does not."""
        count = self.count(plan)
        many = "without a limit" if count >= UNLIMITED else str(count)
        return f"{self.name} {many}, not within {self.words}"
