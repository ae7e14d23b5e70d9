"""Clients that give up and try again, networks, users who think: literal times."""

from __future__ import annotations

import numpy as np

from simulator.distributions import Constant
from simulator.engines.reference import run
from simulator.plan import NEVER, LoadKind, Plan, Retries, ServerKind
from simulator.trace import Trace
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, outcomes
from tests.plans import MILLISECOND, SECOND, Steps, burst, changed, load, plan, pool

MS = MILLISECOND


def traced(case: Plan, times: dict[str, list[int]] | None = None) -> Trace:
    script = {name: [ms * MS for ms in values] for name, values in (times or {}).items()}
    workload = Workload.scripted(case, times=script) if times else Workload(case)
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    return trace


def attempts(trace: Trace) -> list[tuple[int, int, float, float, str]]:
    table = trace.attempts
    rows = zip(
        table.request.tolist(),
        table.attempt.tolist(),
        (table.sent_ns / MS).tolist(),
        (table.ended_ns / MS).tolist(),
        [trace.outcomes[i] for i in table.outcome],
        strict=True,
    )
    return sorted(rows)


def test_a_timeout_leaves_the_work_behind_and_its_queue_in_place() -> None:
    """FIELD: a disconnect cancels neither a `def` handler nor its place in the queue."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(10 * MS), load=burst(3), threads=1)
    trace = traced(changed(case, client={"timeout_ns": 15 * MS}))
    assert outcomes(trace) == ["ok", "client_timeout", "client_timeout"]
    assert finished(trace) == [10, 15, 15]
    assert ledger(trace, 1) == {"wait threads": 10, "hold block": 5}
    assert ledger(trace, 2) == {"wait threads": 15}
    assert trace.end_ns == 30 * MS  # the thread works to the end for nobody


def test_an_answer_at_the_instant_of_the_timeout_counts() -> None:
    steps = Steps()
    case = plan(steps, steps.sleep(10 * MS), load=burst(1))
    assert outcomes(traced(changed(case, client={"timeout_ns": 10 * MS}))) == ["ok"]


def test_retries_with_backoff_keep_the_index_and_add_up() -> None:
    """One connection, held 10 ms by each: 1 waits, gives up at 8, tries again at 8 + 4."""
    steps = Steps()
    wait = steps.time(4 * MS)
    case = plan(steps, steps.query(0, 10 * MS), load=burst(2), pools=(pool(1),))
    case = changed(case, client={"timeout_ns": 15 * MS, "retries": Retries((wait, wait))})
    trace = traced(case)
    assert outcomes(trace) == ["ok", "ok"]
    # 1: served 10–20, but its client left at 15; again at 19, waits for itself until 20.
    assert finished(trace) == [10, 30]
    assert attempts(trace) == [
        (0, 0, 0, 10, "ok"),
        (1, 0, 0, 15, "client_timeout"),
        (1, 1, 19, 30, "ok"),
    ]
    assert ledger(trace, 1) == {
        "wait pool:db": 11,
        "wait backoff": 4,
        "hold query:db": 15,
    }


def test_a_failed_answer_is_retried_too_and_the_last_failure_is_the_outcome() -> None:
    steps = Steps()
    wait = steps.time(1 * MS)
    limited = pool(1, acquire_timeout_ns=2 * MS)
    case = plan(steps, steps.query(0, 10 * MS), load=burst(2), pools=(limited,))
    trace = traced(changed(case, client={"retries": Retries((wait, wait))}))
    assert outcomes(trace) == ["ok", "pool_timeout:db"]
    assert finished(trace) == [10, 8]  # 2 + 1 + 2 + 1 + 2
    assert ledger(trace, 1) == {"wait pool:db": 6, "wait backoff": 2}


def test_a_deadline_ends_it_for_good_also_in_the_backoff() -> None:
    steps = Steps()
    wait = steps.time(4 * MS)
    case = plan(steps, steps.sleep(10 * MS), load=burst(1))
    client = {"timeout_ns": 6 * MS, "retries": Retries((wait,))}
    in_second = traced(changed(case, client=client, route={"deadline_ns": 12 * MS}))
    assert (outcomes(in_second), finished(in_second)) == (["deadline"], [12])
    in_backoff = traced(changed(case, client=client, route={"deadline_ns": 8 * MS}))
    assert (outcomes(in_backoff), finished(in_backoff)) == (["deadline"], [8])
    assert ledger(in_backoff, 0) == {"hold await": 6, "wait backoff": 2}


def test_the_network_takes_its_time_both_ways() -> None:
    steps = Steps()
    way = steps.time(3 * MS)
    case = plan(steps, steps.sleep(10 * MS), load=burst(1))
    trace = traced(changed(case, client={"latency": way}))
    assert finished(trace) == [16]
    assert ledger(trace, 0) == {"hold network": 6, "hold await": 10}
    lost = traced(changed(case, client={"latency": way, "timeout_ns": 14 * MS}))
    assert ledger(lost, 0) == {"hold network": 4, "hold await": 10}  # on its way back


def test_a_client_that_leaves_in_a_gather_books_the_first_branch_still_running() -> None:
    steps = Steps()
    fan_out = steps.gather(steps.sleep(2 * MS), steps.query(0, 20 * MS), steps.sleep(30 * MS))
    case = plan(steps, fan_out, load=burst(1), pools=(pool(1),))
    trace = traced(changed(case, client={"timeout_ns": 12 * MS}))
    assert ledger(trace, 0) == {"hold query:db": 12}


def test_a_sync_worker_waits_for_its_client_to_close_but_not_for_ever() -> None:
    """FIELD, gunicorn 27: sleep .1, close after .5 / 5 s: .1, .7, 1.3 / .1, 2.2, 4.3."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(100 * MS), load=burst(3), kind=ServerKind.SYNC)
    for delay_ms, expected in [(0, [100, 200, 300]), (500, [100, 700, 1300])]:
        trace = traced(changed(case, client={"close_delay_ns": delay_ms * MS}))
        assert finished(trace) == expected
    trace = traced(changed(case, client={"close_delay_ns": 5 * SECOND}))
    assert finished(trace) == [100, 2200, 4300]


