"""Verdicts about cycles, work done again, faults and retries, on scenarios run end to end."""

from __future__ import annotations

from simulator.analysis.bottleneck import Bottleneck
from simulator.answer import Answer, simulate
from simulator.scenario import load, loads
from tests.conftest import ROOT


def run(text: str, *overrides: str) -> Answer:
    return simulate(loads(text, overrides))


def shipped(name: str, *overrides: str) -> Bottleneck:
    return simulate(load(ROOT / "configs" / f"{name}.yaml", overrides)).bottleneck


CYCLE = """\
server: {preset: fastapi, threads: 4}
pools: {db: {size: 2, acquire_timeout: 10s}}
routes:
  user:
    handler: def
    load: {requests: 12, at: once}
    steps: [{query: db, time: 10ms}]
  export:
    handler: async def
    load: {requests: 2, at: once}
    steps: [{with: db, do: [{to_thread: [{query: db, time: 10ms}]}]}]
"""


def test_threads_and_a_pool_that_wait_for_each_other() -> None:
    found = run(CYCLE)
    assert found.bottleneck.kind == "deadlock"
    assert found.bottleneck.sentence == (
        "pool db and threads waited for each other for 19.99s: all that held one wanted the "
        "other (SIM108), until a timeout broke it."
    )
    assert found.bottleneck.override == "routes.user.handler=async def"
    mended = run(CYCLE, "routes.user.handler=async def")
    assert (mended.summary.total.ok, mended.summary.run_ns) == (14, 70_000_000)
    assert mended.bottleneck.kind == "pool"


def test_two_orders_that_never_meet_are_no_deadlock() -> None:
    found = run(CYCLE.replace("threads: 4", "threads: 40"))
    assert (found.summary.total.ok, found.bottleneck.kind) == (14, "pool")


REDONE = """\
load: {requests: 3, at: once}
pools: {db: {size: 3}}
locks: {row: {}}
routes:
  withdraw:
    handler: async def
    steps:
      - with: db
        isolation: serializable
        retries: 10
        do: [{query: db, time: 40ms}, {lock: row}, {query: db, time: 10ms}]
"""


def test_transactions_done_again() -> None:
    found = run(REDONE).bottleneck
    assert (found.kind, found.resource) == ("lock", "lock row")
    assert found.sentence == (
        "lock row: 6 tries of 3 transactions, because all but the first to write a row begin "
        "again; the run took 150ms."
    )
    assert found.insight.endswith("n at once need up to n × (n + 1) / 2 tries.")
    assert found.override == "routes.withdraw.steps[0].do[0].time=20ms"


def test_a_row_that_is_only_waited_for_is_not_done_again() -> None:
    committed = REDONE.replace(
        "isolation: serializable\n        retries: 10", "isolation: read_committed"
    )
    assert "tries" not in run(committed).bottleneck.sentence


OUTAGE = """\
load: {rate: 10/s, arrivals: constant, for: 10s}
services: {cache: {time: 1ms}}
faults: [{service: cache, at: 4s, for: 2s, %s}]
routes: {a: {handler: async def, steps: [{call: cache}]}}
"""


def test_an_outage_is_named() -> None:
    found = run(OUTAGE % "outage: true").bottleneck
    assert (found.kind, found.resource, found.override) == ("fault", "service cache", None)
    assert found.sentence == (
        "service cache is out from 4s to 6s: 20 requests arrived meanwhile, 20 of 100 failed of it."
    )


def test_a_slow_time_is_named_beside_the_verdict() -> None:
    found = run(OUTAGE % "slow: 10").bottleneck
    assert found.details == ("service cache is 10 times slower from 4s to 6s.",)
    later = (OUTAGE % "slow: 10").replace("at: 4s", "at: 40s")
    assert run(later).bottleneck.details == ()


STORM = """\
load: {rate: 16/s, arrivals: constant, for: 30s}
client: {timeout: 1s, retries: {max: 3, backoff: 100ms}}
pools: {db: {size: 1, overflow: 4, database: pg}}
databases: {pg: {}}
faults: [{database: pg, at: 2s, for: 3s, slow: 10}]
routes: {a: {handler: async def, steps: [{query: db, time: 250ms}]}}
"""


def test_a_storm_of_retries_is_shed() -> None:
    found = run(STORM)
    assert found.summary.total.errors > 300
    assert found.bottleneck.override is not None
    key, _, limit = found.bottleneck.override.partition("=")
    assert key == "server.limit_concurrency"
    assert "no more than" in found.bottleneck.details[-2]
    mended = run(STORM, f"{key}={limit}")
    assert mended.summary.total.ok > 2 * found.summary.total.ok


