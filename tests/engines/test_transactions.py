"""Transactions in a run: rows, readers, deadlocks, first updater wins, a database that is out."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from simulator.engines import contract
from simulator.engines.reference import run
from simulator.plan import UNLIMITED, Fault, Plan, Target
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, outcomes, traced
from tests.plans import MILLISECOND, SECOND, Steps, burst, database, plan, pool, rows, sqlalchemy

MS = MILLISECOND


def update(steps: Steps, hold: int = 10 * MS, **kwargs: object) -> Plan:
    """A transaction that locks a row and holds it for a statement."""
    transaction = steps.with_(0, steps.lock(0), steps.statement(0, hold))
    return plan(steps, transaction, pools=(pool(100),), **kwargs)  # type: ignore[arg-type]


def test_a_hundred_writers_of_one_row_are_strictly_serial() -> None:
    trace = traced(update(Steps(), load=burst(100), locks=1), [0] * 100)
    assert finished(trace) == [10 * (i + 1) for i in range(100)]
    assert trace.latency_ns.mean() / SECOND == 0.505
    waits = trace.spent_ns[:, contract.wait_for_lock(update(Steps(), load=burst(1), locks=1), 0)]
    assert waits.mean() / SECOND == 0.495


def test_writers_of_different_rows_do_not_meet() -> None:
    """The stream gives the rows 0, 1, 0, 1: two queues."""
    steps = Steps()
    pick = steps.time(0)
    case = update(steps, load=burst(4), locks=(rows(2, pick),))
    workload = Workload.scripted(case, arrival=[0] * 4, times={"t0": [0, 1, 0, 1]})
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    assert finished(trace) == [10, 10, 20, 20]
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "lock")
    visits = trace.visits.station == station
    by_request = dict(
        zip(trace.visits.request[visits].tolist(), trace.visits.slot[visits].tolist(), strict=True)
    )
    assert by_request == {0: 0, 1: 1, 2: 0, 3: 1}


def test_readers_share_a_row_and_an_upgrade_waits_for_the_others() -> None:
    """0 and 1 read from 0 on; both want to write at 10: only one of them can, the other fails."""
    steps = Steps()
    read = steps.with_(0, steps.lock(0, shared=True), steps.statement(0, 10 * MS))
    case = plan(steps, read, load=burst(3), pools=(pool(9),), locks=1)
    assert finished(traced(case, [0, 1, 2])) == [10, 11, 12]
    steps = Steps()
    upgrade = steps.with_(
        0,
        steps.lock(0, shared=True),
        steps.statement(0, 10 * MS),
        steps.lock(0),
        steps.statement(0, 5 * MS),
    )
    case = plan(steps, upgrade, load=burst(2), pools=(pool(9),), locks=1)
    assert finished(traced(case, [0, 50])) == [15, 65]
    trace = traced(case, [0, 3])
    assert outcomes(trace) == ["deadlock_detected", "ok"]
    assert finished(trace) == [1010, 1015]


def test_the_next_writer_may_be_drawn() -> None:
    """Which one is a decision of the lock: the same with the same seed, not that of arrival."""
    case = update(Steps(), load=burst(20), locks=(rows(random_grant=True),))
    trace = traced(case, [0] * 20)
    assert sorted(finished(trace)) == [10 * (i + 1) for i in range(20)]
    assert finished(trace) != sorted(finished(trace))
    assert finished(traced(case, [0] * 20)) == finished(trace)


def two_orders(timeout_ms: int) -> Plan:
    """Two transactions at once that lock the same two rows, each in its own order."""
    steps = Steps()
    one = (steps.lock(0), steps.statement(0, MS), steps.lock(1), steps.statement(0, MS))
    other = (steps.lock(1), steps.statement(0, MS), steps.lock(0), steps.statement(0, MS))
    return plan(
        steps,
        steps.gather(steps.with_(0, *one), steps.with_(0, *other)),
        load=burst(1),
        pools=(pool(9, database=0),),
        databases=(database(97, deadlock_timeout_ns=timeout_ms * MS),),
        locks=2,
    )


def test_a_cycle_of_row_locks_is_broken_after_the_deadlock_timeout() -> None:
    """Both wait from 1 on; the first timer's owner fails at 101, the other one goes on."""
    trace = traced(two_orders(100), [0])
    assert outcomes(trace) == ["deadlock_detected"]
    assert finished(trace) == [101]
    assert trace.ended == "empty" and trace.end_ns == 102 * MS


