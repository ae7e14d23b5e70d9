"""What ``sim check`` prints: a table of figures for each scenario, or JSON."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from simulator.calibration.check import Checked
from simulator.calibration.figures import ABSOLUTE_S, Figure
from simulator.calibration.splits import sentence
from simulator.report import format
from simulator.report.format import NONE, duration, percent, rate

DELAYED_SHOWN = 0.02
_HEAD = ("FIGURE", "measured", "of all runs", "predicted", "95 %", "error", "allowed", "")


def render(checked: Checked, *, command: str, version: str) -> str:
    """The page of one scenario; ends in a newline."""
    measured = checked.measured
    runs = format.count(len(measured.runs), "run")
    verdict = "agrees" if checked.passed else "does NOT agree"
    head = f"{checked.scenario.name}   bound by {checked.bound.value}   {runs} of "
    head += f"{checked.predicted.total.requests} requests: prediction {verdict}"
    first, delayed = measured.runs[0], max(run.delayed for run in measured.runs)
    differs = "" if checked.answers_agree else "   DIFFERS"
    late = duration(max(run.late_ns for run in measured.runs))
    lines = [
        head, "", *_table(checked.figures), "",
        f"  ok            {checked.ok:g} measured, {checked.predicted.total.ok} predicted{differs}",
        *(f"  failed        {name}: {n}" for name, n in first.failures.items()),
        f"  generator     {percent(first.generator_share)} of a core, "
        f"{duration(first.generator_ns)} a request, at most {late} late",
    ]  # fmt: skip
    if delayed >= DELAYED_SHOWN:
        said = f"waited for a processor for {percent(delayed)} of the time it ran"
        lines.append(f"  server        {said}, in the worst run")
    if measured.cpu is not None:
        lines.append(f"  cpu steps     took {measured.cpu:.3f} of their time in the runs")
    if measured.splits:
        lines.append(f"  splits        {sentence(measured.splits)}")
    shown = ("python", "fastapi", "uvicorn", "uvloop", "gunicorn", "asyncpg", "database")
    told = ", ".join(f"{k} {measured.versions[k]}" for k in shown if k in measured.versions)
    lines += [f"  served by     {told}", *(f"  note          {note}" for note in checked.notes)]
    lines += ["", f"  repeat: {command}   {version}"]
    return "\n".join(lines) + "\n"


def as_table(checked: Checked) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...], str]:
    """Head, rows and title of the figures; the title says whether they agree."""
    judged = [figure for figure in checked.figures if figure.judged]
    worst = max(judged, key=lambda figure: abs(figure.error), default=None)
    verdict = "A real service did as predicted" if checked.passed else "A real service differed"
    title = verdict if worst is None else f"{verdict}: at worst {worst.error:+.1%} ({worst.name})"
    return _HEAD, tuple(_cells(figure) for figure in checked.figures), title


def as_dict(checked: Checked) -> dict[str, Any]:
    """The same numbers as plain data, times in seconds."""
    return {
        "name": checked.scenario.name,
        "bound": checked.bound.value,
        "passed": checked.passed,
        "ok": {
            "measured": [run.ok for run in checked.measured.runs],
            "predicted": checked.predicted.total.ok,
        },
        "failures": [run.failures for run in checked.measured.runs],
        "figures": {
            figure.name: {
                "measured": list(figure.measured),
                "predicted": figure.predicted_mid,
                "predicted_interval": list(figure.interval),
                "error": figure.error,
                "allowed": figure.tolerance,
                "judged": figure.judged,
                "agrees": figure.agrees,
            }
            for figure in checked.figures
        },
        "generator": [
            {
                "cpu_share": run.generator_share,
                "cpu_per_request_s": run.generator_ns / 1e9,
                "late_max_s": run.late_ns / 1e9,
            }
            for run in checked.measured.runs
        ],
        "delayed": max(run.delayed for run in checked.measured.runs),
        "cpu_ratio": checked.measured.cpu,
        "splits": [list(shares) for shares in checked.measured.splits],
        "versions": checked.measured.versions,
        "notes": list(checked.notes),
    }


def _table(rows: Sequence[Figure]) -> list[str]:
    cells = [_HEAD, *(_cells(figure) for figure in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(_HEAD))]
    return [
        "  " + "  ".join(
            cell.ljust(width) if i in (0, len(_HEAD) - 1) else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]  # fmt: skip


def _cells(figure: Figure) -> tuple[str, ...]:
    show = _shown(figure)
    low, high = figure.interval
    verdict = "reported" if not figure.judged else "ok" if figure.agrees else "FAILED"
    off = abs(figure.predicted_mid - figure.measured_mid)
    near = off <= figure.slack and abs(figure.error) > figure.tolerance
    allowed = f"{figure.tolerance:.0%}"
    return (
        figure.name,
        show(figure.measured_mid),
        f"{show(min(figure.measured))} … {show(max(figure.measured))}",
        show(figure.predicted_mid),
        NONE if low == high else f"{show(low)} … {show(high)}",
        f"{figure.error:+.1%}",
        f"{ABSOLUTE_S * 1e3:g} ms" if near else "interval" if figure.by_interval else allowed,
        verdict,
    )


def _shown(figure: Figure) -> Any:
    if figure.name == "throughput":
        return lambda value: rate(Fraction(value))
    return lambda value: duration(round(value * 1e9))
