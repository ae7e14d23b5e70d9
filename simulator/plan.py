"""The plan: what an engine runs. No optional field, no default, no lookup by name.

A scenario, as a person wrote it, resolves to a plan (``simulator.scenario``);
every engine reads only the plan. All references are indices into its tuples, all
times are integer nanoseconds; ``NEVER`` stands for "no timeout" and
``UNLIMITED`` for "no limit". Names are kept as labels for reports alone.
"""

from __future__ import annotations

from enum import IntEnum

from simulator.distributions import Distribution
from simulator.record import dataclass

NEVER = 2**62
"""A time that does not come: the value of a timeout that was not set."""

UNLIMITED = 2**31
"""A limit that is not reached: the value of a size that was not set."""

NO_DATABASE = -1
"""The database index of a pool that meets no connection limit."""

NO_STREAM = -1
"""The stream index of something that is not drawn."""

WARMUP_AUTO = -1
"""The warm-up that the run itself is to show."""


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


class Balancer(IntEnum):
    """Which instance gets a request."""

    ROUND_ROBIN = 0
    RANDOM = 1
    LEAST_CONNECTIONS = 2  # fewest requests in flight; ties: the lowest index
    TWO_CHOICES = 3  # of two drawn at random, the one with fewer in flight


class LoadKind(IntEnum):
    """How requests arrive."""

    BURST = 0
    POISSON = 1
    CONSTANT = 2
    GAMMA = 3  # independent gaps from a gamma distribution
    STAGES = 4  # a rate that goes from one target to the next, as in k6
    RECORDED = 5  # arrival instants from a file
    CLOSED = 6  # users who wait for their answer, think, and ask again


class RateLimitKind(IntEnum):
    """How a service limits its callers."""

    TOKEN_BUCKET = 0  # holds `burst` tokens, starts full, refills at `rate`
    LEAKY_BUCKET = 1  # one every 1/rate
    FIXED_WINDOW = 2  # `limit` in each window; windows start at 0
    SLIDING_WINDOW = 3  # `limit` in any window that ends now


class HttpLibrary(IntEnum):
    """What a process calls a service with."""

    HTTPX = 0
    AIOHTTP = 1


class Target(IntEnum):
    """What a fault strikes."""

    SERVICE = 0
    DATABASE = 1
    ACCELERATOR = 2


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
class Retries:
    """How often to try again, and how long to wait before.

    ``backoff`` holds a stream for each retry: the wait before retry k (from 1) is drawn
    from ``backoff[k - 1]``; empty where nothing is retried.
    """

    backoff: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class With:
    """Take a connection, run the steps, give it back; its row locks end with it.

    ``serializable``: a transaction that loses a row to one that committed after its own
    start fails and, by ``retries``, gives its locks back, waits and runs its steps again
    on the same connection.
    """

    pool: int
    steps: tuple[Step, ...]
    frees_loop: bool
    serializable: bool
    retries: Retries


@dataclass(frozen=True, slots=True)
class Lock:
    """Take a row lock until the innermost ``With`` ends; re-entrant."""

    lock: int
    frees_loop: bool
    shared: bool


@dataclass(frozen=True, slots=True)
class Call:
    """Call a service: its rate limit, its queue, its time; with a timeout and retries."""

    service: int
    frees_loop: bool
    timeout_ns: int  # from the start of an attempt, waiting included
    retries: Retries


@dataclass(frozen=True, slots=True)
class Predict:
    """Queue at an accelerator, be part of a batch, get the answer."""

    accelerator: int
    frees_loop: bool


@dataclass(frozen=True, slots=True)
class Generate:
    """Generate tokens on an accelerator with continuous batching; they are streamed."""

    accelerator: int
    tokens: int  # index into Plan.streams: how many, as a plain number
    frees_loop: bool


@dataclass(frozen=True, slots=True)
class Stream:
    """Send (or receive) chunks: for each one wait ``every``, then compute ``cpu``.

    ``per_chunk_thread``: a sync iterator on an ASGI server takes a token of the limiter for
    each ``next()``, the one that ends it included, and ``every`` holds it. Otherwise the
    waits are the task's own, on its loop, thread or worker.
    """

    chunks: int  # index into Plan.streams: how many, as a plain number
    every: int
    cpu: int
    frees_loop: bool
    per_chunk_thread: bool


@dataclass(frozen=True, slots=True)
class Broadcast:
    """Send one message to n open sockets: loop CPU for each, without a break."""

    sockets: int
    cpu: int  # stream of the CPU time of one send


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


Step = Cpu | Wait | With | Lock | Call | Predict | Generate | Stream | Broadcast | Gather | ToThread


@dataclass(frozen=True, slots=True)
class Route:
    """One handler. ``on_loop`` is true for ``async def`` under an ASGI server."""

    label: str  # as reports print it: "GET /user", or the route's name
    name: str  # its key under `routes:`
    on_loop: bool
    steps: tuple[Step, ...]
    after: tuple[Step, ...]  # background tasks, after the response is sent
    deadline_ns: int  # when the client leaves for good, from the request's first arrival
    priority: int  # at services and accelerators; the lowest number is served first


