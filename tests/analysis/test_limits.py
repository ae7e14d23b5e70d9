"""What the next step is, and that it never makes worse what the plan can show."""

from __future__ import annotations

from fractions import Fraction

import pytest

from simulator.analysis.bottleneck import Bottleneck, bottleneck
from simulator.analysis.keys import Keys
from simulator.analysis.limits import enough, idle_beside_a_queue, requests_waiting
from simulator.analysis.summary import Summary, summarize
from simulator.engines.reference import run
from simulator.scenario import findings, loads
from simulator.workload import Workload
from tests.analysis.handmade import Rows, asgi, burst, plan, pool

BURST = """\
load: {requests: 200, at: once}
server: {preset: fastapi, workers: 1, threads: 20}
pools: {db: {size: 30, min: 0, database: pg}}
databases: {pg: {max_connections: 100, reserved: 0}}
routes: {read: {handler: def, steps: [{query: db, time: 1s}]}}
"""
OPEN = """\
load: {rate: 100/s, arrivals: constant, for: 20s}
pools: {db: {size: 5, acquire_timeout: 1s}}
routes: {read: {handler: async def, steps: [{query: db, time: 100ms}]}}
"""
NESTED = """\
load: {requests: 10, at: once}
server: {preset: fastapi, threads: 8}
pools: {db: {size: 4}}
routes:
  read:
    handler: def
    steps:
      - with: db
        do: [{block: 1ms}, {with: db, do: [{block: 1ms}]}]
"""


def answer(text: str, *overrides: str) -> tuple[Summary, Bottleneck]:
    scenario = loads(text, overrides)
    trace = run(scenario.plan, Workload(scenario.plan))
    summary = summarize(scenario.plan, trace)
    keys = Keys(scenario.key, scenario.load_paths)
    return summary, bottleneck(scenario.plan, trace, summary, keys)


def next_step(text: str, *overrides: str) -> str | None:
    return answer(text, *overrides)[1].override


def test_a_value_of_a_var_is_changed_at_the_var() -> None:
    text = OPEN.replace("size: 5", "size: '${pool}'") + "vars: {pool: 5}\n"
    assert next_step(text) == "vars.pool=13"
    assert answer(text, "vars.pool=13")[0].total.errors == 0


def test_a_whole_pool_of_a_var_is_changed_inside_the_var() -> None:
    text = OPEN.replace("{size: 5, acquire_timeout: 1s}", "'${pool}'")
    assert next_step(text + "vars: {pool: {size: 5}}\n") == "vars.pool.size=13"


def test_a_var_inside_a_text_has_no_single_key() -> None:
    text = OPEN.replace("time: 100ms", "time: '${number}ms'").replace("size: 5", "size: 12")
    assert next_step(text + "vars: {number: 100}\n") is None


def test_an_overload_wants_what_is_80_percent_busy() -> None:
    # 100/s × 100 ms = 10 connections at work; 13 of them are 77 % busy.
    summary, found = answer(OPEN)
    assert summary.failures == (("pool_timeout:db", 950),)
    assert found.override == "pools.db.size=13"
    assert answer(OPEN, "pools.db.size=13")[0].total.errors == 0


def test_the_overflow_counts() -> None:
    assert next_step(OPEN.replace("size: 5", "size: 2, overflow: 3")) == "pools.db.size=10"


@pytest.mark.parametrize(
    ("slots", "utilisation", "wanted"),
    [(5, None, 10), (5, Fraction(2), 13), (5, Fraction(7, 10), 7), (5, Fraction(1, 10), 6)],
)
def test_enough(slots: int, utilisation: Fraction | None, wanted: int) -> None:
    assert enough(slots, utilisation) == wanted


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ((), "server.threads=30"),
        # Each thread may open a connection of its own, up to 25 in all.
        (("databases.pg.max_connections=25",), "server.threads=25"),
        (("databases.pg.max_connections=20",), "routes.read.steps[0].time=500ms"),
        (("load.requests=22",), "server.threads=22"),
    ],
)
def test_threads_are_capped_by_the_database_and_by_the_load(
    overrides: tuple[str, ...], expected: str
) -> None:
    before, found = answer(BURST, *overrides)
    assert found.override == expected
    after, _ = answer(BURST, *overrides, expected)
    assert after.total.ok == before.total.ok
    assert (after.total.last_ns or 0) < (before.total.last_ns or 0)


