"""Findings about what requests share in a server: threads, the loop, the GIL, its door."""

from __future__ import annotations

from collections.abc import Iterator

from simulator.plan import NEVER, Accept, ServerKind
from simulator.scenario.blocks import Block, mean_ns, means, pool_taken
from simulator.scenario.demand import at_once, demand_of, uses
from simulator.scenario.finding import Finding
from simulator.scenario.scenario import Scenario
from simulator.units import exact_duration

_LINGER_MAX_NS = 2_000_000_000  # gunicorn 27 waits no longer for its client to close
_FULL = 0.8


def server_findings(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    """SIM115, SIM117, SIM118, SIM119, SIM120 and SIM122, in this order."""
    yield from _more_streams_than_threads(scenario, every)
    yield from _probes(scenario, every)
    yield from _connect_per_request(scenario, every)
    yield from _waits_for_close(scenario)
    yield from _uneven(scenario)
    yield from _computing_beside_a_loop(scenario, every)


def _more_streams_than_threads(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    server, by_place = scenario.plan.server, means(scenario.plan)
    threads = _slots(scenario)
    for block in every:
        for i, step in enumerate(block.steps):
            if "stream" not in step or block.on_loop or ".after" in block.path:
                continue
            path = f"{block.path}[{i}]"
            asked = at_once(scenario.plan, block.route, mean_ns(step, path, by_place))
            if asked <= threads:
                continue
            each = "each holds a thread to its end"
            if server.kind is ServerKind.ASGI:
                each = "each chunk takes a thread"
            message = f"about {asked} streams of {block.route} at once in each worker, and {each}: "
            message += f"they share {_threads(threads)}"
            hint = "stream from async def, where one that is idle costs memory only"
            yield Finding("SIM115", "warning", message, scenario.place(path), hint)


def _probes(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    plan = scenario.plan
    for route in plan.routes:
        steps = demand_of(scenario.document, plan, route.name)
        if route.deadline_ns >= NEVER or 10 * steps.took_ns > route.deadline_ns:
            continue
        deadline = exact_duration(route.deadline_ns)
        message = f"{route.name} fails after {deadline}, and "
        if route.on_loop:
            found = _longest_stop(scenario, every)
            shares = "its loop stands still for {time} while {other} blocks or computes"
            hint = "keep the loop free: see SIM101 and SIM102"
        else:
            found = _longest_hold(scenario, route.name)
            shares = f"shares {_threads(_slots(scenario))} with {{other}}, {{time}} each: "
            shares += "once all are held it waits"
            hint = f"make {route.name} async def, which needs no thread"
        if found is not None and found[0] >= route.deadline_ns:
            message += shares.format(time=_time(found[0]), other=found[1])
            place = scenario.place(f"routes.{route.name}.deadline")
            yield Finding("SIM117", "warning", message, place, hint)


def _longest_stop(scenario: Scenario, every: list[Block]) -> tuple[float, str] | None:
    """The longest time for which one step stops the loop, and its route."""
    by_place, pools = means(scenario.plan), scenario.document["pools"]
    stops = []
    for block in every:
        for i, step in enumerate(block.steps if block.on_loop else []):
            pool = step.get("query", "")
            blocking = "block" in step or "cpu" in step or step.get("blocking")
            if blocking or (pool and pools[pool]["driver"] == "blocking"):
                stops.append((mean_ns(step, f"{block.path}[{i}]", by_place), block.route))
    return max(stops, default=None)


def _longest_hold(scenario: Scenario, probe: str) -> tuple[float, str] | None:
    """The longest hold of a thread by another route; None where threads are never all held."""
    plan, document = scenario.plan, scenario.document
    others = [r.name for r in plan.routes if not r.on_loop and r.name != probe]
    holds = [(demand_of(document, plan, name).took_ns, name) for name in others]
    used = {use.resource: use.utilisation for use in uses(document, plan)}
    full = max(used.get("threads", 0), used.get("workers", 0)) >= _FULL
    crowd = sum(at_once(plan, name, ns) for ns, name in holds)
    return max(holds, default=None) if full or crowd >= _slots(scenario) else None


def _connect_per_request(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    taken = {pool_taken(step, block.held) for block in every for step in block.steps}
    costs = scenario.plan.server.overheads
    for pool in scenario.plan.pools:
        if pool.size or pool.label not in taken:
            continue
        message = f"pool {pool.label} keeps no connection: each request opens one and closes it"
        if costs.connect_ns + costs.close_ns:
            message += f", {exact_duration(costs.connect_ns)} and {exact_duration(costs.close_ns)}"
        place = scenario.place(f"pools.{pool.label}.size")
        hint = f"set pools.{pool.label}.size, and min: to open them at the start"
        yield Finding("SIM118", "warning", message, place, hint)


def _waits_for_close(scenario: Scenario) -> Iterator[Finding]:
    plan = scenario.plan
    lingers_ns = min(plan.client.close_delay_ns, _LINGER_MAX_NS)
    if plan.server.kind is not ServerKind.SYNC or not lingers_ns:
        return
    message = f"a sync worker waits for its client to close: {exact_duration(lingers_ns)} after "
    message += "each answer, in which it serves nobody"
    hint = "put a proxy before it, which closes at once, or use gthread"
    yield Finding("SIM119", "warning", message, scenario.place("client.close_delay"), hint)


def _uneven(scenario: Scenario) -> Iterator[Finding]:
    server = scenario.plan.server
    if server.workers == 1 or server.kind is ServerKind.SYNC:
        return
    share = max(server.accept_weights, default=0.0)
    if server.accept is Accept.RANDOM:
        what = f"{server.workers} workers accept at random"
    elif server.accept is Accept.WEIGHTS and share * server.workers > 1.05:
        what = f"the busiest of {server.workers} workers accepts {100 * share:.3g}% of the requests"
    else:
        return
    message = f"{what}: its own threads and pools have a queue while those of others stand idle"
    hint = "leave room in each worker, or let a balancer with least_connections choose"
    yield Finding("SIM120", "info", message, scenario.place("server.accept"), hint)


def _computing_beside_a_loop(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    server, by_place = scenario.plan.server, means(scenario.plan)
    light = [route.name for route in scenario.plan.routes if route.on_loop]
    for block in every if server.gil and light else []:
        for i, step in enumerate(block.steps):
            path = f"{block.path}[{i}]"
            if block.on_loop or "cpu" not in step or step["cpu"]["releases_gil"]:
                continue
            took_ns = mean_ns(step, path, by_place)
            if took_ns < server.switch_interval_ns:
                continue
            message = f"{_time(took_ns)} of cpu in a thread of {block.route} holds the GIL: each "
            message += f"time the loop of {light[0]} wants it, it waits a switch interval of "
            message += exact_duration(server.switch_interval_ns)
            hint = "compute in another process or service, or free the GIL (releases_gil)"
            yield Finding("SIM122", "info", message, scenario.place(path), hint)
            return


def _slots(scenario: Scenario) -> int:
    """Threads of a process in which handlers run."""
    server = scenario.plan.server
    return 1 if server.kind is ServerKind.SYNC else server.threads


def _threads(number: int) -> str:
    return "1 thread" if number == 1 else f"{number} threads"


def _time(ns: float) -> str:
    return exact_duration(int(float(f"{ns:.4g}")))
