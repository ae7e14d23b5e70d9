"""Six pictures of a run; the only module that imports matplotlib."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.ticker import (
    FixedFormatter,
    FixedLocator,
    MaxNLocator,
    NullLocator,
    PercentFormatter,
)

from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.summary import Group, Summary
from simulator.plan import Plan
from simulator.report import format, series
from simulator.report.terminal import clean, reliable_percentile_ns
from simulator.trace import Trace

# Okabe and Ito's colours, which colour-blind readers can tell apart.
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, GREY = "#D55E00", "#CC79A7", "#8C8C8C"
_WAVES = (BLUE, SKY, GREEN, ORANGE)
_LINES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
_ROUTES_MAX = len(_LINES)
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "simulator",
    "text.parse_math": False,  # a route named "$x$" is a name, not a formula
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}
_SLOTS = {
    "pool": "connection",
    "threads": "thread",
    "workers": "worker",
    "event loop": "event loop",
    "gil": "GIL",
    "lock": "row lock",
}


def write(
    directory: str | Path,
    plan: Plan,
    trace: Trace,
    summary: Summary,
    bottleneck: Bottleneck,
    *,
    format: str = "svg",
) -> tuple[Path, ...]:
    """The paths of the six pictures written; SVG bytes are equal for equal runs."""
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Figure], None]] = {
        "staircase": lambda figure: staircase(figure, plan, trace, summary, bottleneck),
        "percentiles": lambda figure: percentiles(figure, summary),
        "ecdf": lambda figure: ecdf(figure, summary),
        "timeline": lambda figure: timeline(figure, trace, summary),
        "queues": lambda figure: queues(figure, trace, summary),
        "utilisation": lambda figure: utilisation(figure, trace, summary),
    }
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(format)
    paths = []
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        for name, draw in pictures.items():
            figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
            draw(figure)
            paths.append(folder / f"{name}.{format}")
            figure.savefig(paths[-1], format=format, metadata=metadata)
    return tuple(paths)


def staircase(
    figure: Figure, plan: Plan, trace: Trace, summary: Summary, bottleneck: Bottleneck
) -> None:
    """Who holds which slot of the bottleneck, and when."""
    label = series.station_label(trace, bottleneck.resource)
    bars = series.hold_bars(trace, label)
    if not (bars.end_ns > bars.begin_ns).any():
        _empty(figure, "No request held anything for any time.")
        return
    axes = figure.add_subplot()
    start = _start(trace)
    scale, unit = _unit(_shown_ns(bars, start, summary))
    if bars.by == "request":
        _add_bars(axes, bars.lane, bars.wait_ns - start, bars.begin_ns - start, scale, ["#DDDDDD"])
    colours = [_WAVES[wave % len(_WAVES)] for wave in bars.wave.tolist()]
    _add_bars(axes, bars.lane, bars.begin_ns - start, bars.end_ns - start, scale, colours)
    shown = _shown_ns(bars, start, summary)
    axes.set_ylim(max(bars.lanes, 1) - 0.5, -0.5)
    axes.set_xlim(0, shown / scale)
    axes.grid(False, axis="y")
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=10))
    axes.set_xlabel(f"time since the first arrival ({unit})")
    axes.set_ylabel(_lane_name(trace, label, bars))
    _title(axes, _staircase_title(trace, summary, label, bars))


def percentiles(figure: Figure, summary: Summary) -> None:
    """Latency against percentile, the tail stretched."""
    if not summary.total.latency.count:
        _empty(figure, _unanswered(summary.total))
        return
    axes = figure.add_subplot()
    scale, unit = _unit(summary.total.latency.max_ns or 0)
    most = 2
    for group, colour in _coloured(summary):
        count = group.latency.count
        ranks = series.tail_ranks(count)
        values = group.latency.ordered_ns[ranks - 1] / scale
        # Rank r reaches up to r / n; the last one is drawn as if there were one more.
        stretched = np.concatenate([[1.0], (count + 1) / (count + 1 - ranks)])
        axes.step(stretched, np.concatenate([values[:1], values]), color=colour, label=_name(group))
        most = max(most, count + 1)
    axes.set_xscale("log")
    ticks = [p for p in (0, 50, 75, 90, 95, 99, 99.9, 99.99) if 100 / (100 - p) <= most * 1.01]
    axes.xaxis.set_major_locator(FixedLocator([100 / (100 - p) for p in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{p:g}" for p in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(1, most)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("percentile of ok requests")
    axes.set_ylabel(f"latency ({unit})")
    _legend(axes, summary)
    _title(axes, _percentile_title(summary.total))


def ecdf(figure: Figure, summary: Summary) -> None:
    """The share of all requests that had their answer within a time."""
    if not summary.total.latency.count:
        _empty(figure, _unanswered(summary.total))
        return
    axes = figure.add_subplot()
    scale, unit = _unit(summary.total.latency.max_ns or 0)
    longest = (summary.total.latency.max_ns or scale) / scale
    for group, colour in _coloured(summary):
        ranks = series.tail_ranks(group.latency.count)
        values = group.latency.ordered_ns[ranks - 1] / scale
        share = ranks / group.requests
        x = np.concatenate([[0.0], values, [longest * 1.04]])
        y = np.concatenate([[0.0], share, share[-1:]])
        axes.step(x, y, where="post", color=colour, label=_name(group))
    axes.set_xlim(0, longest * 1.04)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"latency ({unit})")
    axes.set_ylabel("share of requests answered")
    _legend(axes, summary)
    _title(axes, _ecdf_title(summary.total))


def timeline(figure: Figure, trace: Trace, summary: Summary) -> None:
    """Completions and failures per time bin."""
    if not summary.total.finished:
        _empty(figure, "No request has ended.")
        return
    axes = figure.add_subplot()
    edges, width, ok, failed = series.completions(trace)
    scale, unit = _unit(int(edges[-1]))
    left, wide = edges[:-1] / scale, width / scale * 0.92
    axes.bar(left, ok, wide, align="edge", color=BLUE, label="ok")
    if failed.any():
        axes.bar(left, failed, wide, bottom=ok, align="edge", color=VERMILION, label="failed")
        axes.legend()
    axes.set_xlim(0, edges[-1] / scale)
    axes.set_ylim(0, max(int((ok + failed).max()) * 1.08, 1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="x")
    axes.set_xlabel(f"time since the first arrival ({unit})")
    axes.set_ylabel(f"completions per {format.duration(width)}")
    _title(axes, _timeline_title(summary))


def queues(figure: Figure, trace: Trace, summary: Summary) -> None:
    """How many requests wait for each resource."""
    lines = series.queue_lines(trace)
    if not lines:
        _empty(figure, "No request waited for any resource.")
        return
    longest = max(lines, key=lambda line: line.peak)
    peak = int(longest.peak)
    who = "1 request waits" if peak == 1 else f"up to {peak} requests wait"
    title = f"{clean(longest.label)}: {who} at once"
    _panels(figure, trace, summary, lines, title, VERMILION)


def utilisation(figure: Figure, trace: Trace, summary: Summary) -> None:
    """The share of each resource's slots that is held."""
    lines = series.utilisation_lines(trace)
    busy = {row.label: row.busy for row in summary.resources if row.busy is not None}
    lines = [line for line in lines if line.label in busy]
    if not lines:
        _empty(figure, "No resource of limited size was used.")
        return
    busiest = max(lines, key=lambda line: busy[line.label] or 0)
    title = f"{clean(busiest.label)}: {format.percent(busy[busiest.label])} busy"
    if len(lines) > 1:
        title += ", the most of all resources"
    _panels(figure, trace, summary, lines, title, BLUE, share=True)


