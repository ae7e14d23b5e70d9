"""What each step does on a loop, in a thread and in a worker: literal times and causes."""

from __future__ import annotations

import gc
from dataclasses import replace

import pytest

from simulator.engines import contract
from simulator.engines.reference import run
from simulator.plan import NEVER, Accept, LoadKind, Plan, Pool, ServerKind
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, outcomes, traced
from tests.plans import MILLISECOND, Steps, burst, database, load, plan, pool, sqlalchemy

MS = MILLISECOND


def test_await_frees_the_loop_and_block_freezes_it() -> None:
    steps = Steps()
    waiting = plan(steps, steps.sleep(10 * MS), load=burst(3))
    assert finished(traced(waiting, [0, 1, 2])) == [10, 11, 12]
    steps = Steps()
    frozen = plan(steps, steps.block(10 * MS), load=burst(3))
    trace = traced(frozen, [0, 1, 2])
    assert finished(trace) == [10, 20, 30]
    assert ledger(trace, 2) == {"wait event loop": 18, "hold block": 10}


def test_cpu_in_async_def_holds_the_loop_also_for_those_that_wake() -> None:
    """Request 0 sleeps until 5, but 1 computes from 2 to 12: it goes on at 12."""
    steps = Steps()
    case = plan(steps, steps.sleep(5 * MS), steps.cpu(10 * MS), load=burst(2))
    trace = traced(case, [0, 2], {"t0": [5, 0], "t1": [1, 10]})
    assert finished(trace) == [13, 12]
    assert ledger(trace, 0) == {"wait event loop": 7, "hold await": 5, "hold cpu": 1}


def test_await_0s_goes_to_the_back_of_the_ready_queue() -> None:
    """1 and 2 are polled at 10, when 0's `await: 0s` has put it before them, not behind.

    All three handlers are then in one turn: 0 computes 5, 1 computes 10 and goes to the
    back behind 2, which has no `await: 0s` to pass: it computes twice without a break.
    """
    steps = Steps()
    case = plan(steps, steps.cpu(10 * MS), steps.sleep(0), steps.cpu(5 * MS), load=burst(3))
    trace = traced(case, [0, 1, 2], {"t1": [0, 0, 1]})
    # 0: 0–10, again 10–15. Handlers of 1 and 2: 15–25 and 25–35. Then 1 again: 35–40,
    # and 2, which slept 1 ms from 35 on, when the loop is free: 40–45.
    assert finished(trace) == [15, 40, 45]


def test_a_released_connections_waiter_runs_before_what_the_loop_polls() -> None:
    """`call_soon` at the release: 1 is in the ready queue when the loop polls for 2.

    0 has the connection from 1 on and computes 3–13; 2 wakes at 5. At 13 request 1 goes
    on first (its sleep is 13–15), then 2 computes 13–16, so 1 is back on the loop at 16.
    """
    steps = Steps()
    case = plan(
        steps,
        steps.sleep(1 * MS),
        steps.cpu(0),
        steps.with_(0, steps.sleep(2 * MS), steps.cpu(10 * MS)),
        load=burst(3),
        pools=(pool(1),),
    )
    times = {"t0": [1, 1, 5], "t1": [0, 0, 3], "t3": [10, 4, 0]}
    trace = traced(case, [0, 0, 0], times)
    assert finished(trace) == [13, 20, 22]
    assert ledger(trace, 1) == {
        "wait pool:db": 12,
        "wait event loop": 1,
        "hold await": 3,
        "hold cpu": 4,
    }


def test_a_hold_of_nothing_ends_inline() -> None:
    steps = Steps()
    case = plan(steps, steps.query(0, 0), steps.cpu(0), load=burst(5), pools=(pool(1),))
    assert finished(traced(case, [0] * 5)) == [0] * 5


def test_def_routes_run_in_the_limiters_threads() -> None:
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(5), threads=2)
    trace = traced(case, [0, 0, 0, 0, 0])
    assert finished(trace) == [10, 10, 20, 20, 30]
    assert ledger(trace, 4) == {"wait threads": 20, "hold block": 10}


def test_to_thread_frees_the_loop_while_the_thread_blocks() -> None:
    steps = Steps()
    case = plan(steps, steps.to_thread(steps.block(10 * MS)), steps.cpu(1 * MS), load=burst(3))
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [11, 12, 13]
    assert ledger(trace, 2) == {"wait event loop": 2, "hold block": 10, "hold cpu": 1}


