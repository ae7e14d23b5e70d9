"""Documented defaults of real libraries, with their source and version."""

from __future__ import annotations

from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class ServerPreset:
    """What a server does when nothing is configured. ``source`` names the version."""

    kind: str
    source: str


@dataclass(frozen=True, slots=True)
class PoolPreset:
    """What a pool does when nothing is configured; ``min`` None stands for its size."""

    size: int
    overflow: int
    min: int | None
    acquire_timeout: str
    lifo: bool
    hands_over: bool  # to the longest waiter; else a waiter is woken and takes what is there then
    gives_back_in_task: bool  # asyncio.shield: who gives back goes on after whom it has woken
    begins: bool  # the driver sends BEGIN by itself, and waits for its answer
    source: str


SERVERS = {
    "fastapi": ServerPreset(
        "asgi",
        "fastapi 0.165.0 on uvicorn 0.54.0 (uvloop 0.23.0): 1 worker; "
        "anyio 4.16.0: CapacityLimiter(40) for `def`",
    ),
    "flask": ServerPreset("sync", "gunicorn 27.0.1: worker class sync, 1 worker"),
    "django": ServerPreset(
        "threads", "gunicorn 27.0.1: worker class gthread, 1 worker, --threads 1"
    ),
}

THREADS = {"threads": 1, "asgi": 40}
"""Threads of a process by kind: gunicorn's --threads, AnyIO's limiter."""
WORKERS = 1
"""Processes: the default of uvicorn 0.54.0 and of gunicorn 27.0.1."""
SWITCH_INTERVAL = "5ms"
"""CPython's sys.getswitchinterval()."""
GIL_RELEASES_NS = {"uvloop": (3_000, 15_000, 0), "asyncio": (3_000, 15_000, 40_000)}
"""How long a loop with work lets go of the GIL: between turns, in a read, in a write (uvloop
0.23.0: never). Traced in servers beside a computing thread, from the signal in drop_gil to
take_gil: signal and read() or recv() 15 to 25 and 7 µs, signal and send() 25 to 45 µs, between
turns .6 to 6 µs, or 20 if a waiter has to be woken."""
GIL_WAKE = "12us"
"""Mean time from the signal until the woken thread is there. Traced: medians of 10 to 28 µs;
the recorded k = 1 rows fit 10 µs, later ones on the same kind of machine 15 to 30 µs."""

POOLS = {
    "asyncpg": PoolPreset(
        10, 0, None, "none", True, False, True, False,
        "asyncpg 0.32.0 create_pool: min_size 10, max_size 10, no acquire timeout, LIFO",
    ),
    "sqlalchemy": PoolPreset(
        5, 10, 0, "30s", False, False, False, True,
        "SQLAlchemy 2.1.9 QueuePool: pool_size 5, max_overflow 10, timeout 30, FIFO",
    ),
    "psycopg_pool": PoolPreset(
        4, 0, None, "30s", False, True, False, True,
        "psycopg_pool 3.3: min_size 4, max_size None (= min_size), timeout 30, FIFO",
    ),
}  # fmt: skip

CLIENTS = {"httpx": (100, "5s"), "aiohttp": (100, "none")}
"""Connections, and how long a call waits for one: httpx 0.28.1 Limits(max_connections=100)
and Timeout(5.0), whose pool part alone is taken over (not those of connect, read and
write); aiohttp 3.14 TCPConnector(limit=100), whose total timeout of 5 minutes is not."""

BACKLOG = 2048
"""uvicorn 0.54.0 and gunicorn 27.0.1: --backlog."""
SYNC_TIMEOUT = "30s"
"""gunicorn 27.0.1: --timeout, which kills a sync worker that is busy for longer."""
CONNECTION_BYTES = "65KiB"
"""uvicorn 0.54.0: an idle WebSocket with permessage-deflate, the default."""
THREAD_BYTES = "16KiB"
"""CPython 3.11: resident memory of an idle thread; its stack is virtual memory."""

