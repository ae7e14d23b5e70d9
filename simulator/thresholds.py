"""Thresholds in k6's grammar: what a run must show to count as passed.

thresholds: {'latency{route:list_products}': ['p(95)<100ms'], errors: 'rate<1%'}
"""

from __future__ import annotations

import operator as comparison
import re
from collections.abc import Callable, Collection
from fractions import Fraction

from simulator.record import dataclass
from simulator.units import parse_count, parse_duration, parse_rate

AGGREGATES = {
    "requests": ("count", "rate"),
    "ok": ("count", "rate"),
    "errors": ("rate", "count"),
    "in_flight": ("count",),
    "throughput": ("rate",),
    "last": ("value",),
    "latency": ("avg", "min", "med", "max", "p(N)"),
    "first_byte": ("avg", "min", "med", "max", "p(N)"),
}
"""The aggregates of each metric."""

DURATIONS = ("latency", "first_byte", "last")
"""The metrics whose values are times."""

OPERATORS: dict[str, Callable[[Fraction, Fraction], bool]] = {
    "<=": comparison.le,
    ">=": comparison.ge,
    "==": comparison.eq,
    "!=": comparison.ne,
    "<": comparison.lt,
    ">": comparison.gt,
}

_METRIC = re.compile(r"\s*(?P<name>[^{}]*?)\s*(?:\{\s*route\s*:\s*(?P<route>[^{}]*?)\s*\}\s*)?")
_EXPRESSION = re.compile(
    r"\s*(?P<aggregate>\w+)\s*(?:\(\s*(?P<percentile>[^()]*?)\s*\))?"
    r"\s*(?P<operator><=|>=|==|!=|<|>)\s*(?P<value>\S.*?)\s*"
)
_NUMBER = re.compile(r"[0-9]{1,24}(?:\.[0-9]{1,24})?")


@dataclass(frozen=True, slots=True)
class Threshold:
    """One condition. ``value`` is ns for durations, 1/s for rates, a share for error rates."""

    metric: str
    route: str | None  # None: all requests
    aggregate: str  # "p" for a percentile
    percentile: Fraction | None  # 0 … 100
    operator: str
    value: Fraction
    text: str  # as it was written: "latency{route:a} p(95)<100ms"

    def holds(self, observed: Fraction) -> bool:
        """Whether this value meets the condition, compared exactly."""
        return OPERATORS[self.operator](observed, self.value)


def parse(metric: str, expression: str, routes: Collection[str]) -> Threshold:
    """The threshold that a metric and an expression mean.

    Raises
    ------
    ValueError
        If a name is unknown (the message lists the known ones) or a value is malformed.
    """
    name, route = _parse_metric(metric, routes)
    match = _EXPRESSION.fullmatch(expression)
    if match is None:
        raise ValueError(
            f"threshold '{expression}' is not 'AGGREGATE OPERATOR VALUE', "
            f"such as '{_example(name)}' (operators: < <= > >= == !=)"
        )
    aggregate, percentile = _parse_aggregate(name, match["aggregate"], match["percentile"])
    value = _parse_value(name, aggregate, match["value"])
    text = f"{metric.strip()} {expression.strip()}"
    return Threshold(name, route, aggregate, percentile, match["operator"], value, text)


def _example(metric: str) -> str:
    examples = {
        "latency": "p(95)<100ms",
        "first_byte": "p(95)<100ms",
        "last": "value<100s",
        "throughput": "rate>10/s",
    }
    return examples.get(metric, "count>0" if metric in ("requests", "ok") else "count<5")


def _parse_metric(metric: str, routes: Collection[str]) -> tuple[str, str | None]:
    match = _METRIC.fullmatch(metric)
    if match is None:
        raise ValueError(f"metric '{metric}' is not NAME or NAME{{route:ROUTE}}")
    name, route = match["name"], match["route"]
    if name not in AGGREGATES:
        raise ValueError(f"unknown metric '{name}', known metrics: {', '.join(AGGREGATES)}")
    if route is not None and route not in routes:
        known = ", ".join(routes) or "none"
        raise ValueError(f"unknown route '{route}' in metric '{metric}', known routes: {known}")
    return name, route


def _parse_aggregate(
    metric: str, aggregate: str, percentile: str | None
) -> tuple[str, Fraction | None]:
    known = AGGREGATES[metric]
    if aggregate == "p" and "p(N)" in known:
        if percentile is None or not _NUMBER.fullmatch(percentile) or float(percentile) > 100:
            raise ValueError(
                f"percentile 'p({percentile or ''})' wants a number from 0 to 100, such as p(95)"
            )
        return aggregate, Fraction(percentile)
    if aggregate not in known or percentile is not None:
        spelled = aggregate if percentile is None else f"{aggregate}({percentile})"
        raise ValueError(
            f"unknown aggregate '{spelled}' of metric '{metric}', "
            f"known aggregates: {', '.join(known)}"
        )
    return aggregate, None


def _parse_value(metric: str, aggregate: str, text: str) -> Fraction:
    if metric in DURATIONS:
        return Fraction(parse_duration(text))
    if aggregate == "count":
        return Fraction(int(text) if text.isascii() and text.isdigit() else parse_count(text))
    if metric in ("errors", "ok"):
        return _parse_share(text)
    return parse_rate(text)


def _parse_share(text: str) -> Fraction:
    number = text[:-1].rstrip() if text.endswith("%") else text
    if not _NUMBER.fullmatch(number):
        raise ValueError(f"'{text}' is not a share, such as 1% or 0.01")
    share = Fraction(number) / (100 if text.endswith("%") else 1)
    if share > 1:
        raise ValueError(f"a share of '{text}' is more than everything: write 1% or 0.01")
    return share
