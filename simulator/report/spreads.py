"""How sure the numbers of a page are: the line below a row, and why there is none."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
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
    """The cells below a row of REQUESTS; – where the samples are too few for an interval.

    Parameters
    ----------
    values : sequence
        What the row shows: throughput, mean, p50, p95, p99, max.
    counts : int
        Columns of counts before them.
    """
    cells = []
    for what, value in zip(_COLUMNS, values, strict=True):
        found = trust.of(group, what)
        if what == "max":  # of one run it has none: a longer run has a larger one
            cells.append(cell(found, value))
        else:
            words = _rate if what == "throughput" else format.spread
            cells.append(_known(found, None if value is None else float(value), words))
    return [LABEL, *[""] * counts, *cells]


def cell(interval: Interval | None, value: Fraction | int | None, *, is_rate: bool = False) -> str:
    """Half of an interval: "±17ms", "±2.60/s"; empty where there is none."""
    half = interval.half(float(value)) if interval is not None and value is not None else 0.0
    if not half or half == float("inf"):
        return ""  # the same in all runs, or too few to bound it
    return _rate(half) if is_rate else format.spread(half)


def _rate(half: float) -> str:
    return f"±{format.rate(Fraction(half))}"


def of_first_byte(trust: Trust, group: str, times_ns: Sequence[int | None]) -> list[str]:
    """The cells below a row of FIRST BYTE: p50, p95, p99."""
    names = (f"first_byte_p{p}" for p in (50, 95, 99))
    every = zip(names, times_ns, strict=True)
    return [LABEL, *(_known(trust.of(group, what), ns, format.spread) for what, ns in every)]


def of_failure(trust: Trust, reason: str, share: float) -> list[str]:
    """The cells below a row of FAILURES: of the share."""
    found = trust.of(f"failure:{reason}", "share")
    return [LABEL, "", _known(found, share, lambda half: f"±{format.percent(half)}")]


def of_cause(trust: Trust, kind: str, cause: str, mean_ns: int) -> str:
    """Half of the interval of the mean of a cause; – where the samples are too few for one."""
    return _known(trust.of(f"cause:{kind} {cause}", "mean"), mean_ns, format.spread)


def of_resource(
    trust: Trust,
    label: str,
    busy: float | None,
    queue_max: int | Fraction,
    waits_ns: Sequence[int | None],
) -> list[str]:
    """The cells below a row of RESOURCES: of busy, queue max and the waits' mean, p95 and max.

    – where the samples are too few; nothing below a maximum of one run, which has no interval.
    """
    scope = f"resource:{label}"
    mean, p95, longest = waits_ns
    queue = trust.of(scope, "queue_max")
    return [
        LABEL,
        "",
        _known(trust.of(scope, "busy"), busy, lambda half: f"±{format.percent(half)}"),
        _known(queue, float(queue_max), lambda half: f"±{half:.2g}") if queue else "",
        _known(trust.of(scope, "wait_mean_ns"), mean, format.spread),
        _known(trust.of(scope, "wait_p95_ns"), p95, format.spread),
        cell(trust.of(scope, "wait_max_ns"), longest),
    ]


def _known(interval: Interval | None, value: float | None, words: Callable[[float], str]) -> str:
    """Half of an interval; – where there is none, nothing where it is always the same."""
    if value is None:
        return ""
    if interval is None or math.isinf(interval.high):
        return format.NONE
    half = interval.half(value)
    return words(half) if half else ""


def certain(trust: Trust) -> str:
    """What stands behind the seed in the header."""
    if trust.method == DETERMINISTIC:
        return ", deterministic"
    return f", {trust.replications} replications" if trust.replications > 1 else ""


def notes(trust: Trust, warmup: Warmup, shown: str) -> list[str]:
    """Lines below the table: what was left out, why there are no intervals.

    ``shown``: all cells of the page that have intervals, in one text.
    """
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
    if format.NONE in shown:
        lines.append(f"    {format.NONE}: too few samples for an interval")
    return lines
