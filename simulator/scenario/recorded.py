"""Files that a scenario names: measured times, and recorded arrivals."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from simulator import units
from simulator.scenario.arrivals import ROWS_MAX
from simulator.scenario.kinds import BAD
from simulator.scenario.problem import Problems
from simulator.scenario.report import Report
from simulator.scenario.source import read_text
from simulator.scenario.times import VALUES_MAX

TRACE_BYTES_MAX = 64 * 2**20
"""Size of one recorded trace."""


def with_values(value: Any, path: str, report: Report, folder: Path) -> Any:
    """A part of the document with the values of `empirical` files in place of their names."""
    if isinstance(value, list):
        return [with_values(v, f"{path}[{i}]", report, folder) for i, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key == "empirical" and isinstance(inner, str):
            out[key] = _values(inner, f"{path}.{key}", report, folder)
        else:
            out[key] = with_values(inner, f"{path}.{key}", report, folder)
    return out


def rows(file: str, path: str, report: Report, folder: Path, routes: list[str]) -> Any:
    """The arrivals of a trace file as [time, route], in order of time.

    The header is ``time_s,route``, or ``time_s`` where ``routes`` has one name.
    """
    lines = _lines(file, path, report, folder, "a file of recorded arrivals", TRACE_BYTES_MAX)
    if lines is None:
        return BAD
    header = lines[0][1].replace(" ", "") if lines else ""
    expected = "time_s,route" if len(routes) > 1 else "time_s,route or time_s"
    if header not in ("time_s,route", "time_s") or (header == "time_s" and len(routes) > 1):
        what = f"{file[:200]}: line 1: {header[:40]!r} is not the header, expected {expected}"
        report(path, what)
        return BAD
    if not 1 <= len(lines) - 1 <= ROWS_MAX:
        what = f"{file[:200]} has {len(lines) - 1} arrivals, expected 1 to {ROWS_MAX} (ROWS_MAX)"
        report(path, what)
        return BAD
    try:
        found = [_row(line, n, routes) for n, line in lines[1:]]
    except units.UnitError as error:
        report(path, f"{file[:200]}: {error.what}", error.hint)
        return BAD
    return [[units.exact_duration(ns), route] for ns, route in sorted(found, key=_instant)]


def _instant(row: tuple[int, str]) -> int:
    return row[0]


def _row(line: str, number: int, routes: list[str]) -> tuple[int, str]:
    time, comma, route = (part.strip() for part in line.partition(","))
    if not comma and len(routes) == 1:
        route = routes[0]
    if routes and route not in routes:
        known = ", ".join(routes[:20])
        raise units.UnitError(
            f"line {number}: unknown route '{route[:40]}', expected one of: {known}"
        )
    return _seconds(time, number), route


def _values(file: str, path: str, report: Report, folder: Path) -> Any:
    lines = _lines(file, path, report, folder, "a file of measured times")
    if lines is None:
        return BAD
    seconds = bool(lines) and lines[0][1] == "time_s"
    measured = lines[1:] if seconds else lines
    if not 1 <= len(measured) <= VALUES_MAX:
        what = f"{file[:200]} has {len(measured)} values, expected 1 to {VALUES_MAX} (VALUES_MAX)"
        report(path, what)
        return BAD
    try:
        parse = _seconds if seconds else _duration
        return [units.exact_duration(parse(line, n)) for n, line in measured]
    except units.UnitError as error:
        hint = error.hint
        if not seconds and re.match("[A-Za-z_\"']", lines[0][1]):
            hint = "the header of a column of seconds is time_s"
        report(path, f"{file[:200]}: {error.what}", hint)
        return BAD


def _lines(
    file: str, path: str, report: Report, folder: Path, expected: str, most: int | None = None
) -> list[tuple[int, str]] | None:
    """The lines that are not empty, with their numbers; None with the problem reported."""
    found = Problems()
    text = read_text(folder / file, file, found, most)
    if text is None:
        reason = found.only().message.split(", expected")[0]
        report(path, f"{file[:200]}: {reason}, expected {expected}")
        return None
    return [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]


def _duration(text: str, line: int) -> int:
    try:
        return units.parse_duration(text)
    except units.UnitError as error:
        raise units.UnitError(f"line {line}: {error.what}", error.hint) from None


def _seconds(text: str, line: int) -> int:
    """Bare seconds, rounded to nanoseconds."""
    if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{0,24})?([eE][-+]?[0-9]{1,2})?", text):
        raise units.UnitError(
            f"line {line}: {text[:40]!r} is not a number of seconds, expected one"
        )
    whole, _, part = text.partition(".")
    if len(part) <= 9 and part.isdigit() and whole.isdigit():
        ns = int(whole + part.ljust(9, "0"))
    else:
        ns = round(Fraction(text) * 10**9)
    if ns > units.DURATION_MAX_NS:
        what = f"{text} is too long, expected at most 2^61 ns (73 years)"
        raise units.UnitError(f"line {line}: {what}")
    return ns
