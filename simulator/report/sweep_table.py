"""A sweep as text, as CSV and as JSON: one row per point."""

from __future__ import annotations

import csv
import io
import math
import shlex
import textwrap
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from simulator.analysis.verdicts import ThresholdResult
from simulator.experiments.finding import default_metric, finding, knee
from simulator.experiments.measures import Measured, Metric, engines, plain
from simulator.experiments.sweep import Result, Row
from simulator.record import dataclass
from simulator.report import format, machine, spreads
from simulator.report.text import clean

_HEAD = ("ok", "errors", "p50", "p95", "p99", "throughput")
_CELL_MAX = 40
_CSV_NUMBERS = (
    "requests",
    "ok",
    "errors",
    "in_flight",
    "last_s",
    "throughput_per_s",
    "latency_mean_s",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p95_s",
    "latency_p99_s",
    "latency_max_s",
)
_CSV_INTERVALS = (
    "replications",
    "latency_mean_low_s",
    "latency_mean_high_s",
    "latency_p95_low_s",
    "latency_p95_high_s",
)


def render(result: Result, *, version: str, metric: Metric | None = None) -> str:
    """The table, what was found, and the line that repeats it; ends in a newline."""
    sweep = result.sweep
    chosen = metric or default_metric(result)
    computed, total = len(result.rows), len(sweep.points)
    points = format.count(total, "point") + (", zipped" if sweep.zipped else "")
    points += _runs(result)
    sections = [
        ["   ".join((clean(result.name), points, f"seed {result.seed}"))],
        [f"  INTERRUPTED: {computed} of {result.asked} points were done."]
        if result.interrupted
        else [f"  {computed} of {total} points: the others are missing."] * (computed < total),
        _table(result, chosen),
        textwrap.wrap(
            clean(finding(result, chosen)) + ".",
            96,
            initial_indent="  FINDING  ",
            subsequent_indent="    ",
        ),
        [f"  repeat: {command(result)}   {version}, the same draws at every point"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _runs(result: Result) -> str:
    """How many replications the points have, where it is not one."""
    found = sorted({row.measured.trust.replications for row in result.rows if row.measured})
    if not found or found[-1] == 1:
        return ""
    return f" × {found[0]}{f' to {found[-1]}' if len(found) > 1 else ''} replications"


def command(result: Result) -> str:
    """The line that repeats the sweep."""
    sweep = result.sweep
    axes = [f"{axis.key}={','.join(axis.values)}" for axis in sweep.axes]
    words = ["sim", "sweep", sweep.path, *axes, *sweep.fixed]
    words += ["--zip"] if sweep.zipped else []
    words += ["-n", str(sweep.replications or "auto")] if sweep.replications != 1 else []
    words += ["--seed", str(sweep.seed)] if sweep.seed is not None else []
    return clean(shlex.join(words))


def as_csv(result: Result) -> str:
    """One line per point: its values, why it is invalid, and the numbers with their unit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [axis.key for axis in result.sweep.axes]
    head = [*keys, "error", *_CSV_NUMBERS, *_CSV_INTERVALS, "bottleneck", "thresholds_ok", "engine"]
    writer.writerow(head)
    for row in result.rows:
        writer.writerow([*row.values, row.error or "", *_csv_cells(row.measured)])
    return out.getvalue()


def as_dict(result: Result, *, version: str, metric: Metric | None = None) -> dict[str, Any]:
    """All numbers as plain data; each point has the form that a run's JSON has."""
    sweep = result.sweep
    return {
        "sweep": {
            "axes": {axis.key: list(axis.values) for axis in sweep.axes},
            "fixed": list(sweep.fixed),
            "zipped": sweep.zipped,
            "points": len(sweep.points),
            "interrupted": result.interrupted,
            "replications": sweep.replications or "auto",
        },
        "points": [_point(result, row) for row in result.rows],
        "finding": finding(result, metric or default_metric(result)),
        "knee": _knee(result, metric or default_metric(result)),
        "meta": {
            "name": result.name,
            "seed": result.seed,
            "version": version,
            "engine": engines(row.measured.engine for row in result.rows if row.measured),
        },
    }


def _knee(result: Result, metric: Metric) -> dict[str, str] | None:
    row = knee(result, metric)
    if row is None:
        return None
    return {axis.key: value for axis, value in zip(result.sweep.axes, row.values, strict=True)}


def _table(result: Result, metric: Metric) -> list[str]:
    keys = [clean(axis.key) for axis in result.sweep.axes]
    checked = any(row.measured and row.measured.thresholds for row in result.rows)
    shown = _Shown(
        metric,
        extra=not _is_shown(metric),
        spread=any(_spread(row, metric) for row in result.rows),
        checked=checked,
    )
    head = [*keys, *_HEAD, *([metric.words] if shown.extra else [])]
    head += [f"± {metric.words}"] if shown.spread else []
    head += [*(["passed"] if checked else []), "bottleneck"]
    rows = [_cells(row, shown) for row in result.rows]
    widths = [
        max(len(head[i]), *(len(cells[i]) for cells, _ in rows if i < len(cells)), 0)
        for i in range(len(head))
    ]
    lines = ["  " + _joined(head, widths, len(keys))]
    lines += ["    " + _joined(cells, widths, len(keys)) + error for cells, error in rows]
    # The head stands out by two columns, as in every table of a run.
    lines[0] = "  " + _joined(head, [widths[0] + 2, *widths[1:]], len(keys))
    return [line.rstrip() for line in lines]


def _is_shown(metric: Metric) -> bool:
    known = ("ok", "errors", "throughput")
    return metric.route is None and (
        metric.aggregate in ("p50", "p95", "p99") or metric.name in known
    )


def _joined(cells: Sequence[str], widths: Sequence[int], keys: int) -> str:
    padded = []
    for i, (cell, width) in enumerate(zip(cells, widths, strict=False)):
        left = i < keys or i == len(widths) - 1
        padded.append(f"{cell:<{width}}" if left else f"{cell:>{width}}")
    return "  ".join(padded)


@dataclass(frozen=True, slots=True)
class _Shown:
    """Which columns the table has beside those it always has."""

    metric: Metric
    extra: bool  # the metric's own, which is none of the usual
    spread: bool  # half of its interval
    checked: bool  # whether thresholds are met


def _spread(row: Row, metric: Metric) -> str:
    """Half of the interval of the metric at a point."""
    value, interval = metric.of(row.measured), metric.interval(row.measured)
    if value is None or interval is None:
        return ""
    half = interval.half(float(value))
    if metric.is_time:
        return spreads.cell(interval, value)
    if not half:
        return ""
    words = format.rate(Fraction(half)) if metric.name == "throughput" else f"{half:.2g}"
    return f"±{words}"


def _cells(row: Row, shown: _Shown) -> tuple[list[str], str]:
    values = [_short(value) for value in row.values]
    found = row.measured
    if found is None:
        return values, f"  invalid: {_short(row.error or '', 120)}"
    total = found.total
    cells = [*values, format.mean_count(total.ok), format.mean_count(total.errors)]
    cells += [format.duration(total.percentile_ns(p)) for p in (50, 95, 99)]
    cells.append(format.rate(total.throughput))
    if shown.extra:
        cells.append(shown.metric.text(shown.metric.of(found)))
    if shown.spread:
        cells.append(_spread(row, shown.metric))
    if shown.checked:
        cells.append(_passed(found.thresholds))
    return [*cells, clean(found.limited_by)], ""


def _passed(results: Sequence[ThresholdResult]) -> str:
    verdicts = {result.verdict for result in results}
    if "failed" in verdicts:
        return "✗"
    return "?" if "undecided" in verdicts else "✓"


def _short(text: str, most: int = _CELL_MAX) -> str:
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _csv_cells(found: Measured | None) -> list[str]:
    if found is None:
        return [""] * (len(_CSV_NUMBERS) + len(_CSV_INTERVALS) + 3)
    total = found.total
    times = (total.mean_ns, *total.percentiles_ns, total.max_ns)
    return [
        *(str(plain(n)) for n in (total.requests, total.ok, total.errors, total.in_flight)),
        _csv_seconds(total.last_ns),
        "" if total.throughput is None else repr(float(total.throughput)),
        *(_csv_seconds(time) for time in times),
        str(found.trust.replications),
        *(end for what in ("mean", "p95") for end in _csv_interval(found, what)),
        found.limited_by,
        str(all(r.ok for r in found.thresholds)).lower() if found.thresholds else "",
        found.engine,
    ]


def _csv_interval(found: Measured, what: str) -> tuple[str, str]:
    interval = found.trust.of("", what)
    if interval is None:
        return "", ""
    low, high = interval.low, interval.high
    return _csv_seconds(round(low)), _csv_seconds(round(high)) if math.isfinite(high) else ""


def _csv_seconds(ns: int | None) -> str:
    return "" if ns is None else format.seconds(ns)


def _point(result: Result, row: Row) -> dict[str, Any]:
    keys = [axis.key for axis in result.sweep.axes]
    out: dict[str, Any] = {
        "values": dict(zip(keys, row.values, strict=True)),
        "error": row.error,
    }
    found = row.measured
    if found is None:
        return out
    return {
        **out,
        "metrics": found.total.as_json(),
        "routes": {name: numbers.as_json() for name, numbers in found.routes},
        "intervals": machine.intervals(found.trust, [name for name, _ in found.routes]),
        "bottleneck": {"resource": found.limited_by, "sentence": found.sentence},
        "thresholds": [machine.threshold(result) for result in found.thresholds],
        "ended": found.ended,
        "engine": found.engine,
    }