def test_users_ask_think_and_ask_again() -> None:
    """Two users on one worker: 10 ms of work, 5 ms of thinking."""
    steps = Steps(on_loop=False)
    work, think = steps.block(10 * MS), steps.time(5 * MS)
    source = load(LoadKind.CLOSED, 6, users=2, think=think)
    trace = traced(plan(steps, work, load=source, kind=ServerKind.SYNC))
    assert trace.index.tolist() == [0, 1, 2, 3, 4, 5]  # k · users + u
    assert (trace.arrival_ns // MS).tolist() == [0, 0, 15, 25, 35, 45]
    assert finished(trace) == [10, 20, 30, 40, 50, 60]


def test_users_ramp_up_and_stop_at_the_end() -> None:
    steps = Steps()
    source = load(LoadKind.CLOSED, until_ns=100 * MS, users=4, ramp_ns=40 * MS)
    trace = traced(plan(steps, steps.sleep(50 * MS), load=source))
    by_user = {u: (trace.arrival_ns[trace.index % 4 == u] // MS).tolist() for u in range(4)}
    assert by_user == {0: [0, 50], 1: [10, 60], 2: [20, 70], 3: [30, 80]}


def test_a_users_draws_do_not_depend_on_how_long_others_take() -> None:
    """A larger pool changes who comes when, but never what request k of user u needs."""
    traces = []
    for size in (1, 3):
        steps = Steps()
        work = steps.query(0, Constant(7 * MS))
        think = steps.time(Constant(3 * MS))
        source = load(LoadKind.CLOSED, 300, users=5, think=think)
        case = plan(steps, work, load=source, pools=(pool(size),))
        traces.append(traced(case))
    small, large = traces
    assert small.index.tolist() == large.index.tolist() == list(range(300))
    assert (small.finish_ns != large.finish_ns).any()
    assert np.array_equal(small.route, large.route)


def test_users_share_the_count_of_requests() -> None:
    """A quick user sends more of them: `hey -n 5 -c 2` does the same."""
    steps = Steps()
    work = steps.sleep(10 * MS)
    case = plan(steps, work, load=load(LoadKind.CLOSED, 5, users=2))
    trace = traced(case, {"t0": [40, 10, 40, 10, 40, 10, 40, 10]})
    assert trace.index.tolist() == [0, 1, 3, 5, 7]  # user 0 is at its first all the time
    assert (trace.arrival_ns // MS).tolist() == [0, 0, 10, 20, 30]


def test_open_and_closed_loads_together() -> None:
    steps = Steps()
    sources = (burst(3), load(LoadKind.CLOSED, 4, users=2))
    trace = traced(plan(steps, steps.sleep(MS), load=sources))
    assert trace.index.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert (trace.arrival_ns // MS).tolist() == [0, 0, 0, 0, 0, 1, 1]


def test_a_plan_without_a_client_keeps_no_attempts() -> None:
    steps = Steps()
    assert len(traced(plan(steps, steps.sleep(MS), load=burst(2))).attempts) == 0
    assert NEVER > 0
