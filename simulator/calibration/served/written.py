"""What the document says of a step that its plan does not hold, and how pools are used."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.engines.contract import hold_query
from simulator.plan import Call, Gather, Lock, Plan, Route, Step, ToThread, Wait, With
from simulator.scenario.lower import Document


def steps_as_written(document: Document, plan: Plan) -> dict[int, Document]:
    """The step of the resolved document by ``id`` of the plan's step.

    A query that takes its own connection is a ``With`` of the plan, its wait the step inside.
    """
    out: dict[int, Document] = {}
    for route in plan.routes:
        entry = document["routes"][route.name]
        for key, steps in (("steps", route.steps), ("after", route.after)):
            _pair(entry[key], steps, out)
    return out


def _pair(written: list[Document], steps: tuple[Step, ...], out: dict[int, Document]) -> None:
    for entry, step in zip(written, steps, strict=True):
        out[id(step)] = entry
        if "do" in entry and isinstance(step, With):
            _pair(entry["do"], step.steps, out)
        elif isinstance(step, Gather):
            for inner, branch in zip(entry["gather"], step.branches, strict=True):
                _pair(inner, branch.steps, out)
        elif isinstance(step, ToThread):
            _pair(entry["to_thread"], step.steps, out)


def all_steps(steps: tuple[Step, ...]) -> Iterator[Step]:
    """These steps and those inside them, in the order they are written."""
    for step in steps:
        yield step
        for inner in inner_steps(step):
            yield from all_steps(inner)


def inner_steps(step: Step) -> tuple[tuple[Step, ...], ...]:
    """The steps inside a step."""
    if isinstance(step, Gather):
        return tuple(branch.steps for branch in step.branches)
    return (step.steps,) if isinstance(step, With | ToThread) else ()


def steps_of(plan: Plan) -> Iterator[Step]:
    """All steps of a plan, background tasks included."""
    for route in plan.routes:
        yield from all_steps((*route.steps, *route.after))


def awaited_pools(plan: Plan, document: Document) -> set[int]:
    """Pools whose connections are awaited on a loop somewhere; the others are blocking.

    One that threads use as well can only be a blocking one, which the loop waits for in
    threads beside its own; but asyncpg's, which has no blocking form, threads ask through the
    loop.
    """
    blocking = {
        i
        for i in _used_in_threads(plan)
        if document["pools"][plan.pools[i].label]["preset"] != "asyncpg"
    }
    return _used_on_loops(plan) - blocking


def pools_for_both(plan: Plan, document: Document) -> set[int]:
    """Blocking pools that a loop waits for as well."""
    return _used_on_loops(plan) - awaited_pools(plan, document)


def _used_on_loops(plan: Plan) -> set[int]:
    return {step.pool for step in steps_of(plan) if isinstance(step, With) and step.frees_loop}


def _used_in_threads(plan: Plan) -> set[int]:
    return {
        step.pool
        for step in steps_of(plan)
        if isinstance(step, With)
        for use in (step, *all_steps(step.steps))
        if isinstance(use, With | Wait | Lock) and not use.frees_loop and _uses(use, step.pool)
    }


def _uses(step: With | Wait | Lock, pool: int) -> bool:
    """Whether a step of a block on this pool takes or uses a connection of it."""
    if isinstance(step, Wait):
        return step.cause == hold_query(pool)
    return isinstance(step, Lock) or step.pool == pool


def locks_rows(steps: tuple[Step, ...]) -> bool:
    """Whether these steps, or branches of theirs, lock rows in the block around them."""
    return any(
        isinstance(step, Lock)
        or (not isinstance(step, With) and any(locks_rows(inner) for inner in inner_steps(step)))
        for step in steps
    )


def updated_locks(plan: Plan) -> set[int]:
    """Locks that a transaction above read committed takes: their rows are written.

    A row that is only locked makes no other transaction fail; one that was updated does.
    """
    return {
        inner.lock
        for step in steps_of(plan)
        if isinstance(step, With) and step.serializable
        for inner in all_steps(step.steps)
        if isinstance(inner, Lock)
    }


def call_numbers(steps: tuple[Step, ...]) -> dict[int, int]:
    """The number of each call among those of its service, by ``id``: they draw apart."""
    numbers: dict[int, int] = {}
    count: dict[int, int] = {}
    for step in all_steps(steps):
        if isinstance(step, Call):
            numbers[id(step)] = count.get(step.service, 0)
            count[step.service] = numbers[id(step)] + 1
    return numbers


def address(route: Route) -> tuple[str, str]:
    """The method and the path of a route; one without a path is ``GET /<name>``."""
    method, found, path = route.label.partition(" ")
    return (method, path) if found else ("GET", f"/{route.name}")


def table_of(lock: str) -> str:
    """The table whose rows a lock of this name stands for."""
    return f"sim_lock_{lock}"
