"""Six pictures of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, MaxNLocator, PercentFormatter

from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.summary import Group, Summary
from simulator.plan import Plan
from simulator.report import bands, format, series, titles
from simulator.report.axes import add_to_title, empty, percentile_axis, save, set_title, styled
from simulator.report.colours import BLACK, BLUE, LINES, VERMILION
from simulator.report.several import Several
from simulator.report.staircase import staircase
from simulator.report.text import clean
from simulator.report.titles import first_arrival, time_unit
from simulator.trace import Trace

_ROUTES_MAX = len(LINES)
_PANELS_HIGH = 48  # characters, all panels together


def write(
    directory: str | Path,
    plan: Plan,
    trace: Trace,
    summary: Summary,
    bottleneck: Bottleneck,
    *,
    format: str = "svg",
    several: Several | None = None,
) -> tuple[Path, ...]:
    """The paths of the six pictures written; SVG bytes are equal for equal runs.

    Of ``several`` replications the distributions are means with bands; what goes on in time
    is drawn of the run that is given, the first of them, and its titles say so.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    pictures: dict[str, Callable[[Figure], None]] = {
        "staircase": lambda figure: staircase(figure, trace, summary, bottleneck),
        "percentiles": lambda figure: percentiles(figure, summary),
        "ecdf": lambda figure: ecdf(figure, summary),
        "timeline": lambda figure: timeline(figure, trace, summary),
        "queues": lambda figure: queues(figure, trace, summary),
        "utilisation": lambda figure: utilisation(figure, trace, summary),
    }
    of_all: dict[str, Callable[[Figure], None]] = {}
    if several is not None:
        of_all = {
            "percentiles": lambda figure: bands.percentiles(figure, several),
            "ecdf": lambda figure: bands.ecdf(figure, several),
        }
    paths = []
    with styled():
        for name, draw in pictures.items():
            figure = Figure(figsize=(9, 5), dpi=100, layout="constrained")
            of_all.get(name, draw)(figure)
            if several is not None and name not in of_all:
                add_to_title(figure, several.one)
            paths.append(folder / f"{name}.{format}")
            save(figure, paths[-1])
    return tuple(paths)


def percentiles(figure: Figure, summary: Summary) -> None:
    """Latency against percentile, the tail stretched."""
    if not summary.total.latency.count:
        empty(figure, titles.unanswered(summary.total))
        return
    axes = figure.add_subplot()
    scale, unit = time_unit(summary.total.latency.max_ns or 0)
    most = 2
    for group, colour in _coloured(summary):
        count = group.latency.count
        ranks = series.tail_ranks(count)
        values = group.latency.ordered_ns[ranks - 1] / scale
        # Rank r reaches up to r / n; the last one is drawn as if there were one more.
        stretched = np.concatenate([[1.0], (count + 1) / (count + 1 - ranks)])
        axes.step(stretched, np.concatenate([values[:1], values]), color=colour, label=_name(group))
        most = max(most, count + 1)
    percentile_axis(axes, most)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("percentile of ok requests")
    axes.set_ylabel(f"latency ({unit})")
    _legend(axes, summary)
    set_title(axes, titles.percentiles(summary.total))


def ecdf(figure: Figure, summary: Summary) -> None:
    """The share of all requests that had their answer within a time."""
    if not summary.total.latency.count:
        empty(figure, titles.unanswered(summary.total))
        return
    axes = figure.add_subplot()
    scale, unit = time_unit(summary.total.latency.max_ns or 0)
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
    set_title(axes, titles.ecdf(summary.total))


