"""The document with every default, preset and file filled in.

What comes out is a valid document of the language itself, resolves to itself, and
is all that the plan is made from. Keys that would be ignored are reported here,
because only here is it known which ones were written. Values that are ``BAD`` are
passed on in silence.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulator.scenario import presets
from simulator.scenario.kinds import BAD
from simulator.scenario.recorded import with_values
from simulator.scenario.report import Report
from simulator.scenario.resolve_load import resolve_loads
from simulator.scenario.resolve_outside import (
    NO_CLIENT,
    resolve_accelerator,
    resolve_client,
    resolve_fault,
    resolve_lock,
    resolve_service,
)
from simulator.scenario.resolve_steps import resolve_steps
from simulator.units import exact_duration, parse_duration

Document = dict[str, Any]

_SERVER: Document = {
    "preset": "fastapi",
    "instances": 1,
    "balancer": "round_robin",
    "cores": "none",
    "backlog": presets.BACKLOG,
    "memory": {"connection": presets.CONNECTION_BYTES, "thread": presets.THREAD_BYTES},
}
"""The server where nothing is said about it."""

_IGNORED = {
    "sync": {
        "threads": "a process takes one request at a time",
        "accept": "workers pull from one queue",
        "loop": "there is no event loop",
        "gil": "a process has one thread",
        "switch_interval": "a process has one thread",
        "limit_concurrency": "a process takes one request at a time",
    },
    "threads": {
        "loop": "there is no event loop",
        "limit_concurrency": "only uvicorn has one",
        "timeout": "only a sync worker is killed",
    },
    "asgi": {"timeout": "uvicorn has none"},
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
    files = _Files(report, folder)
    routes = document["routes"]
    shared = [] if routes is BAD else [k for k, v in routes.items() if v is BAD or "load" not in v]
    out: Document = {
        "name": document.get("name", name),
        "description": document["description"],
        "seed": document["seed"],
    }
    if "load" in document:
        out["load"] = files.loads(document["load"], "load", shared)
    out["server"] = server = _server(document.get("server", _SERVER), report)
    client = resolve_client(
        document.get("client", NO_CLIENT), BAD if server is BAD else server["kind"], report
    )
    out["client"] = files.values(client, "client")
    for section, one in (("pools", _pool), ("databases", _same), ("locks", resolve_lock)):
        entries = document[section]
        out[section] = entries if entries is BAD else {k: one(v) for k, v in entries.items()}
    for section, other in (("services", resolve_service), ("accelerators", resolve_accelerator)):
        out[section] = entries = document[section]
        if entries is not BAD:
            named = {k: other(v, f"{section}.{k}", report) for k, v in entries.items()}
            out[section] = files.values(named, section)
    if routes is not BAD:
        services = out["services"]
        routes = {k: _route(v, k, files, services) for k, v in routes.items()}
    out["routes"] = routes
    out["thresholds"] = document["thresholds"]
    faults = document["faults"]
    if faults is not BAD:
        faults = [resolve_fault(v, f"faults[{i}]", report) for i, v in enumerate(faults)]
    out["faults"] = faults
    return out


class _Files:
    """Reads what the document names, relative to its folder."""

    def __init__(self, report: Report, folder: Path) -> None:
        self.report = report
        self.folder = folder

    def values(self, part: Any, path: str) -> Any:
        return with_values(part, path, self.report, self.folder)

    def loads(self, given: Any, path: str, routes: list[str]) -> Any:
        return resolve_loads(given, path, self.report, self.folder, routes)


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
            threaded = kind == "sync" and key == "threads"
            hint = "gunicorn with threads is preset: django" if threaded else "remove it"
            report(f"server.{key}", f"ignored under kind {kind}, where {why}", hint)
    if kind not in (BAD, "sync"):
        out["threads"] = given.get("threads", presets.THREADS[kind])
        out["accept"] = given.get("accept", "round_robin")
    if kind == "asgi":
        out["loop"] = given.get("loop", "uvloop")
    if kind not in (BAD, "sync"):
        out |= _gil(given, kind, report)
    out |= {key: given[key] for key in ("instances", "balancer", "cores", "backlog")}
    if kind == "asgi":
        out["limit_concurrency"] = given.get("limit_concurrency", "none")
    if kind == "sync":
        out["timeout"] = given.get("timeout", presets.SYNC_TIMEOUT)
    out["memory"] = given["memory"]
    out["overheads"] = _overheads(given.get("overheads", "none"))
    return out


def _gil(given: Document, kind: str, report: Report) -> Document:
    gil = given.get("gil", True)
    if gil is True:
        gil = {"handover": "random"}
    if isinstance(gil, dict):
        if kind == "asgi":
            gil = {"handover": gil["handover"], "wake": gil.get("wake", presets.GIL_WAKE)}
        elif "wake" in gil:
            why = f"ignored under kind {kind}, where there is no event loop"
            report("server.gil.wake", why, "remove it")
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
    if given is BAD:
        return BAD
    others = presets.OVERHEADS_OF_OTHERS.items()
    sums = {key: _sum([given[part] for part in parts]) for key, parts in others}
    return {key: given.get(key, sums.get(key)) for key in presets.OVERHEADS}


def _sum(durations: list[Any]) -> Any:
    return BAD if BAD in durations else exact_duration(sum(map(parse_duration, durations)))


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


def _route(given: Any, name: str, files: _Files, services: Any) -> Any:
    if given is BAD:
        return BAD
    path, report = f"routes.{name}", files.report
    out = {"path": given["path"]} if "path" in given else {}
    out["handler"] = given["handler"]
    if "load" in given:
        out["load"] = files.loads(given["load"], f"{path}.load", [name])
        if "weight" in given:
            report(f"{path}.weight", "ignored beside a load of its own", "remove one of the two")
    else:
        out["weight"] = given.get("weight", 1)
    out |= {"deadline": given["deadline"], "priority": given["priority"]}
    for key in ("steps", "after"):
        steps = resolve_steps(given[key], f"{path}.{key}", services, report)
        out[key] = files.values(steps, f"{path}.{key}")
    return out
