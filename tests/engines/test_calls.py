"""What a call does: connections, rate limit, queue, timeout, retries, faults; literal times."""

from __future__ import annotations

import dataclasses

import pytest

from simulator.distributions import Constant, Exponential
from simulator.engines.reference import run
from simulator.plan import Fault, ServerKind, Target
from simulator.trace import NOT_GRANTED, Trace
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, outcomes, traced
from tests.plans import MILLISECOND, NO_RETRIES, Steps, bucket, burst, plan, pool, service

MS = MILLISECOND


def visits(trace: Trace, kind: str) -> list[tuple[int, float | None, float]]:
    """Of each visit to the stations of a kind, as they end: request, grant, release in ms."""
    rows = zip(
        trace.visits.station.tolist(),
        trace.visits.request.tolist(),
        trace.visits.granted_ns.tolist(),
        trace.visits.released_ns.tolist(),
        strict=True,
    )
    found = [
        (request, None if granted == NOT_GRANTED else granted / MS, released / MS)
        for station, request, granted, released in rows
        if trace.stations[station].kind == kind
    ]
    return sorted(found, key=lambda visit: (visit[2], visit[0]))


def test_a_service_serves_so_many_at_a_time() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=2)
    trace = traced(plan(steps, steps.call(), services=(api,), load=burst(5)), [0, 0, 0, 1, 2])
    assert finished(trace) == [10, 10, 20, 20, 30]
    assert ledger(trace, 4) == {"wait service:api": 18, "hold call:api": 10}
    assert visits(trace, "service")[4] == (4, 20, 30)


def test_an_async_call_frees_the_loop_and_a_blocking_one_freezes_it() -> None:
    """Two requests call at 0; the route beside them does nothing and is asked at 5."""
    for blocking, expected in [(False, [10, 20, 5]), (True, [10, 20, 20])]:
        steps = Steps()
        api = service(steps.time(10 * MS), concurrency=1)
        case = plan(steps, steps.call(blocking=blocking), services=(api,), load=burst(3))
        health = dataclasses.replace(case.routes[0], steps=())
        case = dataclasses.replace(case, routes=(case.routes[0], health))
        trace = run(case, Workload.scripted(case, arrival=[0, 0, 5 * MS], route=[0, 0, 1]))
        invariants.check(case, trace)
        assert finished(trace) == expected


def test_a_call_in_a_def_handler_holds_its_thread() -> None:
    steps = Steps(on_loop=False)
    api = service(steps.time(10 * MS))
    case = plan(
        steps,
        steps.call(),
        services=(api,),
        kind=ServerKind.THREADS,
        threads=2,
        load=burst(3),
    )
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [10, 10, 20]
    assert ledger(trace, 2) == {"wait accept queue": 10, "hold call:api": 10}


def test_a_call_takes_a_connection_of_its_process_for_its_whole_length() -> None:
    """Two processes with one connection each; 4 requests, round robin."""
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1)
    case = plan(steps, steps.call(), services=(api,), workers=2, load=burst(4))
    trace = traced(case, [0, 0, 0, 0])
    assert finished(trace) == [10, 10, 20, 20]
    assert ledger(trace, 2) == {"wait client:api": 10, "hold call:api": 10}
    assert visits(trace, "client")[2] == (2, 10, 20)


def test_httpx_limit_of_100() -> None:
    """100 requests × 2 calls of 250 ms that gather: measured .499 s, without a limit .25."""
    steps = Steps()
    api = service(steps.time(250 * MS), connections=100)
    case = plan(steps, steps.gather(steps.call(), steps.call()), services=(api,), load=burst(100))
    trace = traced(case, [0] * 100)
    assert set(finished(trace)) == {250, 500}


def test_no_connection_within_the_timeout_fails_the_call() -> None:
    """The timeout of 4 begins anew at 10, when a connection comes free (httpx)."""
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1, connect_timeout_ns=4 * MS)
    trace = traced(plan(steps, steps.call(), services=(api,), load=burst(4)), [0, 5, 6, 7])
    assert list(zip(outcomes(trace), finished(trace), strict=True)) == [
        ("ok", 10),
        ("client_pool_timeout:api", 9),
        ("ok", 20),
        ("client_pool_timeout:api", 14),
    ]
    assert ledger(trace, 3) == {"wait client:api": 7}


