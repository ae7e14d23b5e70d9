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


FAULTY = """\
load: {rate: 50/s, arrivals: constant, for: 4s}
pools: {db: {size: 3, database: pg}}
databases: {pg: {}}
services: {s: {time: 20ms, concurrency: 2, timeout: 300ms, retries: 1}}
routes: {a: {handler: async def, steps: [{call: s}, {query: db, time: 5ms}]}}
faults: [{database: pg, at: 1s, for: 1s, slow: 3}, {service: s, at: 1s, for: 1s, slow: 4}]
"""


def test_a_service_is_slow_for_its_own_fault_not_for_that_of_a_database() -> None:
    sentence = run(FAULTY).bottleneck.sentence
    assert "asked for 200% while service s is 4 times slower from 1s to 2s" in sentence


def test_a_pool_is_slow_for_the_fault_of_its_database() -> None:
    slower = FAULTY.replace("slow: 3", "slow: 8")
    sentence = run(slower, "services.s.concurrency=20", "pools.db.size=1").bottleneck.sentence
    assert sentence.startswith("pool db: ")
    assert "asked for 200% while database pg is 8 times slower from 1s to 2s" in sentence


def test_a_deadlock_of_those_whose_clients_have_left_counts_them() -> None:
    """Both connections are held by requests that want another; the clients leave after 1 s."""
    text = """\
load: {requests: 2, at: once}
client: {timeout: 1s}
pools: {db: {size: 2}}
routes: {a: {handler: async def, steps: [{with: db, do: [{await: 1ms}, {with: db, do: []}]}]}}
"""
    found = run(text).bottleneck
    assert found.sentence == "deadlock: 2 requests can never go on, for want of pool db."
    assert found.details[:2] == (
        "request 0 holds pool db and waits for pool db",
        "request 1 holds pool db and waits for pool db",
    )


def test_what_is_stuck_in_one_way_is_said_once_and_who_holds_something_first() -> None:
    text = """\
load: {requests: 3, at: once}
client: {timeout: 1s, retries: 2}
pools: {db: {size: 1}}
routes: {a: {handler: async def, steps: [{with: db, do: [{await: 1ms}, {with: db, do: []}]}]}}
"""
    assert run(text).bottleneck.details == (
        "request 0 holds pool db and waits for pool db",
        "request 0 holds nothing and waits for pool db",
        "request 1 holds nothing and waits for pool db",
        "request 2 holds nothing and waits for pool db",
    )


WINDOW = """\
load: {rate: 20/s, for: 20s}
accelerators: {gpu: {batch: {max: 8, wait: 50ms}, time: {base: 20ms, per_item: 2ms}}}
routes: {a: {handler: async def, steps: [{predict: gpu}]}}
"""


def test_a_window_that_is_waited_for_in_vain_is_said_to_be_that() -> None:
    """22 ms for each alone is 44 % of a device at 20/s; at 60/s they need their batches."""
    found = run(WINDOW)
    assert found.bottleneck.insight == (
        "an incomplete batch waits 50ms for others: the devices have time for each alone."
    )
    assert found.bottleneck.override == "accelerators.gpu.batch.wait=0s"
    mended = run(WINDOW, str(found.bottleneck.override))
    before, after = found.summary.total.latency.mean_ns, mended.summary.total.latency.mean_ns
    assert before and after and after < 0.6 * before
    assert run(WINDOW, "load.rate=60/s").bottleneck.override != "accelerators.gpu.batch.wait=0s"


def test_a_device_that_always_works_on_small_batches_has_room() -> None:
    """16 in 36 ms are 444/s: 150/s ask for 34 % of that, 500/s for more than there is."""
    text = WINDOW.replace("rate: 20/s", "rate: 150/s").replace(
        "{max: 8, wait: 50ms}, time: {base: 20ms, per_item: 2ms}",
        "{max: 16}, time: {base: 20ms, per_item: 1ms}",
    )
    found = run(text)
    assert "on batches of 3." in found.bottleneck.sentence
    assert "in full ones it would be 34%" in found.bottleneck.sentence
    assert "is the bound" in run(text, "load.rate=500/s").bottleneck.sentence
    drawn = run(text, "accelerators.gpu.time={exp: 36ms}").bottleneck.sentence
    assert "in full ones it would be 34%" in drawn
    table = ", ".join(f"{size}: {20 + size}ms" for size in range(1, 17))
    assert found.bottleneck == run(text, f"accelerators.gpu.time={{table: {{{table}}}}}").bottleneck


def test_a_call_under_a_lock_is_what_to_shorten() -> None:
    """20 ms of a call and 4 of a query are all held under the row: the call is the longer."""
    text = ROWS.replace("{query: db, time: 30ms}", "{query: db, time: 4ms}, {call: pay}")
    text += "services: {pay: {time: {exp: 20ms}}}\n"
    found = run(text)
    assert (found.bottleneck.kind, found.bottleneck.override) == (
        "lock",
        "services.pay.time={exp: 6.66ms}",
    )
    assert run(text, str(found.bottleneck.override)).summary.total.ok > 1.9 * found.summary.total.ok
