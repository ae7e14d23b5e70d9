"""Storms of retried calls, and rows of which one is hot: the true limit, and advice that helps."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.bounds import covered_ns, first_tries, station_bound
from tests.analysis.test_outside import run

STORM = """\
load: {rate: 100/s, arrivals: poisson, for: 30s}
client: {timeout: 2s, retries: {max: 3, backoff: 100ms}}
server: {preset: fastapi, workers: 2}
services: {pay: {time: 400ms, concurrency: 50, client: httpx, timeout: 1s, retries: 2}}
routes: {checkout: {handler: async def, steps: [{call: pay}]}}
faults: [{service: pay, at: 10s, for: 5s, slow: 5}]
"""
ROWS = """\
load: {users: 60, think: 100ms, for: 10s}
pools: {db: {size: 20}}
locks: {stock: {keys: 100, pick: {zipf: 1.2}}}
routes:
  buy: {handler: async def, steps: [{with: db, do: [{lock: stock}, {query: db, time: 30ms}]}]}
"""


def test_a_storm_of_retried_calls_is_ended_by_letting_in_fewer() -> None:
    """50 slots of .4 s serve 125/s, 100/s ask: it is the retries that keep it full.

    Within the calls' 1 s 50 × 1 s / .5 s on average can be answered, half of it by each
    worker; seven tenths of that are let in.
    """
    stuck = run(STORM)
    assert stuck.summary.total.ok < 0.4 * stuck.summary.total.requests
    sentence = stuck.bottleneck.sentence
    # Of its own 80 % and what the slow ones add; 400 % meanwhile: retries are not counted.
    assert sentence.startswith("service pay: 93% busy while requests arrive, asked for 406% while")
    assert any("within the calls' 1s" in line for line in stuck.bottleneck.details)
    key, _, value = str(stuck.bottleneck.override).partition("=")
    assert (key, 30 < int(value) < 45) == ("server.limit_concurrency", True)
    mended = run(STORM, str(stuck.bottleneck.override))
    assert mended.summary.total.ok > 2 * stuck.summary.total.ok  # of 5 s of 30 most fail


def test_the_busiest_of_many_rows_limits_not_the_pool_that_waits_for_it() -> None:
    found = run(ROWS)
    assert (found.bottleneck.kind, found.bottleneck.size) == ("lock", 1)
    assert found.bottleneck.sentence.startswith("lock stock, the busiest of 100 rows: it serves 1")
    assert found.bottleneck.details == (
        "most waiting is for pool db, whose holders wait for lock stock.",
    )
    faster = run(ROWS, str(found.bottleneck.override))
    more = run(ROWS, "pools.db.size=30")
    ok = found.summary.total.ok
    assert faster.summary.total.ok > 2 * ok > 1.9 * more.summary.total.ok


def test_the_bound_of_rows_is_how_long_the_busiest_is_held() -> None:
    """Of 40 writers of two rows, 25 ms each, one row has more than half: at least 20 × 25 ms."""
    text = ROWS.replace("users: 60, think: 100ms, for: 10s", "requests: 40, at: once")
    found = run(text, "locks.stock.keys=2", "locks.stock.pick=uniform", "pools.db.size=40")
    index = next(i for i, s in enumerate(found.trace.stations) if s.kind == "lock")
    bound = station_bound(found.scenario.plan, found.trace, index)
    assert bound is not None
    assert bound.bound_ns == int(found.trace.finish_ns.max()) >= 20 * 30 * 10**6


def test_readers_hold_a_row_together() -> None:
    text = ROWS.replace("users: 60, think: 100ms, for: 10s", "requests: 40, at: once")
    text = text.replace("lock: stock", "lock: stock, shared: true")
    found = run(text, "pools.db.size=40")
    index = next(i for i, s in enumerate(found.trace.stations) if s.kind == "lock")
    bound = station_bound(found.scenario.plan, found.trace, index)
    assert bound is not None and bound.bound_ns == 30 * 10**6


@pytest.mark.parametrize(
    ("begin", "end", "covered"),
    [([], [], 0), ([0, 5, 20], [10, 12, 21], 13), ([3, 0], [4, 9], 9), ([1, 1], [2, 3], 2)],
)
def test_time_that_is_covered_counts_once(begin: list[int], end: list[int], covered: int) -> None:
    assert covered_ns(np.array(begin, dtype=np.int64), np.array(end, dtype=np.int64)) == covered


def test_retries_of_calls_are_told_from_first_tries() -> None:
    """Each of 4 requests calls twice; all calls fail and are tried once more."""
    text = """\
load: {requests: 4, at: once}
services: {pay: {time: 1ms, concurrency: 9, errors: 100%, retries: 1}}
routes: {a: {handler: async def, steps: [{gather: [{call: pay}, {call: pay}]}]}}
"""
    found = run(text)
    assert first_tries(found.scenario.plan, found.trace, "service pay") == 0.5
    once = run(text, "services.pay.errors=0%")
    assert first_tries(once.scenario.plan, once.trace, "service pay") == 1