def test_a_rate_limit_holds_back_what_is_over_before_it_queues_for_a_slot() -> None:
    """One every 10 ms; the service takes 15 ms, one at a time."""
    steps = Steps()
    api = service(steps.time(15 * MS), concurrency=1, limits=(bucket(100),))
    trace = traced(plan(steps, steps.call(), services=(api,), load=burst(3)), [0, 0, 0])
    assert finished(trace) == [15, 30, 45]
    assert ledger(trace, 2) == {
        "wait rate limit:api": 20,
        "wait service:api": 10,
        "hold call:api": 15,
    }
    assert visits(trace, "rate limit") == [(0, 0, 0), (1, 10, 10), (2, 20, 20)]


def test_a_rate_limit_that_rejects_fails_the_call_at_once() -> None:
    steps = Steps()
    api = service(steps.time(15 * MS), limits=(bucket(100, 2, waits=False),))
    trace = traced(plan(steps, steps.call(), services=(api,), load=burst(3)), [0, 0, 3])
    assert outcomes(trace) == ["ok", "ok", "rate_limited:api"]
    assert finished(trace) == [15, 15, 3]


def test_a_service_rejects_over_its_queue() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=1, queue=1)
    trace = traced(plan(steps, steps.call(), services=(api,), load=burst(3)), [0, 1, 2])
    assert outcomes(trace) == ["ok", "ok", "service_full:api"]
    assert finished(trace) == [10, 20, 2]


def test_a_timed_out_call_keeps_its_slot_at_the_service() -> None:
    """Request 0 gives up at 4, its slot is free at 10; 1 came at 1 and waits until then."""
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=1)
    case = plan(
        steps, steps.call(timeout=4 * MS), steps.sleep(2 * MS), services=(api,), load=burst(2)
    )
    trace = traced(case, [0, 8], {"t0": [10, 1]})
    assert outcomes(trace) == ["call_timeout:api", "ok"]
    assert finished(trace) == [4, 13]
    assert ledger(trace, 0) == {"hold call:api": 4}
    assert ledger(trace, 1) == {"wait service:api": 2, "hold call:api": 1, "hold await": 2}
    assert visits(trace, "service") == [(0, 0, 10), (1, 10, 11)]


def test_a_run_ends_when_the_work_left_behind_has_ended() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS))
    case = plan(steps, steps.call(timeout=4 * MS), services=(api,), load=burst(1))
    trace = traced(case, [0])
    assert (trace.ended, trace.end_ns) == ("empty", 10 * MS)
    cut = plan(steps, steps.call(timeout=4 * MS), services=(api,), load=burst(1), drain_ns=7 * MS)
    cut = dataclasses.replace(cut, loads=(dataclasses.replace(cut.loads[0], until_ns=0),))
    trace = run(cut, Workload.scripted(cut, arrival=[0]))
    assert (trace.ended, trace.end_ns, finished(trace)) == ("drained", 7 * MS, [4])
    assert visits(trace, "service") == [(0, 0, 7)]
    invariants.check(cut, trace)


@pytest.mark.parametrize(
    ("limit", "word"),
    [
        ({"limits": (bucket(50),)}, "rate limit"),
        ({"concurrency": 1}, "service"),
        ({"connections": 1}, "client"),
    ],
)
def test_who_times_out_in_a_queue_leaves_it(limit, word) -> None:
    """1 gives up at 16; 2, which came later, has what came free at 20 and not at 40."""
    steps = Steps()
    api = service(steps.time(20 * MS), **limit)
    case = plan(steps, steps.call(), services=(api,), load=burst(3))
    hasty = dataclasses.replace(case.routes[0], steps=(steps.call(timeout=15 * MS),))
    case = dataclasses.replace(case, routes=(*case.routes, hasty))
    trace = run(case, Workload.scripted(case, arrival=[0, 1 * MS, 2 * MS], route=[0, 1, 0]))
    invariants.check(case, trace)
    assert outcomes(trace) == ["ok", "call_timeout:api", "ok"]
    assert finished(trace) == [20, 16, 40]
    assert ledger(trace, 1) == {f"wait {word}:api": 15}


def test_an_answer_at_the_instant_of_the_timeout_counts() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=1)
    case = plan(steps, steps.call(timeout=10 * MS), services=(api,), load=burst(1))
    assert outcomes(traced(case, [0])) == ["ok"]


