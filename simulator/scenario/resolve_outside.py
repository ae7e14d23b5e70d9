"""Client, services, accelerators, locks and faults with every default filled in."""

from __future__ import annotations

from typing import Any

from simulator.scenario import presets
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report
from simulator.scenario.resolve_steps import resolve_retries

Document = dict[str, Any]

NO_CLIENT: Document = {
    "timeout": "none",
    "retries": 0,
    "latency": "0s",
    "connections": "new",
}
"""The client where nothing is said about it."""

_LIMIT_KEYS = {
    "token_bucket": ("rate", "burst"),
    "leaky_bucket": ("rate",),
    "fixed_window": ("limit", "window"),
    "sliding_window": ("limit", "window"),
}
_TARGETS = ("service", "database", "accelerator")


def resolve_client(given: Any, kind: Any, report: Report) -> Any:
    """The client; ``kind`` is the server's."""
    if given is BAD:
        return BAD
    out = {key: given[key] for key in NO_CLIENT}
    out["retries"] = resolve_retries(out["retries"])
    if kind == "sync":
        out["close_delay"] = given.get("close_delay", "0s")
        if isinstance(given["connections"], dict):
            what = "ignored under kind sync, which closes every connection"
            report("client.connections", what, "remove it")
            out["connections"] = "new"
    elif "close_delay" in given and kind is not BAD:
        what = f"ignored under kind {kind}, which doesn't wait for the client to close"
        report("client.close_delay", what, "remove it")
    return out


def resolve_lock(given: Any) -> Any:
    """A lock: one row is picked by all, several evenly."""
    if given is BAD:
        return BAD
    pick = given.get("pick", "fixed" if given["keys"] == 1 else "uniform")
    return {"keys": given["keys"], "pick": pick, "grant": given["grant"]}


def resolve_service(given: Any, path: str, report: Report) -> Any:
    """A service, with what its client's preset says."""
    if given is BAD:
        return BAD
    out = {**given, "retries": resolve_retries(given["retries"])}
    out["client"] = _http_client(given["client"])
    if "rate_limit" in given:
        out["rate_limit"] = _rate_limit(given["rate_limit"], f"{path}.rate_limit", report)
    return out


def _http_client(given: Any) -> Any:
    if given is BAD or given == "none":
        return given
    if isinstance(given, str):
        given = {"preset": given}
    preset = given.get("preset")
    if preset is BAD:
        return BAD
    connections, timeout = presets.CLIENTS[preset] if preset else ("none", "none")
    out = {"preset": preset} if preset else {}
    out["connections"] = given.get("connections", connections)
    out["pool_timeout"] = given.get("pool_timeout", timeout)
    return out


def _rate_limit(given: Any, path: str, report: Report) -> Any:
    if given is BAD or given["kind"] is BAD:
        return BAD
    kind = given["kind"]
    out = {"kind": kind}
    for key in ("rate", "burst", "limit", "window"):
        if key in _LIMIT_KEYS[kind] and key not in given:
            report(path, f"missing key '{key}', which a {kind} needs")
            out[key] = BAD
        elif key in _LIMIT_KEYS[kind]:
            out[key] = given[key]
        elif key in given:
            needs = " and ".join(_LIMIT_KEYS[kind])
            report(f"{path}.{key}", f"ignored by a {kind}, which has {needs}", "remove it")
    return {**out, "over": given["over"]}


def resolve_accelerator(given: Any, path: str, report: Report) -> Any:
    """An accelerator: with ``batch`` and ``time``, or with ``continuous`` and ``step``."""
    if given is BAD:
        return BAD
    if "batch" in given and "continuous" in given:
        report(path, "both 'batch' and 'continuous', expected one of the two")
        return BAD
    mode, time, other = "batch", "time", "step"
    if "continuous" in given:
        mode, time, other = "continuous", "step", "time"
    if other in given:
        report(f"{path}.{other}", f"ignored with '{mode}', expected '{time}'", "rename it")
        return BAD
    if time not in given:
        report(path, f"missing key '{time}', expected such as {time}: 20ms")
        return BAD
    return {
        mode: given.get(mode, {"max": 1, "wait": "0s", "window": "arrival"}),
        time: given[time],
        "count": given["count"],
        "queue": given["queue"],
    }


def resolve_fault(given: Any, path: str, report: Report) -> Any:
    """A fault: one target, and either an outage or slow."""
    if given is BAD:
        return BAD
    targets = [key for key in _TARGETS if key in given]
    if len(targets) != 1:
        found = " and ".join(targets) or "nothing"
        report(path, f"{found} to strike, expected one of: {', '.join(_TARGETS)}")
        return BAD
    out = {targets[0]: given[targets[0]], "at": given["at"], "for": given["for"]}
    if given.get("outage") is BAD or given.get("slow") is BAD:
        return BAD
    if bool(given.get("outage")) == ("slow" in given):
        report(path, "expected either 'outage: true' or 'slow', such as slow: 5")
        return BAD
    return {**out, "slow": given["slow"]} if "slow" in given else {**out, "outage": True}