def test_a_frozen_loop_keeps_a_threads_token() -> None:
    """AnyIO gives the token back on the loop: request 1 gets its thread at 30, not at 10."""
    steps = Steps()
    case = plan(steps, steps.to_thread(steps.block(10 * MS)), steps.block(MS), load=burst(3))
    times = {"t0": [10, 10, 10], "t1": [0, 0, 25]}
    trace = traced(case, [0, 1, 2], times)
    assert finished(trace) == [10, 11, 37]
    one_thread = plan(
        (steps := Steps()),
        steps.to_thread(steps.block(10 * MS)),
        steps.block(MS),
        load=burst(3),
        threads=1,
    )
    trace = traced(one_thread, [0, 1, 2], {"t0": [10, 10, 10], "t1": [25, 0, 0]})
    # 0 is back on the loop at 10, gives the token to 1, and then freezes the loop to 35:
    # 1 has the token from 10 on, but its thread is started at 35.
    assert finished(trace) == [35, 45, 55]
    assert ledger(trace, 1) == {"wait threads": 9, "wait event loop": 25, "hold block": 10}


def test_a_sync_worker_is_held_by_whatever_the_handler_does() -> None:
    steps = Steps(on_loop=False)
    case = plan(
        steps,
        steps.cpu(2 * MS),
        steps.query(0, 3 * MS),
        steps.block(5 * MS),
        load=burst(3),
        kind=ServerKind.SYNC,
        workers=2,
        pools=(pool(1),),
    )
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [10, 10, 20]
    assert ledger(trace, 2) == {
        "wait accept queue": 10,
        "hold cpu": 2,
        "hold block": 5,
        "hold query:db": 3,
    }
    assert trace.process.tolist() == [0, 1, 0]


def test_workers_pull_but_threaded_processes_are_pushed_to() -> None:
    """Two short requests and two long ones: with push one process idles while its twin queues."""
    times = {"t0": [10, 1, 10, 1]}
    steps = Steps(on_loop=False)
    pull = plan(steps, steps.block(MS), load=burst(4), kind=ServerKind.SYNC, workers=2)
    assert finished(traced(pull, [0, 0, 0, 0], times)) == [10, 1, 11, 11]
    steps = Steps(on_loop=False)
    push = plan(
        steps, steps.block(MS), load=burst(4), kind=ServerKind.THREADS, workers=2, threads=1
    )
    assert finished(traced(push, [0, 0, 0, 0], times)) == [10, 1, 20, 2]


def test_accept_by_weight_and_at_random_are_decisions_of_the_station() -> None:
    steps = Steps()
    for accept in (Accept.RANDOM, Accept.WEIGHTS):
        case = plan(steps, steps.sleep(MS), load=burst(2000), workers=4, accept=accept)
        workload = Workload(case)
        trace = run(case, workload)
        shares = [int((trace.process == i).sum()) for i in range(4)]
        # Binomial(2000, 1/4): 5 standard deviations are 97.
        assert all(abs(share - 500) < 97 for share in shares)
        assert trace.process.tolist() == run(case, Workload(case)).process.tolist()


def test_a_transaction_holds_its_row_lock_to_its_end_and_has_it_already_when_it_asks_again() -> (
    None
):
    steps = Steps()
    transaction = steps.with_(
        0, steps.lock(0), steps.statement(0, 4 * MS), steps.lock(0), steps.statement(0, 6 * MS)
    )
    case = plan(steps, transaction, load=burst(3), pools=(pool(2),), locks=1)
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [10, 20, 30]
    assert ledger(trace, 1) == {"wait lock:row0": 10, "hold query:db": 10}
    assert ledger(trace, 2) == {"wait pool:db": 10, "wait lock:row0": 10, "hold query:db": 10}


def test_gather_costs_the_slowest_branch_and_books_it() -> None:
    steps = Steps()
    fan_out = steps.gather(*(steps.sleep(ms * MS) for ms in (30, 50, 80, 60)))
    trace = traced(plan(steps, fan_out, load=burst(1)), [0])
    assert finished(trace) == [80]
    assert ledger(trace, 0) == {"hold await": 80}


def test_a_gather_of_a_tie_books_the_branch_with_the_lowest_index() -> None:
    steps = Steps()
    fan_out = steps.gather(
        steps.sleep(10 * MS), (steps.query(0, 4 * MS), steps.sleep(16 * MS)), steps.sleep(20 * MS)
    )
    trace = traced(plan(steps, fan_out, load=burst(1), pools=(pool(1),)), [0])
    assert ledger(trace, 0) == {"hold query:db": 4, "hold await": 16}


