"""What ``sim calibrate`` prints: what was found, the overheads, predicted against measured."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from simulator.calibration.agreement import Agreement, Row
from simulator.calibration.fit import Fit, Value
from simulator.calibration.found import sentence
from simulator.calibration.identified import LIMIT, Found
from simulator.calibration.identify import DRIFT
from simulator.report.format import duration, rate

DRIFT_OF_NOTHING = 1.5
"""Requests that do nothing take a fraction of a millisecond: more of it is noise."""


def overheads_yaml(fit: Fit, told: Iterable[str]) -> str:
    """The overheads as a file that ``server.overheads`` names, each with its interval."""
    lines = [f"# {line}" for line in told]
    for value in _all(fit):
        lines.append(f"{value.name}: {spelt(value.mean_s)}  # {interval(value)}")
    return "\n".join(lines) + "\n"


def _all(fit: Fit) -> tuple[Value, ...]:
    beside = () if fit.gil_wake is None else (fit.gil_wake,)
    return (*fit.values, *beside, fit.rest)


def interval(value: Value) -> str:
    """The 95 % interval of an overhead, and of how many repeats."""
    return f"95 %: {spelt(value.low_s)} to {spelt(value.high_s)}, {value.n} repeats"


def spelt(seconds: float) -> str:
    """A duration in microseconds, with one decimal; never below 0."""
    return f"{max(seconds, 0.0) * 1e6:.1f}us"


def overheads_table(fit: Fit) -> list[str]:
    """The overheads as printed."""
    cells = [("OVERHEADS", "", "95 %")]
    cells += [(v.name, spelt(v.mean_s), f"{spelt(v.low_s)} … {spelt(v.high_s)}") for v in _all(fit)]
    return table(cells)


def found_table(found: Found) -> list[str]:
    """What limits each route, and the ladder that shows it."""
    cells = [("ROUTE", "FOUND")]
    cells += [(route.label, sentence(route, found)) for route in found.routes]
    lines = [f"  {a.ljust(max(len(x) for x, _ in cells))}  {b}" for a, b in cells]
    limited = {r.label: r for r in found.routes if r.kind == LIMIT}
    if found.rungs:
        lines.append("")
        head = ("LADDER", "users", "throughput", "latency", "users by Little's law")
        rungs = [
            (r.label, str(r.users), rate(Fraction(r.throughput)),
             duration(round(r.latency_s * 1e9)),
             f"{r.little:.0%}")
            for r in found.rungs
        ]  # fmt: skip
        lines += table([head, *rungs])
    for label, route in limited.items():
        low, high = route.between
        lines.append(f"  {label}: the ladder alone says {low:.2f} to {high:.2f} at once")
    return lines


def agreement_table(rows: Sequence[Row]) -> list[str]:
    """Predicted against measured."""
    cells = [("LOAD", "figure", "measured", "of all runs", "predicted", "interval", "error", "")]
    for row in rows:
        show = _shown(row.figure)
        cells.append((
            row.load, row.figure, show(row.measured[1]),
            f"{show(row.measured[0])} … {show(row.measured[2])}", show(row.predicted[1]),
            f"{show(row.predicted[0])} … {show(row.predicted[2])}", f"{row.error:+.1%}",
            "agrees" if row.agrees else "OFF",
        ))  # fmt: skip
    return table(cells)


def verdict(found: Found | None, agreement: Agreement) -> tuple[bool, str]:
    """Whether the model holds, and what an error is to be blamed on.

    ``found``: of a server that is known by its URL, whose probes were repeated at the end.
    """
    drifting = [route.label for route in found.routes if route.drifts] if found else []
    varied = found.drift if found else 1.0
    off = sorted({row.load for row in agreement.rows if not row.agrees})
    if agreement.partial:
        return False, f"partial: {agreement.partial}"
    if not off:
        return True, "the model agrees with the server on loads that nothing was fitted to"
    if drifting:
        return False, (
            f"the server drifts: {', '.join(drifting)} took over {DRIFT - 1:.0%} more or less at "
            "the end than in the beginning; measure again when it is quiet"
        )
    if varied > DRIFT_OF_NOTHING or agreement.late:
        return False, (
            f"the machine is disturbed: requests that do nothing varied by {varied:.2f} "
            f"times, {agreement.late} runs were sent again; the model is not refuted"
        )
    return False, f"the model is wrong at: {', '.join(off)}; the server was steady meanwhile"


def rows_as_dict(rows: Iterable[Row]) -> list[dict[str, Any]]:
    """The rows as plain data, times in seconds."""
    return [
        {
            "load": row.load, "figure": row.figure, "measured": list(row.measured),
            "predicted": list(row.predicted), "error": row.error, "agrees": row.agrees,
        }
        for row in rows
    ]  # fmt: skip


def table(cells: Sequence[Sequence[str]]) -> list[str]:
    """Aligned columns, the first to the left."""
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return [
        "  " + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]  # fmt: skip


def _shown(figure: str) -> Any:
    if figure == "throughput":
        return lambda value: rate(Fraction(value))
    return lambda value: duration(round(value * 1e9))
