"""Loop and threads of one process: turns, the GIL, hops, cold starts; literal times and causes."""

from __future__ import annotations

from simulator.plan import ServerKind
from simulator.scenario import loads
from tests.engines.reading import finished, ledger, traced
from tests.plans import MILLISECOND, Steps, burst, plan

MS = MILLISECOND


def test_a_burst_moves_breadth_first() -> None:
    """FIELD: threads start only after the burst is parsed."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(3), loop_before_ns=1 * MS)
    # Request 0 is read at 0–1 alone; 1 and 2 are polled in the next turn, behind 0's handler,
    # which asks for its thread in the turn after that and starts it a turn later.
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [13, 13, 13]


def test_a_thread_starts_after_the_handlers_of_others_that_came_with_it() -> None:
    """AnyIO: a turn of the loop before the token, another one with it."""
    both = loads(
        """
        server: {preset: fastapi, overheads: {loop_before: 1ms}}
        pools: {db: {size: 1}}
        routes:
          first:
            path: GET /first
            handler: def
            load: {requests: 1, at: once}
            steps: [{query: db, time: 10ms}]
          second:
            path: GET /second
            handler: async def
            load: {requests: 1, at: once}
            steps: [{query: db, time: 10ms}]
        """
    ).plan
    # Both are read by 2; at 2 the second one's handler takes the connection, then the thread asks.
    trace = traced(both)
    assert finished(trace) == [22, 12]
    assert ledger(trace, 0)["wait pool:db"] == 10


def test_who_waited_for_a_token_starts_its_thread_in_the_turn_that_wakes_it() -> None:
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(2), threads=1, loop_after_ns=1 * MS)
    # At 10 the first answers until 11; the second's thread begins then, with no turn between.
    trace = traced(case, [0, 0])
    assert finished(trace) == [11, 22]


def test_threads_that_only_wait_begin_when_the_loop_lets_go_of_the_gil() -> None:
    """Handed over in one turn, all threads start at its end (recorded: 40 within .3 ms)."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(3), gil=True, thread_hop_ns=1 * MS)
    # Thread 0 begins at 1, as the loop reads request 1; 1 and 2 are handed over at 2 and 3.
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [11, 13, 13]
    assert [ledger(trace, i).get("wait gil", 0) for i in range(3)] == [0, 1, 0]
    case = plan(steps, steps.block(10 * MS), load=burst(3), thread_hop_ns=1 * MS)
    assert finished(traced(case, [0, 0, 0])) == [11, 12, 13]


def test_the_first_request_of_a_process_and_each_new_thread_cost_more() -> None:
    steps = Steps(on_loop=False)
    cold = {"first_request_ns": 20 * MS, "thread_start_ns": 3 * MS}
    case = plan(steps, steps.block(10 * MS), load=burst(2), thread_hop_ns=1 * MS, **cold)
    # 20 of imports, 1 + 3 for a thread that is started; later it is all there.
    assert finished(traced(case, [0, 100])) == [34, 111]
    case = plan(steps, steps.block(10 * MS), load=burst(2), thread_start_ns=3 * MS)
    assert finished(traced(case, [0, 0])) == [13, 16]
    case = plan(steps, steps.block(MS), load=burst(2), kind=ServerKind.SYNC, workers=2, **cold)
    assert finished(traced(case, [0, 0])) == [21, 21]


def test_computing_threads_share_the_gil() -> None:
    steps = Steps(on_loop=False)
    case = plan(
        steps, steps.cpu(12 * MS), load=burst(2), gil=True, kind=ServerKind.THREADS, threads=2
    )
    trace = traced(case, [0, 0])
    assert finished(trace) == [22, 24]
    assert ledger(trace, 0) == {"wait gil": 10, "hold cpu": 12}
    assert ledger(trace, 1) == {"wait gil": 12, "hold cpu": 12}


def test_without_a_gil_they_do_not() -> None:
    steps = Steps(on_loop=False)
    free = plan(steps, steps.cpu(12 * MS), load=burst(2), gil=False)
    assert finished(traced(free, [0, 0])) == [12, 12]
    steps = Steps(on_loop=False)
    case = plan(steps, steps.cpu(12 * MS, releases_gil=True), load=burst(2), gil=True)
    assert finished(traced(case, [0, 0])) == [12, 12]
