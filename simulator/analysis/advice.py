"""What to try next: one override, or two that help only together.

It never makes worse what the plan can show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from fractions import Fraction

from simulator.analysis.advice_outside import longer_timeout, more_devices, other_limit
from simulator.analysis.bounds import largest_bound
from simulator.analysis.ceiling import Ceiling, as_case
from simulator.analysis.closed import closed_bound
from simulator.analysis.faults import met
from simulator.analysis.insight import Case, largest_pool, variant
from simulator.analysis.limits import (
    COMFORTABLE,
    asked_in,
    connections_left,
    connections_of,
    enough,
    gave_up_at_once,
    is_burst,
    offered,
    only_threads,
    peak_demand,
    processes,
    threads_allowed,
    timely,
    workers_allowed,
)
from simulator.analysis.routes import (
    async_only,
    blocking_routes,
    every_step,
    outside_threads,
    stops_the_loop,
    taken_twice,
)
from simulator.distributions import Constant, Distribution, Exponential, Lognormal, Pareto
from simulator.engines.contract import CLIENT_TIMEOUT, NOT_STARTED, hold_query
from simulator.plan import (
    NEVER,
    UNLIMITED,
    Accept,
    Call,
    Cpu,
    LoadKind,
    Lock,
    Pool,
    ServerKind,
    Step,
    Wait,
    With,
)
from simulator.report import format
from simulator.units import exact_duration


def overrides(case: Case, beside: Ceiling | None = None) -> tuple[str, ...]:
    """The ``KEY=VALUE`` to try on the same file; empty if no key of the file helps.

    ``beside``: what would limit at once if there were more of this case's resource.
    """
    rule = _OVERRIDES.get(case.kind)
    found = _shed(case)
    if found is not None:
        tried: tuple[str | None, ...] = (found,)
    elif beside is not None:
        tried = _both(case, beside)
    else:
        tried = (rule(case) if rule else None,)
    spelled = [case.keys.override(*one.split("=", 1)) for one in tried if one is not None]
    known = tuple(one for one in spelled if one is not None)
    return known if len(known) == len(tried) else ()


def _both(case: Case, beside: Ceiling) -> tuple[str | None, ...]:
    """What helps two resources that are equally short: more of both, or less work for both."""
    other = as_case(case, beside)
    if beside.kind == "gil":
        return (_more_workers(other),)
    if beside.kind == "lock":
        return (_shorten_the_lock(other),)
    if case.kind == "threads" and other.pool is not None:
        return _threads_and_connections(case, other.pool)
    if beside.kind == "service":
        index = next(i for i, s in enumerate(case.plan.services) if other.label.endswith(s.label))
        stream = case.plan.streams[case.plan.services[index].time]
        value = shorter(stream.distribution, 2)
        return (value and f"{stream.name}={value}",)
    if beside.bound is None:
        return (None,)
    computing = beside.kind in ("cores", "event loop", "gil")
    steps = [step for step in _all_steps(case) if not computing or isinstance(step, Cpu)]
    return (_shorten(case, steps),)


def _threads_and_connections(case: Case, pool: Pool) -> tuple[str | None, ...]:
    """As many more threads as the pool can have more connections; else shorter queries."""
    threads, now = case.plan.server.threads, connections_of(pool)
    wanted = min(enough(threads, _utilisation(case)), peak_demand(case.trace, "threads"))
    wanted = min(wanted, threads + connections_left(case.plan, pool) - now)
    if wanted <= threads:
        return (_shorten(case, _inside(case, pool)),)
    size = now + wanted - threads - pool.overflow
    return (f"server.threads={wanted}", f"pools.{pool.label}.size={size}")


def _shed(case: Case) -> str | None:
    """Where most time out: a limit that lets in no more than can be answered in time.

    Seven tenths of it: what is let in waits unevenly.
    """
    server, failures = case.plan.server, case.summary.failures
    late = (case.trace.outcomes[CLIENT_TIMEOUT], case.label.replace("service ", "call_timeout:"))
    timed_out = bool(failures) and failures[0][0] in late
    bounded = server.kind is not ServerKind.ASGI or server.limit_concurrency < UNLIMITED
    if not timed_out or bounded or case.plan.client.kept_connections or case.bound is None:
        return None
    if case.summary.total.errors * 2 <= case.summary.total.finished:
        return None
    limit = (timely(case.plan, case.bound, case.label) or 0) * 7 // 10
    # Where the requests alone are too many, without their retries, more capacity helps more.
    enough_of_it = (offered(case.trace, case.bound) or 1) < 1
    room = limit * processes(case.plan) > case.bound.size
    return f"server.limit_concurrency={limit}" if enough_of_it and room else None


def _utilisation(case: Case) -> Fraction | None:
    """What is asked of the resource: of closed loads up to their knee, at worst in a fault."""
    if case.bound is None:
        return None
    closed = closed_bound(case.plan, case.summary, case.bound)
    if closed is not None:
        return closed.users / closed.knee * COMFORTABLE  # enough() leaves a fifth of it free
    asked = offered(case.trace, case.bound)
    if asked is None:
        return None
    slow = [fault for fault in met(case.plan, case.trace) if not fault.outage]
    times = [asked_in(case.trace, case.bound, f.start_ns, f.end_ns) for f in slow]
    return max([asked, *filter(None, times)])


def _more_workers(case: Case) -> str | None:
    """More processes, as many as databases, cores and load allow; else less computing."""
    plan = case.plan
    wanted = math.ceil(enough(processes(plan), _utilisation(case)) / plan.server.instances)
    wanted = workers_allowed(plan, min(wanted, len(case.trace)))
    if case.kind != "workers":
        wanted = min(wanted, plan.server.cores)
    if wanted <= plan.server.workers or plan.server.accept is Accept.WEIGHTS:
        return _shorten(case, [step for step in _all_steps(case) if _occupies(case, step)])
    return f"server.workers={wanted}"


def _occupies(case: Case, step: Step) -> bool:
    """Whether the step is work of this case's resource."""
    if case.kind == "workers":
        return True
    return isinstance(step, Cpu) or (case.kind == "event loop" and stops_the_loop(step))