def _panels(
    figure: Figure,
    trace: Trace,
    summary: Summary,
    lines: Sequence[series.Line],
    title: str,
    colour: str,
    *,
    share: bool = False,
) -> None:
    start = _start(trace)
    end = max(summary.run_ns, 1)
    scale, unit = _unit(end)
    grid = figure.subplots(len(lines), 1, sharex=True, squeeze=False)
    for axes, line in zip(grid[:, 0], lines, strict=True):
        at = np.append((line.at_ns - start) / scale, end / scale)
        value = np.append(line.value, line.value[-1])
        axes.fill_between(at, value, step="post", color=colour, alpha=0.25, linewidth=0)
        axes.step(at, value, where="post", color=colour, linewidth=1.3)
        axes.set_xlim(0, end / scale)
        axes.set_ylim(0, 1.05 if share else max(line.peak * 1.12, 1))
        if share:
            axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        label = textwrap.shorten(clean(line.label), 16, placeholder="…")
        axes.set_ylabel(f"{label}\n{'slots held' if share else 'waiting'}")
    grid[-1, 0].set_xlabel(f"time since the first arrival ({unit})")
    binned = "averaged" if share else "highest"
    note = f" ({binned} in short intervals)" if any(line.binned for line in lines) else ""
    _title(grid[0, 0], title + note)


def _add_bars(
    axes: Axes,
    lane: np.ndarray,
    begin: np.ndarray,
    end: np.ndarray,
    scale: int,
    colours: Sequence[str],
) -> None:
    few = len(np.unique(lane)) <= 60
    gap = 0.08 if few else 0.0
    low, high = lane - 0.5 + gap, lane + 0.5 - gap
    left, right = begin / scale, end / scale
    corners = np.stack(
        [
            np.stack([left, low], axis=1),
            np.stack([right, low], axis=1),
            np.stack([right, high], axis=1),
            np.stack([left, high], axis=1),
        ],
        axis=1,
    )
    # Without an edge of their own colour short holds in thin rows would vanish.
    edges = "white" if few else colours
    bars = PolyCollection(
        list(corners), facecolors=colours, edgecolors=edges, linewidths=0.3 if few else 0.8
    )
    axes.add_collection(bars, autolim=False)


