"""What every engine agrees on: phases of an instant, numbering, outcomes, limits.

The order of events (law 2) is (time, phase, owner, part). The owner is the index
of a station, or the number of stations plus the index of the request. The part is
(branch, attempt, number): the preorder number of the gather branch in its route,
the attempt, and a count of the events that this task has scheduled.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from simulator.plan import (
    UNLIMITED,
    Accelerator,
    Cause,
    Database,
    HttpLibrary,
    Plan,
    Pool,
    RowLock,
    Server,
    ServerKind,
    Service,
    Station,
    With,
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
ASKED_PER_INSTANT_MAX = 1_000
"""How often one user of an endless load may ask at one instant; more never ends."""
TIME_MAX_NS = 2**61
"""The furthest instant that a run may reach, about 73 years."""

CLIENT_KEEPS = 20
"""httpx 0.28: ``Limits(max_keepalive_connections=20)``; how many idle connections it keeps."""

# Causes, numbered alike in every plan: these, then those of each pool, and so on.
ACCEPT_QUEUE, EVENT_LOOP, THREADS, GIL, CORE, BACKLOG, BACKOFF = range(7)  # waits
FRAMEWORK, CPU, AWAIT, BLOCK, NETWORK, STREAM = range(7, 13)  # holds
_FIXED_CAUSES = (
    Cause("wait", "accept queue"),
    Cause("wait", "event loop"),
    Cause("wait", "threads"),
    Cause("wait", "gil"),
    Cause("wait", "core"),
    Cause("wait", "backlog"),
    Cause("wait", "backoff"),
    Cause("hold", "framework"),
    Cause("hold", "cpu"),
    Cause("hold", "await"),
    Cause("hold", "block"),
    Cause("hold", "network"),
    Cause("hold", "stream"),
)
_POOL_CAUSES = (("wait", "pool"), ("hold", "query"), ("hold", "connection"))
_DATABASE_CAUSES = (("wait", "database cores"),)
_LOCK_CAUSES = (("wait", "lock"),)
_SERVICE_CAUSES = (
    ("wait", "client"),
    ("wait", "rate limit"),
    ("wait", "service"),
    ("hold", "call"),
)
_ACCELERATOR_CAUSES = (("wait", "batch"), ("hold", "accelerator"))

# Outcomes, likewise.
OK, IN_FLIGHT, NOT_STARTED = 0, 1, 2
CLIENT_TIMEOUT, DEADLINE, CONNECT_TIMEOUT, LIMIT_CONCURRENCY, WORKER_TIMEOUT = range(3, 8)
DEADLOCK_DETECTED, SERIALIZATION_FAILURE = 8, 9
_FIXED_OUTCOMES = (
    "ok",
    "in_flight",
    "not_started",
    "client_timeout",
    "deadline",
    "connect_timeout",
    "limit_concurrency",
    "worker_timeout",
    "deadlock_detected",
    "serialization_failure",
)
_POOL_OUTCOMES = ("pool_timeout",)
_DATABASE_OUTCOMES = ("too_many_connections", "database_error")
_SERVICE_OUTCOMES = (
    "client_pool_timeout",
    "rate_limited",
    "service_full",
    "call_timeout",
    "service_error",
)
_ACCELERATOR_OUTCOMES = ("accelerator_full", "accelerator_error")


class LimitError(Exception):
    """A named limit was reached; the message names it and says what to change."""


class EngineError(Exception):
    """A bug in an engine; the message carries the seed and the command to repeat."""


def limit_requests(requests: int) -> None:
    """Raise ``LimitError`` if these are too many requests for one run."""
    if requests > REQUESTS_MAX:
        raise LimitError(
            f"{requests} requests, more than REQUESTS_MAX = {REQUESTS_MAX}; "
            "lower the rate, the users, the time or the count"
        )


def limit_asked(asked: int, now_ns: int) -> None:
    """Raise ``LimitError`` if a user who has asked so often at one instant would never end."""
    if asked > ASKED_PER_INSTANT_MAX:
        raise LimitError(
            f"a user asks more than {ASKED_PER_INSTANT_MAX} times at {now_ns} ns "
            "(ASKED_PER_INSTANT_MAX): the answers, or refusals, take no time, and nobody thinks; "
            "give the load a think, the client a latency or the steps a time"
        )


class Engine(Protocol):
    """The one seam: a plan and its randomness in, one row per request out."""

    def __call__(
        self, plan: Plan, workload: Workload, *, progress: Callable[[int], None] = ...
    ) -> Trace: ...


class Parts(Protocol):
    """What causes, outcomes and stations are made for: a plan, or one in the making."""

    @property
    def server(self) -> Server: ...
    @property
    def pools(self) -> tuple[Pool, ...]: ...
    @property
    def databases(self) -> tuple[Database, ...]: ...
    @property
    def locks(self) -> tuple[RowLock, ...]: ...
    @property
    def services(self) -> tuple[Service, ...]: ...
    @property
    def accelerators(self) -> tuple[Accelerator, ...]: ...


def wait_for_pool(pool: int) -> int:
    """Index of the cause "waiting for a connection of this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool


