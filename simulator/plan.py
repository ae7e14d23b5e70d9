"""The plan: what an engine runs. No optional field, no default, no lookup by name.

A scenario, as a person wrote it, resolves to a plan (``simulator.scenario``);
every engine reads only the plan. All references are indices into its tuples, all
times are integer nanoseconds; ``NEVER`` stands for "no timeout" and
``UNLIMITED`` for "no limit". Names are kept as labels for reports alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from simulator.distributions import Distribution

NEVER = 2**62
"""A time that does not come: the value of a timeout that was not set."""

UNLIMITED = 2**31
"""A limit that is not reached: the value of a size that was not set."""

NO_DATABASE = -1
"""The database index of a pool that meets no connection limit."""


class ServerKind(IntEnum):
    """Which server model runs the handlers."""

    SYNC = 0  # pre-fork, one request per process, workers pull from one queue
    THREADS = 1  # a process pushes what it accepted to its own threads
    ASGI = 2  # an event loop per process, and a limiter of threads for `def`


class Accept(IntEnum):
    """Which process gets an arriving connection (not used by SYNC: its workers pull)."""

    ROUND_ROBIN = 0
    RANDOM = 1
    WEIGHTS = 2


class LoadKind(IntEnum):
    """How requests arrive."""

    BURST = 0
    POISSON = 1
    CONSTANT = 2


@dataclass(frozen=True, slots=True)
class Cpu:
    """Compute: holds the loop or the thread, the GIL (unless released) and a core."""

    time: int  # index into Plan.streams
    cause: int  # index into Plan.causes: what the time is booked to
    releases_gil: bool


@dataclass(frozen=True, slots=True)
class Wait:
    """Let time pass: a sleep, a query on a connection that is held already.

    ``frees_loop`` is true where the code awaits on an event loop; where it is
    false the thread, the worker or the whole loop is held meanwhile.
    """

    time: int
    cause: int
    frees_loop: bool


@dataclass(frozen=True, slots=True)
class With:
    """Take a connection, run the steps, give it back; its row locks end with it."""

    pool: int
    steps: tuple[Step, ...]
    frees_loop: bool


@dataclass(frozen=True, slots=True)
class Lock:
    """Take an exclusive row lock until the innermost ``With`` ends; re-entrant."""

    lock: int
    frees_loop: bool


@dataclass(frozen=True, slots=True)
class Branch:
    """One branch of a gather. ``number`` is its preorder number in the route, from 1."""

    number: int
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Run the branches at the same time; go on when all have ended or one failed."""

    branches: tuple[Branch, ...]


@dataclass(frozen=True, slots=True)
class ToThread:
    """Run the steps in a thread of the limiter; the loop is free meanwhile."""

    steps: tuple[Step, ...]


Step = Cpu | Wait | With | Lock | Gather | ToThread


@dataclass(frozen=True, slots=True)
class Route:
    """One handler. ``on_loop`` is true for ``async def`` under an ASGI server."""

    label: str  # as reports print it: "GET /user", or the route's name
    name: str  # its key under `routes:`
    on_loop: bool
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """One source of open-loop arrivals, drawn by the workload before a run.

    ``count`` bounds the number of requests, ``until_ns`` the instant (exclusive)
    after which none arrives; one of the two is finite. ``rate`` is requests per
    second as an exact fraction (numerator, denominator); (0, 1) for a burst.
    """

    kind: LoadKind
    count: int
    until_ns: int
    rate: tuple[int, int]
    routes: tuple[int, ...]
    weights: tuple[float, ...]  # same length as routes, sums to 1


@dataclass(frozen=True, slots=True)
class Overheads:
    """What the machinery costs beyond the steps, in ns; all 0 is the ideal server."""

    loop_before_ns: int  # loop CPU of a request before its handler starts
    loop_after_ns: int  # loop CPU of a request after its handler ended
    thread_hop_ns: int  # loop CPU for handing work to a thread
    worker_ns: int  # CPU of a sync worker or a server thread per request
    pool_hold_ns: int  # hold of a connection beyond its use: the reset on release
    connect_ns: int  # opening a connection
    close_ns: int  # closing one
    timer_ns: int  # overshoot of a sleep


@dataclass(frozen=True, slots=True)
class Server:
    """The server: kind, processes, threads, and how it shares the GIL."""

    kind: ServerKind
    workers: int  # processes
    threads: int  # per process: server threads, or tokens of AnyIO's limiter
    accept: Accept
    accept_weights: tuple[float, ...]  # one per worker, sums to 1
    gil: bool  # True where threads of one process can contend for a GIL
    gil_fifo: bool  # hand-over in order of waiting instead of at random
    switch_interval_ns: int
    gil_takes_per_turn: int  # how often a loop takes the GIL in one turn (uvloop: 2)
    overheads: Overheads


@dataclass(frozen=True, slots=True)
class Pool:
    """A connection pool; one of these exists in every worker process."""

    label: str
    size: int
    overflow: int
    min: int  # connections opened when the process starts
    acquire_timeout_ns: int
    database: int  # index into Plan.databases, or NO_DATABASE
    lifo: bool  # which idle connection is taken first


@dataclass(frozen=True, slots=True)
class Database:
    """A database that refuses connections above its limit."""

    label: str
    connections: int  # max_connections less those reserved


@dataclass(frozen=True, slots=True)
class RowLock:
    """A row that one transaction at a time can hold."""

    label: str


@dataclass(frozen=True, slots=True)
class TimeStream:
    """A stream of drawn times, addressed by the index of the request."""

    name: str  # the place in the scenario: "routes.get_user.steps[0].time"
    distribution: Distribution


@dataclass(frozen=True, slots=True)
class Cause:
    """What a part of a request's latency is booked to."""

    kind: str  # "wait" or "hold"
    name: str  # "pool:db", "event loop", "cpu", "query:db"


@dataclass(frozen=True, slots=True)
class Station:
    """Something with slots that requests queue for; the trace records visits to it."""

    kind: str  # "workers" "threads" "event loop" "gil" "pool" "lock"
    label: str  # as reports print it: "pool db"; equal in all processes
    process: int  # the worker process it belongs to; 0 where it is shared by all
    size: int  # slots; UNLIMITED where it has no limit
    cause: int  # index into Plan.causes: what waiting for it is booked to


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an engine needs to know, and nothing else.

    Stations stand in plan order, which is also their order among events of one
    instant (law 2): for each process its workers or threads, its loop, its GIL, its
    pools; then the locks. ``simulator.engines.contract.layout`` builds
    ``stations``, ``causes`` and ``outcomes`` so that every engine and every
    resolver numbers them alike.
    """

    name: str
    seed: int
    server: Server
    pools: tuple[Pool, ...]
    databases: tuple[Database, ...]
    locks: tuple[RowLock, ...]
    routes: tuple[Route, ...]
    loads: tuple[Load, ...]
    drain_ns: int  # how long after the last `until_ns` in-flight work may end
    streams: tuple[TimeStream, ...]
    causes: tuple[Cause, ...]
    outcomes: tuple[str, ...]
    stations: tuple[Station, ...]