def test_branches_of_a_gather_queue_for_the_pool() -> None:
    steps = Steps()
    fan_out = steps.gather(*(steps.query(0, 10 * MS) for _ in range(3)))
    trace = traced(plan(steps, fan_out, load=burst(1), pools=(pool(2),)), [0])
    assert finished(trace) == [20]
    assert ledger(trace, 0) == {"wait pool:db": 10, "hold query:db": 10}


def test_a_gather_fails_with_its_first_failure_and_leaves_the_others_behind() -> None:
    """asyncio.gather: the error is raised at once, the other branches go on."""
    steps = Steps()
    fan_out = steps.gather(steps.query(0, 100 * MS), steps.query(0, 100 * MS))
    case = plan(steps, fan_out, load=burst(1), pools=(pool(1, acquire_timeout_ns=5 * MS),))
    trace = traced(case, [0])
    assert trace.outcomes[trace.outcome[0]] == "pool_timeout:db"
    assert finished(trace) == [5]
    assert ledger(trace, 0) == {"wait pool:db": 5}
    assert trace.end_ns == 100 * MS  # the branch left behind
    assert sorted(trace.visits.released_ns.tolist()) == [5 * MS, 100 * MS]


def test_nested_gathers() -> None:
    steps = Steps()
    inner = steps.gather(steps.sleep(5 * MS), steps.sleep(7 * MS))
    outer = steps.gather((steps.sleep(10 * MS), inner), steps.sleep(12 * MS))
    trace = traced(plan(steps, outer, load=burst(2)), [0, 1])
    assert finished(trace) == [17, 18]


def test_a_timed_out_request_gives_back_what_it_held() -> None:
    """The token of its thread, the outer connection: the next request has both."""
    steps = Steps(on_loop=False)
    nested = steps.with_(0, steps.query(1, 10 * MS))
    pools = (pool(2, label="a"), pool(1, label="b", acquire_timeout_ns=4 * MS))
    trace = traced(plan(steps, nested, load=burst(3), pools=pools, threads=2), [0, 0, 0])
    assert [trace.outcomes[i] for i in trace.outcome] == ["ok", "pool_timeout:b", "pool_timeout:b"]
    assert finished(trace) == [10, 4, 8]


def test_a_deadlock_names_who_holds_what() -> None:
    """Each of two requests holds one connection and wants a second one of the same pool."""
    steps = Steps()
    twice = steps.with_(0, steps.sleep(MS), steps.query(0, MS))
    trace = traced(plan(steps, twice, load=burst(2), pools=(pool(2),)), [0, 0])
    assert trace.ended == "deadlock"
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "pool")
    assert [(s.request, s.holds, s.waits_for) for s in trace.stuck] == [
        (0, (station,), station),
        (1, (station,), station),
    ]
    assert trace.outcome.tolist() == [contract.IN_FLIGHT] * 2


def test_overheads_are_held_where_they_are_paid() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(1),
        pools=(pool(0, overflow=1, min=0),),
        loop_before_ns=1 * MS,
        loop_after_ns=2 * MS,
        connect_ns=5 * MS,
        pool_hold_ns=3 * MS,
        close_ns=4 * MS,
    )
    trace = traced(case, [0])
    assert finished(trace) == [25]
    assert ledger(trace, 0) == {"hold framework": 3, "hold query:db": 10, "hold connection:db": 12}
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(1), thread_hop_ns=2 * MS, sleep_ns=MS)
    assert ledger(traced(case, [0]), 0) == {"hold framework": 2, "hold block": 11}
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(MS), load=burst(1), kind=ServerKind.SYNC, worker_ns=2 * MS)
    assert ledger(traced(case, [0]), 0) == {"hold framework": 2, "hold block": 1}


def overflowing(timeout_ns: int = NEVER) -> Plan:
    """Six queries of 10 ms on 1 + 2 connections; each keeps the loop busy for 1 ms behind it."""
    steps = Steps()
    return plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(6),
        pools=(replace(sqlalchemy(overflow=2, acquire_timeout_ns=timeout_ns), size=1),),
        loop_after_ns=1 * MS,
        connect_ns=2 * MS,
    )


