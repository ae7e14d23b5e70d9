"""The curve of a sweep over one key: metric, thresholds, and where the bottleneck changes."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator, NullLocator

from simulator.experiments.axes import positions
from simulator.experiments.finding import finding, in_order, knee, thresholds
from simulator.experiments.measures import Metric, metric_of
from simulator.experiments.sweep import Result, Row
from simulator.report import format
from simulator.report.colours import BLUE, GREY, SKY, VERMILION
from simulator.report.text import clean
from simulator.thresholds import Threshold

LOG_FROM = 30
"""A ratio of largest to smallest from which an axis is logarithmic."""
TITLE_WIDTH = 84
_BANDS = ("#FFFFFF", "#F0F0F0")
_TICKS_MAX = 12

_LEGEND_COLUMNS = 5
_LEGEND_LETTERS, _HANDLE_LETTERS = 96, 7
"""Letters that fit side by side in a legend below a picture, and what a handle takes of them."""


def curve(figure: Figure, result: Result, metric: Metric, *, alone: bool) -> None:
    """The metric along the key; without ``alone`` p50 beside p95."""
    axes = figure.add_subplot()
    axes.set_title(wrapped(finding(result, metric)), fontsize=13, pad=10)
    rows = in_order(result)
    scale = _x_axis(axes, result, rows)
    joined = result.sweep.zipped or positions([row.values[0] for row in rows]) is not None
    metrics = [metric] if alone else _companions(metric)
    values = [[m.of(row.measured) for row in rows] for m in metrics]
    limits = [t for t in thresholds(result) if metric_of(t) in metrics]
    shown = [v for line in values for v in line if v is not None]
    if not shown:
        axes.text(0.5, 0.5, "No point has a number.", ha="center", transform=axes.transAxes)
        return
    _y_axis(axes, metric, shown, [limit.value for limit in limits])
    _bands(axes, rows, scale)
    for m, line, colour in zip(metrics, values, (BLUE, SKY, GREY), strict=False):
        _confidence(axes, rows, scale, m, colour)
        _line(axes, rows, scale, line, colour, m.words, "-" if joined else ":")
    _missing(axes, rows, scale, values[0])
    for limit in limits:
        _limit_line(axes, limit)
    _knee(axes, result, rows, scale, metric)
    axes.set_ylabel(_y_label(metric, metrics))
    _curve_legend(axes)


def _companions(metric: Metric) -> list[Metric]:
    if metric.name != "latency" or metric.aggregate == "max":
        return [metric]
    other = "p95" if metric.aggregate == "p50" else "p50"
    return [metric, Metric("latency", metric.route, other)]


def _x_axis(axes: Axes, result: Result, rows: Sequence[Row]) -> list[float]:
    """Places of the rows on the axis, whose ticks are the values as they were written."""
    keys = " / ".join(clean(axis.key) for axis in result.sweep.axes)
    labels = [" / ".join(map(tick, row.values)) for row in rows]
    at = positions([row.values[0] for row in rows]) if len(result.sweep.axes) == 1 else None
    places = [float(i) for i in range(len(rows))] if at is None else list(at)
    if at is not None and places[0] > 0 and places[-1] >= LOG_FROM * places[0]:
        axes.set_xscale("log")
        keys += " (log scale)"
    elif at is not None and _crowded(places):
        places = [float(i) for i in range(len(rows))]
        keys += " (not to scale)"
    step = -(-len(rows) // _TICKS_MAX)
    ticks = list(range(0, len(rows), step))
    axes.xaxis.set_major_locator(FixedLocator([places[i] for i in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([labels[i] for i in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    if sum(len(labels[i]) for i in ticks) > 80:
        axes.tick_params(axis="x", rotation=30)
    axes.set_xlabel(keys)
    axes.grid(False, axis="x")
    return places


def _crowded(places: Sequence[float]) -> bool:
    """Whether labels would lie on one another, though the points are few."""
    gaps = np.diff(places)
    return len(places) <= _TICKS_MAX and float(gaps.min(initial=np.inf)) < 0.05 * (
        places[-1] - places[0]
    )


def _y_axis(axes: Axes, metric: Metric, shown: Sequence[Fraction], limits: list[Fraction]) -> None:
    low, high = float(min(*shown, *limits, shown[0])), float(max(*shown, *limits, shown[0]))
    if low > 0 and high >= LOG_FROM * low:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 1000 * low else (1,)))
        axes.yaxis.set_minor_locator(NullLocator())
        axes.set_ylim(low / 1.5, high * 2)
    else:
        axes.set_ylim(0, high * 1.18 or 1)
        if metric.is_time:
            axes.yaxis.set_major_locator(FixedLocator(_round_times(high * 1.15)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _y_tick(metric, value)))


def _round_times(high: float) -> list[float]:
    """Up to eight round times from 0 on: steps of 1, 2 or 5 in a decimal place."""
    step = 1.0
    while high / step > 8:
        step *= 2.5 if str(int(step)).startswith("2") else 2
    return [i * step for i in range(int(high / step) + 1)]


def _y_tick(metric: Metric, value: float) -> str:
    if metric.is_time:
        return format.duration(round(value))
    return f"{value:g}"


def _y_label(metric: Metric, metrics: Sequence[Metric]) -> str:
    unit = " (per second)" if metric.name == "throughput" else ""
    what = "latency" if metric.name == "latency" and len(metrics) > 1 else metric.words
    route = f" of {metric.route}" if what == "latency" and metric.route else ""
    return what + route + unit


def _line(
    axes: Axes,
    rows: Sequence[Row],
    places: Sequence[float],
    values: Sequence[Fraction | None],
    colour: str,
    label: str,
    style: str,
) -> None:
    y = [float("nan") if value is None else float(value) for value in values]
    axes.plot(places, y, color=colour, linestyle=style, linewidth=1.8, label=label, zorder=3)
    for some_failed in (False, True):
        here = [
            i
            for i, row in enumerate(rows)
            if row.measured is not None
            and values[i] is not None
            and (row.measured.total.errors > 0) is some_failed
        ]
        face = "white" if some_failed else colour
        axes.plot(
            [places[i] for i in here],
            [y[i] for i in here],
            linestyle="none",
            marker="o",
            markersize=6,
            markerfacecolor=face,
            markeredgecolor=colour,
            zorder=4,
        )


def _confidence(
    axes: Axes, rows: Sequence[Row], places: Sequence[float], metric: Metric, colour: str
) -> None:
    """The intervals as a band around the line, up to the edge where nothing bounds them."""
    found = [metric.interval(row.measured) for row in rows]
    if not any(interval and interval.high > interval.low for interval in found):
        return
    nothing = float("nan")
    low = [nothing if i is None else i.low for i in found]
    high = [nothing if i is None or np.isinf(i.high) else i.high for i in found]
    label = f"95 % interval of {metric.words}"
    axes.fill_between(places, low, high, color=colour, alpha=0.2, linewidth=0, label=label)


def _knee(
    axes: Axes, result: Result, rows: Sequence[Row], places: Sequence[float], metric: Metric
) -> None:
    """A ring around the point from which more buys nothing."""
    found = knee(result, metric)
    value = None if found is None else metric.of(found.measured)
    if found is None or value is None:
        return
    axes.plot(
        [places[rows.index(found)]],
        [float(value)],
        linestyle="none",
        marker="o",
        markersize=13,
        markerfacecolor="none",
        markeredgecolor=VERMILION,
        markeredgewidth=1.6,
        label="knee",
        zorder=5,
    )


def _bands(axes: Axes, rows: Sequence[Row], places: Sequence[float]) -> None:
    """A strip for each stretch with one bottleneck, which changes between two points."""
    found = [row.measured.limited_by if row.measured else None for row in rows]
    known = [i for i, label in enumerate(found) if label is not None]
    if not known:
        return
    starts = [known[0]]
    starts += [i for before, i in pairwise(known) if found[i] != found[before]]
    log = axes.get_xscale() == "log"
    low, high = _margins(places, log)
    axes.set_xlim(low, high)
    edges = [low]
    for start in starts[1:]:
        before = known[known.index(start) - 1]
        edges.append(_middle(places[before], places[start], log))
    edges.append(high)
    for number, start in enumerate(starts):
        left, right = edges[number], edges[number + 1]
        axes.axvspan(left, right, color=_BANDS[number % 2], zorder=0, linewidth=0)
        if number:
            axes.axvline(left, color=GREY, linestyle=":", linewidth=1.2, zorder=1)
        _band_label(axes, left, right, log, clean(found[start] or ""))


def _band_label(axes: Axes, left: float, right: float, log: bool, label: str) -> None:
    low, high = axes.get_xlim()
    share = np.log(right / left) / np.log(high / low) if log else (right - left) / (high - low)
    room = share * 78  # about 78 small letters stand side by side
    text = f"limited by {label}"
    if room < len(text):
        text = textwrap.shorten(label, 30, placeholder="…") or label[:30]
    upright = room < len(text)
    axes.text(
        _middle(left, right, log),
        0.985,
        text,
        transform=axes.get_xaxis_transform(),
        ha="center",
        va="top",
        rotation=90 if upright else 0,
        fontsize=9,
        color="#555555",
        zorder=2,
    )


def _margins(places: Sequence[float], log: bool) -> tuple[float, float]:
    low, high = min(places), max(places)
    if log:
        pad = (high / low) ** 0.05
        return low / pad, high * pad
    pad = (high - low) * 0.05 or 0.5
    return low - pad, high + pad


def _middle(left: float, right: float, log: bool) -> float:
    return float(np.sqrt(left * right)) if log else (left + right) / 2


def _missing(
    axes: Axes, rows: Sequence[Row], places: Sequence[float], values: Sequence[Fraction | None]
) -> None:
    for invalid, colour, label in (
        (True, VERMILION, "invalid combination"),
        (False, GREY, "no number: too few ok requests"),
    ):
        here = [
            places[i]
            for i, value in enumerate(values)
            if value is None and (rows[i].measured is None) is invalid
        ]
        if here:
            axes.plot(
                here,
                [0.02] * len(here),
                linestyle="none",
                marker="x",
                markersize=7,
                color=colour,
                transform=axes.get_xaxis_transform(),
                label=label,
                clip_on=False,
                zorder=4,
            )


def _limit_line(axes: Axes, limit: Threshold) -> None:
    axes.axhline(
        float(limit.value), color=VERMILION, linestyle="--", linewidth=1.4, label=clean(limit.text)
    )


def _curve_legend(axes: Axes) -> None:
    handles, labels = axes.get_legend_handles_labels()
    hollow = any(
        line.get_markerfacecolor() == "white" and np.size(line.get_xdata()) for line in axes.lines
    )
    if hollow:
        handles.append(
            Line2D(
                [], [], linestyle="none", marker="o", markerfacecolor="white", markeredgecolor=BLUE
            )
        )
        labels.append("some requests failed")
    # Below the axes: inside, it would lie on a curve or on a band's label somewhere.
    axes.figure.legend(
        handles, labels, loc="outside lower center", ncols=columns(labels), columnspacing=1.5
    )


def columns(labels: Sequence[str]) -> int:
    """How many labels of a legend stand side by side; a column is as wide as its longest."""
    for count in range(min(len(labels), _LEGEND_COLUMNS), 1, -1):
        rows, longer = divmod(len(labels), count)
        heights = [rows + 1] * longer + [rows] * (count - longer)
        starts = [sum(heights[:i]) for i in range(count)]
        parts = [labels[i : i + height] for i, height in zip(starts, heights, strict=True)]
        if sum(max(map(len, part)) + _HANDLE_LETTERS for part in parts) <= _LEGEND_LETTERS:
            return count
    return 1


def tick(value: str) -> str:
    """A value as a label of an axis."""
    return textwrap.shorten(clean(value), 24, placeholder="…") or clean(value)[:24]


def wrapped(text: str) -> str:
    """A title in lines that fit."""
    return "\n".join(textwrap.wrap(clean(text), TITLE_WIDTH))
