"""How much of a resource a load can use, and how much its neighbours let it have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from simulator.analysis.bounds import Bound
from simulator.analysis.devices import accelerator_of
from simulator.analysis.exact import exact_sum
from simulator.analysis.resources import most_open, select, steps_of, value_at, wait_end_ns
from simulator.analysis.routes import call_timeout_ns
from simulator.plan import NEVER, UNLIMITED, Plan, Pool, ServerKind
from simulator.trace import NOT_GRANTED, Trace, Visits

COMFORTABLE = Fraction(4, 5)
"""Utilisation up to which random arrivals wait for little."""
SHORT = Fraction(7, 10)
"""Utilisation below which nothing is called short, if few wait."""


def processes(plan: Plan) -> int:
    """Worker processes on all instances."""
    return plan.server.workers * plan.server.instances


def is_burst(trace: Trace) -> bool:
    """Whether all requests arrive at one instant."""
    return not len(trace) or int(trace.arrival_ns.min()) == int(trace.arrival_ns.max())


def peak_demand(trace: Trace, label: str) -> int:
    """Most visits that held or wanted a slot at once in one process: more slots are idle."""
    peaks = [0]
    for i, station in enumerate(trace.stations):
        if station.label != label:
            continue
        if i in trace.used:
            peaks.append(trace.used[i].open_max)
            continue
        visits = select(trace.visits, trace.visits.station == i)
        peaks.append(most_open(visits.queued_ns, visits.released_ns))
    return max(peaks)


def gave_up_at_once(trace: Trace, label: str) -> int:
    """Most visits of one process that would not wait at all: they are in no queue."""
    visits = trace.visits
    gone = (visits.granted_ns == NOT_GRANTED) & (visits.released_ns == visits.queued_ns)
    counts = [
        trace.used[i].gave_up_at_once
        if i in trace.used
        else int((gone & (visits.station == i)).sum())
        for i, station in enumerate(trace.stations)
        if station.label == label
    ]
    return max(counts, default=0)


def offered(trace: Trace, bound: Bound) -> Fraction | None:
    """Utilisation that the load asks of a station, 1 and more is overload; None for a burst.

    Its work (of an accelerator: in full batches) over its capacity while requests arrive; who
    gave up or still waits at the end would have brought the mean work. What retries add is left
    out: they end with the overload that causes them.
    """
    if is_burst(trace):
        return None
    span_ns = int(trace.arrival_ns.max()) - int(trace.arrival_ns.min())
    if bound.station in trace.used:
        unserved = trace.used[bound.station].unserved
    else:
        at = trace.visits.station == bound.station
        unserved = int((at & (trace.visits.granted_ns == NOT_GRANTED)).sum())
    asked = Fraction(bound.least_ns * (bound.served + unserved), bound.served)
    return asked / span_ns * bound.first_tries


def asked_in(trace: Trace, bound: Bound, start_ns: int, end_ns: int) -> Fraction | None:
    """Utilisation that the load asks of a station between two instants, such as of a fault.

    Who arrived meanwhile would have brought as many visits as others, each with the mean work
    of those that began there meanwhile; retries are left out.
    """
    visits = select(trace.visits, trace.visits.station == bound.station)
    end_ns = min(end_ns, int(trace.arrival_ns.max()))
    arrived = (trace.arrival_ns >= start_ns) & (trace.arrival_ns < end_ns)
    came = Fraction(int(arrived.sum()) * len(visits), max(len(trace), 1))
    began = (visits.granted_ns >= start_ns) & (visits.granted_ns < end_ns)
    if not came or not began.any() or is_burst(trace):
        return None
    work = Fraction(exact_sum(visits.work_ns[began]), int(began.sum()))
    return came * work * bound.first_tries / (bound.size * (end_ns - start_ns))


def waits_for_window(plan: Plan, trace: Trace, bound: Bound) -> bool:
    """Whether an accelerator's batches wait for their window though each could be of one.

    Its devices have time enough for every item alone.
    """
    spec = accelerator_of(plan, trace.stations[bound.station].label)
    if spec is None or spec.continuous or not spec.wait_ns or is_burst(trace):
        return False
    alone_ns = spec.table_ns[0] if spec.table_ns else spec.base_ns + spec.per_item_ns
    if spec.time >= 0:
        alone_ns = round(plan.streams[spec.time].distribution.mean_ns)
    span_ns = int(trace.arrival_ns.max()) - int(trace.arrival_ns.min())
    return bound.served * alone_ns < SHORT * spec.count * span_ns


def enough(slots: int, utilisation: Fraction | None) -> int:
    """Slots to try: those that are 80 % busy, 50 % if there are these; twice in a burst."""
    if utilisation is None:
        return 2 * slots
    for target in (COMFORTABLE, Fraction(1, 2)):
        wanted = math.ceil(slots * utilisation / target)
        if wanted > slots:
            return wanted
    return slots + 1


def connections_of(pool: Pool) -> int:
    """The most connections that the pool of one process opens."""
    return pool.size + pool.overflow


def connections_left(plan: Plan, pool: Pool) -> int:
    """The most connections in each process that the database has for this pool."""
    if pool.database < 0:
        return UNLIMITED
    others = sum(
        connections_of(other)
        for other in plan.pools
        if other is not pool and other.database == pool.database
    )
    return plan.databases[pool.database].connections // processes(plan) - others


def threads_allowed(plan: Plan, wanted: int) -> int:
    """Threads up to ``wanted`` whose connections the databases take: pools grow with them."""
    while wanted > plan.server.threads and not all(
        _connections(plan, i, wanted) <= database.connections
        for i, database in enumerate(plan.databases)
    ):
        wanted -= 1
    return wanted


def workers_allowed(plan: Plan, wanted: int) -> int:
    """Workers up to ``wanted`` whose pools the databases take."""
    for i, database in enumerate(plan.databases):
        each = sum(connections_of(pool) for pool in plan.pools if pool.database == i)
        if each:
            wanted = min(wanted, database.connections // (each * plan.server.instances))
    return wanted


def timely(plan: Plan, bound: Bound, label: str) -> int | None:
    """The most requests at once in a process that can be answered before their callers leave."""
    patience = patience_ns(plan, label)
    if patience >= NEVER or not bound.work_mean_ns:
        return None
    shared = label.startswith(("service ", "accelerator ", "database "))
    sharers = processes(plan) if shared else 1
    return bound.size * patience // bound.work_mean_ns // sharers


def patience_ns(plan: Plan, label: str) -> int:
    """How long a caller of this resource waits for it: the client, or a call of a service."""
    service = next((i for i, s in enumerate(plan.services) if label == f"service {s.label}"), -1)
    return min(plan.client.timeout_ns, call_timeout_ns(plan, service))


def only_threads(plan: Plan) -> bool:
    """Whether all handlers run in threads, or in workers of one request each."""
    return plan.server.kind is not ServerKind.ASGI or not any(r.on_loop for r in plan.routes)


def requests_waiting(trace: Trace, label: str) -> int:
    """Most requests that waited at once for a station in one process, each counted once."""
    peaks = [0]
    for i, station in enumerate(trace.stations):
        if station.label != label:
            continue
        if i in trace.used:
            peaks.append(trace.used[i].waiting_max)
        else:
            peaks.append(waiting_of(select(trace.visits, trace.visits.station == i)))
    return max(peaks)


def waiting_of(visits: Visits) -> int:
    """Most requests that waited at once in these visits to one station."""
    return most_open(*_merged(visits.request, visits.queued_ns, wait_end_ns(visits)))


def idle_beside_a_queue(trace: Trace, label: str) -> bool:
    """Whether one process ever had a free slot while requests queued in another."""
    indices = [i for i, station in enumerate(trace.stations) if station.label == label]
    if indices[0] in trace.used:
        return any(trace.used[i].idle_beside for i in indices)
    visits = [select(trace.visits, trace.visits.station == i) for i in indices]
    return idle_beside(visits, trace.stations[indices[0]].size, 0, NEVER)


def idle_beside(processes: Sequence[Visits], size: int, from_ns: int, until_ns: int) -> bool:
    """The same between two instants, of the visits to the stations of all processes."""
    lines = []
    for visits in processes:
        granted = select(visits, visits.granted_ns != NOT_GRANTED)
        lines.append(
            (
                steps_of(granted.granted_ns, granted.released_ns),
                steps_of(visits.queued_ns, wait_end_ns(visits)),
            )
        )
    times = np.sort(np.concatenate([at for line in lines for at, _ in line]))
    times = times[(times >= from_ns) & (times < until_ns)]
    free = np.zeros(len(times), dtype=np.bool_)
    queued = np.zeros(len(times), dtype=np.bool_)
    for held, waits in lines:
        free |= value_at(times, *held) < size
        queued |= value_at(times, *waits) > 0
    return bool((free & queued).any())


def _connections(plan: Plan, database: int, threads: int) -> int:
    """Connections to a database with this many threads in each process."""
    pools = [pool for pool in plan.pools if pool.database == database]
    each = sum(max(pool.min, min(connections_of(pool), threads)) for pool in pools)
    return each * processes(plan)


def _merged(owner: np.ndarray, begin: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Intervals with those of one owner that overlap made one."""
    some = end > begin
    owner, begin, end = owner[some], begin[some], end[some]
    in_order = np.sort(owner)  # np.unique hashes: ten times as long where all differ
    if (in_order[1:] != in_order[:-1]).all():
        return begin, end
    order = np.lexsort((begin, owner))
    owner, begin, end = owner[order], begin[order], end[order]
    if not ((owner[1:] == owner[:-1]) & (begin[1:] < end[:-1])).any():
        return begin, end
    begins: list[int] = []
    ends: list[int] = []
    last = -1
    for who, start, stop in zip(owner.tolist(), begin.tolist(), end.tolist(), strict=True):
        if who == last and start <= ends[-1]:
            ends[-1] = max(ends[-1], stop)
        else:
            begins.append(start)
            ends.append(stop)
        last = who
    return np.asarray(begins, dtype=np.int64), np.asarray(ends, dtype=np.int64)