def test_a_size_beside_an_overflow_says_what_both_are() -> None:
    text = """\
load: {requests: 60, at: once}
pools: {db: {preset: sqlalchemy}}
routes: {a: {handler: async def, steps: [{query: db, time: 1s}]}}
"""
    found = run(text).bottleneck
    assert found.override == "pools.db.size=20"
    assert found.details == ("a size of 20 and the overflow of 10 are 30 connections.",)


def test_a_larger_batch_does_not_make_the_loop_the_bottleneck() -> None:
    template = (ROOT / "simulator/scenario/templates/gpu.yaml").read_text(encoding="utf-8")
    for batch in (8, 16, 32):
        found = run(template, f"accelerators.gpu.batch.max={batch}", "load.for=5s").bottleneck
        assert (batch, found.resource) == (batch, "accelerator gpu")


def test_the_shipped_ones() -> None:
    assert shipped("cache-outage").sentence == (
        "service cache is out from 4s to 6s: 100 requests arrived meanwhile, "
        "65 of 500 failed of it."
    )
    assert shipped("thread-pool-deadlock").sentence.startswith(
        "pool db and threads waited for each other for 29.98s"
    )


LEAVING = """\
load: {requests: 4, at: once}
client: {timeout: 3s}
server: {preset: fastapi, threads: 1}
routes: {a: {handler: def, steps: [{block: 2s}]}}
"""


def codes(found: Answer, code: str) -> list[str]:
    return [f.message for f in found.findings if f.code == code]


def test_work_for_clients_that_have_left() -> None:
    # One is served at 2 s; the second is at work when it leaves, the others after they left.
    assert codes(run(LEAVING), "SIM116") == [
        "3 of 4 clients gave up, and 62% of the work of threads was for some who had left: a "
        "timeout shorter than the queue ends the waiting, not the work"
    ]
    assert codes(run(LEAVING, "client.timeout=9s"), "SIM116") == []


def test_transactions_that_came_again() -> None:
    assert codes(run(REDONE), "SIM121") == [
        "3 serializable transactions came 6 times to lock row: all but the first to write a row "
        "begin again"
    ]
    assert codes(run(REDONE, "load.requests=1"), "SIM121") == []


def test_a_full_backlog() -> None:
    text = """\
load: {requests: 4, at: once}
server: {preset: flask, backlog: 1}
routes: {a: {handler: def, steps: [{block: 1500ms}]}}
"""
    # One is served, one waits; the other two come again at 1 s and at 3 s.
    (message,) = codes(run(text), "SIM123")
    assert message.startswith("2 of 4 requests found the backlog of 1 full: their SYN was sent")
    assert codes(run(text, "server.backlog=4"), "SIM123") == []


def test_a_killed_worker() -> None:
    text = """\
load: {requests: 2, at: once}
server: {preset: flask, timeout: 30s}
routes: {a: {handler: def, steps: [{block: 40s}]}}
"""
    expected = "2 requests lost: gunicorn killed the worker, busy for longer than 30s"
    assert codes(run(text), "SIM124") == [expected]
    assert codes(run(text, "server.timeout=60s"), "SIM124") == []


SHEDDING = """\
load: {rate: RATE/s, arrivals: poisson, for: 10s}
server: {preset: fastapi, limit_concurrency: LIMIT}
pools: {db: {size: 10}}
routes:
  read: {handler: async def, steps: [{query: db, time: 100ms}]}
"""


def test_a_limit_that_turns_requests_away_is_said_first() -> None:
    # 120/s on a pool that does 100/s: the limit sheds, the pool sets the pace of the rest.
    text = SHEDDING.replace("RATE", "120").replace("LIMIT", "20")
    found = simulate(loads(text)).bottleneck
    assert found.resource == "pool db"
    assert found.sentence.startswith("limit_concurrency of 20 turns away ")
    assert "with a 503; those let in, pool db: " in found.sentence
    # 80/s, of which it lets in 8 at once though the pool has 10: nothing else is short.
    text = SHEDDING.replace("RATE", "80").replace("LIMIT", "8")
    found = simulate(loads(text)).bottleneck
    assert (found.resource, found.size) == ("limit concurrency", 8)
    assert found.sentence.endswith("with a 503; those let in are short of nothing.")
    assert found.override == "server.limit_concurrency=16"
    # With room enough it turns nobody away and is not mentioned.
    text = SHEDDING.replace("RATE", "50").replace("LIMIT", "100")
    assert "limit" not in simulate(loads(text)).bottleneck.sentence
