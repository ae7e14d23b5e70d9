"""What is asked of the supervisor, and the command line of the real server."""

from __future__ import annotations

import sys

from simulator.calibration.served.postgres import Wanted
from simulator.calibration.served.spec import Document
from simulator.calibration.served.written import table_of
from simulator.plan import NO_DATABASE, UNLIMITED, Plan, Pool, ServerKind
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
    raise NotImplementedError
