"""What a sweep found, in one sentence: the title of its plot and the last line of its table."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

from simulator.experiments.axes import positions
from simulator.experiments.measures import Metric, metric_of
from simulator.experiments.sweep import Result, Row
from simulator.record import dataclass
from simulator.report import format
from simulator.thresholds import Threshold

_HELD = Fraction(3, 2)
"""A time up to so many times that at the lowest load still holds."""
LOAD_KEY = re.compile(r"(^|\.)load(\[\d+\])?\.(rate|users|requests)$")
"""Keys that say how much load comes."""
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
    of_load: bool = False  # the points stand along a load, from little to much

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
    rows = in_order(result)
    points = _Points(tuple(_point(result, row, metric) for row in rows), _of_load(result))
    if not points.known:
        return f"No point has a number for {metric.words}{_failing(result, rows)}"
    limit = limit_of(result, metric)
    if limit is not None:
        text = _against(limit, metric, points, _ordered(result))
    elif _ordered(result):
        text = _along(metric, points)
    else:
        text = _best(metric, points)
    failing = _failing(result, rows)
    silent = sum(row.measured is not None for row in rows) - len(points.known)
    if silent and not failing:
        failing = f"; no number at {silent} of {len(points.every)} points"
    return text + failing


def knee(result: Result, metric: Metric) -> Row | None:
    """The point from which more of the one key buys nothing.

    Along a load it is where load / latency is largest: from there on each more request costs
    more than it brings (Kleinrock's power, 1979; Jain's knee, 1991). None where the points are
    not along a line of numbers, or nothing bends: at the first or the last point.
    """
    if not _ordered(result):
        return None
    rows = [row for row in in_order(result) if metric.of(row.measured) is not None]
    values = [metric.of(row.measured) or Fraction(0) for row in rows]
    if len(values) < 3:
        return None
    if _of_load(result) and metric.is_time:
        loads = positions([row.values[0] for row in rows]) or ()
        power = [load / float(value or 1) for load, value in zip(loads, values, strict=True)]
        most = power.index(max(power))
        return rows[most] if 0 < most < len(rows) - 1 else None
    best = (min if metric.lower_is_better else max)(values)
    enough = next(i for i, v in enumerate(values) if abs(v - best) <= abs(best) * _ENOUGH)
    return rows[enough] if 0 < enough < len(rows) - 1 else None


def _failing(result: Result, rows: Sequence[Row]) -> str:
    """Where most requests fail: "; from load.rate=30/s on 90 % fail"."""
    shares = [_failed(row) for row in rows]
    bad = [share is not None and 2 * share > 1 for share in shares]
    if not any(bad):
        return ""
    first, count = bad.index(True), sum(bad)
    some = [share for share, failing in zip(shares, bad, strict=True) if share and failing]
    low, high = (format.percent(share) for share in (min(some), max(some)))
    much = low if low == high else f"{low} to {high}"
    if all(bad):
        return f"; {much} fail at every point"
    if _ordered(result) and all(bad[first:]):
        at = where(result, rows[first])
        return f"; {'at' if count == 1 else 'from'} {at}{'' if count == 1 else ' on'} {much} fail"
    if _ordered(result) and first == 0 and all(bad[:count]):
        return f"; up to {where(result, rows[count - 1])} {much} fail"
    return f"; {much} fail at {count} of {len(rows)} points, e.g. {where(result, rows[first])}"


def _failed(row: Row) -> Fraction | None:
    group = None if row.measured is None else row.measured.group(None)
    return None if group is None or not group.requests else Fraction(group.errors, group.requests)


def _of_load(result: Result) -> bool:
    """Whether the one key is how many requests come: less of them is no answer."""
    if len(result.sweep.axes) != 1 or not _ordered(result):
        return False
    return bool(LOAD_KEY.search(result.sweep.axes[0].key))


def _along(metric: Metric, points: _Points) -> str:
    """Where the metric goes along one line of numbers."""
    values = points.known
    if points.of_load and metric.lower_is_better and metric.is_time and len(values) > 1:
        return _holds_up_to(metric, values)
    return _course(metric, values, len(points.every))


def _holds_up_to(metric: Metric, values: Sequence[_Value]) -> str:
    """Up to which load a time stays about what it is at the lowest."""
    first, last = values[0], values[-1]
    held = first
    for point in values:
        if point.value > first.value * _HELD:
            break
        held = point
    worst = f"{metric.text(last.value)} at {last.where}"
    if held is last:
        return f"{metric.words} holds up to {last.where}: {metric.text(last.value)} there"
    if held is first:
        return f"{metric.words} rises from {metric.text(first.value)} at {first.where} to {worst}"
    near = f"{metric.words} holds up to {held.where}, {metric.text(held.value)}"
    return f"{near}; it is {worst}"


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
    if ordered and (all(holds[:count]) or (points.of_load and holds[0])):
        last_good = points.every[holds.index(False) - 1]
        assert last_good is not None
        return f"{goal} up to {last_good.where}, no further"
    first_at = holds.index(True)
    if ordered and all(holds[first_at : first_at + count]):
        ends = [points.every[i] for i in (first_at, first_at + count - 1)]
        return f"{goal} from {' up to '.join(end.where for end in ends if end)}"
    return f"{goal} at {count} of {len(holds)} points; {best_words}"


def _course(metric: Metric, values: Sequence[_Value], points: int) -> str:
    """Where the metric goes along the axis, and from where on it goes no further."""
    first, last = values[0], values[-1]
    low, high = min(v.value for v in values), max(v.value for v in values)
    if high - low <= high * _ENOUGH:
        return f"{metric.words} stays at {metric.text(first.value)} at {_every(values, points)}"
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


def _every(values: Sequence[_Value], points: int) -> str:
    """ "every point", if they all have a number."""
    return "every point" if len(values) == points else f"{len(values)} of {points} points"


def _best(metric: Metric, points: _Points) -> str:
    values, count = points.known, len(points.every)
    best = _extreme(metric, values)
    ties = sum(point.value == best.value for point in values)
    if ties == len(values):
        return f"{metric.words} is {metric.text(best.value)} at {_every(values, count)}"
    word = "lowest" if metric.lower_is_better else "highest"
    text = f"{metric.words} is {word}, {metric.text(best.value)}, at "
    text += best.where if ties == 1 else f"{ties} of {count} points, e.g. {best.where}"
    return f"{text}; at worst {_worst(metric, values)}"


def _extreme(metric: Metric, values: Sequence[_Value]) -> _Value:
    return (min if metric.lower_is_better else max)(values, key=lambda point: point.value)


def _worst(metric: Metric, values: Sequence[_Value]) -> str:
    worst = (max if metric.lower_is_better else min)(values, key=lambda point: point.value)
    return f"{metric.text(worst.value)} at {worst.where}"
