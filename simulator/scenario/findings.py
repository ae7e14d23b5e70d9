"""Findings: what a scenario's own text shows to be risky, before any run."""

from __future__ import annotations

import math
from collections.abc import Iterator

from simulator.plan import NEVER, UNLIMITED, Accept, LoadKind, ServerKind
from simulator.scenario.blocks import Block, blocks, mean_ns, means, pool_taken
from simulator.scenario.demand import SHARED, Use, uses
from simulator.scenario.finding import Finding
from simulator.scenario.findings_outside import hopeless_calls, outside_findings
from simulator.scenario.findings_server import server_findings
from simulator.scenario.findings_users import too_many_users
from simulator.scenario.resolve import Document
from simulator.scenario.scenario import Scenario
from simulator.units import exact_duration

CPU_ON_LOOP_MAX_NS = 10_000_000
"""Computing at a stretch that an event loop's other requests hardly notice."""


def findings(scenario: Scenario) -> tuple[Finding, ...]:
    """All static findings, in order of code, then of the scenario."""
    every = [block for name in scenario.document["routes"] for block in _blocks(scenario, name)]
    return (
        *_blocking(scenario, every),
        *_computing(scenario, every),
        *_few_threads(scenario, every),
        *_too_many_connections(scenario),
        *_no_timeout(scenario, every),
        *_overload(scenario),
        *too_many_users(scenario),
        *_deadlock(scenario, every),
        *_in_sequence(scenario, every),
        *outside_findings(scenario, every),
        *server_findings(scenario, every),
        *hopeless_calls(scenario, every),
    )


def _blocks(scenario: Scenario, name: str) -> Iterator[Block]:
    return blocks(scenario.document, name)


