"""What every engine agrees on: phases of an instant, numbering, outcomes, limits.

The order of events (law 2) is (time, phase, owner, part). The owner is the index
of a station, or the number of stations plus the index of the request. The part is
(branch, attempt, number): the preorder number of the gather branch in its route,
the attempt, and a count of the events that this task has scheduled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from simulator.plan import (
    UNLIMITED,
    Cause,
    Database,
    Plan,
    Pool,
    RowLock,
    Server,
    ServerKind,
    Station,
)
from simulator.trace import Trace
from simulator.workload import Workload

PHASE_END = 0
"""The end of a hold: a query, a sleep, a computation."""
PHASE_TIMER = 1
"""A timeout, a backoff, a quantum, a batch window, a refill."""
PHASE_ARRIVAL = 2
"""An arrival from outside: a request, a retry, the end of thinking."""

REQUESTS_MAX = 10_000_000
"""Requests in one run."""
EVENTS_PER_INSTANT_MAX = 50_000_000
"""Events at one instant; more is a livelock."""
TIME_MAX_NS = 2**61
"""The furthest instant that a run may reach, about 73 years."""

# Causes, numbered alike in every plan.
ACCEPT_QUEUE, EVENT_LOOP, THREADS, GIL = 0, 1, 2, 3  # waits
FRAMEWORK, CPU, AWAIT, BLOCK = 4, 5, 6, 7  # holds
_FIXED_CAUSES = (
    Cause("wait", "accept queue"),
    Cause("wait", "event loop"),
    Cause("wait", "threads"),
    Cause("wait", "gil"),
    Cause("hold", "framework"),
    Cause("hold", "cpu"),
    Cause("hold", "await"),
    Cause("hold", "block"),
)

# Outcomes, likewise.
OK, IN_FLIGHT, NOT_STARTED = 0, 1, 2
_FIXED_OUTCOMES = ("ok", "in_flight", "not_started")


class LimitError(Exception):
    """A named limit was reached; the message names it and says what to change."""


class EngineError(Exception):
    """A bug in an engine; the message carries the seed and the command to repeat."""


class Engine(Protocol):
    """The one seam: a plan and its randomness in, one row per request out."""

    def __call__(
        self, plan: Plan, workload: Workload, *, progress: Callable[[int], None] = ...
    ) -> Trace: ...


def wait_for_pool(pool: int) -> int:
    """Index of the cause "waiting for a connection of this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool


def hold_query(pool: int) -> int:
    """Index of the cause "a query on a connection of this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool + 1


def hold_connect(pool: int) -> int:
    """Index of the cause "connecting, resetting or closing for this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool + 2


def wait_for_lock(pools: int, lock: int) -> int:
    """Index of the cause "waiting for this row lock", in a plan of so many pools."""
    return len(_FIXED_CAUSES) + 3 * pools + lock


def pool_timeout(pool: int) -> int:
    """Index of the outcome "no connection of this pool within its timeout"."""
    return len(_FIXED_OUTCOMES) + pool


def connection_refused(pools: int, database: int) -> int:
    """Index of the outcome "this database refused a connection"."""
    return len(_FIXED_OUTCOMES) + pools + database


def causes(pools: tuple[Pool, ...], locks: tuple[RowLock, ...]) -> tuple[Cause, ...]:
    """All causes of a plan, in their order."""
    out = list(_FIXED_CAUSES)
    for pool in pools:
        out += [
            Cause("wait", f"pool:{pool.label}"),
            Cause("hold", f"query:{pool.label}"),
            Cause("hold", f"connect:{pool.label}"),
        ]
    return tuple(out + [Cause("wait", f"lock:{lock.label}") for lock in locks])


def outcomes(pools: tuple[Pool, ...], databases: tuple[Database, ...]) -> tuple[str, ...]:
    """All outcomes of a plan, in their order."""
    return (
        *_FIXED_OUTCOMES,
        *(f"pool_timeout:{pool.label}" for pool in pools),
        *(f"too_many_connections:{database.label}" for database in databases),
    )


def stations(
    server: Server,
    pools: tuple[Pool, ...],
    databases: tuple[Database, ...],
    locks: tuple[RowLock, ...],
) -> tuple[Station, ...]:
    """All stations of a plan, in plan order: by process, then the shared ones."""
    out: list[Station] = []
    if server.kind is ServerKind.SYNC:
        out.append(Station("workers", "workers", 0, server.workers, ACCEPT_QUEUE))
    for process in range(server.workers):
        if server.kind is ServerKind.THREADS:
            out.append(Station("threads", "threads", process, server.threads, ACCEPT_QUEUE))
        if server.kind is ServerKind.ASGI:
            out.append(Station("event loop", "event loop", process, 1, EVENT_LOOP))
            out.append(Station("threads", "threads", process, server.threads, THREADS))
        if server.gil:
            out.append(Station("gil", "gil", process, 1, GIL))
        for i, pool in enumerate(pools):
            slots = min(pool.size + pool.overflow, UNLIMITED)
            out.append(Station("pool", f"pool {pool.label}", process, slots, wait_for_pool(i)))
    for i, lock in enumerate(locks):
        out.append(Station("lock", f"lock {lock.label}", 0, 1, wait_for_lock(len(pools), i)))
    for database in databases:
        # A database refuses instead of queueing: a visit is an open connection.
        label = f"database {database.label}"
        out.append(Station("database", label, 0, database.connections, ACCEPT_QUEUE))
    return tuple(out)
