"""The pictures of an HTML report as data: the same as the six of ``plots``, to be drawn there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.limits import is_burst
from simulator.analysis.resources import value_at
from simulator.analysis.summary import Group, Summary
from simulator.arrays import FloatArray
from simulator.record import dataclass
from simulator.report import format, series, titles
from simulator.report.colours import BLACK, BLUE, GREEN, LINES, ORANGE, SKY, VERMILION
from simulator.report.several import Several, percentiles_title
from simulator.report.text import clean
from simulator.trace import Trace

_WAVES = (BLUE, SKY, GREEN, ORANGE)
_TICKS = (0, 50, 75, 90, 95, 99, 99.9, 99.99)
POINTS_MAX = 800
"""Points of a line; more could not be told apart, and would make the file large."""
BOXES_MAX = 3000
_ACROSS = 10_000
"""Whole numbers across the staircase: a tenth of a pixel each."""


@dataclass(frozen=True, slots=True)
class Chart:
    """One picture: its finding, a note, and what ``report.js`` draws."""

    id: str
    title: str
    note: str
    data: dict[str, Any]


def of(
    trace: Trace, summary: Summary, bottleneck: Bottleneck, several: Several | None = None
) -> list[Chart]:
    """The pictures that a run has; of ``several`` replications the run is the first of them."""
    charts = [
        _timeline(trace, summary),
        _queues(trace, summary),
        _utilisation(trace, summary),
        _staircase(trace, summary, bottleneck),
    ]
    drawn = [chart for chart in charts if chart is not None]
    if several is not None:
        drawn = [replace(chart, title=chart.title + several.one) for chart in drawn]
    first = _percentiles(summary) if several is None else _bands(several)
    return drawn if first is None else [first, *drawn]


def _percentiles(summary: Summary) -> Chart | None:
    groups = _groups(summary)
    longest = summary.total.latency.max_ns
    if longest is None:
        return None
    scale, unit = titles.time_unit(longest)
    most = max(group.latency.count for group, _ in groups) + 1
    x = np.unique(np.round(np.geomspace(1, most, POINTS_MAX), 6))
    lines = []
    for group, colour in groups:
        count = group.latency.count
        rank = np.ceil(count + 1 - (count + 1) / x)
        # At 1 / (1 - p) the value of rank p · n; none beyond the last.
        place = np.clip(rank.astype(np.int64), 1, count) - 1
        y = (group.latency.ordered_ns[place] / scale).tolist()
        known = x <= count + 1
        lines.append(
            _line(group.label, colour, [v if k else None for v, k in zip(y, known, strict=True)])
        )
    return _of_percentiles(titles.percentiles(summary.total), x, lines, unit)


def _bands(several: Several) -> Chart | None:
    """The same of several replications: means, and bands that hold the true ones."""
    if not several.curves:
        return None
    longest = max(float(curve.latency_ns.mean.max()) for curve in several.curves)
    scale, unit = titles.time_unit(int(longest))
    x = max((curve.stretched for curve in several.curves), key=len)
    lines = []
    for curve, colour in several.coloured:
        band = curve.latency_ns
        ends = {"low": np.maximum(band.low, 0.0), "high": band.high, "y": band.mean}
        beyond = [None] * (len(x) - len(band.mean))
        columns = {name: [*(end / scale).tolist(), *beyond] for name, end in ends.items()}
        line = _line(curve.label, colour, columns["y"])
        lines.append(line | {name: [_short(v) for v in columns[name]] for name in ("low", "high")})
    chart = _of_percentiles(percentiles_title(several), x, lines, unit)
    return replace(chart, note=f"{chart.note} Shaded: where the true mean lies, 95%.")


def _of_percentiles(title: str, x: FloatArray, lines: list[dict[str, Any]], unit: str) -> Chart:
    most = float(x[-1])
    return Chart(
        "percentiles",
        title,
        "The tail is stretched: as much room from p90 to p99 as from p99 to p99.9.",
        {
            "x": x.tolist(),
            "lines": lines,
            "percentiles": True,
            "ticks": [p for p in _TICKS if 100 / (100 - p) <= most * 1.01],
            "align": -1,
            "x_label": "percentile of ok requests",
            "y_label": f"latency ({unit})",
            "unit": f" {unit}",
        },
    )


def _groups(summary: Summary) -> list[tuple[Group, str]]:
    groups = [group for group in summary.routes if group.latency.count]
    if len(groups) == 1 and summary.total.requests == groups[0].requests:
        return [(groups[0], BLUE)]
    total = [(summary.total, BLACK)]
    return total if len(groups) > len(LINES) else [*zip(groups, LINES, strict=False), *total]


def _line(label: str, colour: str, y: Sequence[float | None]) -> dict[str, Any]:
    return {"label": clean(label), "colour": colour, "y": [_short(value) for value in y]}


def _short(value: float | None) -> float | None:
    """Seven digits: more than a picture can show."""
    return None if value is None else float(f"{value:.7g}")


def _timeline(trace: Trace, summary: Summary) -> Chart | None:
    if not summary.total.finished or not summary.run_ns:
        return None
    edges, width, ok, failed = series.completions(trace)
    scale, unit = titles.time_unit(int(edges[-1]))
    lines = [_line("ok", BLUE, ok.tolist())]
    if failed.any():
        # Bars stand behind one another: what failed stands on what was ok.
        lines = [_line("ok + failed", VERMILION, (ok + failed).tolist()), *lines]
    return Chart(
        "timeline",
        titles.timeline(summary),
        f"Completions per {format.duration(width)}.",
        {
            "x": (edges[:-1] / scale).tolist(),
            "lines": lines,
            "bars": True,
            "end": edges[-1] / scale,
            "align": 1,
            "x_label": f"time since the first arrival ({unit})",
            "y_label": f"completions per {format.duration(width)}",
            "unit": "",
        },
    )


def _queues(trace: Trace, summary: Summary) -> Chart | None:
    lines = series.queue_lines(trace)
    if not lines:
        return None
    title = titles.queues(trace, lines)
    return _over_time(
        "queues", title, f"{titles.who_waits(trace)}s that wait", trace, summary, lines, 1.0, ""
    )


def _utilisation(trace: Trace, summary: Summary) -> Chart | None:
    busy = {row.label for row in summary.resources if row.busy is not None}
    lines = [line for line in series.utilisation_lines(trace) if line.label in busy]
    if not lines:
        return None
    title = titles.utilisation(summary, lines)
    return _over_time("utilisation", title, "slots held (%)", trace, summary, lines, 100.0, " %")


def _over_time(
    name: str,
    title: str,
    y_label: str,
    trace: Trace,
    summary: Summary,
    lines: Sequence[series.Line],
    factor: float,
    suffix: str,
) -> Chart:
    """Lines of steps at common instants: all changes, or the highest value of each interval."""
    start = titles.first_arrival(trace)
    end = start + max(summary.run_ns, 1)
    scale, unit = titles.time_unit(end - start)
    changes = np.unique(np.concatenate([np.asarray([start, end]), *(line.at_ns for line in lines)]))
    changes = changes[(changes >= start) & (changes <= end)]
    thinned = len(changes) > POINTS_MAX
    shown = np.linspace(start, end, POINTS_MAX).astype(np.int64) if thinned else changes
    # A resource has one colour in all pictures.
    labels = [row.label for row in summary.resources]
    drawn = []
    for i, line in enumerate(lines):
        value = np.asarray(line.value, dtype=np.float64) * factor
        at = labels.index(line.label) if line.label in labels else i
        colour = LINES[at % len(LINES)]
        drawn.append(_line(line.label, colour, _stepped(line.at_ns, value, shown).tolist()))
    averaged = any(line.binned for line in lines) and name == "utilisation"
    kind = "average" if averaged else "highest value"
    thinned = thinned or any(line.binned for line in lines)
    return Chart(
        name,
        title,
        f"The {kind} of each short interval." if thinned else "Every change is drawn.",
        {
            "x": ((shown - start) / scale).tolist(),
            "lines": drawn,
            "filled": True,
            "align": 1,
            "x_label": f"time since the first arrival ({unit})",
            "y_label": y_label,
            "unit": suffix,
        },
    )


def _stepped(at: np.ndarray, value: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """The highest value of a line of steps from each instant to the next."""
    whole = value_at(shown, at, (value * 1e6).astype(np.int64)) / 1e6
    first = np.searchsorted(at, shown, side="left")
    last = np.append(first[1:], len(at))
    inside = np.array(
        [value[a:b].max() if b > a else 0.0 for a, b in zip(first, last, strict=True)]
    )
    highest: np.ndarray = np.maximum(whole, inside)
    return highest


def _staircase(trace: Trace, summary: Summary, bottleneck: Bottleneck) -> Chart | None:
    label = series.station_label(trace, bottleneck.resource)
    if label is None:
        bars = series.stay_bars(trace)
        begin = titles.first_arrival(trace)
        end = int(bars.end_ns.max()) if len(bars.end_ns) else begin
        window = series.Window(begin, max(end, begin + 1), len(bars.lane) == bars.of)
        names = bars
    else:
        window = series.window(trace, label)
        drawable = 2 < series.lanes_of(trace, label) <= series.LANES_MAX
        bars = series.request_bars(trace, label, window)
        names = series.slot_bars(trace, label, window) if drawable else bars
        if not (len(trace) <= series.ROWS_MAX and is_burst(trace)) and drawable:
            bars = names
    boxes = _boxes(bars, window)
    if not boxes or len(boxes) > BOXES_MAX:
        return None
    start = titles.first_arrival(trace)
    span = window.end_ns - window.begin_ns
    scale, unit = titles.time_unit(window.end_ns - start)
    return Chart(
        "staircase",
        titles.staircase(trace, summary, label, names, window),
        _colours_mean(bars),
        {
            "boxes": boxes,
            "lanes": max(bars.lanes, 1),
            "lane": "request" if bars.by == "request" else "slot",
            "span": _ACROSS,
            "per_unit": _ACROSS * scale / span,
            "begin": _short((window.begin_ns - start) / scale),
            "unit": f" {unit}",
            "colours": list(_WAVES),
            "ticks": _ticks(window, start, scale),
            "x_label": f"time since the first arrival ({unit})",
            "y_label": titles.lane_name(trace, label, bars).replace("\n", " "),
        },
    )


def _colours_mean(bars: series.Bars) -> str:
    changes = "Colours change from one hold of a slot to the next."
    if bars.by == "slot":
        return f"White: nobody holds it. {changes}"
    waits = ["Grey: it waits."] if (bars.begin_ns > bars.wait_ns).any() else []
    held = bars.wave[bars.end_ns > bars.begin_ns]
    return " ".join([*waits, *([changes] if held.any() else [])])


def _ticks(window: series.Window, start: int, scale: int) -> list[tuple[int, str]]:
    span = window.end_ns - window.begin_ns
    step = series.nice_width(span * 10)  # of 60 bins of ten spans: about six in one
    first = -(-(window.begin_ns - start) // step) * step
    out = []
    for at in range(first, window.end_ns - start + 1, step):
        place = (at + start - window.begin_ns) * _ACROSS // span
        out.append((int(place), f"{at / scale:g}"))
    return out


def _boxes(bars: series.Bars, window: series.Window) -> list[list[int]]:
    """[first lane, last lane, begin, end, colour]: lanes that lie together and are alike as one."""
    waits = [bars.lane, bars.wait_ns, bars.begin_ns, np.full(len(bars.lane), -1)]
    holds = [bars.lane, bars.begin_ns, bars.end_ns, bars.wave % len(_WAVES)]
    parts = [waits, holds] if bars.by == "request" else [holds]
    lane, begin, end, colour = (np.concatenate(column) for column in zip(*parts, strict=True))
    span = window.end_ns - window.begin_ns
    begin, end = (
        np.clip((at - window.begin_ns) * _ACROSS // span, 0, _ACROSS) for at in (begin, end)
    )
    some = end > begin
    order = np.lexsort((lane[some], colour[some], end[some], begin[some]))
    rows = np.stack([column[some][order] for column in (lane, begin, end, colour)], axis=1)
    out: list[list[int]] = []
    for at, first, last, shade in rows.tolist():
        if out and out[-1][2:] == [first, last, shade] and out[-1][1] == at - 1:
            out[-1][1] = at
        else:
            out.append([at, at, first, last, shade])
    return out
