"""What a bottleneck means, in one sentence, and the one override to try next."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from simulator.analysis.bounds import Bound
from simulator.analysis.exact import exact_sum
from simulator.analysis.summary import Summary
from simulator.distributions import Constant
from simulator.engines.contract import CPU, FRAMEWORK, NOT_STARTED
from simulator.plan import (
    NEVER,
    UNLIMITED,
    Cpu,
    Gather,
    LoadKind,
    Lock,
    Plan,
    Pool,
    Route,
    ServerKind,
    Step,
    ToThread,
    Wait,
    With,
)
from simulator.report import format
from simulator.trace import Trace
from simulator.units import exact_duration

# By kind; a variant stands before the plain kind and is chosen where it applies.
_INSIGHTS = {
    "workers": "a sync worker serves one request at a time; the others wait to be accepted.",
    "threads": "a thread is held until its handler ends: with all {size} held, requests wait.",
    "threads before a pool": (
        "the pool of {pool_size} never has more than {size} users at once: "
        "the threads are the limit, not the pool."
    ),
    "event loop": (
        "one loop runs one callback at a time: while one request computes, "
        "its worker's others wait."
    ),
    "event loop, blocked": (
        "a blocking call in `async def` stops the loop: no other request of its worker moves."
    ),
    "gil": "threads take turns at the GIL: more threads add no CPU, more processes do.",
    "pool": (
        "async lets {at_once} requests wait at once; it does not let {at_once} queries run at once."
    ),
    "pool behind threads": (
        "{threads} threads share {slots}: {spare} of them can only wait for one, "
        "the other requests for a thread."
    ),
    "pool guarded by threads": (
        "{threads} threads share {slots}: only {spare} can wait for one, "
        "too few to reach its {timeout} timeout."
    ),
    "pool per worker": (
        "each worker has a pool of its own: an idle connection of one serves no request of another."
    ),
    "pool and its timeout": (
        "only those served within {timeout} get an answer; a longer timeout adds waiting, "
        "not capacity."
    ),
    "lock": "one row is written by one transaction at a time, however many connections there are.",
    "database": (
        "every worker has its own pool: together they may open {wanted} connections, "
        "the database takes {connections}."
    ),
    "deadlock": (
        "each holds what another waits for: take nothing more while holding one, "
        "or all in one order."
    ),
    "nothing": "no resource was short: more of any changes nothing.",
}


@dataclass(frozen=True, slots=True)
class Case:
    """A bottleneck that was found, with all that its advice may need."""

    plan: Plan
    trace: Trace
    summary: Summary
    kind: str
    label: str
    bound: Bound | None
    timed_out: bool = False

    @property
    def pool(self) -> Pool | None:
        """The pool of this case, if it is about one."""
        pools = self.plan.pools
        return next((pool for pool in pools if self.label == f"pool {pool.label}"), None)


def insight(case: Case) -> str:
    """One sentence: why this resource limits."""
    pool = case.pool
    size = case.bound.size if case.bound else (pool.size + pool.overflow if pool else 0)
    largest = _largest_pool(case)
    wanted, connections = _connections(case)
    return _INSIGHTS[_variant(case)].format(
        size=size,
        threads=case.plan.server.threads,
        slots=format.count(size, "connection"),
        spare=case.plan.server.threads - size,
        pool_size=largest.size + largest.overflow if largest else 0,
        at_once=_at_once(case, size),
        timeout=format.duration(pool.acquire_timeout_ns) if pool else "",
        wanted=wanted,
        connections=connections,
    )


def override(case: Case) -> str | None:
    """The ``KEY=VALUE`` to try on the same file; None if no key of the file helps."""
    rule = _OVERRIDES.get(case.kind)
    return rule(case) if rule else None


def _variant(case: Case) -> str:
    if case.kind == "pool":
        return _pool_variant(case)
    if case.kind == "threads" and case.bound:
        pool = _largest_pool(case)
        if pool and pool.size + pool.overflow > case.bound.size:
            return "threads before a pool"
    if case.kind == "event loop" and case.bound:
        computed = exact_sum(case.trace.spent_ns[:, CPU]) + exact_sum(
            case.trace.spent_ns[:, FRAMEWORK]
        )
        work_ns = case.bound.work_mean_ns * case.bound.visits
        if computed * 2 < work_ns and _blocking_routes(case.plan):
            return "event loop, blocked"
    return case.kind


def _pool_variant(case: Case) -> str:
    if case.timed_out:
        return "pool and its timeout"
    server = case.plan.server
    size = case.bound.size if case.bound else 0
    threaded = server.kind is ServerKind.THREADS or not any(r.on_loop for r in case.plan.routes)
    if threaded and size < server.threads < UNLIMITED and server.kind is not ServerKind.SYNC:
        timeout = case.pool.acquire_timeout_ns if case.pool else NEVER
        failed = case.summary.total.errors > 0
        return "pool behind threads" if failed or timeout >= NEVER else "pool guarded by threads"
    return "pool per worker" if server.workers > 1 else "pool"


def _at_once(case: Case, size: int) -> int:
    waiting = [row.queue_max for row in case.summary.resources if row.label == case.label]
    return sum(waiting) + size


def _largest_pool(case: Case) -> Pool | None:
    visited = {row.label for row in case.summary.resources}
    pools = [pool for pool in case.plan.pools if f"pool {pool.label}" in visited]
    return max(pools, key=lambda pool: pool.size + pool.overflow, default=None)


def _connections(case: Case) -> tuple[int, int]:
    """Connections that all pools may open to this case's database, and what it takes."""
    plan = case.plan
    for i, database in enumerate(plan.databases):
        if case.label == f"database {database.label}":
            pools = [pool for pool in plan.pools if pool.database == i]
            return (
                plan.server.workers * sum(pool.size + pool.overflow for pool in pools),
                database.connections,
            )
    return 0, 0