@dataclass(frozen=True, slots=True)
class Stage:
    """A piece of a load whose rate goes linearly from one value to another."""

    duration_ns: int
    from_rate: tuple[int, int]  # requests per second, numerator and denominator
    to_rate: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Load:
    """One source of arrivals.

    ``count`` bounds the number of requests, ``until_ns`` the instant (exclusive)
    after which none arrives; one of the two is finite. ``rate`` is requests per
    second as an exact fraction (numerator, denominator); (0, 1) where it has none.
    Fields that its kind does not use hold 0, ``NO_STREAM`` or an empty tuple.
    """

    kind: LoadKind
    count: int
    until_ns: int
    rate: tuple[int, int]
    routes: tuple[int, ...]
    weights: tuple[float, ...]  # same length as routes, sums to 1
    cv: float  # GAMMA: coefficient of variation of the gaps
    stages: tuple[Stage, ...]  # STAGES
    evenly: bool  # STAGES: evenly spaced instead of Poisson
    recorded: tuple[tuple[int, int], ...]  # RECORDED: (instant in ns, route), in order
    users: int  # CLOSED
    think: int  # CLOSED: drawn at the index of the request that follows
    ramp_ns: int  # CLOSED: user u begins at ramp · u / users


@dataclass(frozen=True, slots=True)
class Client:
    """Who sends the requests, and what it does when an answer does not come.

    An attempt that times out leaves its work behind in the server; then the client waits
    and sends the request again (same index, next attempt).
    """

    timeout_ns: int  # of one attempt
    retries: Retries  # after a timeout or a failed answer
    latency: int  # stream of the network's one-way time, or NO_STREAM
    kept_connections: int  # open before the first request and kept: 0 for a new one each
    close_delay_ns: int  # how long after the answer it closes (a sync worker waits, up to 2 s)


@dataclass(frozen=True, slots=True)
class Overheads:
    """What the machinery costs beyond the steps, in ns; all 0 is the ideal server."""

    loop_before_ns: int  # loop CPU of a request before its handler starts
    loop_after_ns: int  # loop CPU of a request after its handler ended
    loop_wake_ns: int  # of a loop that paused for 4 ms or more, before its first callback
    refusal_ns: int  # loop CPU of a request that `limit_concurrency` turns away, in place of both
    thread_hop_ns: int  # loop CPU for handing work to a thread
    thread_start_ns: int  # how long the loop waits for each thread that its pool has to start
    first_request_ns: int  # CPU of the first request of each process beyond the others'
    worker_ns: int  # CPU of a sync worker or a server thread per request
    query_cpu_ns: int  # CPU of the driver for a query; `engines.costs` says when
    query_wake_ns: int  # CPU of a driver as the first connection after a pause goes back
    backend_wake_ns: int  # what a query of 4 ms or more is late by, unless it computes
    pool_hold_ns: int  # hold of a connection beyond its use, in every try of a transaction
    lock_hold_ns: int  # hold of row locks beyond their use, before the commit
    connect_ns: int  # opening a connection; CPU of the database's cores
    connect_delay_ns: int  # on idle cores what that is delayed by, in the mean
    connect_refused_ns: int  # being refused one; CPU of the database's cores
    close_ns: int  # closing one
    timer_ns: int  # overshoot of a sleep on the loop, of a batch window that opens when taken
    sleep_ns: int  # overshoot of time.sleep
    client_call_ns: int  # CPU of httpx for every try of a call, before its answer and after
    client_scan_ns: int  # CPU of httpx for each pair of an open connection and a call that waits
    aiohttp_call_ns: int  # CPU of aiohttp for every try of a call, before its answer and after
    aiohttp_connect_ns: int  # CPU of aiohttp for opening a connection


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
    gil_lost_ppm: tuple[int, int, int]  # how often a loop loses it: between turns, reading, writing
    gil_writes_release: bool  # whether the loop lets go of it when it writes (asyncio)
    overheads: Overheads
    connect_delay: int  # stream of what opening a connection is delayed by, or NO_STREAM
    instances: int  # machines behind the balancer, each with `workers` processes
    balancer: Balancer
    cores: int  # of each instance, shared by its processes; UNLIMITED: one for every thread
    backlog: int  # connections that wait to be accepted, per instance; more are dropped
    limit_concurrency: int  # uvicorn: connections of a process at which it answers 503
    timeout_ns: int  # gunicorn: a sync worker busy for longer is killed
    connection_bytes: int  # memory of an open connection
    thread_bytes: int  # resident memory of a thread


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
    hands_over: bool  # one that comes back goes to the longest waiter; else to who takes it first
    gives_back_in_task: bool  # who gives one back in a coroutine goes on after whom it has woken
    begins: bool  # BEGIN is a round trip of its own, before the first query