def hold_query(pool: int) -> int:
    """Index of the cause "a query on a connection of this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool + 1


def hold_connect(pool: int) -> int:
    """Index of the cause "opening, resetting or closing a connection of this pool"."""
    return len(_FIXED_CAUSES) + 3 * pool + 2


def wait_for_database_core(parts: Parts, database: int) -> int:
    """Index of the cause "waiting for a core of this database"."""
    return len(_FIXED_CAUSES) + 3 * len(parts.pools) + database


def wait_for_core_of(parts: Parts, database: int) -> int:
    """Index of the cause "waiting for a core" of a query: the server's where they are shared."""
    if parts.databases[database].cores_of_server:
        return CORE
    return wait_for_database_core(parts, database)


def wait_for_lock(parts: Parts, lock: int) -> int:
    """Index of the cause "waiting for this row lock"."""
    return wait_for_database_core(parts, len(parts.databases)) + lock


def wait_for_client(parts: Parts, service: int) -> int:
    """Index of the cause "waiting for a connection of the HTTP client to this service"."""
    return wait_for_lock(parts, len(parts.locks)) + 4 * service


def wait_for_rate_limit(parts: Parts, service: int) -> int:
    """Index of the cause "held back by this service's rate limit"."""
    return wait_for_client(parts, service) + 1


def wait_for_service(parts: Parts, service: int) -> int:
    """Index of the cause "waiting for a slot of this service"."""
    return wait_for_client(parts, service) + 2


def hold_call(parts: Parts, service: int) -> int:
    """Index of the cause "being served by this service"."""
    return wait_for_client(parts, service) + 3


def wait_for_batch(parts: Parts, accelerator: int) -> int:
    """Index of the cause "waiting for a device, or for the batch to fill"."""
    return wait_for_client(parts, len(parts.services)) + 2 * accelerator


def hold_accelerator(parts: Parts, accelerator: int) -> int:
    """Index of the cause "in a batch on a device"."""
    return wait_for_batch(parts, accelerator) + 1


def pool_timeout(pool: int) -> int:
    """Index of the outcome "no connection of this pool within its timeout"."""
    return len(_FIXED_OUTCOMES) + pool


def connection_refused(parts: Parts, database: int) -> int:
    """Index of the outcome "this database refused a connection"."""
    return len(_FIXED_OUTCOMES) + len(parts.pools) + 2 * database


def database_error(parts: Parts, database: int) -> int:
    """Index of the outcome "this database was out"."""
    return connection_refused(parts, database) + 1


def queries_share(database: Database) -> bool:
    """Whether the queries of a database share its cores."""
    return database.cores < UNLIMITED and database.queries_compute


AT_ONCE, ON_LOOP, IN_THREAD = range(3)
"""When one who was woken runs: ``models.connection_pool.Runs``."""


def runs_when_woken(plan: Plan, step: With) -> int:
    """When who waits for a connection goes on and takes it."""
    if plan.pools[step.pool].hands_over:
        return AT_ONCE
    if step.frees_loop:
        return ON_LOOP
    return IN_THREAD if plan.server.gil else AT_ONCE


def timeout_restarts(service: Service) -> bool:
    """Whether a wait for a connection begins anew when one comes free (``models.service``)."""
    return service.client == HttpLibrary.HTTPX and service.connections <= CLIENT_KEEPS


def service_outcome(parts: Parts, service: int, reason: str) -> int:
    """Index of the outcome of a call that failed, by its reason.

    Raises
    ------
    ValueError
        If there is no such reason.
    """
    first = connection_refused(parts, len(parts.databases))
    return first + len(_SERVICE_OUTCOMES) * service + _SERVICE_OUTCOMES.index(reason)


