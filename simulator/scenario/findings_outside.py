"""Findings about calls, cores and connections: what amplifies, what is limited unseen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simulator.distributions import Constant
from simulator.plan import NEVER, UNLIMITED, ServerKind
from simulator.scenario.blocks import Block, means
from simulator.scenario.demand import at_once, demand_of
from simulator.scenario.finding import Finding
from simulator.scenario.scenario import Scenario
from simulator.scenario.streams import until
from simulator.units import exact_duration


def outside_findings(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    """SIM110, SIM112, SIM113 and SIM114, in this order."""
    yield from _amplified(scenario, every)
    yield from _more_processes_than_cores(scenario)
    yield from _few_client_connections(scenario, every)
    yield from _idle_connections(scenario)


def hopeless_calls(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    """SIM125: calls of a service of constant time that their timeout always ends."""
    plan = scenario.plan
    times = {s.label: plan.streams[s.time].distribution for s in plan.services}
    for block in every:
        for i, step in enumerate(block.steps):
            time = times.get(step.get("call", ""))
            if not isinstance(time, Constant) or until(step["timeout"]) >= time.value_ns:
                continue
            takes, path = exact_duration(time.value_ns), f"{block.path}[{i}]"
            message = f"{step['call']} takes {takes}, its timeout is {step['timeout']}: "
            message += "no call can succeed"
            own = scenario.is_written(f"{path}.timeout")
            key = f"{path}.timeout" if own else f"services.{step['call']}.timeout"
            hint = f"set {key} above {takes}, with room for the waits before it"
            yield Finding("SIM125", "warning", message, scenario.place(key), hint)


def _amplified(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    client = scenario.document["client"]
    yield from _retried(scenario, "request", client, "client")
    for block in every:
        for i, step in enumerate(block.steps):
            if "call" in step:
                what = f"call of {step['call']}"
                yield from _retried(scenario, what, step, f"{block.path}[{i}]")


def _retried(scenario: Scenario, what: str, entry: Any, path: str) -> Iterator[Finding]:
    retries = entry["retries"]
    if retries == 0:
        return
    backoff, attempts = retries["backoff"], retries["max"] + 1
    at_once = backoff["base"] == "0s"
    in_step = "" if backoff["jitter"] and not at_once else f"come {backoff['base']} later in step"
    in_step = "come at once" if at_once else in_step
    message = f"up to {attempts} attempts of each {what}"
    if until(entry["timeout"]) < NEVER:
        message += f", and one that timed out after {entry['timeout']} still runs: where it is "
        message += f"slow there are up to {attempts} times as many in flight"
        message += f"; the retries {in_step}" if in_step else ""
    elif in_step:
        message += f": the retries {in_step}"
    else:
        return
    hint = "fewer retries, and backoff: {base: 100ms} which grows and has jitter"
    hint = hint if in_step else "fewer retries, or a longer timeout"
    severity = "warning" if in_step else "info"
    yield Finding("SIM110", severity, message, scenario.place(f"{path}.retries"), hint)


def _more_processes_than_cores(scenario: Scenario) -> Iterator[Finding]:
    server = scenario.plan.server
    if server.workers <= server.cores:
        return
    cores = "1 core" if server.cores == 1 else f"{server.cores} cores"
    together = "1 request computes" if server.cores == 1 else f"{server.cores} requests compute"
    for name in scenario.document["routes"]:
        demand = demand_of(scenario.document, scenario.plan, name)
        cpu = demand.held_ns["cores"]
        if cpu and 2 * cpu >= demand.took_ns:
            message = f"{server.workers} workers on {cores}, and {name} computes for "
            message += f"{exact_duration(round(cpu))} of {exact_duration(round(demand.took_ns))}: "
            message += f"{together} at once, more workers only share"
            hint = f"set server.workers={server.cores}"
            yield Finding("SIM112", "info", message, scenario.place("server.workers"), hint)
            return


def _few_client_connections(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    plan = scenario.plan
    for service in plan.services:
        steps = [b for b in every if any(s.get("call") == service.label for s in b.steps)]
        asked = max((_calls_at_once(scenario, block, service.label) for block in steps), default=0)
        if service.connections >= UNLIMITED or asked <= service.connections:
            continue
        message = f"about {asked} calls of {service.label} at once in each worker, whose HTTP "
        message += f"client has {service.connections} connections: the others wait for one"
        if service.connect_timeout_ns < NEVER:
            message += f", up to {exact_duration(service.connect_timeout_ns)}"
        path = f"services.{service.label}.client"
        hint = f"set {path}.connections={asked}, or limit the concurrency before it"
        yield Finding("SIM113", "warning", message, scenario.place(path), hint)


def _calls_at_once(scenario: Scenario, block: Block, service: str) -> int:
    """About how many requests of a route are at their call in one process."""
    server, time_ns = scenario.plan.server, means(scenario.plan)[f"services.{service}.time"]
    each = at_once(scenario.plan, block.route, time_ns)
    if block.on_loop:
        return each
    return 1 if server.kind is ServerKind.SYNC else min(each, server.threads)


def _idle_connections(scenario: Scenario) -> Iterator[Finding]:
    plan = scenario.plan
    limit, kept = plan.server.limit_concurrency, plan.client.kept_connections
    if limit >= UNLIMITED or not kept:
        return
    each = -(-kept // (plan.server.workers * plan.server.instances))
    message = f"limit_concurrency {limit} counts connections, idle ones too, and the client "
    message += f"keeps {each} open to each worker"
    severity, hint = "info", "leave room for connections that are kept alive"
    if each >= limit:
        message += ": every request is answered with 503"
        severity = "warning"
    place = scenario.place("server.limit_concurrency")
    yield Finding("SIM114", severity, message, place, hint)
