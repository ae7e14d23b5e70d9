"""The costs that all replays use: one set, the preset `overheads: typical`, never one per case.

Each value stands beside what was measured, on the machine of the recorded runs. A test
holds the preset to this table.
"""

from __future__ import annotations

SOURCES = {
    "loop_before": (
        "280us",
        "async def + asyncio.sleep, 100 at once: the loop is one server, about .28 ms before …",
    ),
    "loop_after": ("150us", "… and .1 to .2 ms after the handler of each request"),
    "thread_hop": (
        "200us",
        "CPU per request, 16 clients: async .23 to .25 ms, def .42 to .46: each hop .2 ms",
    ),
    "worker": (
        "1.2ms",
        "gunicorn sync, sleep .25, 3 and 20 at once: +1.3 ms each, the .1 ms of time.sleep in it",
    ),
    "pool_hold": (
        "1.2ms",
        "asyncpg pool of 5, 100 × .1 s: the hold is s + 1.1 to 1.5 ms (overshoot of pg_sleep, "
        "the reset's round trip, the loop)",
    ),
    "lock_hold": (
        "2.8ms",
        "a row lock held .1 s by 20 in turn: 2.057 s, +2.8 ms a turn",
    ),
    "connect": ("5.4ms", "asyncpg.connect per request: connect 5.4 ms, first query .95 …"),
    "close": ("3.3ms", "… close 3.3 ms"),
    "timer": ("300us", "timers: uvloop's sleep of 20 ms +.28, of 250 ms +.49 …"),
    "sleep": ("100us", "… time.sleep +.1 ms"),
    "client_call": (
        "4.5ms",
        "httpx, a few calls: 4 to 5 ms of CPU each (four one after another 3.9: 235.8 ms for "
        "services of 220; four at once 4.9); of 100 at once on a fresh client 2",
    ),
    "client_scan": (
        "600ns",
        "httpx, 200 calls at once through 100 connections, fresh: 4.6 ms of CPU each for 5,075 "
        "pairs of a connection and a call that waits, 2.3 without: .45 us; its makespan has .34. "
        "Two of three are with a connection that is open; with one that is not, a pair is half",
    ),
    "aiohttp_call": (
        "500us",
        "aiohttp, 200 calls at once: 1.8 to 2.2 ms for four, loop's .43 in it",
    ),
}
"""By key of `server.overheads`: the value, and the measurement it comes from."""

UNKNOWN = {
    "query_cpu": "0s",
    "loop_wake": "0s",
    "query_wake": "0s",
    "backend_wake": "0s",
    "aiohttp_connect": "0s",
    "connect_delay": "0s",
    "connect_refused": "5.4ms",
    "refusal": "240us",
}
"""Not measured there: part of ``pool_hold`` and ``aiohttp_call``, as ``connect``, and .56 of a
request as on another such machine (no recorded run has one)."""

COLD = {
    "first_request": (
        "28ms",
        "the first request of a uvicorn that uses AnyIO imports its backend: a `def` route 28, 28, "
        "43 ms, of which its second takes 1; a streamed answer 34, 40, 51",
    ),
    "thread_start": (
        "800us",
        "40 blocking calls at once, AnyIO's threads not yet started: 28 to 45 ms more than "
        "when they are there",
    ),
}
"""What a server that has not served yet takes on top, measured on another day than the runs."""
