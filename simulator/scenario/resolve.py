"""The document with every default, preset and file filled in.

What comes out is a valid document of the language itself, resolves to itself, and
is all that the plan is made from. Keys that would be ignored are reported here,
because only here is it known which ones were written. Values that are ``BAD`` are
passed on in silence.
"""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path
from typing import Any

from simulator import units
from simulator.scenario import presets
from simulator.scenario.kinds import BAD
from simulator.scenario.problem import Problems
from simulator.scenario.report import Report
from simulator.scenario.source import read_text
from simulator.scenario.times import VALUES_MAX

Document = dict[str, Any]

DRAIN = "30s"
"""How long after its `for` a load's requests may stay in flight."""

_IGNORED = {
    "sync": {
        "threads": "a process takes one request at a time",
        "accept": "workers pull from one queue",
        "loop": "there is no event loop",
        "gil": "a process has one thread",
        "switch_interval": "a process has one thread",
    },
    "threads": {"loop": "there is no event loop"},
    "asgi": {},
}


def resolve(document: Document, report: Report, *, name: str, folder: Path) -> Document:
    """The machine document.

    Parameters
    ----------
    name : str
        The scenario's name where the document gives none.
    folder : Path
        What files named in the document are relative to.
    """
    out: Document = {
        "name": document.get("name", name),
        "description": document["description"],
        "seed": document["seed"],
    }
    if "load" in document:
        out["load"] = _loads(document["load"], "load", report)
    out["server"] = _server(document.get("server", {"preset": "fastapi"}), report)
    for section, one in (("pools", _pool), ("databases", _same), ("locks", _same)):
        entries = document[section]
        out[section] = entries if entries is BAD else {k: one(v) for k, v in entries.items()}
    routes = document["routes"]
    if routes is not BAD:
        routes = {k: _route(v, f"routes.{k}", report, folder) for k, v in routes.items()}
    out["routes"] = routes
    out["thresholds"] = document["thresholds"]
    return out


def _same(entry: Any) -> Any:
    return entry


def _server(given: Any, report: Report) -> Any:
    if given is BAD:
        return BAD
    preset = given["preset"]
    kind = given.get("kind", BAD if preset is BAD else presets.SERVERS[preset].kind)
    out = {"preset": preset, "kind": kind, "workers": given.get("workers", presets.WORKERS)}
    ignored = {} if kind is BAD else _IGNORED[kind]
    for key, why in ignored.items():
        if key in given and given[key] is not BAD:
            report(f"server.{key}", f"ignored under kind {kind}, where {why}", "remove it")
    if kind not in (BAD, "sync"):
        out["threads"] = given.get("threads", presets.THREADS[kind])
        out["accept"] = given.get("accept", "round_robin")
    if kind == "asgi":
        out["loop"] = given.get("loop", "uvloop")
    if kind not in (BAD, "sync"):
        out |= _gil(given, report)
    out["overheads"] = _overheads(given.get("overheads", "none"))
    return out


def _gil(given: Document, report: Report) -> Document:
    gil = given.get("gil", True)
    if gil is True:
        gil = {"handover": "random"}
    if gil is not False:
        return {
            "gil": gil,
            "switch_interval": given.get("switch_interval", presets.SWITCH_INTERVAL),
        }
    if "switch_interval" in given:
        report("server.switch_interval", "ignored where gil is false", "remove it")
    return {"gil": False}


def _overheads(given: Any) -> Any:
    if given == "none":
        return dict.fromkeys(presets.OVERHEADS, "0s")
    if given == "typical":
        return {key: value for key, (value, _) in presets.OVERHEADS.items()}
    return given


def _pool(given: Any) -> Any:
    if given is BAD or given["preset"] is BAD:
        return BAD
    preset = presets.POOLS[given["preset"]]
    size = given.get("size", preset.size)
    out = {
        "preset": given["preset"],
        "size": size,
        "overflow": given.get("overflow", preset.overflow),
        "min": given.get("min", size if preset.min is None else preset.min),
        "acquire_timeout": given.get("acquire_timeout", preset.acquire_timeout),
        "driver": given["driver"],
    }
    return {**out, "database": given["database"]} if "database" in given else out


