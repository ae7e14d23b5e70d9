"""How sure the numbers of a page are: the line below a row, and why there is none."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from simulator.analysis.confidence import Interval
from simulator.analysis.trust import DETERMINISTIC, NONE, REPLICATIONS, Trust
from simulator.analysis.warmup import Warmup
from simulator.report import format

LABEL = "  ± 95%"
"""Stands before a line of intervals: half of each, to its longer side."""
_COLUMNS = ("throughput", "mean", "p50", "p95", "p99", "max")


def spreads(
    trust: Trust, group: str, values: Sequence[Fraction | int | None], counts: int
) -> list[str]:
    """The cells below a row of REQUESTS.

    Parameters
    ----------
    values : sequence
        What the row shows: throughput, mean, p50, p95, p99, perhaps max.
    counts : int
        Columns of counts before them.
    """
    cells = [
        cell(trust.of(group, what), value, is_rate=what == "throughput")
        for what, value in zip(_COLUMNS, (*values, None), strict=False)
    ]
    return [LABEL, *[""] * counts, *cells]


def cell(interval: Interval | None, value: Fraction | int | None, *, is_rate: bool = False) -> str:
    """Half of an interval: "±17ms", "±2.60/s"; empty where there is none."""
    half = interval.half(float(value)) if interval is not None and value is not None else 0.0
    if not half or half == float("inf"):
        return ""  # the same in all runs, or too few to bound it
    return f"±{format.rate(Fraction(half))}" if is_rate else format.spread(half)


def certain(trust: Trust) -> str:
    """What stands behind the seed in the header."""
    if trust.method == DETERMINISTIC:
        return ", deterministic"
    return f", {trust.replications} replications" if trust.replications > 1 else ""


def notes(trust: Trust, warmup: Warmup) -> list[str]:
    """Lines below the table: what was left out, why there are no intervals."""
    lines = []
    if warmup.requests:
        until, left_out = format.duration(warmup.until_ns), format.count(warmup.requests, "request")
        lines.append(f"    without the warm-up: {left_out} of the first {until}")
    if trust.not_stable:
        lines.append(
            f"    not stable: {trust.not_stable}, so times grow with the length of the run"
        )
    elif trust.method == NONE and trust.note:
        lines.append(f"    no intervals: {trust.note}; -n 20 repeats it")
    elif trust.method == REPLICATIONS:
        lines.append("    means over the replications, and how far the true mean may lie from them")
    return lines