@pytest.mark.parametrize(
    ("workers", "limit", "expected"),
    [
        (1, 100, "pools.db.size=10"),
        (2, 13, "pools.db.size=6"),
        (2, 11, "routes.read.steps[0].time=500ms"),
    ],
)
def test_a_pool_is_capped_by_the_database_over_all_workers(
    workers: int, limit: int, expected: str
) -> None:
    text = BURST.replace("handler: def", "handler: async def").replace(", threads: 20", "")
    settings = ("pools.db={size: 5, database: pg}", f"databases.pg.max_connections={limit}")
    assert next_step(text, f"server.workers={workers}", *settings) == expected


def test_a_pool_behind_threads_grows_to_the_threads_at_most() -> None:
    assert next_step(BURST, "pools.db.size=15") == "pools.db.size=20"


def test_workers_are_capped_by_the_database() -> None:
    text = BURST.replace("handler: def", "handler: async def").replace(", threads: 20", "")
    text = text.replace("{query: db, time: 1s}", "{query: db, time: 1ms}, {cpu: 100ms}")
    assert next_step(text, "databases.pg.max_connections=60") == "server.workers=2"
    assert next_step(text, "databases.pg.max_connections=59") == "routes.read.steps[1].cpu=50ms"


def test_a_deadlock_of_threads_ends_with_fewer_threads() -> None:
    summary, found = answer(NESTED)
    assert found.insight.startswith("a request takes a second connection while it holds one")
    assert (found.kind, found.override) == ("deadlock", "server.threads=3")
    assert (summary.resources[-1].endless > 0, summary.ended) == (True, "deadlock")
    after, _ = answer(NESTED, "server.threads=3")
    assert (after.ended, after.total.ok) == ("empty", 10)


def test_a_deadlock_that_no_single_key_mends() -> None:
    text = NESTED.replace("handler: def", "handler: async def").replace("block", "await")
    assert (answer(text)[1].kind, next_step(text)) == ("deadlock", None)


def test_nothing_is_short_in_an_open_load() -> None:
    text = OPEN.replace("size: 5", "size: 20").replace("time: 100ms", "time: {exp: 100ms}")
    _, found = answer(text)
    assert found.sentence == (
        "nothing is short: the busiest, pool db, is 49% busy; nobody waits, the mean is 98.42ms."
    )
    assert found.override == "routes.read.steps[0].time={exp: 50ms}"


def test_a_route_with_its_own_load_is_the_one_to_load_more() -> None:
    text = "routes: {health: {handler: def, load: {requests: 3, at: once}, steps: [{block: 1s}]}}"
    assert next_step(text) == "routes.health.load.requests=30"


def test_a_request_that_waits_twice_is_counted_once() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(3):
        rows.request(0, 9)
        rows.visit("pool db", i, 0, 4 + i, 9)
        rows.visit("pool db", i, 2, 5 + i, 9)
    assert requests_waiting(rows.trace(), "pool db") == 3
    small = plan()
    assert requests_waiting(burst(small), "pool db") == 4


def test_an_idle_connection_beside_a_queue() -> None:
    rows = Rows(plan(server=asgi(2), pools=(pool(1),)))
    for i, (process, begin) in enumerate(((0, 0), (0, 5), (1, 0))):
        rows.request(0, begin + 5, process=process)
        rows.visit("pool db", i, 0, begin, begin + 5, process=process)
    assert not idle_beside_a_queue(rows.trace(), "pool db")
    rows.request(0, 15)
    rows.visit("pool db", 3, 0, 10, 15)
    assert idle_beside_a_queue(rows.trace(), "pool db")


