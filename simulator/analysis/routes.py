"""What the handlers of a plan do, step by step."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.plan import (
    NEVER,
    Broadcast,
    Call,
    Gather,
    Generate,
    Lock,
    Plan,
    Pool,
    Predict,
    Route,
    ServerKind,
    Step,
    Stream,
    ToThread,
    Wait,
    With,
)


def every_step(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps, those inside others included."""
    for step in steps:
        yield step
        if isinstance(step, With | ToThread):
            yield from every_step(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from every_step(branch.steps)


def outside_threads(steps: tuple[Step, ...]) -> Iterator[Step]:
    """All steps but those that ``to_thread`` runs, and itself."""
    kept = tuple(step for step in steps if not isinstance(step, ToThread))
    for step in kept:
        yield step
        if isinstance(step, With):
            yield from outside_threads(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from outside_threads(branch.steps)


def calls_of(route: Route, service: int) -> int:
    """How many calls of a service one request makes, without retries."""
    steps = every_step((*route.steps, *route.after))
    return sum(isinstance(step, Call) and step.service == service for step in steps)


def call_timeout_ns(plan: Plan, service: int) -> int:
    """The shortest timeout of the calls of a service; NEVER where none has one."""
    steps = (step for route in plan.routes for step in every_step(route.steps))
    calls = (s for s in steps if isinstance(s, Call) and s.service == service)
    return min((call.timeout_ns for call in calls), default=NEVER)


def streams(route: Route) -> bool:
    """Whether the answer of a route comes in pieces."""
    return any(isinstance(step, Stream | Generate) for step in every_step(route.steps))


def broadcasts(route: Route) -> bool:
    """Whether a route sends to many open sockets."""
    return any(isinstance(step, Broadcast) for step in every_step((*route.steps, *route.after)))


def chunks_take_threads(plan: Plan) -> bool:
    """Whether a stream in ``def`` takes a thread for each chunk."""
    steps = (step for route in plan.routes for step in every_step(route.steps))
    return any(isinstance(step, Stream) and step.per_chunk_thread for step in steps)


def cycles(plan: Plan) -> list[tuple[str, str]]:
    """Pairs of threads and pools that requests take in two orders: ("pool db", "threads")."""
    orders: set[tuple[str, str]] = set()
    for route in plan.routes:
        threaded = plan.server.kind is ServerKind.ASGI and not route.on_loop
        _orders(plan, route.steps, ("threads",) if threaded else (), orders)
    return sorted((a, b) for a, b in orders if a < b and (b, a) in orders)


def _orders(
    plan: Plan, steps: tuple[Step, ...], held: tuple[str, ...], orders: set[tuple[str, str]]
) -> None:
    """Add what is taken while what is held."""
    for step in steps:
        if isinstance(step, With | ToThread):
            taken = f"pool {plan.pools[step.pool].label}" if isinstance(step, With) else "threads"
            orders.update((label, taken) for label in held)
            _orders(plan, step.steps, (*held, taken), orders)
        elif isinstance(step, Gather):
            for branch in step.branches:
                _orders(plan, branch.steps, held, orders)


def blocking_routes(plan: Plan) -> list[Route]:
    """Routes on a loop whose code stops it by waiting."""
    return [
        route
        for route in plan.routes
        if route.on_loop and any(map(stops_the_loop, outside_threads(route.steps)))
    ]


def stops_the_loop(step: Step) -> bool:
    """Whether the step waits without awaiting."""
    waits = isinstance(step, Wait | With | Lock | Call | Predict | Generate | Stream)
    return waits and not getattr(step, "frees_loop", True)


def async_only(step: Step) -> bool:
    """Whether the step can't stand in a ``def``."""
    return isinstance(step, Gather | ToThread) or (isinstance(step, Wait) and step.frees_loop)


def taken_twice(plan: Plan, pool: Pool) -> int:
    """How many connections of a pool one request holds at once, at most."""
    index = next(i for i, other in enumerate(plan.pools) if other is pool)
    return max((_depth(route.steps, index) for route in plan.routes), default=0)


def _depth(steps: tuple[Step, ...], pool: int) -> int:
    depths = [0]
    for step in steps:
        if isinstance(step, With):
            depths.append((step.pool == pool) + _depth(step.steps, pool))
        elif isinstance(step, ToThread):
            depths.append(_depth(step.steps, pool))
        elif isinstance(step, Gather):
            depths.append(sum(_depth(branch.steps, pool) for branch in step.branches))
    return max(depths)
