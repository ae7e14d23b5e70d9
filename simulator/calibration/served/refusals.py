"""What of a scenario can't be served, with reasons, all at once."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Iterator

from simulator.calibration.served.command import connections, sockets_of
from simulator.calibration.served.written import (
    address,
    all_steps,
    awaited_pools,
    inner_steps,
    steps_as_written,
    steps_of,
)
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    UNLIMITED,
    Call,
    Cpu,
    Generate,
    Lock,
    Plan,
    Route,
    ServerKind,
    Step,
    Stream,
    ToThread,
    With,
)
from simulator.scenario import Scenario

CONNECTIONS_MAX = 1000
"""Connections of one PostgreSQL: each is a process."""
SOCKETS_MAX = 10_000
"""WebSockets that are held open for broadcasts."""
FILES_SPARE = 200
"""Open files of a process beside its sockets."""
WORKERS_MAX = 64
"""Worker processes on this machine."""
ROWS_MAX = 1_000_000
"""Rows of a lock."""


def refusals(scenario: Scenario, *, database: str = "embedded") -> tuple[str, ...]:
    """Why a scenario can't be served: one sentence for each part; empty if it can be."""
    plan = scenario.plan
    parts = (
        _server(scenario),
        _cores(plan),
        _addresses(plan),
        _pools(scenario),
        _databases(scenario, database),
        _without_database(plan) if database == "none" else (),
        _services(scenario),
        _accelerators(plan),
        _streams(scenario),
    )
    return tuple(dict.fromkeys(reason for part in parts for reason in part))


def _server(scenario: Scenario) -> Iterator[str]:
    server = scenario.plan.server
    processes = server.workers * server.instances
    if processes > WORKERS_MAX:
        yield f"server: {processes} processes, more than WORKERS_MAX = {WORKERS_MAX}"
    if scenario.document["server"].get("gil") is False and not _gil_free():
        yield "server.gil: false needs a free-threaded Python, such as python3.14t"
    if server.gil_fifo:
        yield "server.gil.handover: fifo: CPython hands the GIL to any waiter"
    if server.timeout_ns < NEVER and server.timeout_ns % 10**9:
        yield "server.timeout: gunicorn counts whole seconds"
    backlog = _somaxconn()
    if UNLIMITED > server.backlog > backlog:
        yield f"server.backlog: {server.backlog}, the kernel allows {backlog} (net.core.somaxconn)"


def _cores(plan: Plan) -> Iterator[str]:
    """What computes at the same time must have as many processors as the scenario says."""
    server = plan.server
    steps = list(steps_of(plan))
    if server.cores >= UNLIMITED or not any(isinstance(step, Cpu) for step in steps):
        return
    alone = all(not step.releases_gil for step in steps if isinstance(step, Cpu))
    used = min(server.cores, server.workers if alone else UNLIMITED) * server.instances
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if used > here:
        s = "" if here == 1 else "s"
        yield (
            f"server.cores: {used} would compute at the same time, this machine has {here} "
            f"processor{s}"
        )


def _gil_free() -> bool:
    enabled = getattr(sys, "_is_gil_enabled", None)
    return enabled is not None and not enabled()


def _addresses(plan: Plan) -> Iterator[str]:
    seen: dict[tuple[str, str], str] = {}
    for route in plan.routes:
        where = address(route)
        if where in seen:
            method, path = where
            yield f"routes.{route.name}: {method} {path} is that of {seen[where]}, too"
        elif where[1].startswith("/-/"):
            yield f"routes.{route.name}: paths under /-/ are the server's own"
        seen.setdefault(where, route.name)


def _pools(scenario: Scenario) -> Iterator[str]:
    plan, awaited = scenario.plan, awaited_pools(scenario.plan, scenario.document)
    for i, pool in enumerate(plan.pools):
        place = f"pools.{pool.label}"
        preset = scenario.document["pools"][pool.label]["preset"]
        if preset == "asyncpg" and i in awaited and pool.size and pool.overflow:
            yield f"{place}.overflow: asyncpg has none; preset: sqlalchemy has"
        if not pool.size and not pool.overflow:
            yield f"{place}: neither size nor overflow, so nobody gets a connection"
        if pool.min > pool.size + pool.overflow:
            yield f"{place}.min: more than the pool may have"