@dataclass(frozen=True, slots=True)
class Database:
    """A database that refuses connections above its limit."""

    label: str
    connections: int  # max_connections less those reserved
    cores: int  # shared by its queries and the backends that start; UNLIMITED: each has its own
    cores_of_server: bool  # they are those of the server, which is one instance
    queries_compute: bool  # False: they wait for something else, and only backends use the cores
    deadlock_timeout_ns: int  # how long a lock is waited for before a cycle is looked for


@dataclass(frozen=True, slots=True)
class RowLock:
    """Rows, each of which one transaction (or several readers) can hold at a time."""

    label: str
    keys: int  # rows
    pick: int  # stream of the row's number, by index of the request; NO_STREAM: always row 0
    random_grant: bool  # a released row goes to any waiter instead of the longest


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What a service admits per time; waits or rejects what is over."""

    kind: RateLimitKind
    rate: tuple[int, int]  # per second; buckets
    burst: int  # token bucket: tokens when full
    limit: int  # windows: admitted in each
    window_ns: int
    waits: bool


@dataclass(frozen=True, slots=True)
class Service:
    """Something called over the network: a limit, a queue, slots, a time."""

    label: str
    time: int  # stream of its service time
    concurrency: int  # slots
    queue: int  # how many may wait for a slot; more are rejected
    error: int  # stream: 1 where the call fails after its time, else 0; NO_STREAM: never
    limits: tuple[RateLimit, ...]  # none or one
    connections: int  # of the caller's HTTP client, per process (httpx: 100)
    connect_timeout_ns: int  # how long a call waits for one of them (httpx's pool timeout)
    client: HttpLibrary  # of the caller, if it has a limit of connections


@dataclass(frozen=True, slots=True)
class Accelerator:
    """Devices that serve batches, or token by token all that run (continuous batching).

    The time of a batch is ``table_ns[size - 1]`` or, where the table is empty, the draw of
    ``time`` at the number of the batch. With continuous batching every step takes one
    token further all those that run, and its time is found in the same way by how many.
    """

    label: str
    count: int  # devices
    queue: int  # how many may wait; more are rejected
    batch_max: int  # of a batch, or that run at the same time
    wait_ns: int  # how long the first of a batch waits for others; 0: never
    window_taken: bool  # from when an idle device takes it, not from its arrival
    continuous: bool
    table_ns: tuple[int, ...]
    base_ns: int  # base + per_item · size where the table is empty and time is NO_STREAM
    per_item_ns: int
    time: int


@dataclass(frozen=True, slots=True)
class Fault:
    """A window in which something fails every request, or takes longer.

    Holds that begin in [start, end) are stretched by ``slow`` (numerator, denominator);
    with ``outage`` those that begin in it fail at once.
    """

    target: Target
    index: int
    start_ns: int
    end_ns: int
    outage: bool
    slow: tuple[int, int]


@dataclass(frozen=True, slots=True)
class TimeStream:
    """A stream of drawn times, addressed by the index of the request."""

    name: str  # the place in the scenario: "routes.get_user.steps[0].time"
    distribution: Distribution


@dataclass(frozen=True, slots=True)
class Cause:
    """What a part of a request's latency is booked to; the same in every process."""

    kind: str  # "wait" or "hold"
    name: str  # "pool:db", "event loop", "cpu", "query:db"


@dataclass(frozen=True, slots=True)
class Station:
    """Something with slots that requests queue for; the trace records visits to it."""

    kind: str  # "workers" "threads" "event loop" "gil" "cores" "pool" "client" "lock" …
    label: str  # as reports print it: "pool db"; equal in all processes
    process: int  # process (numbered over all instances) or instance; 0 if shared by all
    size: int  # slots; UNLIMITED where it has no limit
    cause: int  # index into Plan.causes: what waiting for it is booked to


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything an engine needs to know, and nothing else.

    Stations stand in plan order, which is also their order among events of one
    instant (law 2): by instance and process, then those shared by all.
    ``simulator.engines.contract`` makes ``stations``, ``causes`` and ``outcomes``,
    so that every engine and every resolver numbers them alike.
    """

    name: str
    seed: int
    server: Server
    pools: tuple[Pool, ...]
    databases: tuple[Database, ...]
    locks: tuple[RowLock, ...]
    services: tuple[Service, ...]
    accelerators: tuple[Accelerator, ...]
    faults: tuple[Fault, ...]
    client: Client
    routes: tuple[Route, ...]
    loads: tuple[Load, ...]
    drain_ns: int  # how long after the last `until_ns` in-flight work may end
    warmup_ns: int  # requests that arrive earlier do not count; WARMUP_AUTO: the run says when
    streams: tuple[TimeStream, ...]
    causes: tuple[Cause, ...]
    outcomes: tuple[str, ...]
    stations: tuple[Station, ...]
