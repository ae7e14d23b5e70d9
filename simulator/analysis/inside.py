"""How sure one run is of what happened inside it: intervals of its causes and resources.

By batches, as those of its latencies (see ``confidence``): the means of a cause and of waits over
batches of requests in the order in which they came, utilisation over equal pieces of time. A
maximum has no interval: the largest value of a longer run is larger, so that there is no true
value which it would be an estimate of. A longest queue and a longest wait are of that kind.

Not covered: resources of runs that are so long that visits are not kept; how busy accelerators
and rate limits are, whose slots are not held one by one.
"""

from __future__ import annotations

import numpy as np

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.resources import PER_REQUEST, held_ns, select, waited_ns
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import UNLIMITED
from simulator.trace import NOT_GRANTED, Trace, Visits

PIECES = confidence.BATCHES[0] * confidence.BATCH_MIN
"""Pieces of time whose utilisations are cut into batches."""
VISITS_UP_TO = 150_000
"""Requests of a run up to which all its visits are sure to be there, whatever was asked for."""
_UNHELD = ("accelerator", "rate limit")

Intervals = dict[tuple[str, str], Interval | None]
"""By scope, "cause:wait pool:db" or "resource:pool db"; and what of it: "mean", "busy"."""


def inside(trace: Trace, rows: IntArray) -> Intervals:
    """The intervals of causes and resources; None where the samples are too few.

    Parameters
    ----------
    rows : ndarray of int64
        The requests that count, in the order of their arrival.
    """
    finished = rows[trace.outcome[rows] != IN_FLIGHT]
    found: Intervals = {}
    for i, cause in enumerate(trace.causes):
        spent = trace.spent_ns[finished, i]
        if spent.any():
            found[f"cause:{cause.kind} {cause.name}", "mean"] = confidence.of_mean(spent)
    if not len(finished) or len(trace) > VISITS_UP_TO:
        return found
    start_ns = int(trace.arrival_ns[rows[0]])
    end_ns = int(trace.arrival_ns[rows[-1]])  # then the service empties, which is another regime
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        by_label.setdefault(station.label, []).append(i)
    for label, indices in by_label.items():
        station = trace.stations[indices[0]]
        visits = select(trace.visits, np.isin(trace.visits.station, indices))
        if station.kind in PER_REQUEST:
            waits = trace.spent_ns[finished, station.cause]
        else:
            waits = _waits(visits, start_ns, end_ns)
        scope = f"resource:{label}"
        found[scope, "wait_mean_ns"] = confidence.of_mean(waits)
        found[scope, "wait_p95_ns"] = confidence.of_quantile(waits, 95)
        if station.size < UNLIMITED and station.kind not in _UNHELD and end_ns > start_ns:
            slots = station.size * len(indices)
            used = _used(visits, start_ns, end_ns, shared=station.kind == "cores")
            found[scope, "busy"] = confidence.of_mean(used / slots)
    return found


def _waits(visits: Visits, start_ns: int, end_ns: int) -> IntArray:
    """How long each visit of a request queued, in the order in which they came."""
    counted: BoolArray = (visits.request >= 0) & (visits.queued_ns >= start_ns)
    visits = select(visits, counted & (visits.queued_ns <= end_ns))
    return waited_ns(visits)[np.argsort(visits.queued_ns, kind="stable")]


def _used(visits: Visits, start_ns: int, end_ns: int, *, shared: bool) -> FloatArray:
    """Slots that are held, on average, in each of some equal pieces of time."""
    visits = select(visits, visits.granted_ns != NOT_GRANTED)
    spans = held_ns(visits, 0, int(visits.released_ns.max(initial=0)))
    # Those who share cores are all on them at once: each counts by what it computes.
    share = np.ones(len(visits))
    if shared:
        share = np.minimum(visits.work_ns, spans) / np.maximum(spans, 1)
    edges = np.linspace(start_ns, end_ns, PIECES + 1)
    begun = _since(visits.granted_ns, share, edges, start_ns)
    ended = _since(visits.released_ns, share, edges, start_ns)
    return np.diff(begun - ended) / np.diff(edges)


def _since(at_ns: IntArray, share: FloatArray, edges: FloatArray, start_ns: int) -> FloatArray:
    """Of each edge: the sum over all instants before it of how long ago they were."""
    order = np.argsort(at_ns, kind="stable")
    at = (at_ns[order] - start_ns).astype(np.float64)
    weight = np.concatenate([[0.0], np.cumsum(share[order])])
    moment = np.concatenate([[0.0], np.cumsum(share[order] * at)])
    before = np.searchsorted(at, edges - start_ns)
    ago: FloatArray = weight[before] * (edges - start_ns) - moment[before]
    return ago
