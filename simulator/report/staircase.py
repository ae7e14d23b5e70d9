"""The staircase: who waits for the bottleneck, who holds which slot of it, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.limits import is_burst
from simulator.analysis.summary import Summary
from simulator.report import series, titles
from simulator.report.axes import empty, set_title
from simulator.report.colours import BLUE, GREEN, ORANGE, SKY
from simulator.report.titles import first_arrival, time_unit
from simulator.trace import Trace

_WAVES = (BLUE, SKY, GREEN, ORANGE)
_WAIT = "#DDDDDD"
_APART_MAX = 60
"""Lanes up to this number are told apart by a white line."""


def staircase(figure: Figure, trace: Trace, summary: Summary, bottleneck: Bottleneck) -> None:
    """A row per request, waiting then holding; a lane per slot below it for a burst."""
    label = series.station_label(trace, bottleneck.resource)
    panels, window = _panels(trace, label)
    if not any((bars.end_ns > bars.begin_ns).any() for bars in panels):
        empty(figure, "No request held anything for any time.")
        return
    start = first_arrival(trace)
    scale, unit = time_unit(window.end_ns - start)
    heights = [3, 2] if len(panels) > 1 else [1]
    grid = figure.subplots(
        len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    for axes, bars in zip(grid, panels, strict=True):
        _draw(axes, bars, start, scale)
        axes.set_ylabel(titles.lane_name(trace, label, bars))
    grid[0].set_xlim((window.begin_ns - start) / scale, (window.end_ns - start) / scale)
    grid[-1].set_xlabel(f"time since the first arrival ({unit})")
    set_title(grid[0], titles.staircase(trace, summary, label, panels[-1], window))


def _panels(trace: Trace, label: str | None) -> tuple[list[series.Bars], series.Window]:
    """What is drawn one below the other, and the part of the run."""
    if label is None:
        stays = series.stay_bars(trace)
        begin = first_arrival(trace)
        end = int(stays.end_ns.max()) if len(stays.end_ns) else begin
        return [stays], series.Window(begin, max(end, begin + 1), len(stays.lane) == stays.of)
    window = series.window(trace, label)
    drawable = 2 < series.lanes_of(trace, label) <= series.LANES_MAX
    requests = len(trace) <= series.ROWS_MAX and is_burst(trace)
    panels = []
    if requests or not drawable:
        panels.append(series.request_bars(trace, label, window))
    if drawable:
        panels.append(series.slot_bars(trace, label, window))
    return panels, window


def _draw(axes: Axes, bars: series.Bars, start: int, scale: int) -> None:
    wait, begin, end = ((x - start) / scale for x in (bars.wait_ns, bars.begin_ns, bars.end_ns))
    if bars.by == "request":
        _add_bars(axes, bars.lane, wait, begin, np.zeros_like(bars.wave), [_WAIT])
    _add_bars(axes, bars.lane, begin, end, bars.wave % len(_WAVES), _WAVES)
    if bars.by == "slot" and 1 < bars.lanes <= _APART_MAX:
        axes.hlines(np.arange(1, bars.lanes) - 0.5, 0, 1, "white", lw=0.6, transform=_across(axes))
    axes.set_ylim(max(bars.lanes, 1) - 0.5, -0.5)
    axes.grid(False, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))


def _across(axes: Axes) -> object:
    """x from edge to edge of the axes, y in lanes."""
    return axes.get_yaxis_transform()


def _add_bars(
    axes: Axes,
    lane: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    colour: np.ndarray,
    colours: Sequence[str],
) -> None:
    """Bars of lanes that lie together and are alike are drawn as one."""
    some = end > begin
    if not some.any():
        return
    lane, begin, end, colour = lane[some], begin[some], end[some], colour[some]
    order = np.lexsort((lane, colour, end, begin))
    lane, begin, end, colour = lane[order], begin[order], end[order], colour[order]
    fresh = np.ones(len(lane), dtype=np.bool_)
    fresh[1:] = (begin[1:] != begin[:-1]) | (end[1:] != end[:-1])
    fresh[1:] |= (colour[1:] != colour[:-1]) | (lane[1:] != lane[:-1] + 1)
    first = np.flatnonzero(fresh)
    last = np.append(first[1:], len(lane)) - 1
    left, right, low, high = begin[first], end[first], lane[first] - 0.5, lane[last] + 0.5
    corners = [[left, low], [right, low], [right, high], [left, high]]
    boxes = np.moveaxis(np.asarray(corners), -1, 0)
    faces = [colours[i] for i in colour[first].tolist()]
    axes.add_collection(
        PolyCollection(list(boxes), facecolors=faces, edgecolors="white", linewidths=0.3),
        autolim=False,
    )