def _staircase_title(trace: Trace, summary: Summary, label: str | None, bars: series.Bars) -> str:
    total = summary.total
    last = "none ends"
    if total.last_ns is not None:
        last = f"the last ends at {format.duration(total.last_ns)}"
    if len(bars.lane) < bars.of:
        last += f" (the first {len(bars.lane)} of {bars.of} shown)"
    if label is None:
        return f"{_served(total)}, held up by no resource: {last}"
    slots, verb = _slots(trace, label)
    if bars.by == "slot" and _even(bars):
        return f"{slots} {verb} {_served(total)} in {int(bars.wave.max()) + 1} waves: {last}"
    holds = f" with {format.count(bars.of, 'hold')}" if bars.of != total.ok else ""
    return f"{slots} {verb} {_served(total)}{holds}: {last}"


def _even(bars: series.Bars) -> bool:
    """Whether all holds are equally long, so that they come in waves."""
    if not len(bars.wave) or len(bars.lane) < bars.of or not bars.wave.any():
        return False
    hold = bars.end_ns - bars.begin_ns
    return int(hold.min()) == int(hold.max())


def _slots(trace: Trace, label: str) -> tuple[str, str]:
    stations = [station for station in trace.stations if station.label == label]
    noun = _SLOTS.get(stations[0].kind, "slot")
    slots = sum(station.size for station in stations)
    if len(stations) > 1 and stations[0].size > 1:
        words = f"{len(stations)} × {format.count(stations[0].size, noun)}"
    else:
        words = format.count(slots, noun)
    return words, "serves" if slots == 1 else "serve"


def _shown_ns(bars: series.Bars, start: int, summary: Summary) -> int:
    if len(bars.lane) < bars.of:
        return int(bars.end_ns.max()) - start
    return max(summary.run_ns, 1)


def _lane_name(trace: Trace, label: str | None, bars: series.Bars) -> str:
    if bars.by == "request" or label is None:
        waited = bool((bars.begin_ns > bars.wait_ns).any())
        return f"requests in order of start{'; grey: waiting' if waited else ''}"
    kind = next(station.kind for station in trace.stations if station.label == label)
    workers = sum(station.label == label for station in trace.stations)
    name = f"{_SLOTS.get(kind, 'slot')} of {clean(label)}" if kind == "pool" else label
    return f"{name}, worker after worker" if workers > 1 else name


def _percentile_title(total: Group) -> str:
    p50, p95 = (reliable_percentile_ns(total, p) for p in (50, 95))
    if p50 is None or p95 is None:
        longest = format.duration(total.latency.max_ns)
        return f"{total.ok} of {total.requests} requests answered, the slowest in {longest}"
    if total.latency.min_ns == total.latency.max_ns:
        return f"Every answer takes {format.duration(p50)}"
    return (
        f"Half of the requests take {format.duration(p50)} or less, "
        f"one in 20 takes {format.duration(p95)} or more"
    )


def _ecdf_title(total: Group) -> str:
    longest, half = (format.duration(total.latency.percentile_ns(p)) for p in (100, 50))
    if total.ok < total.requests or half == longest:
        return f"{_served(total)} answered, the slowest in {longest}"
    return f"{_served(total)} answered, half of them within {half}, all within {longest}"


def _unanswered(total: Group) -> str:
    return f"None of {format.count(total.requests, 'request')} was answered."


def _served(total: Group) -> str:
    if total.ok == total.requests:
        return format.count(total.ok, "request")
    return f"{total.ok} of {format.count(total.requests, 'request')}"


def _timeline_title(summary: Summary) -> str:
    total = summary.total
    title = f"{total.ok} of {total.requests} served"
    if total.throughput:
        title += f", {format.rate(total.throughput)} on average"
    if summary.failures:
        reason, count = summary.failures[0]
        title += f"; {count} failed: {clean(reason.replace(':', ' ').replace('_', ' '))}"
    return title


def _coloured(summary: Summary) -> list[tuple[Group, str]]:
    groups = [group for group in summary.routes if group.latency.count]
    if len(groups) > _ROUTES_MAX:
        groups = [summary.total]
    return list(zip(groups, _LINES, strict=False))


def _name(group: Group) -> str:
    return textwrap.shorten(clean(group.label), 40, placeholder="…")


def _legend(axes: Axes, summary: Summary) -> None:
    if len(_coloured(summary)) > 1:
        axes.legend()


def _empty(figure: Figure, text: str) -> None:
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)


def _title(axes: Axes, text: str) -> None:
    axes.set_title("\n".join(textwrap.wrap(text, 84)), fontsize=13, pad=10)


def _start(trace: Trace) -> int:
    return int(trace.arrival_ns.min()) if len(trace) else 0


def _unit(span_ns: int) -> tuple[int, str]:
    """The unit of a time axis and its nanoseconds."""
    for unit_ns, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if span_ns >= unit_ns:
            return unit_ns, unit
    return 1, "ns"
