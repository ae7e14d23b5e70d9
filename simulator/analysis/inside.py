"""How sure one run is of what happened inside it: intervals of its causes and resources.

By batches, as those of its latencies (see ``confidence``): the means of a cause and of waits over
batches of requests in the order in which they came, utilisation over equal pieces of time. A
maximum has no interval: the largest value of a longer run is larger, so that there is no true
value which it would be an estimate of. A longest queue and a longest wait are of that kind.

A long run need not keep its visits. Waits are then batched by equal pieces of time, too, see
``by_time``; and so they are in every run of that length, whether it has kept them or not.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulator.analysis import confidence
from simulator.analysis.by_time import class_of
from simulator.analysis.confidence import Interval
from simulator.analysis.devices import accelerator_of, device_time
from simulator.analysis.folding import FOLDED, time_sums
from simulator.analysis.resources import (
    PER_REQUEST,
    held_ns,
    last_answer_ns,
    limit_of,
    most_admitted,
    select,
    visit_waits_ns,
    waited_ns,
)
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.engines.contract import IN_FLIGHT, OK
from simulator.plan import UNLIMITED, Plan
from simulator.trace import NOT_GRANTED, ByTime, Trace, Visits

PIECES = confidence.BATCHES[0] * confidence.BATCH_MIN
"""Pieces of time whose utilisations are cut into batches."""
VISITS_UP_TO = 150_000
"""Requests of a run up to which all its visits are sure to be there, whatever was asked for."""

Intervals = dict[tuple[str, str], Interval | None]
"""By scope, "cause:wait pool:db" or "resource:pool db"; and what of it: "mean", "busy"."""


def inside(plan: Plan, trace: Trace, rows: IntArray) -> Intervals:
    """The intervals of causes and resources; None where the samples are too few.

    Parameters
    ----------
    rows : ndarray of int64
        The requests that count, in the order of their arrival.
    """
    finished = rows[trace.outcome[rows] != IN_FLIGHT]
    if not len(finished):
        return {}
    found = _causes(trace, finished)
    period = int(trace.arrival_ns[rows[0]]), int(trace.arrival_ns[rows[-1]])
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        by_label.setdefault(station.label, []).append(i)
    for label, indices in by_label.items():
        station = trace.stations[indices[0]]
        if len(trace) > VISITS_UP_TO and station.kind in FOLDED:
            own = _by_time(trace, indices, period)
        else:
            own = _by_visits(plan, trace, indices, period)
        if station.kind in PER_REQUEST:
            own |= _waited(trace.spent_ns[finished, station.cause])
        found |= {(f"resource:{label}", what): interval for what, interval in own.items()}
    return found


def _causes(trace: Trace, finished: IntArray) -> Intervals:
    """Of what finished requests spent on each cause: mean, p95, share, mean of ok requests."""
    found: Intervals = {}
    latency, ok = trace.latency_ns[finished], trace.outcome[finished] == OK
    for i, cause in enumerate(trace.causes):
        spent = trace.spent_ns[finished, i]
        if spent.any():
            scope = f"cause:{cause.kind} {cause.name}"
            found[scope, "mean"] = confidence.of_mean(spent)
            found[scope, "p95"] = confidence.of_quantile(spent, 95)
            found[scope, "share"] = confidence.of_ratio(spent, latency)
            found[scope, "ok_mean"] = confidence.of_mean(spent[ok])
    return found


def _waited(waits_ns: IntArray) -> dict[str, Interval | None]:
    return {
        "wait_mean_ns": confidence.of_mean(waits_ns),
        "wait_p95_ns": confidence.of_quantile(waits_ns, 95),
    }


def _by_visits(
    plan: Plan, trace: Trace, indices: list[int], period: tuple[int, int]
) -> dict[str, Interval | None]:
    """Of a resource whose visits are there.

    ``period``: from the first arrival to the last; then the service empties, another regime.
    """
    station, (start_ns, end_ns) = trace.stations[indices[0]], period
    visits = select(trace.visits, np.isin(trace.visits.station, indices))
    found = {} if station.kind in PER_REQUEST else _waited(_waits(visits, *period))
    if end_ns <= start_ns:
        return found
    limit, spec = limit_of(plan, station.label), accelerator_of(plan, station.label)
    if limit is not None:
        # Not held, but admitted one by one: how many, of those that may be in each piece.
        granted = visits.granted_ns[visits.granted_ns != NOT_GRANTED]
        counts, _ = np.histogram(granted, bins=PIECES, range=period)
        shares = counts * (PIECES / float(most_admitted(limit, end_ns - start_ns)))
        found["busy"] = _at_most_all(confidence.of_mean(shares))
    elif spec is not None:
        time = device_time(spec, visits)
        spans = replace(
            select(visits, np.zeros(len(time.begin_ns), dtype=np.int64)),
            granted_ns=time.begin_ns,
            released_ns=time.end_ns,
        )
        used = _used(spans, *period, shared=False)
        found["busy"] = confidence.of_mean(used / (spec.count * len(indices)))
    elif station.size < UNLIMITED:
        used = _used(visits, *period, shared=station.kind == "cores")
        found["busy"] = confidence.of_mean(used / (station.size * len(indices)))
    return found


def _at_most_all(found: Interval | None) -> Interval | None:
    return found and Interval(min(found.low, 1.0), min(found.high, 1.0))


def _by_time(
    trace: Trace, indices: list[int], period: tuple[int, int]
) -> dict[str, Interval | None]:
    """The same of a resource of a long run."""
    station, (start_ns, end_ns) = trace.stations[indices[0]], period
    sums = _sums(trace, indices, start_ns)
    whole = (end_ns - start_ns) // sums.width_ns  # pieces in which requests came to the end
    found: dict[str, Interval | None] = {}
    if station.size < UNLIMITED:
        slots_ns = station.size * len(indices) * sums.width_ns
        found["busy"] = confidence.of_mean(sums.used_ns[:whole] / slots_ns)
    if station.kind not in PER_REQUEST:
        waits = sums.waits[:whole]
        found["wait_mean_ns"] = confidence.of_ratio(sums.waited_ns[:whole], waits)
        ordered = visit_waits_ns(trace, indices, start_ns, last_answer_ns(trace))
        found["wait_p95_ns"] = _p95(ordered, sums.lengths[:whole], waits)
    return found


def _p95(ordered: IntArray, lengths: IntArray, waits: IntArray) -> Interval | None:
    """The interval of p95 of waits that are counted by their classes."""
    if not len(ordered):
        return None
    last = int(class_of(ordered[[confidence.rank_of(95, len(ordered))]])[0])
    below = lengths[:, : last + 1].sum(axis=1)
    return confidence.of_quantile_of_pieces(ordered, below, waits, 95)


def _sums(trace: Trace, indices: list[int], start_ns: int) -> ByTime:
    """The sums of a label, made while the run went on, or now of its visits."""
    if indices[0] in trace.used:
        return trace.used[indices[0]].by_time
    sums = time_sums(trace.stations[indices[0]].kind, start_ns)
    sums.add(select(trace.visits, np.isin(trace.visits.station, indices)))
    return sums.sums()


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
