"""Operational bounds: how long a station needs for its work, whatever the schedule."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from simulator.analysis.devices import accelerator_of, device_time
from simulator.analysis.exact import exact_sum, rounded
from simulator.analysis.resources import select, waited_ns
from simulator.analysis.routes import calls_of
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import NEVER, UNLIMITED, Plan
from simulator.record import dataclass
from simulator.trace import NOT_GRANTED, Trace, Visits

SHARED_IN_PIECES = ("cores", "gil")


@dataclass(frozen=True, slots=True)
class Bound:
    """The work of one station spread over its slots."""

    station: int
    visits: int  # pieces of work: batches of an accelerator, requests on cores and at the GIL
    work_mean_ns: int
    constant: bool  # every visit brought the same work
    size: int
    bound_ns: int
    least_ns: int  # of an accelerator: the bound if its batches were full
    waited_ns: int
    served: int  # visits that brought this work
    first_tries: Fraction  # share of its visits that no retry has brought


def largest_bound(
    plan: Plan | None, trace: Trace, label: str | None = None, *, waited_for: bool = False
) -> Bound | None:
    """The largest bound of all stations, or of those of one label; None if none was visited.

    Work counts, not hold: a thread that waits for a connection is held, but it is not
    what the run is waiting for. Of equal bounds the one that was waited for longer counts.
    ``waited_for``: only stations for which somebody waited.
    """
    bounds = [
        bound
        for i, station in enumerate(trace.stations)
        if station.size < UNLIMITED
        and (station.label == label or (label is None and station.kind != "database"))
        and not (waited_for and not trace.spent_ns[:, station.cause].any())
        and (bound := station_bound(plan, trace, i)) is not None
    ]
    return max(bounds, key=lambda bound: (bound.bound_ns, bound.waited_ns), default=None)


def station_bound(plan: Plan | None, trace: Trace, station: int) -> Bound | None:
    """Σ work / size of one station in one process; None if it had no work.

    Work left behind, after the last request has its answer, does not count: no answer
    waits for it. An accelerator's work is the time of its devices, not that of the places;
    that of rows to lock is the time for which the busiest of them is held.
    """
    if station in trace.used:
        return _of_used(plan, trace, station)
    visits = select(trace.visits, trace.visits.station == station)
    granted = (visits.granted_ns != NOT_GRANTED) & (visits.request >= 0)
    served = select(visits, granted)
    kind, label = trace.stations[station].kind, trace.stations[station].label
    if kind == "lock":
        served = _of_busiest_row(served)
    until_ns = _last_answer_ns(trace)
    spec = accelerator_of(plan, label) if plan else None
    if spec is not None:
        work = device_time(spec, served).within_ns(0, until_ns)
    else:
        work = np.minimum(served.work_ns, np.maximum(until_ns - served.granted_ns, 0))
    # Many turns of a loop compute nothing; they are not among the visits that count.
    count = int((work > 0).sum()) if spec is None else len(served)
    if kind in SHARED_IN_PIECES:
        work = _by_request(served, work)
    work = work[work > 0]
    if not len(work):
        return None
    size = trace.stations[station].size if spec is None else spec.count
    total_ns = exact_sum(work)
    if kind == "lock":
        size, total_ns = 1, min(total_ns, covered_ns(served.granted_ns, served.released_ns))
    return Bound(
        station=station,
        visits=len(work),
        work_mean_ns=rounded(Fraction(total_ns, len(work))),
        constant=int(work.min()) == int(work.max()),
        size=size,
        bound_ns=rounded(Fraction(total_ns, size)),
        least_ns=rounded(min(Fraction(total_ns), _in_full_batches(plan, label, count)) / size),
        waited_ns=exact_sum(waited_ns(visits)),
        served=count,
        first_tries=first_tries(plan, trace, label) if plan else Fraction(1),
    )


def _of_used(plan: Plan | None, trace: Trace, station: int) -> Bound | None:
    """The same of a station whose visits were not kept: no accelerator and no lock."""
    used = trace.used[station]
    if not used.pieces:
        return None
    label, size = trace.stations[station].label, trace.stations[station].size
    return Bound(
        station=station,
        visits=used.pieces,
        work_mean_ns=rounded(Fraction(used.pieces_ns, used.pieces)),
        constant=used.piece_min_ns == used.piece_max_ns,
        size=size,
        bound_ns=rounded(Fraction(used.pieces_ns, size)),
        least_ns=rounded(Fraction(min(used.pieces_ns, NEVER), size)),
        waited_ns=used.waited_ns,
        served=used.served,
        first_tries=first_tries(plan, trace, label) if plan else Fraction(1),
    )


def _in_full_batches(plan: Plan | None, label: str, items: int) -> Fraction:
    """Device time of so many items in batches of the size that serves most per time."""
    spec = accelerator_of(plan, label) if plan else None
    if plan is None or spec is None or spec.continuous:
        return Fraction(NEVER)
    sizes = range(1, spec.batch_max + 1)
    if spec.time >= 0:
        mean_ns = round(plan.streams[spec.time].distribution.mean_ns)
        return Fraction(items * mean_ns, spec.batch_max)
    if spec.table_ns:
        return items * min(Fraction(spec.table_ns[size - 1], size) for size in sizes)
    return items * (Fraction(spec.base_ns, spec.batch_max) + spec.per_item_ns)


def first_tries(plan: Plan, trace: Trace, label: str) -> Fraction:
    """The share of the visits to all stations of a label that no retry has brought.

    Of calls of a service as many as its callers' steps make; of others as many as there are
    attempts of requests.
    """
    kind, _, name = label.rpartition(" ")
    index = next((i for i, s in enumerate(plan.services) if s.label == name), -1)
    if kind not in ("service", "rate limit", "client") or index < 0:
        return Fraction(len(trace), max(len(trace.attempts), len(trace), 1))
    calls = np.asarray([calls_of(route, index) for route in plan.routes], dtype=np.int64)
    once = int(calls[trace.route].sum())
    at = np.asarray([station.label == label for station in trace.stations])
    came = int((at[trace.visits.station] & (trace.visits.request >= 0)).sum())
    came += sum(used.by_requests for i, used in trace.used.items() if at[i])
    return Fraction(once, max(came, once, 1))


def covered_ns(begin: IntArray, end: IntArray) -> int:
    """How long at least one of these intervals was open."""
    order = np.argsort(begin, kind="stable")
    ends = np.maximum.accumulate(end[order])
    before = np.append(begin[order][:1], ends[:-1])
    return exact_sum(np.maximum(ends - np.maximum(begin[order], before), 0))


def _of_busiest_row(visits: Visits) -> Visits:
    """The visits to the row, a slot of its lock, that was held for longest."""
    if not len(visits):
        return visits
    rows, index = np.unique(visits.slot, return_inverse=True)
    held = np.zeros(len(rows), dtype=np.int64)
    np.add.at(held, index, visits.work_ns)
    return select(visits, visits.slot == rows[int(held.argmax())])


def _by_request(visits: Visits, work: IntArray) -> IntArray:
    """What each request brought in all its pieces."""
    who, index = np.unique(visits.request, return_inverse=True)
    out = np.zeros(len(who), dtype=np.int64)
    np.add.at(out, index, work)
    return out


def _last_answer_ns(trace: Trace) -> int:
    """When the last request finished; the end of the run where some never did."""
    if not len(trace) or (trace.outcome == IN_FLIGHT).any():
        return trace.end_ns
    return int(trace.finish_ns.max())
