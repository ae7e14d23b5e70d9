"""What each resource did in a run: how busy it was, who queued for it and how long."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.analysis.devices import accelerator_of, device_time
from simulator.analysis.exact import exact_sum, nearest_rank, rounded
from simulator.arrays import BoolArray, IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import NEVER, UNLIMITED, Plan, RateLimit, RateLimitKind, Station
from simulator.record import dataclass
from simulator.trace import NOT_GRANTED, Trace, Visits

# Only visits that waited or held for some time are kept of these, so that waits by visit
# would leave out all who did not wait: theirs are taken from the ledger.
PER_REQUEST = ("event loop", "gil", "cores")


@dataclass(frozen=True, slots=True)
class Resource:
    """The stations of one label, in all processes together."""

    kind: str
    label: str
    size: int | None  # slots in all processes; None without a limit
    size_per_process: int | None
    processes: int
    busy: float | None  # share of the slots' time that was held
    queue_max: int  # most requests that waited at once in any one process
    visits: int  # by requests
    waits_per: str  # "visit", or "request": all waits of a finished request together
    wait_mean_ns: int | None  # None where no request came; NEVER if one has no end
    wait_p95_ns: int | None
    wait_max_ns: int | None
    endless: int  # waits that a deadlock keeps from ever ending
    admits: RateLimit | None = None  # of a rate limit, which has no slots


def measure_resources(plan: Plan, trace: Trace, start_ns: int, end_ns: int) -> tuple[Resource, ...]:
    """The resources that requests visited, in plan order, between two instants.

    Work and waits outside these instants, such as of clients that have left, are in no
    column, and neither are the waits of those who came before.
    """
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        by_label.setdefault(station.label, []).append(i)
    rows = (_measure(plan, trace, indices, start_ns, end_ns) for indices in by_label.values())
    return tuple(row for row in rows if row is not None)


def held_ns(visits: Visits, start_ns: int, end_ns: int) -> IntArray:
    """How long each visit held its slot between two instants; 0 if it never did."""
    begin = np.clip(visits.granted_ns, start_ns, end_ns)
    end = np.clip(visits.released_ns, start_ns, end_ns)
    return np.where(visits.granted_ns == NOT_GRANTED, 0, end - begin)


def waited_ns(visits: Visits) -> IntArray:
    """How long each visit queued: to its grant, or until it gave up."""
    return wait_end_ns(visits) - visits.queued_ns


def visit_waits_ns(trace: Trace, indices: list[int], start_ns: int, end_ns: int) -> IntArray:
    """The waits of requests' visits to these stations between two instants, ascending.

    Without those that never end.
    """
    if indices[0] in trace.used:
        return np.sort(np.concatenate([trace.used[i].waits_ns for i in indices]))
    _, begun = _between(trace, indices, start_ns, end_ns)
    return np.sort(waited_ns(begun)[~_endless(trace, begun)])


def last_answer_ns(trace: Trace) -> int:
    """When the last request finished; the end of the run where some are in flight."""
    if len(trace) and (trace.outcome != IN_FLIGHT).all():
        return int(trace.finish_ns.max())
    return trace.end_ns


def steps_of(begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """Instants of change and how many intervals are open from there on.

    At one instant ends count before beginnings; empty intervals are not seen.
    """
    some = end > begin
    at = np.concatenate([end[some], begin[some]])
    change = np.repeat(np.array([-1, 1], dtype=np.int64), int(some.sum()))
    order = np.argsort(at, kind="stable")
    at = at[order]
    last = np.append(at[1:] != at[:-1], True)[: len(at)]  # of its instant
    return at[last], np.cumsum(change[order])[last]


def most_open(begin: IntArray, end: IntArray) -> int:
    """The highest of ``steps_of``: how many intervals are open at once, at the most."""
    some = end > begin
    begins, ends = np.sort(begin[some], kind="stable"), np.sort(end[some], kind="stable")
    if not len(begins):
        return 0
    ended = np.searchsorted(ends, begins, side="right")
    return int((np.arange(1, len(begins) + 1) - ended).max())


def value_at(times: IntArray, at: IntArray, value: IntArray) -> IntArray:
    """The values of a line of steps at these instants; 0 before its first."""
    if not len(at):
        return np.zeros(len(times), dtype=np.int64)
    place = np.searchsorted(at, times, side="right") - 1
    return np.where(place < 0, 0, value[np.maximum(place, 0)])


def select(visits: Visits, rows: BoolArray | IntArray) -> Visits:
    """The visits of these rows."""
    return Visits(*(getattr(visits, name)[rows] for name in Visits.__slots__))


def waiting(visits: Visits) -> tuple[IntArray, IntArray]:
    """Instants of change and the number of visits that wait from there on."""
    return steps_of(visits.queued_ns, wait_end_ns(visits))


def wait_end_ns(visits: Visits) -> IntArray:
    """When each visit got its slot, or gave up."""
    return np.where(visits.granted_ns == NOT_GRANTED, visits.released_ns, visits.granted_ns)


def limit_of(plan: Plan, label: str) -> RateLimit | None:
    """The rate limit of a station's label, "rate limit pay"."""
    found = (s.limits[0] for s in plan.services if s.limits and label == f"rate limit {s.label}")
    return next(found, None)


