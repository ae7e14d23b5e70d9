"""Loads with every default filled in; each is of one way to arrive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator import units
from simulator.scenario.kinds import BAD
from simulator.scenario.recorded import rows, with_values
from simulator.scenario.report import Report

Document = dict[str, Any]

DRAIN = "30s"
"""How long after its last arrival a load's requests may stay in flight."""

_KEYS = {
    "at": ("requests",),
    "rate": ("requests", "arrivals", "for", "drain", "warmup"),
    "stages": ("requests", "arrivals", "start", "drain", "warmup"),
    "users": ("requests", "think", "ramp", "for", "drain", "warmup"),
    "trace": ("for", "drain", "warmup"),
}
_CALLED = {
    "at": "a burst",
    "rate": "a rate",
    "stages": "stages",
    "users": "users",
    "trace": "a trace",
}
_HINTS = {
    ("at", key): "remove it, or give a 'rate'" for key in ("arrivals", "for", "drain", "warmup")
} | {("stages", "for"): "the durations of the stages say when it ends"}


def resolve_loads(given: Any, path: str, report: Report, folder: Path, routes: list[str]) -> Any:
    """The loads of one place. ``routes`` are those that share them."""
    if given is BAD:
        return BAD
    return [_load(load, f"{path}[{i}]", report, folder, routes) for i, load in enumerate(given)]


def _load(given: Any, path: str, report: Report, folder: Path, routes: list[str]) -> Any:
    if given is BAD:
        return BAD
    ways = [way for way in _KEYS if way in given]
    if len(ways) > 1:
        names = " and ".join(f"'{way}'" for way in ways)
        both, of = ("both ", "the two") if len(ways) == 2 else ("", "them")
        report(path, f"{both}{names}, expected one of {of}")
        return BAD
    if not ways:
        report(path, "no way to arrive, expected 'at: once', a 'rate', 'stages', 'users' or a "
               "'trace'")  # fmt: skip
        return BAD
    (way,) = ways
    for key in given:
        if key != way and key not in _KEYS[way]:
            hint = _HINTS.get((way, key), "remove it")
            report(f"{path}.{key}", f"ignored by {_CALLED[way]}", hint)
    if way == "trace":
        return _trace(given, path, report, folder, routes)
    if way == "at":
        return _burst(given, path, report)
    if way == "stages":
        return _stages(given, path, report)
    return _lasting(given, way, path, report, folder)


def _burst(given: Document, path: str, report: Report) -> Any:
    if "requests" not in given:
        report(path, "missing key 'requests', expected how many arrive at once")
        return BAD
    return {"requests": given["requests"], "at": given["at"]}


def _lasting(given: Document, way: str, path: str, report: Report, folder: Path) -> Any:
    """A rate or users: something ends it."""
    if "for" not in given and "requests" not in given:
        report(path, "never ends, expected 'for' or 'requests', such as for: 3m")
        return BAD
    out = {way: given[way]}
    if way == "rate":
        out["arrivals"] = given.get("arrivals", "poisson")
    else:
        out["think"] = with_values(given.get("think", "0s"), f"{path}.think", report, folder)
        out["ramp"] = given.get("ramp", "0s")
    if "requests" in given:
        out["requests"] = given["requests"]
    return out | _end(given, path, report) | _warmup(given, path, report)


def _warmup(given: Document, path: str, report: Report) -> Document:
    """What is left out at the beginning; some of the load has to come after it."""
    warmup, end = given.get("warmup", "none"), given.get("for", BAD)
    stages = given.get("stages", BAD)
    if stages is not BAD and not any(s is BAD or BAD in s.values() for s in stages):
        total = sum(units.parse_duration(stage["duration"]) for stage in stages)
        end = units.exact_duration(total)
    fixed = warmup not in (BAD, "auto", "none") and end is not BAD
    if fixed and units.parse_duration(warmup) >= units.parse_duration(end):
        report(f"{path}.warmup", f"{warmup} leaves nothing of the {end} of the load")
        return {"warmup": BAD}
    return {"warmup": warmup}


def _end(given: Document, path: str, report: Report) -> Document:
    if "for" in given:
        return {"for": given["for"], "drain": given.get("drain", DRAIN)}
    if "drain" in given:
        report(f"{path}.drain", "ignored without 'for'", "remove it")
    return {}


def _stages(given: Document, path: str, report: Report) -> Any:
    arrivals = given.get("arrivals", "poisson")
    if isinstance(arrivals, dict):
        report(f"{path}.arrivals", "gamma with stages, expected poisson or constant")
        arrivals = BAD
    out = {"stages": given["stages"], "start": given.get("start", "0/s"), "arrivals": arrivals}
    if "requests" in given:
        out["requests"] = given["requests"]
    out["drain"] = given.get("drain", DRAIN)
    out |= _warmup(given, path, report)
    _some_rate(out, path, report)
    return out


def _some_rate(load: Document, path: str, report: Report) -> None:
    stages = load["stages"]
    if BAD in (stages, load["start"]) or any(s is BAD or BAD in s.values() for s in stages):
        return
    rates = [load["start"], *(stage["target"] for stage in stages)]
    if not any(map(units.parse_rate, rates)):
        report(f"{path}.stages", "every target is 0/s, expected a rate in one")


def _trace(given: Document, path: str, report: Report, folder: Path, routes: list[str]) -> Any:
    found = given["trace"]
    if isinstance(found, str):
        found = rows(found, f"{path}.trace", report, folder, routes)
    elif found is not BAD and _sound(found, path, report, routes):
        found = sorted(found, key=lambda row: units.parse_duration(row[0]))
    return {
        "trace": found,
        **_end(given, path, report),
        **_warmup(given, path, report),
    }


def _sound(found: list[Any], path: str, report: Report, routes: list[str]) -> bool:
    sound = True
    for i, row in enumerate(found):
        if row is BAD or BAD in row:
            sound = False
        elif routes and row[1] not in routes:
            report.unknown(f"{path}.trace[{i}]", "route", row[1], routes)
            sound = False
    return sound
