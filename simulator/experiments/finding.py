"""What a sweep found, in one sentence: the title of its plot and the last line of its table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from simulator.experiments.axes import positions
from simulator.experiments.measures import Metric, metric_of
from simulator.experiments.sweep import Result, Row
from simulator.thresholds import Threshold

_ENOUGH = Fraction(2, 100)
"""Values as near to the best as this count as equally good."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A point that has a number."""

    where: str  # "pools.db.size=40"
    value: Fraction


@dataclass(frozen=True, slots=True)
class _Points:
    """All points, in order: those with a number, and None for the others."""

    every: tuple[_Value | None, ...]

    @property
    def known(self) -> list[_Value]:
        return [point for point in self.every if point is not None]


def default_metric(result: Result) -> Metric:
    """What the thresholds are about, else the highest percentile that the samples allow."""
    for threshold in thresholds(result):
        metric = metric_of(threshold)
        if metric is not None:
            return metric
    for aggregate in ("p95", "p50", "max"):
        metric = Metric("latency", None, aggregate)
        if any(metric.of(row.measured) is not None for row in result.rows):
            return metric
    return Metric("errors")


def thresholds(result: Result) -> tuple[Threshold, ...]:
    """The thresholds of the scenario, as at the first valid point."""
    for row in result.rows:
        if row.measured is not None:
            return tuple(found.threshold for found in row.measured.thresholds)
    return ()


def limit_of(result: Result, metric: Metric) -> Threshold | None:
    """The first threshold about this metric."""
    return next((t for t in thresholds(result) if metric_of(t) == metric), None)


def in_order(result: Result) -> tuple[Row, ...]:
    """The rows along the axis: by number where the values of a single key are numbers."""
    if len(result.sweep.axes) != 1:
        return result.rows
    at = positions([row.values[0] for row in result.rows])
    if at is None:
        return result.rows
    return tuple(row for _, row in sorted(zip(at, result.rows, strict=True), key=lambda p: p[0]))


def finding(result: Result, metric: Metric) -> str:
    """The sentence; it says of a threshold where it is met, else where the metric goes."""
    points = _Points(tuple(_point(result, row, metric) for row in in_order(result)))
    if not points.known:
        return f"No point has a number for {metric.words}"
    limit = limit_of(result, metric)
    if limit is not None:
        return _against(limit, metric, points, _ordered(result))
    text = (_course if _ordered(result) else _best)(metric, points.known)
    silent = sum(row.measured is not None for row in result.rows) - len(points.known)
    if silent:
        text += f"; no number at {silent} of {len(points.every)} points"
    return text


def _point(result: Result, row: Row, metric: Metric) -> _Value | None:
    value = metric.of(row.measured)
    return None if value is None else _Value(where(result, row), value)


def _ordered(result: Result) -> bool:
    """Whether the points stand along one line of numbers."""
    if result.sweep.zipped:
        return True
    return len(result.sweep.axes) == 1 and positions(result.sweep.axes[0].values) is not None


def where(result: Result, row: Row) -> str:
    """The point in words: "pools.db.size=40, server.workers=2"."""
    pairs = zip(result.sweep.axes, row.values, strict=True)
    return ", ".join(f"{axis.key}={value}" for axis, value in pairs)


def _against(limit: Threshold, metric: Metric, points: _Points, ordered: bool) -> str:
    goal = f"{metric.words} {limit.operator} {metric.text(limit.value)}"
    # Where there is no number the goal is missed: most requests failed.
    holds = [point is not None and limit.holds(point.value) for point in points.every]
    count, best = sum(holds), _extreme(metric, points.known)
    best_words = f"the best is {metric.text(best.value)} at {best.where}"
    if all(holds):
        return f"{goal} at every point, at worst {_worst(metric, points.known)}"
    if not count:
        return f"{goal} at no point: {best_words}"
    if ordered and all(holds[-count:]):
        first = points.every[-count]
        assert first is not None
        verbs = {"<": "falls below", "<=": "falls to", ">": "rises above", ">=": "rises to"}
        verb = verbs.get(limit.operator, f"is {limit.operator}")
        last = ", the last point" if count == 1 else ""
        return f"{metric.words} {verb} {metric.text(limit.value)} from {first.where}{last}"
    if ordered and all(holds[:count]):
        last_good = points.every[count - 1]
        assert last_good is not None
        return f"{goal} up to {last_good.where}, no further"
    first_at = holds.index(True)
    if ordered and all(holds[first_at : first_at + count]):
        ends = [points.every[i] for i in (first_at, first_at + count - 1)]
        return f"{goal} from {' up to '.join(end.where for end in ends if end)}"
    return f"{goal} at {count} of {len(holds)} points; {best_words}"


def _course(metric: Metric, values: Sequence[_Value]) -> str:
    """Where the metric goes along the axis, and from where on it goes no further."""
    first, last = values[0], values[-1]
    low, high = min(v.value for v in values), max(v.value for v in values)
    if high - low <= high * _ENOUGH:
        return f"{metric.words} stays at {metric.text(first.value)} at every point"
    best = _extreme(metric, values)
    enough = next(v for v in values if abs(v.value - best.value) <= abs(best.value) * _ENOUGH)
    rest = [v.value for v in values[values.index(enough) :]]
    flat = max(rest) - min(rest) <= max(rest) * _ENOUGH
    if enough is not last and enough is not first and flat:
        verb = "falls" if enough.value < first.value else "rises"
        return (
            f"{metric.words} {verb} from {metric.text(first.value)} to "
            f"{metric.text(enough.value)} at {enough.where} and stays there"
        )
    if enough is not last and enough is not first:
        return f"{metric.words} is best, {metric.text(enough.value)}, at {enough.where}"
    verb = "falls" if last.value < first.value else "rises"
    return (
        f"{metric.words} {verb} from {metric.text(first.value)} at {first.where} "
        f"to {metric.text(last.value)} at {last.where}"
    )


def _best(metric: Metric, values: Sequence[_Value]) -> str:
    best = _extreme(metric, values)
    if all(point.value == best.value for point in values):
        return f"{metric.words} is {metric.text(best.value)} at every point"
    word = "lowest" if metric.lower_is_better else "highest"
    text = f"{metric.words} is {word}, {metric.text(best.value)}, at {best.where}"
    return f"{text}; at worst {_worst(metric, values)}"


def _extreme(metric: Metric, values: Sequence[_Value]) -> _Value:
    return (min if metric.lower_is_better else max)(values, key=lambda point: point.value)


def _worst(metric: Metric, values: Sequence[_Value]) -> str:
    worst = (max if metric.lower_is_better else min)(values, key=lambda point: point.value)
    return f"{metric.text(worst.value)} at {worst.where}"
