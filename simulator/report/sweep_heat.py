"""The heat map of a sweep over two keys: a value and a bottleneck in each cell."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedFormatter, FixedLocator

from simulator.experiments.axes import positions
from simulator.experiments.finding import finding, limit_of
from simulator.experiments.measures import Metric
from simulator.experiments.sweep import Result, Row
from simulator.record import dataclass
from simulator.report.colours import VERMILION
from simulator.report.sweep_curve import LOG_FROM, columns, tick, wrapped
from simulator.report.text import clean
from simulator.thresholds import Threshold

_HATCHES = ("", "//", "..", "\\\\", "xx", "oo", "--", "++")


def heat_map(figure: Figure, result: Result, metric: Metric) -> None:
    """A cell for each combination: its value, and what limits it by label or by hatching."""
    axes = figure.add_subplot()
    axes.set_title(wrapped(finding(result, metric)), fontsize=13, pad=10)
    grid = _Grid.of(result)
    values = [[metric.of(row.measured) if row else None for row in line] for line in grid.rows]
    _cells(axes, values)
    _axis_ticks(axes, grid)
    limit = limit_of(result, metric)
    labelled = grid.labels_fit
    _cell_texts(axes, grid, values, metric, limit, labelled)
    note = "" if limit is None else f"; framed: {metric.words} {limit.operator} "
    note += "" if limit is None else metric.text(limit.value)
    axes.set_xlabel(clean(grid.keys[1]))
    axes.set_ylabel(clean(grid.keys[0]))
    beneath = "below it: the bottleneck" if labelled else "hatching: the bottleneck"
    text = f"in each cell: {clean(metric.words)}, {beneath}{note}"
    if labelled:
        figure.supxlabel(text, fontsize=9.5, color="#444444")
    else:
        _hatches(figure, axes, grid, text)


@dataclass(frozen=True, slots=True)
class _Grid:
    keys: tuple[str, str]  # of the lines, of the columns
    values: tuple[tuple[str, ...], tuple[str, ...]]
    rows: tuple[tuple[Row | None, ...], ...]  # None where a sweep was interrupted

    @classmethod
    def of(cls, result: Result) -> _Grid:
        """The rows in lines and columns, numbers in ascending order."""
        first, second = result.sweep.axes
        values = (_ascending(first.values), _ascending(second.values))
        known = {row.values: row for row in result.rows}
        rows = tuple(tuple(known.get((a, b)) for b in values[1]) for a in values[0])
        return cls((first.key, second.key), values, rows)

    @property
    def limited_by(self) -> list[str]:
        """The bottlenecks that occur, the most frequent first."""
        labels = [row.measured.limited_by for line in self.rows for row in line if _has(row)]  # type: ignore[union-attr]
        return sorted(set(labels), key=lambda label: (-labels.count(label), label))

    @property
    def labels_fit(self) -> bool:
        """Whether each cell has room for the name of its bottleneck."""
        longest = max(map(len, self.limited_by), default=0)
        return longest * 0.075 < 7.4 / len(self.values[1]) and len(self.values[0]) <= 9


def _has(row: Row | None) -> bool:
    return row is not None and row.measured is not None


def _ascending(values: tuple[str, ...]) -> tuple[str, ...]:
    at = positions(values)
    if at is None:
        return values
    return tuple(value for _, value in sorted(zip(at, values, strict=True)))


def _cells(axes: Axes, values: Sequence[Sequence[Fraction | None]]) -> None:
    shown = [float(value) for line in values for value in line if value is not None]
    numbers = np.array([[np.nan if v is None else float(v) for v in line] for line in values])
    low, high = (min(shown), max(shown)) if shown else (0.0, 1.0)
    norm = LogNorm(low, high) if low > 0 and high >= LOG_FROM * low else Normalize(low, high or 1)
    # Light colours only, so that one colour of text is legible on all of them.
    light = matplotlib.colormaps["Blues"](np.linspace(0.04, 0.62, 256))
    colours = ListedColormap(light).with_extremes(bad="#EEEEEE")
    axes.imshow(numbers, cmap=colours, norm=norm, aspect="auto", origin="lower")
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _axis_ticks(axes: Axes, grid: _Grid) -> None:
    for axis, values in ((axes.yaxis, grid.values[0]), (axes.xaxis, grid.values[1])):
        step = -(-len(values) // 20)
        axis.set_major_locator(FixedLocator(list(range(0, len(values), step))))
        axis.set_major_formatter(FixedFormatter([tick(value) for value in values[::step]]))
    axes.tick_params(length=0)
    lines, columns = len(grid.values[0]), len(grid.values[1])
    for i in range(1, columns):
        axes.axvline(i - 0.5, color="white", linewidth=1.5)
    for i in range(1, lines):
        axes.axhline(i - 0.5, color="white", linewidth=1.5)


def _cell_texts(
    axes: Axes,
    grid: _Grid,
    values: Sequence[Sequence[Fraction | None]],
    metric: Metric,
    limit: Threshold | None,
    labelled: bool,
) -> None:
    columns = len(grid.values[1])
    size = 11 if columns <= 8 else 8.5 if columns <= 14 else 6
    for y, line in enumerate(grid.rows):
        for x, row in enumerate(line):
            value = values[y][x]
            text = metric.text(value)
            if row is None or row.measured is None:
                text = "" if row is None else "invalid"
            elif labelled:
                label = clean(row.measured.limited_by)
                _cell_text(axes, x, y, label, -9, fontsize=min(size, 8), color="#333333")
            back = {"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1.5}
            above = 5 if labelled else 0
            _cell_text(axes, x, y, text, above, fontsize=size, bbox=None if labelled else back)
            if limit is not None and value is not None and limit.holds(value):
                _frame(axes, x, y)


def _cell_text(axes: Axes, x: int, y: int, text: str, points: float, **style: Any) -> None:
    axes.annotate(
        text, (x, y), (0, points), textcoords="offset points", ha="center", va="center", **style
    )


def _frame(axes: Axes, x: int, y: int) -> None:
    axes.add_patch(
        Rectangle((x - 0.46, y - 0.45), 0.92, 0.9, fill=False, edgecolor=VERMILION, linewidth=1.6)
    )


def _hatches(figure: Figure, axes: Axes, grid: _Grid, title: str) -> None:
    labels = grid.limited_by
    hatch = {label: _HATCHES[i % len(_HATCHES)] for i, label in enumerate(labels)}
    for y, line in enumerate(grid.rows):
        for x, row in enumerate(line):
            if row is None or row.measured is None:
                continue
            axes.add_patch(
                Rectangle(
                    (x - 0.5, y - 0.5),
                    1,
                    1,
                    fill=False,
                    hatch=hatch[row.measured.limited_by],
                    edgecolor="#777777",
                    linewidth=0,
                )
            )
    patches = [
        Patch(facecolor="white", edgecolor="#777777", hatch=hatch[label], label=clean(label))
        for label in labels[: len(_HATCHES)]
    ]
    figure.legend(
        handles=patches,
        loc="outside lower center",
        ncols=columns([str(patch.get_label()) for patch in patches]),
        title=title,
        title_fontsize=9.5,
    )