def _blocking(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    by_place, pools = means(scenario.plan), scenario.document["pools"]
    for block in every:
        for i, step in enumerate(block.steps if block.on_loop else []):
            path = f"{block.path}[{i}]"
            pool = pool_taken(step, block.held)
            if "block" in step:
                what = f"block of {_time(by_place[f'{path}.block'])}"
                hint = "use an async client, or to_thread, or make the handler def"
            elif pool is not None and pools[pool]["driver"] == "blocking":
                what = f"the blocking driver of pool {pool}"
                hint = "use an async driver, or make the handler def"
            elif step.get("blocking"):
                what = f"the blocking call of {step['call']}"
                hint = "use an async client, or to_thread, or make the handler def"
            else:
                continue
            message = f"{what} in `async def {block.route}` freezes the event loop: "
            message += "every other request of the process stands still meanwhile"
            yield Finding("SIM101", "warning", message, scenario.place(path), hint)


def _computing(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    by_place = means(scenario.plan)
    for block in every:
        stretch_ns, start = 0.0, 0
        for i, step in enumerate(block.steps if block.on_loop else []):
            if not _computes(step):
                stretch_ns, start = 0.0, i + 1
                continue
            before_ns = stretch_ns
            stretch_ns += mean_ns(step, f"{block.path}[{i}]", by_place)
            ends = i + 1 == len(block.steps) or not _computes(block.steps[i + 1])
            if ends and max(before_ns, stretch_ns) > CPU_ON_LOOP_MAX_NS:
                message = f"{_time(stretch_ns)} of cpu in `async def {block.route}` holds the "
                message += f"event loop, more than {_time(CPU_ON_LOOP_MAX_NS)}"
                place = scenario.place(f"{block.path}[{start}]")
                hint = "put it into to_thread, make the handler def, or add workers"
                yield Finding("SIM102", "warning", message, place, hint)


def _computes(step: Document) -> bool:
    return "cpu" in step or "broadcast" in step


def _few_threads(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    server, threads = scenario.plan.server, _threads(scenario)
    users = _users(every)
    for entry in scenario.plan.pools:
        connections = entry.size + entry.overflow
        if users.get(entry.label) != {False} or threads >= connections:
            continue
        message = f"{_count(threads, 'thread')} for the {connections} connections of pool "
        message += f"{entry.label} in each worker: {connections - threads} are never used at once"
        hint = f"set pools.{entry.label}.size={threads}"
        if server.kind is not ServerKind.SYNC:
            hint += f", or server.threads={connections}"
        place = scenario.place(f"pools.{entry.label}.size")
        yield Finding("SIM103", "warning", message, place, hint)


def _threads(scenario: Scenario) -> int:
    """Threads of a process in which handlers run."""
    server = scenario.plan.server
    return 1 if server.kind is ServerKind.SYNC else server.threads


def _users(every: list[Block]) -> dict[str, set[bool]]:
    """For each pool that is used: whether by code on a loop, in threads, or both."""
    users: dict[str, set[bool]] = {}
    for block in every:
        for step in block.steps:
            pool = pool_taken(step, block.held)
            if pool is not None:
                users.setdefault(pool, set()).add(block.on_loop)
    return users


def _too_many_connections(scenario: Scenario) -> Iterator[Finding]:
    plan = scenario.plan
    for i, database in enumerate(plan.databases):
        pools = [pool for pool in plan.pools if pool.database == i]
        each = sum(pool.size + pool.overflow for pool in pools)
        processes = plan.server.workers * plan.server.instances
        wanted = each * processes
        if wanted <= database.connections:
            continue
        names = " + ".join(pool.label for pool in pools)
        message = f"{_count(plan.server.workers, 'worker')} × {each} connections of pool {names} "
        if plan.server.instances > 1:
            message = f"{plan.server.instances} instances × {message}"
        message += f"= {wanted}, but {database.label} accepts {database.connections}"
        fits = database.connections // processes
        hint = f"at most {fits} connections (size + overflow) in each worker fit"
        place = scenario.place(f"pools.{pools[0].label}.size")
        yield Finding("SIM104", "warning", message, place, hint)


def _no_timeout(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    users, threads = _users(every), _threads(scenario)
    for pool in scenario.plan.pools:
        used_by = users.get(pool.label)
        # With a connection for every thread nobody ever waits.
        enough = used_by == {False} and threads <= pool.size + pool.overflow
        few = _fewer_than(scenario, every, pool.label, pool.size + pool.overflow)
        if used_by and not (enough or few) and pool.acquire_timeout_ns >= NEVER:
            message = f"requests wait for a connection of pool {pool.label} without an end"
            hint = f"set pools.{pool.label}.acquire_timeout, so that overload fails early"
            place = scenario.place(f"pools.{pool.label}.acquire_timeout")
            yield Finding("SIM105", "info", message, place, hint)


def _fewer_than(scenario: Scenario, every: list[Block], pool: str, size: int) -> bool:
    """Whether a burst, or users, are so few that nobody ever waits for a connection.

    Known where each request takes one connection at a time, outside any gather.
    """
    plan = scenario.plan
    takers = {
        block.route
        for block in every
        for step in block.steps
        if pool_taken(step, block.held) == pool
    }
    if any(load.kind not in (LoadKind.BURST, LoadKind.CLOSED) for load in plan.loads):
        return False
    doubled = any(
        f"pool {pool}" in block.held or ".gather" in block.path or ".after" in block.path
        for block in every
        if block.steps and block.route in takers
    )
    retried = plan.client.retries.backoff
    if doubled or retried or plan.client.timeout_ns < NEVER:
        return False
    names = [route.name for route in plan.routes]
    most = 0
    for load in plan.loads:
        if takers & {names[route] for route in load.routes}:
            most += load.count if load.kind is LoadKind.BURST else min(load.users, load.count)
    return most <= size


def overloaded(scenario: Scenario) -> Use | None:
    """What the load asks more of than there is, most of all; None if there is enough."""
    use = next(iter(uses(scenario.document, scenario.plan)), None)
    return None if use is None or use.utilisation < 1 - 1e-9 else use


def not_stable(scenario: Scenario) -> str | None:
    """What has a queue that grows as long as the load lasts, in words; None if nothing has.

    An overload that is cut off has a bounded queue: by a timeout or a deadline of those who
    wait, by a limit of the queue, or by who refuses the rest.
    """
    use, plan = overloaded(scenario), scenario.plan
    bounded = (
        plan.client.timeout_ns < NEVER
        or any(route.deadline_ns < NEVER for route in plan.routes)
        or plan.server.limit_concurrency < UNLIMITED
        or any(pool.acquire_timeout_ns < NEVER for pool in plan.pools)
        or any(service.queue < UNLIMITED for service in plan.services)
        or any(device.queue < UNLIMITED for device in plan.accelerators)
        or any(service.limits and not service.limits[0].waits for service in plan.services)
    )
    if use is None or bounded:
        return None
    return f"the load offered to {use.resource} is {use.utilisation:.3g} × its capacity"


def _overload(scenario: Scenario) -> Iterator[Finding]:
    use = overloaded(scenario)
    if use is None:
        return
    local = not use.resource.startswith(("workers", "cores", *SHARED))
    server = scenario.plan.server
    each = " in the busiest worker" if server.accept is Accept.WEIGHTS else " in each worker"
    each = each if local and server.workers > 1 else ""
    message = f"{use.resource}: {use.rate:.4g}/s × {_time(use.hold_ns)} / {use.size} = "
    message += f"{use.utilisation:.3g} of its capacity{each}, so {_consequence(scenario, use)}"
    routes = scenario.document["routes"].items()
    own = (f"routes.{name}.load" for name, entry in routes if "load" in entry)
    place = scenario.place("load" if "load" in scenario.document else next(own))
    hint = f"lower the rate, or make {use.resource} larger or its hold shorter"
    yield Finding("SIM107", "warning", message, place, hint)


def _consequence(scenario: Scenario, use: Use) -> str:
    """What an overload does: with an acquire timeout its queue is bounded."""
    for pool in scenario.plan.pools:
        if use.resource == f"pool {pool.label}" and pool.acquire_timeout_ns < NEVER:
            timeout = _time(pool.acquire_timeout_ns)
            return f"requests wait up to its timeout of {timeout} and the excess fails"
    for service in scenario.plan.services:
        if use.resource == f"rate limit {service.label}" and not service.limits[0].waits:
            return "what comes above it is rejected at once"
    if scenario.plan.server.limit_concurrency < UNLIMITED:
        return "what limit_concurrency does not let in is answered with 503"
    lasts = [
        min(float(load.until_ns), 1e9 * load.count * load.rate[1] / load.rate[0])
        for load in scenario.plan.loads
        if load.rate[0]
    ]
    length = f"for the {_time(max(lasts))} of the load" if lasts else "as long as the load lasts"
    return f"its queue grows {length} and percentiles depend on the length of the run"


def _deadlock(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    orders = _orders(every)
    sizes = {f"pool {pool.label}": pool.size + pool.overflow for pool in scenario.plan.pools}
    for (held, taken), (route, path) in orders.items():
        place = scenario.place(path)
        if held == taken:
            message = f"{route} takes a second connection of {held} while it holds one: once "
            message += (
                "a request holds the only one, none goes on"
                if sizes[held] == 1
                else f"{sizes[held]} requests hold the {sizes[held]}, none goes on"
            )
            hint = "inside `with`, `query` uses the held connection"
            yield Finding("SIM108", "warning", message, place, hint)
        elif (taken, held) in orders and held < taken:
            other, _ = orders[taken, held]
            message = f"{route} takes {taken} while it holds {held}, {other} the other way "
            message += "round: each can wait for the other without an end"
            yield Finding("SIM108", "warning", message, place, "take them in one order")


def _orders(every: list[Block]) -> dict[tuple[str, str], tuple[str, str]]:
    """(held, taken) -> the route and the place where it is seen first."""
    orders: dict[tuple[str, str], tuple[str, str]] = {}
    for block in every:
        held = block.held
        for i, step in enumerate(block.steps):
            pool = pool_taken(step, block.held)
            taken = f"pool {pool}" if pool is not None else ""
            if "to_thread" in step:
                taken = "threads"
            elif "lock" in step:
                taken = f"lock {step['lock']}"
            elif "stream" in step and "threads" in held and step["stream"]["direction"] == "out":
                # The handler's thread was given back; each chunk takes one.
                taken = "threads"
            for resource in held if taken else ():
                # A row lock is re-entrant in its transaction.
                if resource != taken or taken.startswith("pool "):
                    key = (resource, taken)
                    orders.setdefault(key, (block.route, f"{block.path}[{i}]"))
            if "lock" in step:
                held = (*held, taken)
    return orders


def _in_sequence(scenario: Scenario, every: list[Block]) -> Iterator[Finding]:
    by_place = means(scenario.plan)
    for block in every:
        run: list[float] = []
        for i in range(len(block.steps) + 1 if block.on_loop else 0):
            if i < len(block.steps) and _independent(scenario, block, i):
                run.append(mean_ns(block.steps[i], f"{block.path}[{i}]", by_place))
                continue
            if len(run) > 1 and max(run) < sum(run) < math.inf:
                message = f"{len(run)} calls one after another take {_time(sum(run))}, "
                message += f"at the same time {_time(max(run))}"
                place = scenario.place(f"{block.path}[{i - len(run)}]")
                hint = "gather them, if none needs another's result"
                yield Finding("SIM109", "info", message, place, hint)
            run = []


def _independent(scenario: Scenario, block: Block, i: int) -> bool:
    step = block.steps[i]
    if "await" in step or ("call" in step and not step["blocking"]):
        return True
    pool = pool_taken(step, block.held)
    return (
        "query" in step
        and pool is not None
        and (scenario.document["pools"][pool]["driver"] == "async")
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _time(ns: float) -> str:
    """A mean time, to four significant digits."""
    return exact_duration(int(float(f"{ns:.4g}"))) if math.isfinite(ns) else "∞"