def clipped(visits: Visits, start_ns: int, end_ns: int) -> Visits:
    """The visits between two instants; one that is served only later has not been granted."""
    visits = select(visits, visits.queued_ns <= end_ns)
    granted = np.where(visits.granted_ns > end_ns, NOT_GRANTED, visits.granted_ns)
    released = np.minimum(visits.released_ns, end_ns)
    queued = np.maximum(visits.queued_ns, start_ns)
    return replace(visits, queued_ns=queued, granted_ns=granted, released_ns=released)


def _measure(
    plan: Plan, trace: Trace, indices: list[int], start_ns: int, end_ns: int
) -> Resource | None:
    if indices[0] in trace.used:
        return _measure_used(plan, trace, indices, start_ns, end_ns)
    if not (trace.visits.request[_in_time(trace, indices, start_ns)] >= 0).any():
        return None
    visits, by_requests = _between(trace, indices, start_ns, end_ns)
    station = trace.stations[indices[0]]
    limited = station.size < UNLIMITED
    spec = accelerator_of(plan, station.label)
    size = (spec.count if spec else station.size) * len(indices)
    per_request = station.kind in PER_REQUEST
    waited = _booked_ns(trace, station.cause, start_ns) if per_request else waited_ns(by_requests)
    endless = _endless(trace, by_requests)
    if not per_request:
        waited = waited[~endless]
    waited = np.append(np.sort(waited), np.full(int(endless.sum()), NEVER, dtype=np.int64))
    return Resource(
        kind=station.kind,
        label=station.label,
        size=size if limited else None,
        size_per_process=size // len(indices) if limited else None,
        processes=len(indices),
        busy=_busy(plan, station, size, visits, (start_ns, end_ns)),
        queue_max=max(
            (queue_max_of(station, select(visits, visits.station == i)) for i in indices), default=0
        ),
        visits=len(by_requests),
        waits_per="request" if per_request else "visit",
        wait_mean_ns=_mean_ns(waited),
        wait_p95_ns=nearest_rank(waited, 95),
        wait_max_ns=int(waited[-1]) if len(waited) else None,
        endless=int(endless.sum()),
        admits=limit_of(plan, station.label),
    )


def _in_time(trace: Trace, indices: list[int], start_ns: int) -> BoolArray:
    """Which visits to these stations were not over by then."""
    found: BoolArray = np.isin(trace.visits.station, indices)
    return found & (trace.visits.released_ns >= start_ns)


def _between(trace: Trace, indices: list[int], start_ns: int, end_ns: int) -> tuple[Visits, Visits]:
    """Visits to these stations between two instants; those of requests that begin there."""
    whole = select(trace.visits, _in_time(trace, indices, start_ns))
    visits = clipped(whole, min(start_ns, trace.end_ns), end_ns)
    # Those who queued up in the warm-up are served in time that counts, their waits don't.
    early = whole.queued_ns[whole.queued_ns <= end_ns] < start_ns
    return visits, select(visits, (visits.request >= 0) & ~early)