def _databases(scenario: Scenario, database: str) -> Iterator[str]:
    plan = scenario.plan
    processes = plan.server.workers * plan.server.instances
    free = sum(connections(plan, p) for p in plan.pools if p.database == NO_DATABASE) * processes
    if database == "embedded" and free > CONNECTIONS_MAX:
        yield (
            f"pools: {free} connections to a database without a limit, more than "
            f"CONNECTIONS_MAX = {CONNECTIONS_MAX}"
        )
    for spec in plan.databases:
        place = f"databases.{spec.label}"
        if database == "embedded" and spec.connections > CONNECTIONS_MAX:
            yield f"{place}.max_connections: more than CONNECTIONS_MAX = {CONNECTIONS_MAX}"
        if spec.cores < UNLIMITED and spec.queries_compute:
            yield f"{place}.cores: pg_sleep takes no processor, so queries share none"
        elif spec.cores not in (UNLIMITED, os.cpu_count()):
            yield f"{place}.cores: {spec.cores}, this machine has {os.cpu_count()} processors"
    for lock in plan.locks:
        if lock.keys > ROWS_MAX:
            yield f"locks.{lock.label}.keys: more than ROWS_MAX = {ROWS_MAX}"


def _without_database(plan: Plan) -> Iterator[str]:
    """What a semaphore and a sleep can't stand for."""
    for step in steps_of(plan):
        if isinstance(step, Lock):
            yield f"locks.{plan.locks[step.lock].label}: row locks need a PostgreSQL"
        if isinstance(step, With) and step.serializable:
            yield "isolation: transactions above read committed need a PostgreSQL"
    processes = plan.server.workers * plan.server.instances
    for i, database in enumerate(plan.databases):
        pools = [pool for pool in plan.pools if pool.database == i]
        if processes * sum(connections(plan, pool) for pool in pools) > database.connections:
            yield f"databases.{database.label}: refusing connections needs a PostgreSQL"


def _services(scenario: Scenario) -> Iterator[str]:
    plan = scenario.plan
    for step in steps_of(plan):
        if isinstance(step, Call) and not step.frees_loop:
            label = plan.services[step.service].label
            client = scenario.document["services"][label]["client"]
            if client != "none" and client.get("preset") == "aiohttp":
                yield f"services.{label}.client: aiohttp is not for blocking calls; httpx is"


def _accelerators(plan: Plan) -> Iterator[str]:
    shared = (
        plan.server.workers * plan.server.instances > 1 or plan.server.kind is not ServerKind.ASGI
    )
    for route in plan.routes:
        for step in all_steps((*route.steps, *route.after)):
            if isinstance(step, Generate) and (shared or not route.on_loop):
                label = plan.accelerators[step.accelerator].label
                yield (
                    f"routes.{route.name}: tokens of accelerators.{label} are streamed by one "
                    "process, in async def"
                )


def _streams(scenario: Scenario) -> Iterator[str]:
    plan = scenario.plan
    written = steps_as_written(scenario.document, plan)
    for route in plan.routes:
        for step in all_steps((*route.steps, *route.after)):
            if isinstance(step, Stream) and written[id(step)]["stream"]["direction"] == "in":
                yield f"routes.{route.name}: uploads are not served: nobody sends them in chunks"
            if _hides_stream(step, route):
                yield f"routes.{route.name}: a stream inside {_word(step)} can't be an answer"
        if any(isinstance(step, Stream) for step in all_steps(route.after)):
            yield f"routes.{route.name}.after: a stream after the answer"
    sockets = sockets_of(plan)
    if sockets > SOCKETS_MAX:
        yield f"broadcast: {sockets} sockets, more than SOCKETS_MAX = {SOCKETS_MAX}"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if files != resource.RLIM_INFINITY and sockets + FILES_SPARE > files:
        yield f"broadcast: {sockets} sockets, a process may have {files} open files (ulimit -Hn)"
    if sockets and plan.server.workers * plan.server.instances > 1:
        yield "broadcast: sockets of several processes, expected server.workers: 1"


def _hides_stream(step: Step, route: Route) -> bool:
    """Whether a block holds a stream that its handler can't answer with."""
    if isinstance(step, With) and route.on_loop and step.frees_loop:
        return step.serializable and any(isinstance(inner, Stream) for inner in step.steps)
    inner = [each for steps in inner_steps(step) for each in steps]
    return any(isinstance(each, Stream) for each in inner)


def _word(step: Step) -> str:
    return "to_thread" if isinstance(step, ToThread) else type(step).__name__.lower()


def _somaxconn() -> int:
    try:
        with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return UNLIMITED