def test_a_cycle_through_a_pool_is_not_found() -> None:
    """0 has the row and wants a second connection; 1 has that one and waits for the row."""
    steps = Steps()
    nested = steps.with_(0, steps.lock(0), steps.statement(0, MS), steps.query(0, MS))
    case = plan(steps, nested, load=burst(2), pools=(pool(2),), locks=1)
    trace = traced(case, [0, 0])
    assert trace.ended == "deadlock"
    assert [stuck.request for stuck in trace.stuck] == [0, 1]


def serializable(
    count: int,
    retries: int,
    *,
    before: int = 50 * MS,
    after: int = 0,
    backoff: int = 0,
    **overheads: int,
) -> Plan:
    """The measured handler: read, 50 ms, update, commit; again on a serialization failure."""
    steps = Steps()
    transaction = steps.with_(
        0,
        steps.statement(0, before),
        steps.lock(0),
        steps.statement(0, after),
        serializable=True,
        backoff=(backoff,) * retries,
    )
    return plan(steps, transaction, load=burst(count), pools=(pool(20),), locks=1, **overheads)


@pytest.mark.parametrize("count", [5, 10, 20])
def test_first_updater_wins_one_commit_a_round(count: int) -> None:
    """n simultaneous requests take n(n + 1) / 2 tries: the i-th to commit needs i."""
    trace = traced(serializable(count, 200), [0] * count)
    assert set(outcomes(trace)) == {"ok"}
    assert finished(trace) == [50 * (i + 1) for i in range(count)]
    tries = trace.spent_ns[:, contract.hold_query(0)] // (50 * MS)
    assert tries.sum() == count * (count + 1) // 2
    assert sorted(tries.tolist()) == list(range(1, count + 1))


MEASURED = [
    ([4, 2, 1, 3, 5], 0.268),
    ([9, 2, 1, 8, 6, 5, 3, 4, 10, 7], 0.534),
]


@pytest.mark.parametrize(("tries", "makespan_s"), MEASURED, ids=["n=5", "n=10"])
def test_tries_are_those_of_a_real_server(tries: list[int], makespan_s: float) -> None:
    """PostgreSQL 15.18 behind FastAPI: in four runs the same number of tries each time.

    Who commits when is chance there. A round costs 3 ms more than its 50: 7 % in all.
    """
    trace = traced(serializable(len(tries), 200), [0] * len(tries))
    simulated = trace.spent_ns[:, contract.hold_query(0)] // (50 * MS)
    assert sorted(simulated.tolist()) == sorted(tries)
    assert max(finished(trace)) / 1000 == pytest.approx(makespan_s, rel=0.1)


def test_a_loser_waits_its_backoff_and_fails_after_its_last_retry() -> None:
    """0 commits at 60; 1 and 2 waited for it, fail, and try again from 65 on."""
    trace = traced(serializable(3, 1, after=10 * MS, backoff=5 * MS), [0, 0, 0])
    assert outcomes(trace) == ["ok", "ok", "serialization_failure"]
    assert finished(trace) == [60, 125, 125]
    assert ledger(trace, 1) == {"wait lock:row0": 10, "wait backoff": 5, "hold query:db": 110}
    assert ledger(trace, 2) == {"wait lock:row0": 20, "wait backoff": 5, "hold query:db": 100}


def test_each_try_pays_what_a_connection_is_held_beyond_its_use() -> None:
    """0 commits at 50 and is reset to 53; 1 fails at 50, is reset, and tries from 53 to 103."""
    trace = traced(serializable(2, 1, pool_hold_ns=3 * MS), [0, 0])
    assert finished(trace) == [53, 106]
    assert ledger(trace, 1) == {"hold query:db": 100, "hold connection:db": 6}


