"""The steps of a served scenario are real: what blocks blocks, what waits waits."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from simulator.calibration.served import Running, serve
from simulator.calibration.served.pools import pg_sleep_s
from simulator.scenario import Scenario, loads
from simulator.workload import Workload
from tests.calibration.asking import Answer, ask, ask_many, makespan_s, within

STEPS = """
name: steps
load: {requests: 100, at: once}
server: {threads: 3}
databases: {postgres: {max_connections: 30}}
pools:
  db: {size: 5, database: postgres}
  orm: {preset: sqlalchemy, size: 1, overflow: 1, acquire_timeout: 300ms, database: postgres}
  each: {size: 0, overflow: 100, database: postgres}
locks: {row: {}, rows: {keys: 100}}
routes:
  await_: {handler: async def, steps: [{await: 50ms}]}
  block_async: {handler: async def, steps: [{block: 50ms}]}
  block: {path: POST /block, handler: def, steps: [{block: 50ms}]}
  drawn: {handler: async def, steps: [{await: {uniform: [10ms, 40ms]}}]}
  cpu: {handler: async def, steps: [{cpu: 20ms}]}
  hash: {handler: def, steps: [{cpu: {time: 20ms, releases_gil: true}}]}
  gather: {handler: async def, steps: [{gather: [{await: 100ms}, [{await: 50ms}, {await: 150ms}]]}]}
  to_thread: {handler: async def, steps: [{to_thread: [{block: 50ms}]}]}
  after: {handler: async def, steps: [{await: 1ms}], after: [{await: 1s}]}
  tokens: {handler: async def, steps: [{stream: {chunks: 5, every: 20ms}}]}
  lines: {handler: def, steps: [{stream: {chunks: 5, every: 20ms}}]}
  query: {handler: async def, steps: [{query: db, time: 200ms}]}
  orm: {handler: async def, steps: [{query: orm, time: 200ms}]}
  orm_def: {handler: def, steps: [{query: orm, time: 20ms}]}
  each: {handler: async def, steps: [{query: each, time: 3s}]}
  one_row:
    handler: async def
    steps: [{with: db, do: [{lock: row}, {query: db, time: 20ms}]}]
  readers:
    handler: async def
    steps: [{with: db, do: [{lock: row, shared: true}, {query: db, time: 50ms}]}]
  a_row:
    handler: async def
    steps: [{with: db, do: [{lock: rows}, {query: db, time: 50ms}]}]
  first_wins:
    handler: async def
    steps:
      - with: db
        isolation: serializable
        do: [{query: db, time: 30ms}, {lock: row}, {query: db, time: 10ms}]
  redone:
    handler: async def
    steps:
      - with: db
        isolation: repeatable_read
        retries: 10
        do: [{query: db, time: 30ms}, {lock: row}, {query: db, time: 10ms}]