def test_an_overflow_connection_is_closed_while_a_woken_waiter_has_not_run() -> None:
    """SQLAlchemy's queue of 1 place: the connection that 4 has not taken yet fills it.

    0 gives back at 12, 3 runs at 13. Then 1 gives back to 4, which runs at 15, when the loop
    is done with 1 and 2: 2's connection is closed at 14. 5 waits for 3's, back at 23.
    """
    trace = traced(overflowing(), [0] * 6)
    assert finished(trace) == [13, 14, 15, 24, 26, 35]


def test_where_one_was_closed_a_waiter_connects_when_its_timeout_passes() -> None:
    trace = traced(overflowing(timeout_ns=20 * MS), [0] * 6, {"t0": [10, 10, 10, 40, 10, 10]})
    # 4's comes back at 25, too late: 5 connects at 20 and asks from 22 to 32.
    assert finished(trace) == [13, 14, 15, 54, 26, 33]
    assert outcomes(trace) == ["ok"] * 6


def test_without_room_it_gives_up() -> None:
    trace = traced(overflowing(timeout_ns=13 * MS), [0] * 6)
    assert finished(trace)[5] == 16  # at 13, when 2 had not closed its own; the loop is busy
    assert outcomes(trace) == ["ok"] * 5 + ["pool_timeout:db"]


@pytest.mark.parametrize(
    ("given", "ends"),
    [
        (pool(1), [30, 40]),  # asyncpg: a task gives back, who awaits it goes on behind the woken
        (replace(sqlalchemy(overflow=0), size=1), [20, 40]),  # asks again before 1 has run
        (replace(sqlalchemy(overflow=0), size=1, hands_over=True), [30, 40]),  # psycopg_pool
    ],
)
def test_who_asks_again_before_the_woken_one_runs_has_the_connection(
    given: Pool, ends: list[int]
) -> None:
    steps = Steps()
    two = (steps.query(0, 10 * MS), steps.query(0, 10 * MS))
    trace = traced(plan(steps, *two, load=burst(2), pools=(given,)), [0, 0])
    assert finished(trace) == ends


def test_a_drained_run_leaves_its_rest_in_flight() -> None:
    steps = Steps()
    source = load(LoadKind.CONSTANT, until_ns=20 * MS, rate=(100, 1))
    case = plan(steps, steps.query(0, 30 * MS), load=source, pools=(pool(1),), drain_ns=15 * MS)
    trace = run(case, Workload(case))
    invariants.check(case, trace, Workload(case))
    assert trace.arrival_ns.tolist() == [0, 10 * MS]
    assert trace.ended == "drained"
    assert trace.finish_ns.tolist() == [30 * MS, -1]
    assert trace.end_ns == 35 * MS


def test_connections_of_a_database_are_visits() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(3),
        pools=(pool(0, overflow=5, min=0, database=0),),
        databases=(database(2),),
    )
    trace = traced(case, [0, 1, 2])
    assert [trace.outcomes[i] for i in trace.outcome] == ["ok", "ok", "too_many_connections:pg"]
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "database")
    spans = trace.visits.station == station
    assert trace.visits.granted_ns[spans].tolist() == [0, MS]
    assert trace.visits.released_ns[spans].tolist() == [10 * MS, 11 * MS]


def test_more_requests_than_the_limit_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contract, "REQUESTS_MAX", 10)
    steps = Steps()
    case = plan(steps, steps.sleep(MS), load=burst(11))
    with pytest.raises(contract.LimitError, match="11 requests, more than REQUESTS_MAX = 10"):
        run(case, Workload(case))


def test_a_run_beyond_the_time_limit_is_an_error() -> None:
    steps = Steps()
    case = plan(steps, steps.sleep(2**61 - 1), steps.sleep(5), load=burst(1))
    with pytest.raises(contract.LimitError, match="TIME_MAX_NS"):
        run(case, Workload(case))


def test_ctrl_c_keeps_what_was_done() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.sleep(MS),
        load=load(LoadKind.CONSTANT, 10_000, rate=(1000, 1)),
    )

    def interrupts(arrived: int) -> None:
        if arrived >= 4096:
            raise KeyboardInterrupt

    trace = run(case, Workload(case), progress=interrupts)
    assert trace.ended == "interrupted"
    assert len(trace) == 4096  # the one that was about to arrive has not
    assert (trace.finish_ns[:4095] >= 0).all()
    invariants.check(case, trace)


def test_a_run_leaves_the_collector_as_it_was() -> None:
    steps = Steps()
    before = gc.get_threshold()
    run(case := plan(steps, steps.sleep(MS), load=burst(1)), Workload(case))
    assert gc.get_threshold() == before and gc.isenabled()