def _more_threads(case: Case) -> str | None:
    size, pool = case.plan.server.threads, largest_pool(case)
    wanted = enough(size, _utilisation(case))
    if pool and size < connections_of(pool) < UNLIMITED:
        room = connections_of(pool)
        wanted = room if is_burst(case.trace) else min(wanted, room)
    wanted = threads_allowed(case.plan, min(wanted, peak_demand(case.trace, "threads")))
    if wanted <= size:
        return _shorten(case, list(_all_steps(case)))
    return f"server.threads={wanted}"


def _free_the_loop(case: Case) -> str | None:
    if variant(case) != "event loop, blocked":
        return _more_workers(case)
    route = blocking_routes(case.plan)[0]
    blocking = [step for step in outside_threads(route.steps) if stops_the_loop(step)]
    fits = workers_allowed(case.plan, case.plan.server.workers) == case.plan.server.workers
    if isinstance(blocking[0], With) and fits:
        if not _copes(case, case.plan.pools[blocking[0].pool]):
            return _more_workers(case)
        return f"pools.{case.plan.pools[blocking[0].pool].label}.driver=async"
    if not fits or any(async_only(step) for step in every_step(route.steps)):
        return _more_workers(case)
    return f"routes.{route.name}.handler=def"


def _copes(case: Case, pool: Pool) -> bool:
    """Whether a pool that a frozen loop has protected serves all of them within its timeout."""
    bound = largest_bound(case.plan, case.trace, f"pool {pool.label}")
    if pool.acquire_timeout_ns >= NEVER or bound is None:
        return True
    asked = offered(case.trace, bound)
    if asked is not None:
        return asked < 1
    waves = pool.acquire_timeout_ns // bound.work_mean_ns + 1
    return bound.visits <= waves * connections_of(pool)