def test_each_try_begins_a_transaction_and_ends_it() -> None:
    """SQLAlchemy: CPU of 1 and a hold of 3 ms at either end of both tries of 1; 2 a statement.

    Its first try fails at the row, before the second one.
    """
    case = serializable(2, 1, query_cpu_ns=4 * MS, pool_hold_ns=6 * MS)
    case = contract.numbered(replace(case, pools=(sqlalchemy(overflow=0),)))
    trace = traced(case, [0, 0])
    assert outcomes(trace) == ["ok", "ok"]
    held = {"hold framework": (1 + 2 + 1) + (1 + 4 + 1), "hold connection:db": 2 * (3 + 3)}
    assert ledger(trace, 1).items() >= (held | {"hold query:db": 100}).items()


def test_rows_are_held_beyond_their_use_until_the_commit() -> None:
    """0 has the row at 50 and commits at 53; 1 waits for that, fails, and commits at 106."""
    trace = traced(serializable(2, 1, lock_hold_ns=3 * MS), [0, 0])
    assert finished(trace) == [53, 106]
    waited = {"hold query:db": 100, "wait lock:row0": 3, "hold connection:db": 3}
    assert ledger(trace, 1) == waited


def test_each_turn_on_a_row_takes_what_it_is_held_beyond_its_use() -> None:
    trace = traced(update(Steps(), load=burst(3), locks=1, lock_hold_ns=2 * MS), [0, 0, 0])
    assert finished(trace) == [12, 24, 36]


def test_a_transaction_without_rows_takes_no_turn() -> None:
    steps = Steps()
    reads = steps.with_(0, steps.statement(0, 10 * MS), serializable=True)
    trace = traced(plan(steps, reads, load=burst(2), pools=(pool(2),), lock_hold_ns=MS), [0, 0])
    assert finished(trace) == [10, 10]


def test_a_retry_draws_anew_and_keeps_its_connection() -> None:
    """`t0` is scripted for the first try only: the retry draws its own 7 ms."""
    steps = Steps()
    transaction = steps.with_(
        0, steps.statement(0, 7 * MS), steps.lock(0), serializable=True, backoff=(0,)
    )
    case = plan(steps, transaction, load=burst(2), pools=(pool(2),), locks=1)
    trace = traced(case, [0, 0], {"t0": [50, 50]})
    assert finished(trace) == [50, 57]
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "pool")
    assert int((trace.visits.station == station).sum()) == 2


def test_read_committed_waiters_just_go_on() -> None:
    trace = traced(update(Steps(), load=burst(3), locks=1), [0, 0, 0])
    assert outcomes(trace) == ["ok"] * 3


def test_a_branch_takes_its_locks_for_the_transaction_around_its_gather() -> None:
    """Both branches want the same row: it is the transaction's, to the end of the `with`."""
    steps = Steps()
    gather = steps.gather(
        (steps.lock(0), steps.sleep(5 * MS)), (steps.lock(0), steps.sleep(7 * MS))
    )
    transaction = steps.with_(0, gather, steps.statement(0, 3 * MS))
    case = plan(steps, transaction, load=burst(2), pools=(pool(2),), locks=1)
    trace = traced(case, [0, 0])
    assert finished(trace) == [10, 20]


def test_a_branch_left_behind_takes_no_locks_once_its_transaction_has_ended() -> None:
    """The gather fails at 5, the `with` ends; at 20 its other branch just ends (asyncpg's
    InterfaceError), and the row is free for request 1."""
    steps = Steps()
    gather = steps.gather(steps.query(1, 50 * MS), (steps.sleep(20 * MS), steps.lock(0)))
    transaction = steps.with_(0, gather)
    pools = (pool(2), pool(1, label="other", acquire_timeout_ns=5 * MS))
    case = plan(steps, transaction, load=burst(2), pools=pools, locks=1)
    trace = traced(case, [0, 0])
    assert outcomes(trace) == ["ok", "pool_timeout:other"]
    assert finished(trace) == [50, 5]
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "lock")
    assert trace.visits.request[trace.visits.station == station].tolist() == [0]


