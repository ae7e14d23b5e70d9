"""What each resource did in a run: how busy it was, who queued for it and how long."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simulator.analysis.exact import exact_sum, nearest_rank, rounded
from simulator.arrays import BoolArray, IntArray
from simulator.plan import UNLIMITED
from simulator.trace import NOT_GRANTED, Trace, Visits


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
    wait_mean_ns: int | None  # None where no request came
    wait_p95_ns: int | None
    wait_max_ns: int | None


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
    held = exact_sum(held_ns(visits, start_ns, end_ns))
    queues = (waiting(select(visits, visits.station == i))[1] for i in indices)
    waited = np.sort(waited_ns(by_requests))
    return Resource(
        kind=station.kind,
        label=station.label,
        size=size if limited else None,
        size_per_process=station.size if limited else None,
        processes=len(indices),
        busy=float(Fraction(held, capacity_ns)) if limited and capacity_ns else None,
        queue_max=max((int(queue.max()) for queue in queues if len(queue)), default=0),
        visits=len(by_requests),
        wait_mean_ns=rounded(Fraction(exact_sum(waited), len(waited))),
        wait_p95_ns=nearest_rank(waited, 95),
        wait_max_ns=int(waited[-1]),
    )