"""


@pytest.fixture(scope="module")
def scenario() -> Scenario:
    return loads(STEPS)


@pytest.fixture(scope="module")
def running(scenario: Scenario) -> Iterator[Running]:
    with serve(scenario) as service:
        yield service


def ok(answers: list[Answer]) -> list[Answer]:
    assert [answer.outcome for answer in answers] == ["ok"] * len(answers)
    return answers


def test_versions_of_all_that_runs_are_told(running: Running) -> None:
    assert running.url.startswith("http://127.0.0.1:")
    assert running.database.startswith("PostgreSQL ")
    assert {"python", "uvicorn", "fastapi", "asyncpg", "uvloop"} <= set(running.versions)
    assert ask(running, "/-/ready").status == 200
    assert ask(running, "/nowhere").status == 404


def test_await_frees_the_loop_and_block_does_not(running: Running) -> None:
    within(0.05, lambda: makespan_s(ok(ask_many(running, "/await_", 6))), 0.28)
    assert makespan_s(ok(ask_many(running, "/block_async", 6))) > 0.3


def test_def_runs_in_so_many_threads(running: Running) -> None:
    answers = ok(ask_many(running, "/block", 6, method="POST"))
    post = {"method": "POST"}
    within(0.1, lambda: makespan_s(ok(ask_many(running, "/block", 6, **post))), 0.28)
    assert all(answer.times["hop"] == answer.times["a"] for answer in answers)
    within(0.1, lambda: makespan_s(ok(ask_many(running, "/to_thread", 6))), 0.28)


def test_draws_are_those_of_the_simulation(running: Running, scenario: Scenario) -> None:
    workload = Workload(scenario.plan)
    names = [stream.name for stream in scenario.plan.streams]
    stream = names.index("routes.drawn.steps[0].await")
    for attempt in (0, 2):
        for index in (0, 1, 5000):
            drawn_s = workload.time(stream, attempt)(index) / 1e9
            answer = ask(running, "/drawn", index, attempt=attempt)
            assert drawn_s - 0.001 < answer.between_s("a", "b") < drawn_s + 0.06


def test_cpu_is_thread_time(running: Running) -> None:
    for path in ("/cpu", "/hash"):
        burnt = [answer.times["cpu"] / 1e6 for answer in ok(ask_many(running, path, 4))]
        assert all(20 <= ms < 23 for ms in burnt), (path, burnt)


def test_a_gather_takes_as_long_as_its_longest_branch(running: Running) -> None:
    within(0.199, lambda: ask(running, "/gather").between_s("a", "b"), 0.28)


def test_background_tasks_are_outside_the_latency(running: Running) -> None:
    assert ask(running, "/after").took_s < 0.5


def test_streams_send_as_they_go(running: Running) -> None:
    answer = ask(running, "/tokens")
    assert answer.body.count(b"data: ") == 5
    assert 0.1 < answer.took_s < 0.5
    # A sync iterator takes one of the three threads for each next(): 6 × 4 chunks and waits.
    within(0.2, lambda: makespan_s(ok(ask_many(running, "/lines", 6))), 1)


def test_a_pool_of_five_serves_twenty_queries_in_four_waves(running: Running) -> None:
    began = time.monotonic_ns()
    answers = ok(ask_many(running, "/query", 20))
    ends = sorted((answer.times["f"] - began) / 1e9 for answer in answers)
    waves = [ends[i : i + 5] for i in range(0, 20, 5)]
    assert all(wave[-1] - wave[0] < 0.19 for wave in waves)
    assert all(after[0] - before[0] > 0.2 for before, after in itertools.pairwise(waves))
    got = sorted((answer.times["g"] - began) / 1e9 for answer in answers)
    assert got[4] < 0.2 < got[5]


def postgresql_waits_ms(seconds: float) -> set[int]:
    """What ``pg_sleep`` may ask its latch for, in its own arithmetic of floats: it reads the
    clock twice, in one microsecond or the next."""
    began = range(817_000_000_000_000, 817_000_000_010_000, 7)
    return {
        math.ceil(max(0.0, us / 1e6 + seconds - (us + later) / 1e6) * 1e3)
        for us in began
        for later in (0, 1)
    }


def test_a_query_takes_the_nearest_whole_milliseconds() -> None:
    for ms in (0, 1, 2, 20, 75, 250, 5000):
        for off in (-0.4, 0.0, 0.4):
            assert postgresql_waits_ms(pg_sleep_s(max(0.0, ms + off) / 1e3)) == {ms}
    # Asked for it plainly, it sleeps 1 ms or 2.
    assert postgresql_waits_ms(0.001) == {1, 2}


def test_postgresql_sleeps_so(running: Running) -> None:
    dsn = next(iter(running.dsn.values()))
    took: dict[float, list[float]] = {0.0: [], 0.001: []}
    with psycopg.connect(dsn, autocommit=True) as connection:
        for seconds in [0.0, 0.001] * 40:
            began = time.perf_counter()
            connection.execute("SELECT pg_sleep(%s)", (pg_sleep_s(seconds),))
            took[seconds].append(time.perf_counter() - began)
    nothing, one = (statistics.median(each) for each in took.values())
    assert 0.9e-3 < one - nothing < 1.8e-3


def test_connections_are_those_of_postgresql(running: Running) -> None:
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask_many, running, "/query", 7)
        with psycopg.connect(running.dsn["db"], autocommit=True) as connection:
            sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
            counts = set()
            while not asked.done():
                counts.add(connection.execute(sleeping).fetchone())
            limit = connection.execute("SHOW max_connections").fetchone()
        ok(asked.result())
    assert max(counts) == (5,)
    assert limit == ("30",)


def test_a_pool_times_out(running: Running) -> None:
    ok(ask_many(running, "/orm", 2))  # SQLAlchemy's first connection takes long
    answers = ask_many(running, "/orm", 5)
    outcomes = sorted(answer.outcome for answer in answers)
    assert outcomes == ["ok"] * 4 + ["pool_timeout:orm"]  # two at once, two in time
    assert all(0.3 < a.took_s < 0.5 for a in answers if a.outcome != "ok")
    ok(ask_many(running, "/orm_def", 6))  # threads share the loop's pool


def test_postgresql_refuses_connections_beyond_its_limit(running: Running) -> None:
    # 30 connections, 3 reserved; the pool of five is open, the other may have two.
    outcomes = [answer.outcome for answer in ask_many(running, "/each", 40)]
    refused = outcomes.count("too_many_connections:postgres")
    assert outcomes.count("ok") + refused == 40
    assert 20 <= outcomes.count("ok") <= 30


def test_a_row_is_held_to_the_end_of_its_transaction(running: Running) -> None:
    answers = ok(ask_many(running, "/one_row", 5))
    assert makespan_s(answers) > 0.1
    spans = sorted((answer.times["l"], answer.times["f"]) for answer in answers)
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))
    within(0, lambda: makespan_s(ok(ask_many(running, "/readers", 5))), 0.24)
    within(0, lambda: makespan_s(ok(ask_many(running, "/a_row", 5))), 0.24)


def test_the_first_updater_wins_and_losers_redo_the_block(running: Running) -> None:
    outcomes = sorted(answer.outcome for answer in ask_many(running, "/first_wins", 4))
    assert outcomes == ["ok"] + ["serialization_failure"] * 3
    answers = ok(ask_many(running, "/redone", 4))
    assert makespan_s(answers) > 0.1  # one commit a round