def accelerator_outcome(parts: Parts, accelerator: int, reason: str) -> int:
    """Index of the outcome of a prediction that failed, by its reason.

    Raises
    ------
    ValueError
        If there is no such reason.
    """
    first = connection_refused(parts, len(parts.databases))
    first += len(_SERVICE_OUTCOMES) * len(parts.services)
    return first + len(_ACCELERATOR_OUTCOMES) * accelerator + _ACCELERATOR_OUTCOMES.index(reason)


def numbered(plan: Plan) -> Plan:
    """The plan with the causes, outcomes and stations that its parts make."""
    return replace(plan, causes=causes(plan), outcomes=outcomes(plan), stations=stations(plan))


def causes(parts: Parts) -> tuple[Cause, ...]:
    """All causes of a plan, in their order."""
    groups = (
        (parts.pools, _POOL_CAUSES),
        (parts.databases, _DATABASE_CAUSES),
        (parts.locks, _LOCK_CAUSES),
        (parts.services, _SERVICE_CAUSES),
        (parts.accelerators, _ACCELERATOR_CAUSES),
    )
    out = list(_FIXED_CAUSES)
    for members, kinds in groups:
        out += [Cause(kind, f"{word}:{m.label}") for m in members for kind, word in kinds]
    return tuple(out)


def outcomes(parts: Parts) -> tuple[str, ...]:
    """All outcomes of a plan, in their order."""
    groups = (
        (parts.pools, _POOL_OUTCOMES),
        (parts.databases, _DATABASE_OUTCOMES),
        (parts.services, _SERVICE_OUTCOMES),
        (parts.accelerators, _ACCELERATOR_OUTCOMES),
    )
    out = list(_FIXED_OUTCOMES)
    for members, reasons in groups:
        out += [f"{reason}:{m.label}" for m in members for reason in reasons]
    return tuple(out)


def stations(parts: Parts) -> tuple[Station, ...]:
    """All stations of a plan, in plan order: by instance and process, then the shared ones."""
    server = parts.server
    out: list[Station] = []
    for instance in range(server.instances):
        if server.cores < UNLIMITED:
            out.append(Station("cores", "cores", instance, server.cores, CORE))
        if server.kind is ServerKind.SYNC:
            out.append(Station("workers", "workers", instance, server.workers, ACCEPT_QUEUE))
        for worker in range(server.workers):
            out += _of_process(parts, instance * server.workers + worker)
    for i, lock in enumerate(parts.locks):
        cause = wait_for_lock(parts, i)
        out.append(Station("lock", f"lock {lock.label}", 0, lock.keys, cause))
    for i, database in enumerate(parts.databases):
        # A database refuses instead of queueing: a visit is an open connection.
        label = f"database {database.label}"
        out.append(Station("database", label, 0, database.connections, ACCEPT_QUEUE))
        if database.cores < UNLIMITED and not database.cores_of_server:
            cause = wait_for_database_core(parts, i)
            label = f"database cores {database.label}"
            out.append(Station("cores", label, 0, database.cores, cause))
    for i, service in enumerate(parts.services):
        if service.limits:
            # It has no slots: a visit is the wait for being let through.
            cause = wait_for_rate_limit(parts, i)
            out.append(Station("rate limit", f"rate limit {service.label}", 0, UNLIMITED, cause))
        cause = wait_for_service(parts, i)
        out.append(Station("service", f"service {service.label}", 0, service.concurrency, cause))
    for i, accelerator in enumerate(parts.accelerators):
        # A slot is a place in a batch: device · batch_max + place.
        size = min(accelerator.count * accelerator.batch_max, UNLIMITED)
        label = f"accelerator {accelerator.label}"
        out.append(Station("accelerator", label, 0, size, wait_for_batch(parts, i)))
    return tuple(out)


def _of_process(parts: Parts, process: int) -> list[Station]:
    server = parts.server
    out: list[Station] = []
    if server.kind is ServerKind.THREADS:
        out.append(Station("threads", "threads", process, server.threads, ACCEPT_QUEUE))
    if server.kind is ServerKind.ASGI:
        out.append(Station("event loop", "event loop", process, 1, EVENT_LOOP))
        out.append(Station("threads", "threads", process, server.threads, THREADS))
    if server.gil:
        out.append(Station("gil", "gil", process, 1, GIL))
    for i, pool in enumerate(parts.pools):
        slots = min(pool.size + pool.overflow, UNLIMITED)
        out.append(Station("pool", f"pool {pool.label}", process, slots, wait_for_pool(i)))
    for i, service in enumerate(parts.services):
        if service.connections < UNLIMITED:
            label = f"client {service.label}"
            cause = wait_for_client(parts, i)
            out.append(Station("client", label, process, service.connections, cause))
    return out
