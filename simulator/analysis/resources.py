"""What each resource did in a run: how busy it was, who queued for it and how long."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simulator.analysis.exact import exact_sum, nearest_rank, rounded
from simulator.arrays import BoolArray, IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import NEVER, UNLIMITED
from simulator.trace import NOT_GRANTED, Trace, Visits

# Only visits that waited or held for some time are kept of these, so that waits by visit
# would leave out all who did not wait: theirs are taken from the ledger.
_PER_REQUEST = ("event loop", "gil", "cores")


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


def measure_resources(trace: Trace, start_ns: int, end_ns: int) -> tuple[Resource, ...]:
    """The resources that requests visited, in plan order, between two instants."""
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        by_label.setdefault(station.label, []).append(i)
    rows = (_measure(trace, indices, start_ns, end_ns) for indices in by_label.values())
    return tuple(row for row in rows if row is not None)


def held_ns(visits: Visits, start_ns: int, end_ns: int) -> IntArray:
    """How long each visit held its slot between two instants; 0 if it never did."""
    begin = np.clip(visits.granted_ns, start_ns, end_ns)
    end = np.clip(visits.released_ns, start_ns, end_ns)
    return np.where(visits.granted_ns == NOT_GRANTED, 0, end - begin)


def waited_ns(visits: Visits) -> IntArray:
    """How long each visit queued: to its grant, or until it gave up."""
    return _wait_end_ns(visits) - visits.queued_ns


def steps_of(begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """Instants of change and how many intervals are open from there on.

    At one instant ends count before beginnings; empty intervals are not seen.
    """
    some = end > begin
    at = np.concatenate([end[some], begin[some]])
    change = np.repeat(np.array([-1, 1], dtype=np.int64), int(some.sum()))
    times, inverse = np.unique(at, return_inverse=True)
    changes = np.zeros(len(times), dtype=np.int64)
    np.add.at(changes, inverse, change)
    return times, np.cumsum(changes)


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
    return steps_of(visits.queued_ns, _wait_end_ns(visits))


def _wait_end_ns(visits: Visits) -> IntArray:
    return np.where(visits.granted_ns == NOT_GRANTED, visits.released_ns, visits.granted_ns)


def _measure(trace: Trace, indices: list[int], start_ns: int, end_ns: int) -> Resource | None:
    visits = select(trace.visits, np.isin(trace.visits.station, indices))
    by_requests = select(visits, visits.request >= 0)
    if not len(by_requests):
        return None
    station = trace.stations[indices[0]]
    limited = station.size < UNLIMITED
    size = station.size * len(indices)
    capacity_ns = size * (end_ns - start_ns)
    # Those who share cores are all on them at once: what they have computed counts.
    shares = station.kind == "cores"
    held = exact_sum(visits.work_ns if shares else held_ns(visits, start_ns, end_ns))
    queues = (waiting(select(visits, visits.station == i))[1] for i in indices)
    per_request = station.kind in _PER_REQUEST
    waited = _booked_ns(trace, station.cause) if per_request else waited_ns(by_requests)
    endless = _endless(trace, by_requests)
    if not per_request:
        waited = waited[~endless]
    waited = np.append(np.sort(waited), np.full(int(endless.sum()), NEVER, dtype=np.int64))
    return Resource(
        kind=station.kind,
        label=station.label,
        size=size if limited else None,
        size_per_process=station.size if limited else None,
        processes=len(indices),
        busy=min(float(Fraction(held, capacity_ns)), 1.0) if limited and capacity_ns else None,
        queue_max=max((int(queue.max()) for queue in queues if len(queue)), default=0),
        visits=len(by_requests),
        waits_per="request" if per_request else "visit",
        wait_mean_ns=_mean_ns(waited),
        wait_p95_ns=nearest_rank(waited, 95),
        wait_max_ns=int(waited[-1]) if len(waited) else None,
        endless=int(endless.sum()),
    )


def _booked_ns(trace: Trace, cause: int) -> IntArray:
    """What each finished request spent on a cause."""
    column: IntArray = trace.spent_ns[trace.outcome != IN_FLIGHT][:, cause]
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
