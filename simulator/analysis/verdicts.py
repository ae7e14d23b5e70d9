"""Whether a run met its thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from fractions import Fraction

from simulator.analysis.confidence import Interval
from simulator.analysis.summary import SECOND_NS, Group, Latency, Summary
from simulator.plan import NEVER
from simulator.record import dataclass
from simulator.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One threshold and what the run showed."""

    threshold: Threshold
    ok: bool
    observed: Fraction | None  # in the unit of the threshold's value; None without samples
    interval: Interval | None = None  # where the true value lies; None where that is not known

    @property
    def text(self) -> str:
        return self.threshold.text

    @property
    def verdict(self) -> str:
        """ "passed" or "failed", or "undecided" where the interval holds the limit."""
        if self.interval is None or self.observed is None:
            return "passed" if self.ok else "failed"
        low, high = (_exact(end) for end in (self.interval.low, self.interval.high))
        holds = {self.threshold.holds(end) for end in (low, high)}
        crossed = self.threshold.operator in ("==", "!=") and low < self.threshold.value < high
        if len(holds) > 1 or crossed:
            return "undecided"
        return "passed" if holds.pop() else "failed"


def _exact(end: float) -> Fraction:
    """The end of an interval; none at all is beyond every limit."""
    return Fraction(end if math.isfinite(end) else NEVER)


def evaluate(
    thresholds: Iterable[Threshold],
    summary: Summary,
    interval: Callable[[Threshold], Interval | None] = lambda threshold: None,
) -> tuple[ThresholdResult, ...]:
    """One result per threshold, in their order; without samples a threshold fails."""
    return tuple(_evaluate(threshold, summary, interval(threshold)) for threshold in thresholds)


def _evaluate(threshold: Threshold, summary: Summary, interval: Interval | None) -> ThresholdResult:
    group = summary.total
    if threshold.route is not None:
        group = next(row for row in summary.routes if row.name == threshold.route)
    observed = _observe(threshold, group)
    ok = observed is not None and threshold.holds(observed)
    return ThresholdResult(threshold, ok, observed, interval)


def _observe(threshold: Threshold, group: Group) -> Fraction | None:
    metric, aggregate = threshold.metric, threshold.aggregate
    if metric == "latency":
        return _observe_latency(threshold, group.latency)
    if metric == "first_byte":
        # Without a stream there is no first byte before the last.
        return _observe_latency(threshold, group.first_byte or group.latency)
    if metric == "last":
        return None if group.last_ns is None else Fraction(group.last_ns)
    if metric == "throughput":
        return group.throughput
    counts = {"requests": group.requests, "ok": group.ok, "errors": group.errors}
    counted = Fraction(counts.get(metric, group.in_flight))
    if aggregate == "count":
        return counted
    if metric == "requests":
        return counted * SECOND_NS / group.run_ns if group.run_ns else None
    return counted / group.finished if group.finished else None


def _observe_latency(threshold: Threshold, latency: Latency) -> Fraction | None:
    if threshold.aggregate == "avg":
        return latency.mean_exact_ns
    if threshold.aggregate == "min":
        value = latency.min_ns
    elif threshold.aggregate == "max":
        value = latency.max_ns
    elif threshold.aggregate == "med":
        value = latency.percentile_ns(50)
    else:
        value = latency.percentile_ns(threshold.percentile or Fraction(0))
    return None if value is None else Fraction(value)