def _more_connections(case: Case) -> str | None:
    pool = case.pool
    if pool is None:
        return None
    now = connections_of(pool)
    wanted, most = enough(now, _utilisation(case)), peak_demand(case.trace, case.label)
    most += gave_up_at_once(case.trace, case.label)
    if case.timed_out and is_burst(case.trace) and case.bound and case.bound.work_mean_ns:
        waves = pool.acquire_timeout_ns // case.bound.work_mean_ns + 1
        wanted = max(-(-most // waves), now + 1)
    wanted = min(wanted, most, connections_left(case.plan, pool))
    if only_threads(case.plan):
        threads = case.plan.server.threads
        wanted = min(wanted, 1 if case.plan.server.kind is ServerKind.SYNC else threads)
    if wanted <= now:
        return _shorten(case, _inside(case, pool))
    return f"pools.{pool.label}.size={wanted - pool.overflow}"


def _inside(case: Case, pool: Pool) -> list[Step]:
    """The steps during which a connection of this pool is held."""
    return [
        step
        for outer in _all_steps(case)
        if isinstance(outer, With) and case.plan.pools[outer.pool] is pool
        for step in every_step(outer.steps)
    ]


def _all_steps(case: Case) -> Iterator[Step]:
    for route in case.plan.routes:
        yield from every_step(route.steps)


def _fit_the_database(case: Case) -> str | None:
    plan = case.plan
    index = next(i for i, d in enumerate(plan.databases) if case.label == f"database {d.label}")
    pools = [pool for pool in plan.pools if pool.database == index]
    share = plan.databases[index].connections // (processes(plan) * len(pools))
    largest = max(pools, key=connections_of)
    not_started = case.summary.failures[0][0] == case.trace.outcomes[NOT_STARTED]
    if not_started and largest.size <= share:
        return f"pools.{largest.label}.min=0"
    if share > largest.overflow:
        return f"pools.{largest.label}.size={share - largest.overflow}"
    room = max(share - largest.size, 0)
    usable = largest.overflow > room and largest.size + room > 0
    return f"pools.{largest.label}.overflow={room}" if usable else None


def _shorten_the_lock(case: Case) -> str | None:
    transactions = (step for step in _all_steps(case) if isinstance(step, With))
    if case.special == "lock, redone":
        again = [outer for outer in transactions if outer.serializable]
        return _shorten(case, [step for outer in again for step in every_step(outer.steps)])
    return _shorten(case, [step for outer in transactions for step in _after_lock(outer, case)])


def _after_lock(outer: With, case: Case) -> Iterator[Step]:
    locked = False
    for step in outer.steps:
        if isinstance(step, Lock):
            locked = locked or case.label == f"lock {case.plan.locks[step.lock].label}"
        elif locked:
            yield from every_step((step,))


def _shorten(case: Case, steps: list[Step]) -> str | None:
    """The longest of these steps, halved, or cut to what leaves the resource 80 % busy."""
    streams = [case.plan.streams[step.time] for step in steps if isinstance(step, Wait | Cpu)]
    calls = [step for step in steps if isinstance(step, Call)]
    streams += [case.plan.streams[case.plan.services[call.service].time] for call in calls]
    times = [(s.distribution, s.name) for s in streams if s.distribution.mean_ns > 0]
    if not times:
        return None
    longest, name = max(times, key=lambda pair: pair[0].mean_ns)
    asked = _utilisation(case) or Fraction(0)
    value = shorter(longest, max(2, math.ceil(asked / COMFORTABLE)))
    return None if value is None else f"{name}={value}"


def shorter(time: Distribution, divisor: int) -> str | None:
    """A time of the language that is this part of another; None where that is hard to say."""

    def part(ns: float) -> str:
        short = max(round(ns) // divisor, 1)
        digit = 10 ** max(len(str(short)) - 3, 0)  # 6.66ms, not 6.666666ms
        return exact_duration(short // digit * digit)

    if isinstance(time, Constant):
        return part(time.value_ns)
    if isinstance(time, Exponential):
        return f"{{exp: {part(time.mean_ns)}}}"
    if isinstance(time, Lognormal | Pareto):
        name = type(time).__name__.lower()
        return f"{{{name}: {{p50: {part(time.p50_ns)}, p99: {part(time.p99_ns)}}}}}"
    return None


def _break_the_deadlock(case: Case) -> str | None:
    """No threads before the connections; or so few that one always gets all it takes."""
    plan, pool = case.plan, case.pool
    if pool is not None and plan.server.kind is ServerKind.ASGI and not only_threads(plan):
        return _off_the_threads(case, pool)
    if pool is None or not only_threads(plan) or plan.server.kind is ServerKind.SYNC:
        return None
    twice = taken_twice(plan, pool)
    if twice <= 1:
        return None
    fits = (connections_of(pool) - 1) // (twice - 1)
    return f"server.threads={fits}" if 0 < fits < plan.server.threads else None


def _off_the_threads(case: Case, pool: Pool) -> str | None:
    """A `def` route that only queries this pool, as `async def`; its driver has to be async."""
    index = case.plan.pools.index(pool)
    awaited = any(
        isinstance(step, With) and step.pool == index and step.frees_loop
        for route in case.plan.routes
        for step in every_step(route.steps)
    )
    for route in case.plan.routes if awaited else ():
        steps = list(every_step(route.steps))
        taken = [step for step in steps if isinstance(step, With)]
        inner = [step for step in steps if not isinstance(step, With)]
        only = all(isinstance(s, Wait) and s.cause == hold_query(index) for s in inner)
        if not route.on_loop and taken and only and all(s.pool == index for s in taken):
            return f"routes.{route.name}.handler=async def"
    return None


def _less_or_more_load(case: Case) -> str | None:
    """What takes most of the time made shorter; in a burst, more requests."""
    most = case.most
    if most is not None and most.kind == "wait" and most.share >= 0.1:
        return None
    closed = case.special == "nothing, closed"
    if most is not None and most.kind == "hold" and not closed and not is_burst(case.trace):
        names = [f"{cause.kind} {cause.name}" for cause in case.plan.causes]
        cause = names.index(f"{most.kind} {most.cause}")
        steps = [s for s in _all_steps(case) if isinstance(s, Wait | Cpu) and s.cause == cause]
        found = _shorten(case, list(steps))
        if found is not None:
            return found
    return _more_load(case)


def _more_load(case: Case) -> str | None:
    loads = case.plan.loads
    open_ = [i for i, load in enumerate(loads) if load.rate[0]]
    if open_:
        i = max(open_, key=lambda i: Fraction(*loads[i].rate))
        rate = format.rate_words(2 * Fraction(*loads[i].rate))
        return f"{case.keys.load(i)}.rate={rate}"
    bursts = [i for i, load in enumerate(loads) if load.kind is LoadKind.BURST and load.count]
    if bursts:
        i = max(bursts, key=lambda i: loads[i].count)
        return f"{case.keys.load(i)}.requests={10 * loads[i].count}"
    closed = [i for i, load in enumerate(loads) if load.kind is LoadKind.CLOSED]
    if not closed:
        return None
    users, bound = loads[closed[0]].users, closed_bound(case.plan, case.summary, case.bound)
    # At the knee the busiest resource is full, and just not waited for.
    knee = math.ceil(bound.knee) if bound is not None and len(closed) == 1 else 0
    return f"{case.keys.load(closed[0])}.users={knee if knee > users else 2 * users}"


def _more_cores(case: Case) -> str | None:
    if case.label == "cores":
        wanted = enough(case.plan.server.cores, _utilisation(case))
        wanted = min(wanted, peak_demand(case.trace, "cores"))
        return f"server.cores={wanted}" if wanted > case.plan.server.cores else None
    return _twice(case, "database cores ", "databases", "cores")


def _more_slots(case: Case) -> str | None:
    return _twice(case, "service ", "services", "concurrency")


def _twice(case: Case, prefix: str, section: str, key: str) -> str | None:
    if case.bound is None or not case.label.startswith(prefix):
        return None
    wanted = min(enough(case.bound.size, _utilisation(case)), peak_demand(case.trace, case.label))
    if wanted <= case.bound.size:
        return None  # more of them would stand idle
    return f"{section}.{case.label.removeprefix(prefix)}.{key}={wanted}"


_OVERRIDES: dict[str, Callable[[Case], str | None]] = {
    "workers": _more_workers,
    "threads": _more_threads,
    "event loop": _free_the_loop,
    "gil": _more_workers,
    "cores": _more_cores,
    "pool": _more_connections,
    "lock": _shorten_the_lock,
    "service": _more_slots,
    "accelerator": more_devices,
    "call timeout": longer_timeout,
    "rate limit": other_limit,
    "database": _fit_the_database,
    "deadlock": _break_the_deadlock,
    "nothing": _less_or_more_load,
}