def _steps(steps: tuple[Step, ...]) -> Iterator[Step]:
    for step in steps:
        yield step
        if isinstance(step, With | ToThread):
            yield from _steps(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from _steps(branch.steps)


def _outside_threads(steps: tuple[Step, ...]) -> Iterator[Step]:
    kept = tuple(step for step in steps if not isinstance(step, ToThread))
    for step in kept:
        yield step
        if isinstance(step, With):
            yield from _outside_threads(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from _outside_threads(branch.steps)


def _blocking_routes(plan: Plan) -> list[Route]:
    """Routes on a loop whose code stops it by waiting."""
    return [
        route
        for route in plan.routes
        if route.on_loop
        and any(
            isinstance(step, Wait | With | Lock) and not step.frees_loop
            for step in _outside_threads(route.steps)
        )
    ]


def _more_workers(case: Case) -> str:
    return f"server.workers={2 * case.plan.server.workers}"


def _more_threads(case: Case) -> str:
    pool = _largest_pool(case)
    size = case.plan.server.threads
    if pool and size < pool.size + pool.overflow < UNLIMITED:
        return f"server.threads={pool.size + pool.overflow}"
    return f"server.threads={2 * size}"


def _free_the_loop(case: Case) -> str:
    if _variant(case) != "event loop, blocked":
        return _more_workers(case)
    route = _blocking_routes(case.plan)[0]
    pools = [s.pool for s in _outside_threads(route.steps) if isinstance(s, With)]
    blocking = [s for s in _outside_threads(route.steps) if isinstance(s, With | Wait)]
    if pools and isinstance(blocking[0], With) and not blocking[0].frees_loop:
        return f"pools.{case.plan.pools[pools[0]].label}.driver=async"
    if any(_async_only(step) for step in _steps(route.steps)):
        return _more_workers(case)
    return f"routes.{route.name}.handler=def"


def _async_only(step: Step) -> bool:
    return isinstance(step, Gather | ToThread) or (isinstance(step, Wait) and step.frees_loop)


def _more_connections(case: Case) -> str | None:
    pool = case.pool
    if pool is None:
        return None
    wanted = 2 * (pool.size + pool.overflow)
    if case.timed_out and case.bound and case.bound.work_mean_ns:
        waves = pool.acquire_timeout_ns // case.bound.work_mean_ns + 1
        asking = case.summary.total.requests // case.plan.server.workers
        wanted = max(-(-asking // waves), pool.size + pool.overflow + 1)
    if pool.database >= 0:
        sharing = sum(other.database == pool.database for other in case.plan.pools)
        limit = case.plan.databases[pool.database].connections
        wanted = min(wanted, limit // (case.plan.server.workers * sharing))
    if wanted <= pool.size + pool.overflow:
        return _shorten_the_query(case)
    return f"pools.{pool.label}.size={wanted - pool.overflow}"


def _shorten_the_query(case: Case) -> str | None:
    held = [
        step
        for route in case.plan.routes
        for outer in _steps(route.steps)
        if isinstance(outer, With) and case.plan.pools[outer.pool] is case.pool
        for step in _steps(outer.steps)
    ]
    return _halve_the_longest(case, held)


def _fit_the_database(case: Case) -> str | None:
    plan = case.plan
    index = next(i for i, d in enumerate(plan.databases) if case.label == f"database {d.label}")
    pools = [pool for pool in plan.pools if pool.database == index]
    share = plan.databases[index].connections // (plan.server.workers * len(pools))
    largest = max(pools, key=lambda pool: pool.size + pool.overflow)
    not_started = case.summary.failures[0][0] == case.trace.outcomes[NOT_STARTED]
    if not_started and largest.size <= share:
        return f"pools.{largest.label}.min=0"
    if share > largest.overflow:
        return f"pools.{largest.label}.size={share - largest.overflow}"
    return f"pools.{largest.label}.overflow=0" if largest.overflow else None


def _shorten_the_lock(case: Case) -> str | None:
    locked = [
        step
        for route in case.plan.routes
        for outer in _steps(route.steps)
        if isinstance(outer, With)
        for step in _after_lock(outer, case)
    ]
    return _halve_the_longest(case, locked)


def _halve_the_longest(case: Case, steps: list[Step]) -> str | None:
    streams = [case.plan.streams[step.time] for step in steps if isinstance(step, Wait | Cpu)]
    times = [(s.distribution.value_ns, s.name) for s in streams if type(s.distribution) is Constant]
    if not times:
        return None
    value_ns, name = max(times, key=lambda pair: pair[0])
    return f"{name}={exact_duration(value_ns // 2)}"


def _after_lock(outer: With, case: Case) -> Iterator[Step]:
    locked = False
    for step in outer.steps:
        if isinstance(step, Lock):
            locked = locked or case.label == f"lock {case.plan.locks[step.lock].label}"
        elif locked:
            yield from _steps((step,))


def _break_the_deadlock(case: Case) -> str | None:
    """Room for every stuck request to hold one, and one more to let the first go on."""
    stuck = len(case.trace.stuck)
    pool = case.pool
    if pool:
        return f"pools.{pool.label}.size={max(stuck + 1 - pool.overflow, pool.size + 1)}"
    if case.label == "threads":
        return f"server.threads={max(stuck + 1, case.plan.server.threads + 1)}"
    return None


def _more_load(case: Case) -> str | None:
    if len(case.plan.loads) != 1 or len(case.plan.loads[0].routes) != len(case.plan.routes):
        return None
    load = case.plan.loads[0]
    if load.kind is LoadKind.BURST:
        return f"load.requests={10 * load.count}" if load.count else None
    return f"load.rate={format.rate_words(2 * Fraction(*load.rate))}"


_OVERRIDES: dict[str, Callable[[Case], str | None]] = {
    "workers": _more_workers,
    "threads": _more_threads,
    "event loop": _free_the_loop,
    "gil": _more_workers,
    "pool": _more_connections,
    "lock": _shorten_the_lock,
    "database": _fit_the_database,
    "deadlock": _break_the_deadlock,
    "nothing": _more_load,
}
