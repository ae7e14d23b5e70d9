"""What limits a run, rule by rule, on traces written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from simulator.analysis.bottleneck import Bottleneck, bottleneck
from simulator.analysis.findings import RunFinding, run_findings
from simulator.analysis.summary import summarize
from simulator.distributions import Constant, Exponential
from simulator.engines import contract
from simulator.plan import (
    NEVER,
    NO_STREAM,
    Cpu,
    Lock,
    Plan,
    RowLock,
    ServerKind,
    Wait,
    With,
)
from simulator.trace import Stuck, Trace
from tests.analysis.handmade import MS, Rows, S, asgi, burst, plan, pool, query
from tests.plans import NO_RETRIES, database, poisson

BLOCK = (Wait(0, contract.BLOCK, False),)


def find(plan: Plan, trace: Trace) -> Bottleneck:
    return bottleneck(plan, trace, summarize(plan, trace))


def test_the_pool() -> None:
    small = plan()
    found = find(small, burst(small))
    assert (found.kind, found.resource, found.size) == ("pool", "pool db", 2)
    assert (found.bound_ns, found.run_ns) == (15 * S, 15 * S)
    assert found.sentence == "pool db: 6 × 5s / 2 = 15s is the bound, the run took 15s."
    assert found.insight == (
        "async lets 4 requests wait at once; it does not let more than 2 queries run at once."
    )
    assert found.override == "pools.db.size=4"


def test_work_of_unequal_length_is_an_average() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for begin, end in ((0, 1), (1, 4)):
        rows.request(0, end, {contract.wait_for_pool(0): begin})
        rows.visit("pool db", len(rows.requests) - 1, 0, begin, end)
    found = find(rows.plan, rows.trace())
    assert found.sentence == "pool db: 2 × 2s on average = 4s is the bound, the run took 4s."


def test_threads_before_a_larger_pool() -> None:
    rows = Rows(plan(on_loop=False, server=asgi(threads=2), pools=(pool(3),)))
    for i in range(6):
        start = 5 * (i // 2)
        rows.request(0, start + 5, {contract.THREADS: start, contract.hold_query(0): 5})
        rows.visit("threads", i, 0, start, start + 5)
        rows.visit("pool db", i, start, start, start + 5)
    found = find(rows.plan, rows.trace())
    assert (found.kind, found.bound_ns) == ("threads", 15 * S)
    assert found.insight == (
        "the pool of 3 never has more than 2 users at once: the threads are the limit, "
        "not the pool."
    )
    assert found.override == "server.threads=3"


def _pool_behind_threads(timeout_ns: int = NEVER) -> Bottleneck:
    """Two threads before one connection: a thread that waits for it is held, not at work."""
    small = plan(on_loop=False, server=asgi(threads=2), pools=(pool(1, timeout_ns=timeout_ns),))
    rows = Rows(small)
    for i in range(6):
        begin, end = 5 * i, 5 * i + 5
        taken = max(begin - 5, 0)
        spent = {contract.THREADS: taken, contract.wait_for_pool(0): begin - taken}
        rows.request(0, end, spent)
        rows.visit("threads", i, 0, taken, end, work=5)
        rows.visit("pool db", i, taken, begin, end)
    return find(small, rows.trace())


def test_the_pool_and_not_the_threads_that_wait_for_it() -> None:
    found = _pool_behind_threads()
    assert found.sentence == "pool db: 6 × 5s = 30s is the bound, the run took 30s."
    assert found.insight == (
        "2 threads share 1 connection: 1 of them can only wait for one, "
        "the other requests for a thread."
    )


def test_threads_that_protect_the_pool_from_its_timeout() -> None:
    assert _pool_behind_threads(30 * S).insight == (
        "2 threads share 1 connection: only 1 can wait for one, too few to reach its 30s timeout."
    )


def _loop(small: Plan, hold: int, cause: int) -> Bottleneck:
    rows = Rows(small)
    for i in range(3):
        spent = {contract.EVENT_LOOP: hold * i, cause: hold}
        rows.request(0, hold * i + hold, spent)
        rows.visit("event loop", i, 0, hold * i, hold * i + hold)
        rows.visit("event loop", i, hold * i, hold * i, hold * i, work=0)
    return find(small, rows.trace())


def test_an_event_loop_that_a_driver_blocks() -> None:
    found = _loop(plan(steps=query(frees_loop=False)), 5, contract.hold_query(0))
    assert found.kind == "event loop"
    assert found.sentence == "event loop: 3 × 5s = 15s is the bound, the run took 15s."
    assert found.insight.startswith("a blocking call in `async def` stops the loop")
    assert found.override == "pools.db.driver=async"


def test_an_event_loop_that_a_sleep_blocks() -> None:
    found = _loop(plan(steps=BLOCK, pools=()), 5, contract.BLOCK)
    assert found.override == "routes.get_user.handler=def"


def test_a_handler_that_awaits_cannot_become_def() -> None:
    steps = (*BLOCK, Wait(0, contract.AWAIT, True))
    assert _loop(plan(steps=steps, pools=()), 5, contract.BLOCK).override == "server.workers=2"


def test_an_event_loop_that_computes() -> None:
    found = _loop(plan(steps=(Cpu(0, contract.CPU, False),), pools=()), 5, contract.CPU)
    assert found.insight.startswith("one loop runs one callback at a time")
    assert found.override == "server.workers=2"


def test_sync_workers() -> None:
    server = asgi(1, 1, ServerKind.SYNC)
    rows = Rows(plan(server=server, on_loop=False, pools=(), steps=BLOCK))
    for i in range(3):
        rows.request(0, 5 * i + 5, {contract.ACCEPT_QUEUE: 5 * i, contract.BLOCK: 5})
        rows.visit("workers", i, 0, 5 * i, 5 * i + 5)
    found = find(rows.plan, rows.trace())
    assert found.sentence == "workers: 3 × 5s = 15s is the bound, the run took 15s."
    assert (found.kind, found.override) == ("workers", "server.workers=2")


def test_the_gil() -> None:
    server = replace(asgi(threads=4), gil=True)
    rows = Rows(plan(server=server, on_loop=False, pools=(), steps=(Cpu(0, contract.CPU, False),)))
    for i in range(4):
        rows.request(0, i + 1, {contract.GIL: i, contract.CPU: 1})
        rows.visit("threads", i, 0, 0, i + 1, work=1)
        rows.visit("gil", i, 0, i, i + 1)
    found = find(rows.plan, rows.trace())
    assert (found.kind, found.bound_ns, found.override) == ("gil", 4 * S, "server.workers=2")


def test_a_row_lock() -> None:
    lock = (Lock(0, True, False), Wait(0, contract.hold_query(0), True))
    small = plan(
        steps=(With(0, lock, True, False, NO_RETRIES),),
        locks=(RowLock("row", 1, NO_STREAM, False),),
        times=(Constant(10 * MS),),
    )
    rows = Rows(small)
    for i in range(2):
        waited = 0.01 * i
        rows.request(0, waited + 0.01, {contract.wait_for_lock(rows.plan, 0): waited})
        rows.visit("pool db", i, 0, 0, waited + 0.01, work=0.01)
        rows.visit("lock row", i, 0, waited, waited + 0.01)
    found = find(small, rows.trace())
    assert found.sentence == "lock row: 2 × 10ms = 20ms is the bound, the run took 20ms."
    assert (found.kind, found.override) == ("lock", "routes.get_user.steps[0].time=5ms")


def _workers(found_plan: Plan) -> Bottleneck:
    """Two workers, one with three requests and one with two, on one connection each."""
    rows = Rows(found_plan)
    for i in range(5):
        process, turn = i % 2, i // 2
        rows.request(0, 5 * turn + 5, {contract.wait_for_pool(0): 5 * turn}, process=process)
        rows.visit("pool db", i, 0, 5 * turn, 5 * turn + 5, process=process)
    return find(found_plan, rows.trace())


def test_the_pool_of_the_busiest_worker() -> None:
    found = _workers(plan(server=asgi(2), pools=(pool(1),)))
    assert found.sentence == (
        "pool db, 1 in each of 2 workers: 3 × 5s = 15s is the bound, the run took 15s."
    )
    # Both workers are busy as long as the other has a queue.
    assert found.insight == (
        "async lets 2 requests wait at once in one worker; it does not let more than 1 query "
        "run at once."
    )
    assert found.override == "pools.db.size=2"


def test_a_pool_that_its_database_lets_grow_no_further() -> None:
    small = plan(server=asgi(2), pools=(pool(1, database=0),), databases=(database(3),))
    assert _workers(small).override == "routes.get_user.steps[0].time=2.5s"


def test_a_pool_and_its_timeout() -> None:
    small = plan(pools=(pool(1, overflow=1, timeout_ns=8 * S),))
    rows = Rows(small)
    for i in range(4):
        rows.request(0, 5 * (i // 2) + 5)
        rows.visit("pool db", i, 0, 5 * (i // 2), 5 * (i // 2) + 5)
    for i in range(4, 10):
        rows.request(0, 8, {contract.wait_for_pool(0): 8}, outcome=contract.pool_timeout(0))
        rows.visit("pool db", i, 0, None, 8)
    found = find(small, rows.trace())
    assert found.sentence == "pool db (2) and its 8s timeout: 6 of 10 gave up."
    assert found.insight.startswith("only those served within 8s get an answer")
    # Two waves start within 8 s, so ten requests want five connections, one of them overflow.
    assert found.override == "pools.db.size=4"
    assert run_findings(small, rows.trace(), summarize(small, rows.trace())) == (
        RunFinding(
            "SIM106",
            "6 of 10 acquisitions of pool db waited its whole timeout of 8s and gave up",
            "pools.db.acquire_timeout",
        ),
    )


def test_a_database_that_refuses() -> None:
    small = plan(server=asgi(2), pools=(pool(2, min=0, database=0),), databases=(database(3),))
    rows = Rows(small)
    for i in range(3):
        rows.request(0, 5, process=i % 2)
        rows.visit("pool db", i, 0, 0, 5, process=i % 2)
    for _ in range(7):
        rows.request(0, 0, outcome=contract.connection_refused(rows.plan, 0))
    found = find(small, rows.trace())
    assert found.sentence == "database pg: 3 connections for applications; 7 of 10 refused."
    assert found.insight == (
        "every worker has its own pool: together they may open 4 connections, the database takes 3."
    )
    assert (found.kind, found.override) == ("database", "pools.db.size=1")


def test_a_service_that_does_not_start() -> None:
    small = plan(server=asgi(2), pools=(pool(2, database=0),), databases=(database(3),))
    rows = Rows(small)
    rows.request(0, 0, outcome=contract.NOT_STARTED)
    assert find(small, rows.trace()).sentence == (
        "database pg: the workers open 4 connections at their start, it has 3; "
        "1 of 1 met a service that did not start."
    )


def test_nothing_limits_where_nobody_waits() -> None:
    small = plan(count=2)
    found = find(small, burst(small, 2))
    assert (found.kind, found.resource, found.bound_ns) == ("nothing", None, None)
    assert found.sentence == "nothing: each request takes its own 5s."
    assert found.override == "load.requests=20"


def test_a_slot_that_is_always_busy_limits_even_without_a_queue() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(4):
        rows.request(5 * i, 5 * i + 5, {contract.hold_query(0): 5})
        rows.visit("pool db", i, 5 * i, 5 * i, 5 * i + 5)
    assert find(rows.plan, rows.trace()).kind == "pool"


def test_nobody_came() -> None:
    small = plan(count=0)
    found = find(small, Rows(small).trace())
    assert (found.sentence, found.override) == ("nothing: no request arrived.", None)


def test_a_deadlock_says_who_holds_what() -> None:
    rows = Rows(plan())
    for _ in range(6):
        rows.request(0, None)
    pool_db = next(i for i, s in enumerate(rows.plan.stations) if s.label == "pool db")
    stuck = tuple(Stuck(i, (pool_db,) if i < 2 else (), pool_db) for i in range(6))
    found = find(rows.plan, rows.trace(end=5, ended="deadlock", stuck=stuck))
    assert found.sentence == "deadlock: 6 requests can never go on, for want of pool db."
    assert found.details == (
        "request 0 holds pool db and waits for pool db",
        "request 1 holds pool db and waits for pool db",
        "request 2 holds nothing and waits for pool db",
        "request 3 holds nothing and waits for pool db",
        "and 2 more",
    )
    assert (found.kind, found.override) == ("deadlock", None)


def test_a_wait_that_is_the_shadow_of_another() -> None:
    rows = Rows(plan(steps=(*query(), Cpu(0, contract.CPU, False)), pools=(pool(1),)))
    for i in range(3):
        begin, end = 10 * i, 10 * i + 10
        spent = {contract.wait_for_pool(0): begin, contract.EVENT_LOOP: 1, contract.CPU: 9}
        rows.request(0, end, spent)
        rows.visit("pool db", i, 0, begin, end, work=1)
        rows.visit("event loop", i, begin, begin + 1, end)
    found = find(rows.plan, rows.trace())
    assert (found.kind, found.details) == (
        "event loop",
        ("most waiting is for pool db, whose holders wait for event loop.",),
    )


def test_a_longer_wait_elsewhere_is_no_shadow_if_its_holders_do_not_wait() -> None:
    rows = Rows(plan(steps=(*query(), Cpu(0, contract.CPU, False)), pools=(pool(1),)))
    for i in range(3):
        rows.request(0, 30, {contract.wait_for_pool(0): 20, contract.EVENT_LOOP: 1})
        rows.visit("pool db", i, 0, i, i + 1)
        rows.visit("event loop", i, i + 1, 9 * i + 3, 9 * i + 12)
    found = find(rows.plan, rows.trace())
    assert (found.kind, found.details) == ("event loop", ())


def test_of_equal_bounds_the_one_that_was_waited_for_counts() -> None:
    rows = Rows(plan(on_loop=False, server=asgi(threads=2)))
    for i in range(4):
        start = 5 * (i // 2)
        rows.request(0, start + 5, {contract.THREADS: start})
        rows.visit("pool db", i, start, start, start + 5)
        rows.visit("threads", i, 0, start, start + 5)
    assert find(rows.plan, rows.trace()).kind == "threads"


@pytest.mark.parametrize(("wait", "codes"), [(7, ["SIM106"]), (6, [])])
def test_a_wait_near_the_timeout_is_a_finding(wait: int, codes: list[str]) -> None:
    rows = Rows(plan(pools=(pool(1, timeout_ns=8 * S),)))
    rows.request(0, wait + 1)
    rows.visit("pool db", 0, 0, wait, wait + 1)
    trace = rows.trace()
    found = run_findings(rows.plan, trace, summarize(rows.plan, trace))
    assert [finding.code for finding in found] == codes


def test_percentiles_of_random_runs_want_samples() -> None:
    small = plan(times=(Exponential(5.0 * S),))
    trace = burst(small, 150)
    assert run_findings(small, trace, summarize(small, trace)) == (
        RunFinding(
            "SIM111",
            "p95 and p99 of GET /user rest on 150 ok requests: "
            "p99 wants 1000, ten of them beyond it",
            "routes.get_user",
        ),
    )


def test_percentiles_of_a_poisson_load_want_samples_and_those_of_a_burst_do_not() -> None:
    random = plan(loads=(poisson(6, (1, 1)),))
    trace = burst(random)
    assert [f.code for f in run_findings(random, trace, summarize(random, trace))] == ["SIM111"]
    assert run_findings(plan(), trace, summarize(plan(), trace)) == ()