def _route(given: Any, path: str, report: Report, folder: Path) -> Any:
    if given is BAD:
        return BAD
    out = {"path": given["path"]} if "path" in given else {}
    out["handler"] = given["handler"]
    if "load" in given:
        out["load"] = _loads(given["load"], f"{path}.load", report)
        if "weight" in given:
            report(f"{path}.weight", "ignored beside a load of its own", "remove one of the two")
    else:
        out["weight"] = given.get("weight", 1)
    out["steps"] = _with_values(given["steps"], f"{path}.steps", report, folder)
    return out


def _loads(given: Any, path: str, report: Report) -> Any:
    if given is BAD:
        return BAD
    return [_load(load, f"{path}[{i}]", report) for i, load in enumerate(given)]


def _load(given: Any, path: str, report: Report) -> Any:
    if given is BAD:
        return BAD
    if "at" in given and "rate" in given:
        report(path, "both 'at' and 'rate', expected one of the two")
        return BAD
    if "at" in given:
        return _burst(given, path, report)
    if "rate" in given:
        return _open(given, path, report)
    report(path, "no way to arrive, expected 'at: once' or a 'rate'")
    return BAD


def _burst(given: Document, path: str, report: Report) -> Any:
    for key in ("arrivals", "for", "drain"):
        if key in given:
            report(f"{path}.{key}", "ignored by a burst", "remove it, or give a 'rate'")
    if "requests" not in given:
        report(path, "missing key 'requests', expected how many arrive at once")
        return BAD
    return {"requests": given["requests"], "at": given["at"]}


def _open(given: Document, path: str, report: Report) -> Any:
    if "for" not in given and "requests" not in given:
        report(path, "never ends, expected 'for' or 'requests', such as for: 3m")
        return BAD
    out = {"rate": given["rate"], "arrivals": given.get("arrivals", "poisson")}
    if "requests" in given:
        out["requests"] = given["requests"]
    if "for" in given:
        out |= {"for": given["for"], "drain": given.get("drain", DRAIN)}
    elif "drain" in given:
        report(f"{path}.drain", "ignored without 'for'", "remove it")
    return out


def _with_values(value: Any, path: str, report: Report, folder: Path) -> Any:
    """The steps with the values of `empirical` files in place of their names."""
    if isinstance(value, list):
        return [_with_values(v, f"{path}[{i}]", report, folder) for i, v in enumerate(value)]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key == "empirical" and isinstance(inner, str):
            out[key] = _values(inner, f"{path}.{key}", report, folder)
        else:
            out[key] = _with_values(inner, f"{path}.{key}", report, folder)
    return out


def _values(file: str, path: str, report: Report, folder: Path) -> Any:
    found = Problems()
    text = read_text(folder / file, file, found)
    if text is None:
        reason = found.only().message.split(", expected")[0]
        report(path, f"{file[:200]}: {reason}, expected a file of measured times")
        return BAD
    lines = [(n, line.strip()) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    seconds = bool(lines) and lines[0][1] == "time_s"
    rows = lines[1:] if seconds else lines
    if not 1 <= len(rows) <= VALUES_MAX:
        what = f"{file[:200]} has {len(rows)} values, expected 1 to {VALUES_MAX} (VALUES_MAX)"
        report(path, what)
        return BAD
    try:
        return [_value(line, n, seconds) for n, line in rows]
    except units.UnitError as error:
        report(path, f"{file[:200]}: {error.what}", error.hint)
        return BAD


def _value(text: str, line: int, seconds: bool) -> str:
    """One measured time, spelt exactly; bare seconds are rounded to nanoseconds."""
    try:
        if not seconds:
            return units.exact_duration(units.parse_duration(text))
        if not re.fullmatch(r"[0-9]{1,10}(\.[0-9]{0,24})?([eE][-+]?[0-9]{1,2})?", text):
            raise units.UnitError(f"{text[:40]!r} is not a number of seconds, expected one")
        ns = round(Fraction(text) * 10**9)
        if ns > units.DURATION_MAX_NS:
            raise units.UnitError(f"{text} is too long, expected at most 2^61 ns (73 years)")
        return units.exact_duration(ns)
    except units.UnitError as error:
        raise units.UnitError(f"line {line}: {error.what}", error.hint) from None
