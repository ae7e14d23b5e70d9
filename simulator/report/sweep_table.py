"""A sweep as text, as CSV and as JSON: one row per point."""

from __future__ import annotations

import csv
import io
import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

from simulator.analysis.verdicts import ThresholdResult
from simulator.experiments.finding import default_metric, finding
from simulator.experiments.measures import Measured, Metric
from simulator.experiments.sweep import Result, Row
from simulator.report import format
from simulator.report.terminal import clean

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


def render(result: Result, *, version: str, metric: Metric | None = None) -> str:
    """The table, what was found, and the line that repeats it; ends in a newline."""
    sweep = result.sweep
    chosen = metric or default_metric(result)
    computed, total = len(result.rows), len(sweep.points)
    points = format.count(total, "point") + (", zipped" if sweep.zipped else "")
    sections = [
        ["   ".join((clean(result.name), points, f"seed {result.seed}"))],
        [f"  INTERRUPTED: {computed} of {total} points were done."] if result.interrupted else [],
        _table(result, chosen),
        textwrap.wrap(
            clean(finding(result, chosen)) + ".",
            96,
            initial_indent="  FINDING  ",
            subsequent_indent="    ",
        ),
        [f"  repeat: {command(result)}   {version}, the same seed at every point"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def command(result: Result) -> str:
    """The line that repeats the sweep."""
    sweep = result.sweep
    axes = [f"{axis.key}={','.join(axis.values)}" for axis in sweep.axes]
    words = ["sim", "sweep", sweep.path, *axes, *sweep.fixed]
    words += ["--zip"] if sweep.zipped else []
    words += ["--seed", str(sweep.seed)] if sweep.seed is not None else []
    return clean(shlex.join(words))


def as_csv(result: Result) -> str:
    """One line per point: its values, why it is invalid, and the numbers with their unit."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    keys = [axis.key for axis in result.sweep.axes]
    writer.writerow([*keys, "error", *_CSV_NUMBERS, "bottleneck", "thresholds_ok"])
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
        },
        "points": [_point(result, row) for row in result.rows],
        "finding": finding(result, metric or default_metric(result)),
        "meta": {"name": result.name, "seed": result.seed, "version": version, "engine": "simpy"},
    }


def _table(result: Result, metric: Metric) -> list[str]:
    keys = [clean(axis.key) for axis in result.sweep.axes]
    checked = any(row.measured and row.measured.thresholds for row in result.rows)
    extra = "" if _is_shown(metric) else metric.words
    head = [*keys, *_HEAD, *([extra] if extra else []), *(["passed"] if checked else [])]
    head.append("bottleneck")
    rows = [_cells(row, metric if extra else None, checked) for row in result.rows]
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


def _cells(row: Row, metric: Metric | None, checked: bool) -> tuple[list[str], str]:
    values = [_short(value) for value in row.values]
    found = row.measured
    if found is None:
        return values, f"  invalid: {_short(row.error or '', 120)}"
    total = found.total
    cells = [*values, str(total.ok), str(total.errors)]
    cells += [format.duration(total.percentile_ns(p)) for p in (50, 95, 99)]
    cells.append(format.rate(total.throughput))
    if metric is not None:
        cells.append(metric.text(metric.of(found)))
    if checked:
        cells.append(_passed(found.thresholds))
    return [*cells, clean(found.limited_by)], ""


def _passed(results: Sequence[ThresholdResult]) -> str:
    return "✓" if all(result.ok for result in results) else "✗"


def _short(text: str, most: int = _CELL_MAX) -> str:
    text = clean(text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _csv_cells(found: Measured | None) -> list[str]:
    if found is None:
        return [""] * (len(_CSV_NUMBERS) + 2)
    total = found.total
    times = (total.mean_ns, *total.percentiles_ns, total.max_ns)
    return [
        *(str(n) for n in (total.requests, total.ok, total.errors, total.in_flight)),
        _csv_seconds(total.last_ns),
        "" if total.throughput is None else repr(float(total.throughput)),
        *(_csv_seconds(time) for time in times),
        found.limited_by,
        str(all(r.ok for r in found.thresholds)).lower() if found.thresholds else "",
    ]


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
        "bottleneck": {"resource": found.limited_by, "sentence": found.sentence},
        "thresholds": [{"threshold": r.text, "ok": r.ok} for r in found.thresholds],
        "ended": found.ended,
    }