def test_a_failed_call_is_tried_again_after_its_backoff() -> None:
    """Timeout 4, backoff 1 then 2; the service takes 10, its one slot is busy until 10."""
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=1)
    step = steps.call(timeout=4 * MS, backoff=(1 * MS, 2 * MS))
    case = plan(steps, step, services=(api,), load=burst(1))
    trace = traced(case, [0])
    # 0–4 served, 5–9 in the queue, 11–15 served again: too slow each time.
    assert outcomes(trace) == ["call_timeout:api"]
    assert finished(trace) == [15]
    assert ledger(trace, 0) == {"wait backoff": 3, "wait service:api": 4, "hold call:api": 8}
    assert visits(trace, "service") == [
        (0, None, 9),
        (0, 0, 10),
        (0, 11, 21),
    ]


def test_an_error_comes_after_the_time_and_a_retry_may_succeed() -> None:
    """The first draw says error; the retry draws anew, from a stream that is 0."""
    steps = Steps()
    time, error = steps.time(10 * MS), steps.time(0)
    api = service(time, error=error)
    step = steps.call(backoff=(5 * MS,))
    trace = traced(plan(steps, step, services=(api,), load=burst(2)), [0, 0], {"t1": [1, 0]})
    assert outcomes(trace) == ["ok", "ok"]
    assert finished(trace) == [25, 10]
    steps.streams[error] = dataclasses.replace(steps.streams[error], distribution=Constant(1))
    trace = traced(plan(steps, step, services=(api,), load=burst(1)), [0])
    assert (outcomes(trace), finished(trace)) == (["service_error:api"], [25])


def test_two_calls_of_one_request_to_a_service_draw_apart() -> None:
    steps = Steps()
    api = service(steps.time(Exponential(10.0 * MS)))
    case = plan(steps, steps.call(), steps.call(), services=(api,), load=burst(1))
    (_, first, second), (_, third, fourth) = visits(traced(case, [0]), "service")
    assert second - first != fourth - third


@pytest.mark.parametrize(
    ("outage", "slow", "expected"),
    [
        (True, (1, 1), [("ok", 15), ("service_error:api", 10), ("ok", 31)]),
        (False, (3, 2), [("ok", 15), ("ok", 25), ("ok", 31)]),
    ],
)
def test_a_fault_strikes_the_holds_that_begin_in_its_window(outage, slow, expected) -> None:
    """The window is [10, 21): the call that began at 5 is spared, so is that at 21."""
    steps = Steps()
    api = service(steps.time(10 * MS))
    fault = Fault(Target.SERVICE, 0, 10 * MS, 21 * MS, outage, slow)
    case = plan(steps, steps.call(), services=(api,), faults=(fault,), load=burst(3))
    trace = traced(case, [5, 10, 21])
    assert list(zip(outcomes(trace), finished(trace), strict=True)) == expected


def test_a_route_with_a_lower_priority_number_is_served_first() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), concurrency=1)
    case = plan(steps, steps.call(), services=(api,), load=burst(3))
    urgent = dataclasses.replace(case.routes[0], priority=-1)
    case = dataclasses.replace(case, routes=(*case.routes, urgent))
    trace = run(case, Workload.scripted(case, arrival=[0, 1 * MS, 2 * MS], route=[0, 0, 1]))
    invariants.check(case, trace)
    assert finished(trace) == [10, 30, 20]


def test_a_call_within_a_transaction_holds_the_connection() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS))
    case = plan(
        steps, steps.with_(0, steps.call()), pools=(pool(1),), services=(api,), load=burst(2)
    )
    trace = traced(case, [0, 0])
    assert finished(trace) == [10, 20]
    assert ledger(trace, 1) == {"wait pool:db": 10, "hold call:api": 10}


def test_the_order_of_creation_does_not_matter() -> None:
    steps = Steps()
    api = service(
        steps.time(10 * MS),
        concurrency=2,
        queue=4,
        limits=(bucket(500, 3),),
        connections=3,
        connect_timeout_ns=20 * MS,
    )
    step = steps.call(timeout=12 * MS, backoff=(2 * MS, 2 * MS))
    case = plan(steps, step, services=(api,), workers=2, load=burst(12))
    assert case.client.retries == NO_RETRIES
    ref = run(case, Workload(case))
    invariants.check(case, ref)
    comp = run(case, Workload(case), creation_order=list(reversed(range(12))))
    assert ref.finish_ns.tolist() == comp.finish_ns.tolist()
    assert (ref.spent_ns == comp.spent_ns).all()
