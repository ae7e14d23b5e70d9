"""Whether a run met its thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction

from simulator.analysis.summary import SECOND_NS, Group, Summary
from simulator.record import dataclass
from simulator.thresholds import Threshold


@dataclass(frozen=True, slots=True)
class ThresholdResult:
    """One threshold and what the run showed."""

    threshold: Threshold
    ok: bool
    observed: Fraction | None  # in the unit of the threshold's value; None without samples

    @property
    def text(self) -> str:
        return self.threshold.text


def evaluate(thresholds: Iterable[Threshold], summary: Summary) -> tuple[ThresholdResult, ...]:
    """One result per threshold, in their order; without samples a threshold fails."""
    return tuple(_evaluate(threshold, summary) for threshold in thresholds)


def _evaluate(threshold: Threshold, summary: Summary) -> ThresholdResult:
    group = summary.total
    if threshold.route is not None:
        group = next(row for row in summary.routes if row.name == threshold.route)
    observed = _observe(threshold, group)
    ok = observed is not None and threshold.holds(observed)
    return ThresholdResult(threshold, ok, observed)


def _observe(threshold: Threshold, group: Group) -> Fraction | None:
    metric, aggregate = threshold.metric, threshold.aggregate
    if metric == "latency":
        return _observe_latency(threshold, group)
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


def _observe_latency(threshold: Threshold, group: Group) -> Fraction | None:
    latency = group.latency
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
