"""What is asked of the supervisor, and the command line of the real server."""

from __future__ import annotations

import os
import sys

from simulator.calibration.served.postgres import Wanted
from simulator.calibration.served.spec import Document
from simulator.calibration.served.written import steps_of, table_of
from simulator.plan import NEVER, NO_DATABASE, UNLIMITED, Broadcast, Plan, Pool, ServerKind
from simulator.record import dataclass

SPARE = 10
"""Connections of an embedded PostgreSQL beyond what its pools can take."""
BACKLOG_NONE = 65_535
"""What ``backlog: none`` asks for; the kernel cuts it at net.core.somaxconn."""


@dataclass(frozen=True, slots=True)
class Ask:
    """What ``serve`` asks the supervisor for."""

    document: Document  # resolved
    seed: int
    replication: int
    port: int
    database: str  # embedded, none or a DSN
    deadline_s: float


def database_of(document: Document, plan: Plan, pool: Pool) -> tuple[str, Wanted]:
    """The name of a pool's database, and what it must be."""
    tables = tuple((table_of(lock.label), lock.keys) for lock in plan.locks)
    processes = plan.server.workers * plan.server.instances
    if pool.database == NO_DATABASE:
        needed = sum(connections(plan, each) for each in plan.pools if each.database == NO_DATABASE)
        return "", Wanted(processes * needed + SPARE, 0, 1000, tables)
    database = plan.databases[pool.database]
    entry = document["databases"][database.label]
    return database.label, Wanted(
        max_connections=entry["max_connections"],
        reserved=entry["reserved"],
        deadlock_timeout_ms=max(1, database.deadlock_timeout_ns // 1_000_000),
        tables=tables,
    )


def connections(plan: Plan, pool: Pool) -> int:
    """Connections of one process, at most: not more than there are requests."""
    requests = sum(min(load.count, UNLIMITED) for load in plan.loads)
    return min(pool.size + pool.overflow, requests)


def server_command(document: Document, plan: Plan, port: int) -> list[str]:
    """The command line of uvicorn or gunicorn."""
    server = plan.server
    backlog = min(server.backlog, BACKLOG_NONE)
    if server.kind is ServerKind.ASGI:
        command = [
            sys.executable, "-m", "uvicorn", f"{__package__}.application:create", "--factory",
            "--host", "127.0.0.1", "--port", str(port), "--workers", str(server.workers),
            "--loop", document["server"]["loop"], "--http", "httptools",
            "--backlog", str(backlog), "--no-access-log", "--log-level", "warning",
            "--timeout-graceful-shutdown", "1",
        ]  # fmt: skip
        if server.limit_concurrency < UNLIMITED:
            command += ["--limit-concurrency", str(server.limit_concurrency)]
        return command
    command = [
        sys.executable, "-m", "gunicorn", f"{__package__}.wsgi:create()",
        "--bind", f"127.0.0.1:{port}", "--workers", str(server.workers),
        "--backlog", str(backlog), "--log-level", "warning", "--graceful-timeout", "1",
        "--no-control-socket",
    ]  # fmt: skip
    if server.kind is ServerKind.SYNC:
        timeout_s = 0 if server.timeout_ns >= NEVER else server.timeout_ns // 10**9
        return [*command, "--worker-class", "sync", "--timeout", str(timeout_s)]
    return [*command, "--worker-class", "gthread", "--threads", str(server.threads)]


def needs_outside(plan: Plan) -> bool:
    """Whether something of the plan is served by a second server."""
    shared = (
        plan.server.workers * plan.server.instances > 1 or plan.server.kind is not ServerKind.ASGI
    )
    return bool(plan.services) or bool(plan.accelerators and shared)


def sockets_of(plan: Plan) -> int:
    """How many open WebSockets the broadcasts of a plan are sent to."""
    return max((step.sockets for step in steps_of(plan) if isinstance(step, Broadcast)), default=0)


def cores_of(plan: Plan, instance: int) -> set[int] | None:
    """The processors of an instance where the scenario limits them; None for all."""
    cores = plan.server.cores
    mine = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if cores >= len(mine):
        return None
    first = instance * cores % len(mine)
    return set((mine + mine)[first : first + cores])
