"""From the human document to the plan: defaults, what frees the loop, who contends."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.distributions import Constant, Lognormal, Mixture
from simulator.engines import contract
from simulator.plan import (
    NEVER,
    UNLIMITED,
    Accept,
    Branch,
    Cpu,
    Gather,
    LoadKind,
    Lock,
    Plan,
    Pool,
    Retries,
    ServerKind,
    Step,
    ToThread,
    Wait,
    With,
)
from simulator.scenario import loads


def taking(pool: int, steps: tuple[Step, ...], frees_loop: bool) -> With:
    return With(pool, steps, frees_loop, False, Retries(()))


def plan(steps: str, handler: str = "async def", rest: str = "", **sections: str) -> Plan:
    load = sections.get("load", "{requests: 10, at: once}")
    return loads(
        f"load: {load}\nserver: {sections.get('server', '{}')}\n{rest}\n"
        "pools: {db: {}, slow: {driver: blocking}}\nlocks: {row: {}}\n"
        f"routes: {{a: {{handler: {handler}, steps: {steps}}}}}\n"
    ).plan


def test_query_takes_a_connection_for_its_time() -> None:
    made = plan("[{query: db, time: 5s}]")
    assert made.routes[0].steps == (taking(0, (Wait(0, contract.hold_query(0), True),), True),)
    assert made.streams[0].name == "routes.a.steps[0].time"
    assert made.streams[0].distribution == Constant(5 * 10**9)


def test_query_inside_with_uses_the_held_connection() -> None:
    made = plan("[{with: db, do: [{lock: row}, {query: db, time: 5s}, {query: slow, time: 1s}]}]")
    assert made.routes[0].steps == (
        taking(
            0,
            (
                Lock(0, True, False),
                Wait(0, contract.hold_query(0), True),
                taking(1, (Wait(1, contract.hold_query(1), False),), False),
            ),
            True,
        ),
    )


def test_nothing_frees_the_loop_in_def() -> None:
    made = plan("[{block: 1s}, {query: db, time: 5s}]", "def")
    assert not made.routes[0].on_loop
    assert made.routes[0].steps == (
        Wait(0, contract.BLOCK, False),
        taking(0, (Wait(1, contract.hold_query(0), False),), False),
    )


def test_branches_are_numbered_in_preorder() -> None:
    made = plan("[{gather: [{gather: [{await: 1s}, {await: 2s}]}, {await: 3s}]}]")
    names = [stream.name for stream in made.streams]
    assert names == [
        "routes.a.steps[0].gather[0][0].gather[0][0].await",
        "routes.a.steps[0].gather[0][0].gather[1][0].await",
        "routes.a.steps[0].gather[1][0].await",
    ]
    wait = [Wait(i, contract.AWAIT, True) for i in range(3)]
    inner = Gather((Branch(2, (wait[0],)), Branch(3, (wait[1],))))
    assert made.routes[0].steps == (Gather((Branch(1, (inner,)), Branch(4, (wait[2],)))),)


def test_to_thread_frees_nothing_inside() -> None:
    made = plan("[{to_thread: [{query: db, time: 5s}, {cpu: 1ms}]}]")
    assert made.routes[0].steps == (
        ToThread(
            (
                taking(0, (Wait(0, contract.hold_query(0), False),), False),
                Cpu(1, contract.CPU, False),
            )
        ),
    )


@pytest.mark.parametrize(
    ("server", "handler", "steps", "contended"),
    [
        ("{}", "async def", "[{cpu: 1ms}]", False),
        ("{}", "def", "[{cpu: 1ms}]", True),
        ("{}", "def", "[{block: 1ms}]", False),
        ("{}", "def", "[{cpu: {time: 1ms, releases_gil: true}}]", False),
        ("{}", "async def", "[{to_thread: [{with: db, do: [{cpu: 1ms}]}]}]", True),
        ("{}", "async def", "[{gather: [{to_thread: [{cpu: 1ms}]}]}]", True),
        ("{gil: false}", "def", "[{cpu: 1ms}]", False),
        ("{kind: threads}", "def", "[{cpu: 1ms}]", False),
        ("{kind: threads, threads: 2}", "def", "[{cpu: 1ms}]", True),
        ("{kind: sync}", "def", "[{cpu: 1ms}]", False),
    ],
)
def test_gil_is_there_only_where_threads_contend(
    server: str, handler: str, steps: str, contended: bool
) -> None:
    made = plan(steps, handler, server=server)
    assert made.server.gil is contended
    assert any(station.kind == "gil" for station in made.stations) is contended


def test_presets() -> None:
    assert plan("[]").server.kind is ServerKind.ASGI
    assert plan("[]").server.threads == 40
    assert plan("[]", "def", server="{preset: flask}").server.kind is ServerKind.SYNC
    gthread = plan("[]", "def", server="{preset: django, threads: 8}").server
    assert (gthread.kind, gthread.threads) == (ServerKind.THREADS, 8)


def test_how_often_a_loop_loses_the_gil_follows_from_how_long_a_woken_thread_takes() -> None:
    """1 - exp(-3/12), 1 - exp(-15/12) and 1 - exp(-40/12); uvloop's writes keep it."""
    server = plan("[]").server
    assert server.gil_lost_ppm == (221_199, 713_495, 0)
    assert not server.gil_writes_release
    server = plan("[]", server="{loop: asyncio}").server
    assert server.gil_lost_ppm == (221_199, 713_495, 964_326)
    assert server.gil_writes_release
    assert plan("[]", server="{gil: {wake: 0s}}").server.gil_lost_ppm == (10**6, 10**6, 10**6)
    assert plan("[]", server="{gil: {wake: 1h}}").server.gil_lost_ppm == (0, 0, 0)