OVERHEADS_SOURCE = (
    "measured on a 2-core Linux VM over loopback: Python 3.11.7, fastapi 0.165.0, "
    "uvicorn 0.54.0, gunicorn 27.0.1, asyncpg 0.32.0, PostgreSQL 15.18, httpx 0.28.1"
)

OVERHEADS = {
    "loop_before": ("280us", "Loop CPU of a request before its handler starts."),
    "loop_after": ("150us", "Loop CPU of a request after its handler ended."),
    "loop_wake": (
        "0s",
        "What a loop that paused for 4 ms or more takes longer for its next callback (cold "
        "caches); after a shorter pause in proportion.",
    ),
    "refusal": (
        "240us",
        "Loop CPU of a request that limit_concurrency turns away, in place of both; default: both.",
    ),
    "thread_hop": ("200us", "Loop CPU for handing work to a thread."),
    "thread_start": ("0s", "How long the loop waits for each thread that its pool has to start."),
    "first_request": ("0s", "CPU of a process's first request beyond the others': its imports."),
    "worker": ("1.2ms", "CPU of a sync worker or a server thread per request."),
    "query_cpu": (
        "0s",
        "CPU of the driver for a query: half before it is sent, half after; where the driver "
        "begins a transaction a quarter before BEGIN, the query and the end, and after that.",
    ),
    "query_wake": (
        "0s",
        "CPU of the driver, beyond `query_cpu`, as the first connection goes back after its loop "
        "paused (its code is cold): for 4 ms or more, after a shorter pause in proportion.",
    ),
    "backend_wake": (
        "0s",
        "How late a query of 4 ms or more answers whose backend sleeps until then (cold caches); a "
        "shorter one in proportion.",
    ),
    "pool_hold": ("1.2ms", "Hold of a connection beyond its use, in every try: BEGIN, the reset."),
    "lock_hold": (
        "2.8ms",
        "Hold of row locks beyond their use: round trips of a transaction's statements, COMMIT.",
    ),
    "connect": ("5.4ms", "Opening a connection."),
    "connect_delay": (
        "0s",
        "What delays the opening of a connection while the database's cores are idle, in the mean; "
        "normal, its standard deviation half of that.",
    ),
    "connect_refused": ("5.4ms", "Being refused a connection; default: as connect."),
    "close": ("3.3ms", "Closing a connection."),
    "timer": (
        "300us",
        "Overshoot of a timer on the loop (uvloop): of a sleep, of a batch window if taken.",
    ),
    "sleep": ("100us", "Overshoot of time.sleep."),
    "client_call": ("4.5ms", "CPU of httpx for a call of a service, before its answer and after."),
    "client_scan": (
        "600ns",
        "CPU of httpx for each open connection times each call that waits for one, whenever a "
        "call comes or ends; half of it for a connection that is still being opened.",
    ),
    "aiohttp_call": ("500us", "CPU of aiohttp for a call, before its answer and after."),
    "aiohttp_connect": ("0s", "CPU of aiohttp for opening a connection, in its first call."),
}
"""By key: the typical value (OVERHEADS_SOURCE) and its meaning.

Of a server that has served before. One that has not (the same software on such a machine):
its first request through AnyIO (a `def` route, a streamed answer) imports AnyIO's backend,
13 modules, 27 to 50 ms, one that needs none of it takes 3 to 6 ms more than the next; each
`Thread.start()` waits until the thread runs, .3 to 1.2 ms among 40. `refusal` was not measured
there: on another such machine it took .56 of what a request took; `loop_wake` neither: .7 to .9 ms
on another, part of `timer`, `sleep` and `pool_hold` here. What `query_cpu`, `query_wake`,
`backend_wake`, `connect_refused` and `aiohttp_connect` stand for is part of `pool_hold`, `connect`
and `aiohttp_call` there; `connect_delay` was not noted. (300 forks at once took 1.17 s there on two
cores, their refusals included; `sim calibrate` tells the two apart: 3.3 and 2 ms of a core on that
other machine.)
"""

OVERHEADS_OF_OTHERS = {
    "refusal": ("loop_before", "loop_after"),
    "connect_refused": ("connect",),
}
"""Where one is not given it is the sum of these."""