def test_a_rate_limit_that_makes_wait() -> None:
    text = """\
load: {rate: 20/s, arrivals: constant, for: 10s}
services: {pay: {time: 50ms, rate_limit: {kind: token_bucket, rate: 10/s, burst: 5, over: wait}}}
routes: {a: {handler: async def, steps: [{call: pay}]}}
"""
    _, found = answer(text)
    assert found.sentence == (
        "rate limit pay lets through 10/s, 20/s ask; waits add 4.584s to a mean of 4.634s."
    )
    assert (found.kind, found.override) == ("rate limit", None)
    _, found = answer(text, "services.pay.rate_limit.over=reject")
    assert found.sentence == "rate limit pay admits 10/s, 20/s ask; 96 of 200 rejected."


def test_work_left_behind_at_the_last_answer_is_not_in_the_bound() -> None:
    text = """\
load: {rate: 10/s, arrivals: constant, for: 10s}
client: {timeout: 500ms, retries: {max: 2, backoff: 100ms}}
pools: {db: {size: 1}}
routes: {a: {handler: async def, steps: [{query: db, time: 200ms}]}}
"""
    _, found = answer(text)
    assert found.sentence == "pool db: 58 × 200ms = 11.6s is the bound, the run took 11.6s."
    assert found.details[0].endswith("failed: client timeout.")
    # 10/s × 200 ms are 2 connections at work, however many retries the overload brings.
    assert found.override is not None
    assert answer(text, found.override)[0].total.errors == 0


def test_shared_cores_are_never_more_than_busy() -> None:
    text = """\
load: {rate: 90/s, for: 20s}
server: {preset: fastapi, workers: 4, cores: 1}
routes: {a: {handler: async def, steps: [{cpu: 10ms}]}}
"""
    summary, found = answer(text)
    cores = next(row for row in summary.resources if row.label == "cores")
    assert cores.busy == pytest.approx(0.9, abs=0.03)
    assert (found.kind, found.override) == ("cores", "server.cores=2")


def test_connecting_for_each_request_is_limited_to_what_the_database_takes() -> None:
    text = BURST.replace("def", "async def").replace("{size: 30,", "{size: 0, overflow: 300,")
    text = text.replace(", threads: 20", "").replace("requests: 200", "requests: 300")
    summary, found = answer(text)
    assert (summary.total.errors, found.override) == (200, "pools.db.overflow=100")
    assert answer(text, "pools.db.overflow=100")[0].total.errors == 0


def test_a_slot_that_nobody_waits_for_does_not_limit_a_burst() -> None:
    text = """\
load: {requests: 5, at: once}
pools: {db: {size: 5, database: pg}}
databases: {pg: {}}
locks: {row: {}}
routes:
  pay:
    handler: async def
    steps: [{with: db, do: [{query: db, time: 90ms}, {lock: row}, {query: db, time: 20ms}]}]
"""
    _, found = answer(text)
    assert found.resource == "lock row"
    assert found.override == "routes.pay.steps[0].do[2].time=10ms"


def test_a_deadlock_is_for_want_of_what_holders_want() -> None:
    """Six of ten wait for a thread and hold nothing; none can have the pool of one twice."""
    text = NESTED.replace("size: 4", "size: 1").replace("threads: 8", "threads: 4")
    found = answer(text)[1]
    assert found.sentence == "deadlock: 10 requests can never go on, for want of pool db."
    assert found.insight.startswith("a request takes a second connection while it holds one")
    messages = [finding.message for finding in findings(loads(text)) if finding.code == "SIM108"]
    assert messages == [
        "read takes a second connection of pool db while it holds one: "
        "once a request holds the only one, none goes on"
    ]