def test_pool_presets() -> None:
    text = (
        "load: {requests: 1, at: once}\n"
        "pools: {a: {size: 50}, b: {preset: sqlalchemy}, c: {preset: psycopg_pool}}\n"
        "routes: {r: {handler: def, steps: []}}\n"
    )
    assert loads(text).plan.pools == (
        Pool("a", 50, 0, 50, NEVER, -1, True, False, True, False),
        Pool("b", 5, 10, 0, 30 * 10**9, -1, False, False, False, True),
        Pool("c", 4, 0, 4, 30 * 10**9, -1, False, True, False, True),
    )


def test_typical_overheads() -> None:
    costs = plan("[]", server="{overheads: typical}").server.overheads
    assert (costs.loop_before_ns, costs.connect_ns) == (280_000, 5_400_000)
    assert plan("[]").server.overheads.loop_before_ns == 0


def test_weights_are_shares() -> None:
    server = plan("[]", server="{workers: 2, accept: {weights: [3, 1]}}").server
    assert (server.accept, server.accept_weights) == (Accept.WEIGHTS, (0.75, 0.25))


def test_loads_and_drain() -> None:
    made = plan("[]", load="[{requests: 5, at: once}, {rate: 90/min, for: 1m}]")
    burst, poisson = made.loads
    assert (burst.kind, burst.count, burst.until_ns) == (LoadKind.BURST, 5, NEVER)
    assert (poisson.kind, poisson.count) == (LoadKind.POISSON, UNLIMITED)
    assert (poisson.until_ns, poisson.rate) == (60 * 10**9, (3, 2))
    assert made.drain_ns == 30 * 10**9
    assert plan("[]").drain_ns == NEVER
    assert plan("[]", load="{rate: 1/s, requests: 3}").drain_ns == NEVER
    assert plan("[]", load="{rate: 1/s, for: 3s, drain: none}").drain_ns == NEVER


def test_own_load_and_shared_load_by_weight() -> None:
    made = loads(
        "load: {requests: 10, at: once}\n"
        "routes:\n"
        "  a: {handler: def, weight: 3, steps: []}\n"
        "  b: {handler: def, load: {requests: 2, at: once}, steps: []}\n"
        "  c: {handler: def, steps: []}\n"
    ).plan
    assert [(load.routes, load.weights) for load in made.loads] == [
        ((0, 2), (0.75, 0.25)),
        ((1,), (1.0,)),
    ]


def test_distributions_in_ns() -> None:
    time = "{mix: [{p: 0.5, time: 1ms}, {p: 0.5, time: {lognormal: {p50: 1ms, p99: 9ms}}}]}"
    made: Any = plan(f"[{{await: {time}}}]").streams[0].distribution
    assert made == Mixture(((0.5, Constant(1_000_000)), (0.5, Lognormal(1_000_000, 9_000_000))))


def test_stream_names_do_not_depend_on_the_spelling() -> None:
    short = plan("[{cpu: 1ms}, {gather: [{await: 1s}]}]")
    long = plan("[{cpu: {time: 1ms, releases_gil: false}}, {gather: [[{await: 1s}]]}]")
    assert short == long
    assert [stream.name for stream in short.streams] == [
        "routes.a.steps[0].cpu",
        "routes.a.steps[1].gather[0][0].await",
    ]
