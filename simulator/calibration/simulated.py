"""Who answers probes without a server: the simulator, with a scenario's inside known."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulator.calibration.probe import OK, Answers, Ask, Probe
from simulator.engines.contract import CPU, EVENT_LOOP, FRAMEWORK
from simulator.engines.reference import run
from simulator.scenario import loads
from simulator.trace import NOT_FINISHED, Trace
from simulator.workload import Workload

Document = dict[str, Any]


def simulated(
    document: Document, beside: Callable[[Document], Document] = lambda routes: routes
) -> Ask:
    """Who answers probes as the server of this document would; its own load is left out.

    Parameters
    ----------
    beside : callable
        What becomes of its routes while processes beside it compute.
    """
    by_label = {route["path"]: name for name, route in document["routes"].items()}
    asked = 0

    def ask(probe: Probe) -> Answers:
        nonlocal asked
        asked += 1
        routes = {
            by_label[label]: document["routes"][by_label[label]] | {"load": load}
            for label, load in probe.loads.items()
        }
        plan = loads(json.dumps(_asking(document, beside(routes) if probe.burners else routes,
                                        probe))).plan  # fmt: skip
        trace = run(plan, Workload(plan, replication=asked))
        answers = answers_of(trace, list(probe.loads))
        return answers if probe.users > 1 else replace(answers, server_cpu_s=_computed_s(trace))

    return ask


def _asking(document: Document, routes: Document, probe: Probe) -> Document:
    """The document with the probe's loads, and only what its routes use."""
    out = {key: value for key, value in document.items() if key != "load"}
    words = json.dumps(routes)
    for section in ("pools", "locks", "services", "accelerators"):
        if section in document:
            out[section] = {k: v for k, v in document[section].items() if f'"{k}"' in words}
    used = {pool.get("database") for pool in out.get("pools", {}).values()}
    out["databases"] = {k: v for k, v in document.get("databases", {}).items() if k in used}
    overheads = document["server"].get("overheads")
    if isinstance(overheads, dict) and probe.purpose != "opening":
        # Of all other bursts the connections are open.
        server = document["server"] | {"overheads": overheads | {"aiohttp_connect": "0s"}}
        out["server"] = server
    if document["server"].get("kind", "asgi") == "asgi":
        out["client"] = {"connections": {"kept": probe.users}}
    return out | {"routes": routes}


def _computed_s(trace: Trace) -> float:
    """CPU of a server with one user: whoever waits for its loop waits for that to wake up."""
    return float(trace.spent_ns[:, [FRAMEWORK, CPU, EVENT_LOOP]].sum()) / 1e9


def answers_of(trace: Trace, labels: list[str]) -> Answers:
    """A trace as the client of a server sees it."""
    return Answers(
        [labels[route] for route in trace.route],
        (trace.arrival_ns / 1e9).tolist(),
        [f / 1e9 if f != NOT_FINISHED else float("nan") for f in trace.finish_ns.tolist()],
        [OK if trace.outcomes[o] == "ok" else trace.outcomes[o] for o in trace.outcome],
    )
