"""What a plan's steps are in the light of the rest of the plan."""

from __future__ import annotations

from simulator.engines import contract
from simulator.plan import (
    NO_DATABASE,
    Call,
    Gather,
    Lock,
    Plan,
    Step,
    Target,
    ToThread,
    With,
)


def is_shared(plan: Plan, database: int) -> bool:
    """Whether a database has cores that its queries share, or a fault."""
    if database == NO_DATABASE:
        return False
    struck = any(f.target is Target.DATABASE and f.index == database for f in plan.faults)
    return struck or contract.queries_share(plan.databases[database])


def locks_rows(steps: tuple[Step, ...]) -> bool:
    """Whether these steps lock rows in the block around them."""
    for step in steps:
        if isinstance(step, Lock):
            return True
        if isinstance(step, Gather) and any(locks_rows(b.steps) for b in step.branches):
            return True
        if isinstance(step, ToThread) and locks_rows(step.steps):
            return True
    return False


def slowed_by(plan: Plan, cause: int) -> int:
    """The database of a query that others, or a fault, slow down; NO_DATABASE if it is none."""
    for i, pool in enumerate(plan.pools):
        if cause == contract.hold_query(i) and is_shared(plan, pool.database):
            return pool.database
    return NO_DATABASE


def needs_no_transaction(plan: Plan, step: With) -> bool:
    """Whether a block locks no row and loses none, and no database can fail it."""
    shared = any(is_shared(plan, i) for i in range(len(plan.databases)))
    return not step.serializable and not shared and not locks_rows(step.steps)


def numbers_of_calls(steps: tuple[Step, ...]) -> dict[int, int]:
    """The number of each call among those of its service, in the order they are written."""
    numbers: dict[int, int] = {}
    counts: dict[int, int] = {}

    def visit(inner: tuple[Step, ...]) -> None:
        for step in inner:
            if isinstance(step, Call):
                numbers[id(step)] = counts.get(step.service, 0)
                counts[step.service] = numbers[id(step)] + 1
            elif isinstance(step, With | ToThread):
                visit(step.steps)
            elif isinstance(step, Gather):
                for branch in step.branches:
                    visit(branch.steps)

    visit(steps)
    return numbers