def timeline(figure: Figure, trace: Trace, summary: Summary) -> None:
    """Completions and failures per time bin."""
    if not summary.total.finished:
        empty(figure, "No request has ended.")
        return
    axes = figure.add_subplot()
    edges, width, ok, failed = series.completions(trace)
    scale, unit = time_unit(int(edges[-1]))
    left, wide = edges[:-1] / scale, width / scale * 0.92
    axes.bar(left, ok, wide, align="edge", color=BLUE, label="ok")
    if failed.any():
        axes.bar(left, failed, wide, bottom=ok, align="edge", color=VERMILION, label="failed")
        # Bars leave no room: over them its words can be read, too.
        axes.legend(frameon=True, framealpha=0.85, facecolor="white", edgecolor="white")
    axes.set_xlim(0, edges[-1] / scale)
    axes.set_ylim(0, max(int((ok + failed).max()) * 1.08, 1))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes.grid(False, axis="x")
    axes.set_xlabel(f"time since the first arrival ({unit})")
    axes.set_ylabel(f"completions per {format.duration(width)}")
    set_title(axes, titles.timeline(summary))


def queues(figure: Figure, trace: Trace, summary: Summary) -> None:
    """How many requests wait for each resource."""
    lines = series.queue_lines(trace)
    if not lines:
        empty(figure, "No request waited for any resource.")
        return
    _panels(figure, trace, summary, lines, titles.queues(trace, lines), VERMILION)


def utilisation(figure: Figure, trace: Trace, summary: Summary) -> None:
    """The share of each resource's slots that is held."""
    lines = series.utilisation_lines(trace)
    busy = {row.label: row.busy for row in summary.resources if row.busy is not None}
    lines = [line for line in lines if line.label in busy or line.label == "event loop"]
    if not lines:
        empty(figure, "No resource of limited size was used.")
        return
    _panels(figure, trace, summary, lines, titles.utilisation(summary, lines), BLUE, share=True)


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
    start = first_arrival(trace)
    end = max(summary.run_ns, 1)
    scale, unit = time_unit(end)
    grid = figure.subplots(len(lines), 1, sharex=True, squeeze=False)
    for axes, line in zip(grid[:, 0], lines, strict=True):
        # Nobody is there before the first change; what is there after the last one stays.
        at = np.concatenate([[0], line.at_ns - start, [end]]) / scale
        value = np.concatenate([[0], line.value, line.value[-1:]])
        axes.fill_between(at, value, step="post", color=colour, alpha=0.25, linewidth=0)
        axes.step(at, value, where="post", color=colour, linewidth=1.3)
        axes.set_xlim(0, end / scale)
        axes.set_ylim(0, 1.05 if share else max(line.peak * 1.12, 1))
        if share:
            if not line.peak:
                axes.text(0.5, 0.5, "idle all the time", ha="center", transform=axes.transAxes)
            axes.yaxis.set_major_locator(FixedLocator([0, 0.5, 1]))
            axes.yaxis.set_major_formatter(PercentFormatter(1.0))
        else:
            axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=4))
        # As many characters as a panel is high, in two lines at most.
        words = textwrap.wrap(
            clean(line.label),
            max(_PANELS_HIGH // len(lines), 10),
            max_lines=2,
            placeholder="…",
        )
        axes.set_ylabel("\n".join([*words, "slots held" if share else "waiting"]))
    grid[-1, 0].set_xlabel(f"time since the first arrival ({unit})")
    binned = "averaged" if share else "highest"
    note = f" ({binned} in short intervals)" if any(line.binned for line in lines) else ""
    set_title(grid[0, 0], title + note)


def _coloured(summary: Summary) -> list[tuple[Group, str]]:
    """The routes, and the total that titles speak of where there are several."""
    groups = [group for group in summary.routes if group.latency.count]
    if len(groups) == 1 and summary.total.requests == groups[0].requests:
        return [(groups[0], BLUE)]
    total = [(summary.total, BLACK)]
    if len(groups) > _ROUTES_MAX:
        return total
    return [*zip(groups, LINES, strict=False), *total]


def _name(group: Group) -> str:
    return textwrap.shorten(clean(group.label), 40, placeholder="…")


def _legend(axes: Axes, summary: Summary) -> None:
    if len(_coloured(summary)) > 1:
        axes.legend()
