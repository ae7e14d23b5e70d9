"""Steps with every default filled in."""

from __future__ import annotations

from typing import Any

from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report

Document = dict[str, Any]


def resolve_retries(given: Any) -> Any:
    """0 where nothing is tried again, else ``{max, backoff: {base, factor, jitter}}``."""
    if given is BAD or given == 0:
        return given
    if isinstance(given, int):
        given = {"max": given, "backoff": "0s"}
    backoff = given["backoff"]
    if isinstance(backoff, str):
        backoff = {"base": backoff, "factor": 1, "jitter": False}
    return {"max": given["max"], "backoff": backoff} if given["max"] != 0 else 0


def resolve_steps(steps: Any, path: str, services: Any, report: Report) -> Any:
    """A list of steps; what a call leaves open is its service's."""
    if steps is BAD:
        return BAD
    return [_step(step, f"{path}[{i}]", services, report) for i, step in enumerate(steps)]


def _step(step: Any, path: str, services: Any, report: Report) -> Any:
    if step is BAD:
        return BAD
    if "with" in step:
        return _with(step, path, services, report)
    if "call" in step:
        return _call(step, services)
    if "to_thread" in step:
        inner = resolve_steps(step["to_thread"], f"{path}.to_thread", services, report)
        return {"to_thread": inner}
    if "gather" in step and step["gather"] is not BAD:
        branches = enumerate(step["gather"])
        where = f"{path}.gather"
        return {
            "gather": [resolve_steps(b, f"{where}[{i}]", services, report) for i, b in branches]
        }
    return step


def _with(step: Document, path: str, services: Any, report: Report) -> Document:
    out = {"with": step["with"], "isolation": step["isolation"]}
    if step["isolation"] not in ("read_committed", BAD):
        out["retries"] = resolve_retries(step.get("retries", 0))
    elif "retries" in step and step["isolation"] is not BAD:
        what = "ignored under isolation read_committed, where no transaction fails"
        report(f"{path}.retries", what, "remove it, or set isolation: serializable")
    return {**out, "do": resolve_steps(step["do"], f"{path}.do", services, report)}


def _call(step: Document, services: Any) -> Document:
    name = step["call"]
    service = BAD if BAD in (name, services) else services.get(name, BAD)
    if service is BAD:
        service = {"timeout": BAD, "retries": BAD}
    return {
        "call": name,
        "timeout": step.get("timeout", service["timeout"]),
        "retries": resolve_retries(step.get("retries", service["retries"])),
        "blocking": step["blocking"],
    }
