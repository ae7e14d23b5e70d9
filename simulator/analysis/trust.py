"""How far the numbers of a run can be trusted: their intervals, or why they have none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field

import numpy as np

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.inside import inside
from simulator.analysis.routes import streams
from simulator.analysis.summary import SECOND_NS
from simulator.analysis.warmup import Warmup
from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.engines.contract import IN_FLIGHT, OK
from simulator.plan import LoadKind, Plan
from simulator.record import dataclass
from simulator.thresholds import Threshold
from simulator.trace import Trace

DETERMINISTIC, BATCHES, REPLICATIONS, NONE = "deterministic", "batches", "replications", "none"
"""What intervals rest on: nothing is left to chance, one long run, several runs, nothing."""

PERCENTILES = (50, 90, 95, 99)
_STEADY = (LoadKind.POISSON, LoadKind.CONSTANT, LoadKind.GAMMA, LoadKind.CLOSED)

Key = tuple[str, str]
"""The name of a route, "" for all requests; and what of it: "mean", "p95", "throughput"."""


@dataclass(frozen=True, slots=True)
class Trust:
    """The intervals of a result; times in ns, throughput per second, counts as numbers."""

    method: str
    note: str = ""  # why there are no intervals
    not_stable: str | None = None  # what has a queue that grows as long as the load lasts
    intervals: Mapping[Key, Interval] = field(default_factory=dict)
    replications: int = 1

    def of(self, group: str, what: str) -> Interval | None:
        """The interval of a number; None where it has none."""
        return self.intervals.get((group, what))


UNKNOWN = Trust(NONE)
"""Of a result that nobody asked about."""


@dataclass(frozen=True, slots=True)
class OneRun:
    """A run whose intervals are asked for: the requests that count, by their arrival."""

    plan: Plan
    trace: Trace
    warmup: Warmup
    trust: Trust

    def of_threshold(self, threshold: Threshold) -> Interval | None:
        """The interval of what a threshold observes; None where there is none."""
        if self.trust.method != BATCHES:
            return None
        rows = self._rows(threshold.route or "")
        if threshold.metric == "latency":
            latency = self.trace.latency_ns[rows[self.trace.outcome[rows] == OK]]
            if threshold.aggregate == "avg":
                return confidence.of_mean(latency)
            percentile = 50.0 if threshold.aggregate == "med" else threshold.percentile
            return (
                None if percentile is None else confidence.of_quantile(latency, float(percentile))
            )
        if threshold.metric == "throughput":
            return self.trust.of(threshold.route or "", "throughput")
        if threshold.metric in ("ok", "errors") and threshold.aggregate == "rate":
            outcome = self.trace.outcome[rows]
            outcome = outcome[outcome != IN_FLIGHT]
            happened = outcome == OK
            return confidence.of_share(happened if threshold.metric == "ok" else ~happened)
        return None

    def _rows(self, name: str) -> IntArray:
        return _rows(self.plan, self.trace, self.warmup, name)


def one_run(
    plan: Plan, trace: Trace, warmup: Warmup, *, random: bool, not_stable: str | None
) -> OneRun:
    """The intervals of one run, by batches of its requests.

    Parameters
    ----------
    random : bool
        Whether another seed would have given another run.
    not_stable : str, optional
        What has a queue that grows without an end.
    """
    if not random:
        trust = Trust(DETERMINISTIC, "nothing is left to chance", not_stable)
    elif not_stable:
        trust = Trust(NONE, f"not stable: {not_stable}", not_stable)
    else:
        reason = _unsteady(plan, trace, warmup)
        if reason:
            trust = Trust(NONE, reason)
        else:
            trust = Trust(BATCHES, intervals=_intervals(plan, trace, warmup))
    return OneRun(plan, trace, warmup, trust)


def _unsteady(plan: Plan, trace: Trace, warmup: Warmup) -> str:
    """Why the run has no steady state whose batches could be compared; "" if it has."""
    kinds = {LoadKind.BURST: "burst", LoadKind.STAGES: "load in stages", LoadKind.RECORDED: "trace"}
    if trace.ended in ("deadlock", "interrupted"):
        return (
            f"one run that ended in {trace.ended}" if trace.ended == "deadlock" else "interrupted"
        )
    for load in plan.loads:
        if load.kind not in _STEADY:
            return f"one {kinds[load.kind]} says nothing of the next"
        if load.ramp_ns > warmup.until_ns:
            return "the users are still coming during the ramp: no warm-up leaves it out"
    return "a fault comes once" if plan.faults else ""


def _intervals(plan: Plan, trace: Trace, warmup: Warmup) -> dict[Key, Interval]:
    found: dict[Key, Interval | None] = {}
    names = [route.name for route in plan.routes]
    for name in ("", *names):
        rows = _rows(plan, trace, warmup, name)
        if len(names) == 1 and name:
            found |= {(name, what): value for (_, what), value in found.items()}
            continue
        latency = trace.latency_ns[rows[trace.outcome[rows] == OK]]
        found[name, "mean"] = confidence.of_mean(latency)
        for percentile in PERCENTILES:
            found[name, f"p{percentile}"] = confidence.of_quantile(latency, percentile)
        found[name, "throughput"] = confidence.of_mean(_per_second(trace, rows))
        found |= _counted(trace, rows, name)
        if any(streams(route) for route in plan.routes if name in ("", route.name)):
            found |= _first_byte(plan, trace, rows, name)
    rows = _rows(plan, trace, warmup, "")
    for i in np.unique(trace.outcome[rows]).tolist():
        if i not in (OK, IN_FLIGHT):
            share = confidence.of_share(trace.outcome[rows] == i)
            found[f"failure:{trace.outcomes[i]}", "share"] = share
    found |= inside(plan, trace, rows)
    return {key: value for key, value in found.items() if value is not None}


def _counted(trace: Trace, rows: IntArray, name: str) -> dict[Key, Interval | None]:
    """How many of these requests are answered, how many fail: their shares, times all."""
    found: dict[Key, Interval | None] = {}
    outcome = trace.outcome[rows]
    failed = (outcome != OK) & (outcome != IN_FLIGHT)
    for what, happened in (("ok", outcome == OK), ("errors", failed)):
        share = confidence.of_share(happened)
        if share is not None:
            found[name, what] = Interval(share.low * len(rows), share.high * len(rows))
    return found


def _first_byte(plan: Plan, trace: Trace, rows: IntArray, name: str) -> dict[Key, Interval | None]:
    """Of those that are streamed: the time until their first chunk."""
    streamed = [i for i, route in enumerate(plan.routes) if streams(route)]
    rows = rows[(trace.outcome[rows] == OK) & np.isin(trace.route[rows], streamed)]
    times = (trace.first_byte_ns - trace.arrival_ns)[rows]
    return {
        (name, f"first_byte_p{percentile}"): confidence.of_quantile(times, percentile)
        for percentile in PERCENTILES
    }


def _rows(plan: Plan, trace: Trace, warmup: Warmup, name: str) -> IntArray:
    """The requests of a route that count, in the order in which they came."""
    counted: BoolArray = trace.arrival_ns >= warmup.until_ns
    if name:
        names = [route.name for route in plan.routes]
        counted = counted & (trace.route == names.index(name))
    rows = np.flatnonzero(counted)
    return rows[np.argsort(trace.arrival_ns[rows], kind="stable")]


def _per_second(trace: Trace, rows: IntArray) -> FloatArray:
    """Answers per second in equal pieces of the time in which requests came."""
    if not len(rows):
        return np.zeros(0)
    start_ns, end_ns = int(trace.arrival_ns[rows[0]]), int(trace.arrival_ns[rows[-1]])
    pieces = confidence.BATCHES[0] * confidence.BATCH_MIN
    if end_ns <= start_ns:
        return np.zeros(0)
    finish = trace.finish_ns[rows[trace.outcome[rows] == OK]]
    counts, _ = np.histogram(finish, bins=pieces, range=(start_ns, end_ns))
    return counts * (pieces * SECOND_NS / (end_ns - start_ns))