def test_all_branches_fail_with_what_their_transaction_failed_with() -> None:
    """The cycle is found in one branch; the other one, in the same transaction, waits too."""
    steps = Steps()
    one = steps.with_(
        0, steps.lock(0), steps.sleep(MS), steps.gather(steps.lock(1), steps.sleep(500 * MS))
    )
    other = steps.with_(0, steps.lock(1), steps.sleep(MS), steps.lock(0))
    case = plan(steps, steps.gather(one, other), load=burst(1), pools=(pool(2),), locks=2)
    trace = traced(case, [0])
    assert outcomes(trace) == ["deadlock_detected"]
    assert finished(trace) == [1001]


def fault(outage: bool, start: int, end: int, slow: tuple[int, int] = (1, 1)) -> Fault:
    return Fault(Target.DATABASE, 0, start * MS, end * MS, outage, slow)


def test_statements_that_begin_in_an_outage_fail_at_once() -> None:
    """0 began before and ends; 1 fails; 2 comes when it is over."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(3),
        pools=(pool(3, database=0),),
        databases=(database(97),),
        faults=(fault(True, 5, 20),),
    )
    trace = traced(case, [0, 5, 20])
    assert outcomes(trace) == ["ok", "database_error:pg", "ok"]
    assert finished(trace) == [10, 5, 30]


def test_a_connection_cannot_be_opened_in_an_outage_and_locks_are_given_up() -> None:
    steps = Steps()
    transaction = steps.with_(0, steps.lock(0), steps.sleep(6 * MS), steps.statement(0, MS))
    case = plan(
        steps,
        transaction,
        load=burst(3),
        pools=(pool(3, min=0, database=0),),
        databases=(database(97),),
        locks=1,
        faults=(fault(True, 5, 20),),
        connect_ns=MS,
    )
    # 0 connects to 1, has the row, and fails at 7; 1 can't connect; 2 has 0's connection.
    trace = traced(case, [0, 6, 20])
    assert Counter(outcomes(trace)) == {"database_error:pg": 2, "ok": 1}
    assert finished(trace) == [7, 6, 27]


@pytest.mark.parametrize("cores", [UNLIMITED, 2])
def test_a_driver_computes_before_a_query_is_sent_and_after_its_answer(cores: int) -> None:
    """Both send to 2, one after the other; the first reads when the second has sent."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(2),
        pools=(pool(2, database=0),),
        databases=(database(97, cores=cores),),
        query_cpu_ns=2 * MS,
    )
    trace = traced(case, [0, 0])
    assert finished(trace) == [12, 13]
    expected = {"wait event loop": 1, "hold framework": 2, "hold query:db": 10}
    assert ledger(trace, 1) == expected


def test_a_driver_that_begins_computes_around_each_of_its_round_trips() -> None:
    """BEGIN, the query, ROLLBACK: 1 of 4 ms before each and after the last; in turn."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(2),
        pools=(sqlalchemy(overflow=0),),
        query_cpu_ns=4 * MS,
        pool_hold_ns=6 * MS,
    )
    trace = traced(case, [0, 0])
    assert finished(trace) == [20, 21]
    expected = {"hold framework": 4, "hold query:db": 10, "hold connection:db": 6}
    assert ledger(trace, 0) == expected
    assert ledger(trace, 1) == expected | {"wait event loop": 1}


def test_more_queries_in_one_transaction_begin_it_once() -> None:
    steps, costs = Steps(), {"query_cpu_ns": 4 * MS, "pool_hold_ns": 6 * MS}
    block = steps.with_(0, steps.statement(0, 10 * MS), steps.statement(0, 10 * MS))
    case = plan(steps, block, load=burst(1), pools=(sqlalchemy(),), **costs)
    assert finished(traced(case, [0])) == [2 + 6 + 2 * (10 + 2)]


def test_a_slow_database_stretches_what_begins_meanwhile() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(3),
        pools=(pool(3, database=0),),
        databases=(database(97, cores=1),),
        faults=(fault(False, 50, 60, (3, 1)),),
    )
    assert finished(traced(case, [0, 55, 200])) == [10, 85, 210]
