"""Operational bounds: how long a station needs for its work, whatever the schedule."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from simulator.analysis.exact import exact_sum, rounded
from simulator.analysis.resources import select, waited_ns
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import UNLIMITED
from simulator.trace import NOT_GRANTED, Trace


@dataclass(frozen=True, slots=True)
class Bound:
    """The work of one station spread over its slots."""

    station: int
    visits: int
    work_mean_ns: int
    constant: bool  # every visit brought the same work
    size: int
    bound_ns: int
    waited_ns: int


def largest_bound(
    trace: Trace, label: str | None = None, *, waited_for: bool = False
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
        and (bound := station_bound(trace, i)) is not None
    ]
    return max(bounds, key=lambda bound: (bound.bound_ns, bound.waited_ns), default=None)


def station_bound(trace: Trace, station: int) -> Bound | None:
    """Σ work / size of one station in one process; None if it had no work.

    Work left behind, after the last request has its answer, does not count: no answer
    waits for it.
    """
    visits = select(trace.visits, trace.visits.station == station)
    granted = (visits.granted_ns != NOT_GRANTED) & (visits.request >= 0)
    # Many turns of a loop compute nothing; they are not among the visits that count.
    until_ns = _last_answer_ns(trace)
    work = np.minimum(visits.work_ns, np.maximum(until_ns - visits.granted_ns, 0))
    work = work[granted & (work > 0)]
    if not len(work):
        return None
    size = trace.stations[station].size
    total_ns = exact_sum(work)
    return Bound(
        station=station,
        visits=len(work),
        work_mean_ns=rounded(Fraction(total_ns, len(work))),
        constant=int(work.min()) == int(work.max()),
        size=size,
        bound_ns=rounded(Fraction(total_ns, size)),
        waited_ns=exact_sum(waited_ns(visits)),
    )


def _last_answer_ns(trace: Trace) -> int:
    """When the last request finished; the end of the run where some never did."""
    if not len(trace) or (trace.outcome == IN_FLIGHT).any():
        return trace.end_ns
    return int(trace.finish_ns.max())
