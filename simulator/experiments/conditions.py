"""Conditions on a change: `--fail-if 'latency p(95) > +5%'`."""

from __future__ import annotations

import re
from collections.abc import Collection
from fractions import Fraction

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.experiments.paired import LATENCIES, Side, change
from simulator.record import dataclass
from simulator.thresholds import OPERATORS

EXPECTED = (
    "expected METRIC AGGREGATE > +N%, such as 'latency p(95) > +5%', "
    "'latency{route:read} avg > +1%', 'throughput rate < -2%' or 'errors rate > +0.5%'"
)
_CONDITION = re.compile(
    r"\s*(?P<metric>latency|throughput|errors)\s*(?:\{\s*route\s*:\s*(?P<route>[^{}\s]+)\s*\})?"
    r"\s+(?P<aggregate>[a-z]+(?:\(\s*[0-9]+\s*\))?)"
    r"\s*(?P<operator><=|>=|<|>)\s*(?P<value>[-+]?[0-9]+(?:\.[0-9]+)?)\s*%\s*"
)
_NAMES = {"avg": "mean", "med": "p50", "max": "max"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A change that is not wanted: of the errors in percentage points, else relative."""

    text: str
    group: str  # a route; "" for all requests
    what: str
    operator: str
    share: float  # 0.05 for +5 %


@dataclass(frozen=True, slots=True)
class Held:
    """A condition and what was seen; ``verdict``: "holds", "does not hold" or "undecided"."""

    condition: Condition
    other: str  # letter of the scenario
    change: float | None  # a share; None where there is no number
    interval: Interval | None
    holds: bool
    verdict: str


def parse(text: str, routes: Collection[str]) -> Condition:
    """The condition of a text.

    Raises
    ------
    ValueError
        With what was expected.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise ValueError(f"--fail-if '{text}': {EXPECTED}")
    metric, route, aggregate = match["metric"], match["route"], match["aggregate"]
    if route is not None and route not in routes:
        known = ", ".join(routes) or "none"
        raise ValueError(f"--fail-if '{text}': unknown route '{route}', known routes: {known}")
    what = {"throughput": "throughput", "errors": "error_rate"}.get(metric, "")
    if what and aggregate != "rate":
        raise ValueError(f"--fail-if '{text}': {metric} has the aggregate rate alone")
    if not what:
        what = _NAMES.get(aggregate, re.sub(r"p\(\s*([0-9]+)\s*\)", r"p\1", aggregate))
        if what not in LATENCIES:
            known = "avg, med, p(50), p(90), p(95), p(99), max"
            raise ValueError(f"--fail-if '{text}': unknown aggregate '{aggregate}', known: {known}")
    share = float(match["value"]) / 100
    return Condition(text.strip(), route or "", what, match["operator"], share)


def held(
    condition: Condition, before: Side, after: Side, *, level: float = confidence.LEVEL
) -> Held:
    """Whether a condition holds: by the interval, else by the estimate.

    Where the other has no number, as when no request is ok, it holds: that is no improvement.
    """
    found = change(before, after, condition.group, condition.what, level=level)
    if found is None or (condition.what != "error_rate" and found.ratio is None):
        return Held(condition, after.letter, None, None, True, "holds")
    if condition.what == "error_rate":
        seen, interval = found.difference, found.difference_interval
    else:
        seen, interval = (found.ratio or 0.0) - 1, found.ratio_interval
        interval = interval and Interval(interval.low - 1, interval.high - 1)
    holds = _compare(condition, seen)
    ends = {holds}
    if interval is not None:
        ends = {_compare(condition, end) for end in (interval.low, interval.high)}
    verdict = "undecided" if len(ends) > 1 else ("holds" if holds else "does not hold")
    return Held(condition, after.letter, seen, interval, holds, verdict)


def _compare(condition: Condition, seen: float) -> bool:
    # As written: what was computed as 0.05000000000000004 is not more than 5 %.
    found, limit = (Fraction(round(value, 12)) for value in (seen, condition.share))
    return OPERATORS[condition.operator](found, limit)