def _measure_used(
    plan: Plan, trace: Trace, indices: list[int], start_ns: int, end_ns: int
) -> Resource | None:
    """The same of a run that kept no visits to these stations."""
    used = [trace.used[i] for i in indices]
    if not any(one.by_requests for one in used):
        return None
    station = trace.stations[indices[0]]
    limited = station.size < UNLIMITED
    size = station.size * len(indices)
    per_request = station.kind in PER_REQUEST
    endless = sum(one.endless for one in used)
    if per_request:
        waited = np.sort(_booked_ns(trace, station.cause, start_ns))
    else:
        waited = visit_waits_ns(trace, indices, start_ns, end_ns)
    waited = np.append(waited, np.full(endless, NEVER, dtype=np.int64)) if endless else waited
    busy_ns = sum(one.busy_ns for one in used)
    busy = min(float(Fraction(busy_ns, size * max(end_ns - start_ns, 1))), 1.0)
    return Resource(
        kind=station.kind,
        label=station.label,
        size=size if limited else None,
        size_per_process=station.size if limited else None,
        processes=len(indices),
        busy=busy if limited and end_ns > start_ns else None,
        queue_max=max(one.queue_max for one in used),
        visits=sum(one.begun for one in used),
        waits_per="request" if per_request else "visit",
        wait_mean_ns=_mean_ns(waited),
        wait_p95_ns=nearest_rank(waited, 95),
        wait_max_ns=int(waited[-1]) if len(waited) else None,
        endless=endless,
        admits=None,
    )


def _busy(
    plan: Plan, station: Station, size: int, visits: Visits, period: tuple[int, int]
) -> float | None:
    """The share of its slots' time that was held; of a rate limit, of what it may admit."""
    start_ns, end_ns = period
    if end_ns <= start_ns:
        return None
    limit, spec = limit_of(plan, station.label), accelerator_of(plan, station.label)
    if limit is not None:
        admitted = int((visits.granted_ns != NOT_GRANTED).sum())
        return min(float(admitted / most_admitted(limit, end_ns - start_ns)), 1.0)
    if station.size >= UNLIMITED:
        return None
    if spec is not None:
        held = exact_sum(device_time(spec, visits).within_ns(start_ns, end_ns))
    else:
        spans = held_ns(visits, start_ns, end_ns)
        # Those who share cores are all on them at once: what they have computed counts.
        shares = station.kind == "cores"
        held = exact_sum(np.minimum(visits.work_ns, spans) if shares else spans)
    return min(float(Fraction(held, size * (end_ns - start_ns))), 1.0)


def most_admitted(limit: RateLimit, span_ns: int) -> Fraction:
    """How many a rate limit admits at most in a run of this length."""
    if limit.kind in (RateLimitKind.FIXED_WINDOW, RateLimitKind.SLIDING_WINDOW):
        return Fraction(limit.limit * (span_ns // limit.window_ns + 1))
    return max(limit.burst, 1) + Fraction(*limit.rate) * span_ns / 10**9


def queue_max_of(station: Station, visits: Visits) -> int:
    """Most that waited at once: on cores, which all share, those beyond their number."""
    if station.kind == "cores":
        return max(most_open(visits.queued_ns, visits.released_ns) - station.size, 0)
    return most_open(visits.queued_ns, wait_end_ns(visits))


def _booked_ns(trace: Trace, cause: int, start_ns: int) -> IntArray:
    """What each finished request spent on a cause."""
    rows = (trace.outcome != IN_FLIGHT) & (trace.arrival_ns >= start_ns)
    column: IntArray = trace.spent_ns[:, cause][rows]
    return column


def _endless(trace: Trace, visits: Visits) -> BoolArray:
    """Which visits still wait at the end of a deadlock."""
    cut: BoolArray = (visits.granted_ns == NOT_GRANTED) & (visits.released_ns == trace.end_ns)
    return cut & bool(trace.stuck)


def _mean_ns(waited: IntArray) -> int | None:
    """The mean of ascending waits."""
    if not len(waited):
        return None
    if int(waited[-1]) >= NEVER:
        return NEVER
    return rounded(Fraction(exact_sum(waited), len(waited)))
