"""The relations of client, locks, services, accelerators and faults."""

from __future__ import annotations

from typing import Any

from simulator.scenario.check_times import check_retries, check_time
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report

Document = dict[str, Any]


def check_outside(document: Document, report: Report) -> None:
    """Reports what does not fit together around the server; passes over what is ``BAD``."""
    client = document["client"]
    if client is not BAD:
        check_retries(client["retries"], "client.retries", report)
        check_time(client["latency"], "client.latency", report)
    for section, check in (("services", _service), ("accelerators", _accelerator)):
        entries = document[section]
        for name, entry in {} if entries is BAD else entries.items():
            if entry is not BAD:
                check(entry, f"{section}.{name}", report)
    _used(document, report)
    faults = document["faults"]
    for i, fault in enumerate([] if faults is BAD else faults):
        if fault is not BAD:
            _fault(fault, f"faults[{i}]", document, report)


def _service(entry: Document, path: str, report: Report) -> None:
    check_time(entry["time"], f"{path}.time", report)
    check_retries(entry["retries"], f"{path}.retries", report)
    if entry["queue"] not in ("none", BAD) and entry["concurrency"] == "none":
        what = "ignored where concurrency is none and no call waits"
        report(f"{path}.queue", what, "give a concurrency, or remove it")
    client = entry["client"]
    if client not in ("none", BAD) and client["connections"] == "none":
        what = "no limit of connections, expected 'connections' or a 'preset'"
        report(f"{path}.client", what, "or client: none")


def _accelerator(entry: Document, path: str, report: Report) -> None:
    continuous = "continuous" in entry
    key, limits = "time", entry.get("batch", BAD)
    if continuous:
        key, limits = "step", entry["continuous"]
    elif limits is not BAD and limits["window"] == "taken" and limits["wait"] == "0s":
        what = "ignored where wait is 0s: a batch starts as soon as it is taken"
        report(f"{path}.batch.window", what, "give a wait, or remove it")
    time = entry[key]
    if not isinstance(time, dict) or BAD in time.values():
        return
    if "table" not in time:
        if "base" not in time:
            check_time(time, f"{path}.{key}", report)
        return
    most = BAD if limits is BAD else limits["max_running" if continuous else "max"]
    largest = max(map(int, time["table"]))
    if most is not BAD and BAD not in time["table"].values() and largest < most:
        what = f"ends at {largest}, expected a time for {most}, the largest batch"
        report(f"{path}.{key}.table", what)


def _used(document: Document, report: Report) -> None:
    """Services and accelerators that no step names would be ignored."""
    names: set[Any] = set()
    routes = document["routes"]
    for route in [] if routes is BAD else routes.values():
        if route is BAD:
            return
        _names([route["steps"], route["after"]], names)
    if BAD in names or routes is BAD:
        return
    for section, words in (("services", "call"), ("accelerators", "predict or generate")):
        entries = document[section]
        for name in [] if entries is BAD else entries:
            if (section, name) not in names:
                what = f"used by no step, expected a {words} of it"
                report(f"{section}.{name}", what, "or remove it")


def _names(value: Any, out: set[Any]) -> None:
    if value is BAD:
        out.add(BAD)
    for inner in value if isinstance(value, list) else ():
        _names(inner, out)
    for key, inner in value.items() if isinstance(value, dict) else ():
        if key == "call" and isinstance(inner, str):
            out.add(("services", inner))
        elif key in ("predict", "generate") and isinstance(inner, str):
            out.add(("accelerators", inner))
        else:
            _names(inner, out)


def _fault(fault: Document, path: str, document: Document, report: Report) -> None:
    key = next(iter(fault))
    name, known = fault[key], document[f"{key}s"]
    if BAD not in (name, known) and name not in known:
        report.unknown(f"{path}.{key}", key, name, known)
