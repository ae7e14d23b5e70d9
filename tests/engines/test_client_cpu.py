"""The caller's CPU of a call: when it is spent, what it holds, who pays it; literal times.

Of 10 ms two build the request, five open the connection and send, three read the answer.
"""

from __future__ import annotations

import pytest

from simulator.plan import HttpLibrary, ServerKind
from tests.engines.test_calls import finished, ledger, outcomes, traced, visits
from tests.plans import MILLISECOND, Steps, bucket, burst, plan, service

MS = MILLISECOND


def test_a_call_costs_its_caller_cpu_before_its_answer_and_after() -> None:
    """The first has woken the loop: it sends to 7 before the second is read, who sends to 14."""
    steps = Steps()
    api = service(steps.time(10 * MS), connections=9)
    case = plan(steps, steps.call(), services=(api,), load=burst(2), client_call_ns=10 * MS)
    trace = traced(case, [0, 0])
    assert finished(trace) == [20, 27]
    assert ledger(trace, 1) == {"wait event loop": 7, "hold framework": 10, "hold call:api": 10}
    assert visits(trace, "service") == [(0, 7, 17), (1, 14, 24)]


def test_it_is_spent_in_the_thread_of_a_def_handler() -> None:
    steps = Steps(on_loop=False)
    api = service(steps.time(10 * MS), connections=9)
    for kind in (ServerKind.ASGI, ServerKind.SYNC):
        case = plan(
            steps, steps.call(), services=(api,), load=burst(2), kind=kind, client_call_ns=10 * MS
        )
        trace = traced(case, [0, 0])
        assert finished(trace) == ([20, 20] if kind is ServerKind.ASGI else [20, 40])


def test_threads_share_the_gil_for_it() -> None:
    """Both build and send under one GIL: 14 ms for what takes each 7."""
    steps = Steps(on_loop=False)
    api = service(steps.time(100 * MS), connections=9)
    case = plan(
        steps, steps.call(), services=(api,), load=burst(2), gil=True, client_call_ns=10 * MS
    )
    trace = traced(case, [0, 0])
    assert max(granted for _, granted, _ in visits(trace, "service") if granted) == 14


def test_it_is_built_before_a_connection_is_waited_for_and_read_before_it_is_given_back() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1)
    case = plan(steps, steps.call(), services=(api,), load=burst(2), client_call_ns=10 * MS)
    trace = traced(case, [0, 0])
    assert finished(trace) == [20, 38]
    assert visits(trace, "client") == [(0, 2, 20), (1, 20, 38)]
    assert ledger(trace, 1)["wait client:api"] == 11


def test_who_times_out_while_it_sends_has_sent_nothing() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1)
    call = steps.call(timeout=3 * MS)
    case = plan(steps, call, services=(api,), load=burst(1), client_call_ns=10 * MS)
    trace = traced(case, [0])
    assert (finished(trace), outcomes(trace)) == ([7], ["call_timeout:api"])
    assert visits(trace, "service") == []


def test_who_times_out_while_it_builds_waits_for_no_connection() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1)
    call = steps.call(timeout=1 * MS)
    case = plan(steps, call, services=(api,), load=burst(1), client_call_ns=10 * MS)
    trace = traced(case, [0])
    assert (finished(trace), outcomes(trace)) == ([2], ["call_timeout:api"])
    assert visits(trace, "client") == []


def test_an_answer_in_time_is_read_after_it() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), connections=9)
    call = steps.call(timeout=17 * MS)
    case = plan(steps, call, services=(api,), load=burst(1), client_call_ns=10 * MS)
    assert (finished(traced(case, [0])), outcomes(traced(case, [0]))) == ([20], ["ok"])


def test_a_refusal_is_read_and_a_retry_pays_again() -> None:
    """The second is refused at 17 ms, reads that, waits 100, and pays for its second try."""
    steps = Steps()
    api = service(steps.time(0), connections=9, limits=(bucket(10, waits=False),))
    call = steps.call(backoff=(100 * MS,))
    case = plan(steps, call, services=(api,), load=burst(2), client_call_ns=10 * MS)
    trace = traced(case, [0, 0])
    assert outcomes(trace) == ["ok", "ok"]
    assert finished(trace) == [10, 130]
    assert ledger(trace, 1)["hold framework"] == 20


def test_without_an_http_client_a_call_costs_its_caller_nothing() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS))
    case = plan(steps, steps.call(), services=(api,), load=burst(1), client_call_ns=10 * MS)
    assert finished(traced(case, [0])) == [10]


def test_httpx_goes_through_its_connections_for_each_who_waits_when_a_call_comes_or_ends() -> None:
    """1 ms for a pair: the second takes 1, the third 2; ends beside two, one and none take as much.

    The first asks while no connection is open.
    """
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1)
    case = plan(steps, steps.call(), services=(api,), load=burst(3), client_scan_ns=MS)
    trace = traced(case, [0, 0, 0])
    assert finished(trace) == [12, 23, 33]
    assert [ledger(trace, i).get("hold framework", 0) for i in range(3)] == [2, 2, 2]
    assert ledger(trace, 2)["wait client:api"] == 20


def test_a_connection_more_is_a_pair_more_for_each_who_waits() -> None:
    """Of four through two: 1 for the second, 2 × 1 and 2 × 2 for who waits, as much at ends."""
    steps = Steps()
    api = service(steps.time(20 * MS), connections=2)
    case = plan(steps, steps.call(), services=(api,), load=burst(4), client_scan_ns=MS)
    trace = traced(case, [0, 0, 0, 0])
    assert [ledger(trace, i).get("hold framework", 0) for i in range(4)] == [4, 3, 2, 4]


def test_a_connection_that_is_still_being_opened_is_half_a_pair() -> None:
    """2 ms for a pair. The second comes beside one that is open, the third beside one more that
    is not yet: 2 and 3 ms. The first one's end, beside two that are open, takes 4.
    """
    steps = Steps()
    api = service(steps.time(100 * MS), connections=2)
    costs = {"client_call_ns": 10 * MS, "client_scan_ns": 2 * MS}
    case = plan(steps, steps.call(), services=(api,), load=burst(3), **costs)
    trace = traced(case, [0, 0, 0])
    assert [ledger(trace, i)["hold framework"] for i in range(3)] == [10 + 4, 10 + 2, 10 + 3]
    assert visits(trace, "client") == [(0, 2, 114), (1, 11, 124), (2, 114, 222)]


def test_a_connection_that_is_given_back_is_open_no_more() -> None:
    """The second finds none in use and goes through nothing."""
    steps = Steps()
    api = service(steps.time(100 * MS), connections=2)
    costs = {"client_call_ns": 10 * MS, "client_scan_ns": 2 * MS}
    case = plan(steps, steps.call(), services=(api,), load=burst(2), **costs)
    trace = traced(case, [0, 300])
    assert [ledger(trace, i)["hold framework"] for i in range(2)] == [10, 10]


def test_aiohttp_costs_what_is_its_own_and_goes_through_nothing() -> None:
    steps = Steps()
    api = service(steps.time(10 * MS), connections=1, client=HttpLibrary.AIOHTTP)
    costs = {"client_call_ns": 100 * MS, "client_scan_ns": MS, "aiohttp_call_ns": 10 * MS}
    case = plan(steps, steps.call(), services=(api,), load=burst(2), **costs)
    assert finished(traced(case, [0, 0])) == [20, 38]


def test_aiohttp_opens_a_connection_where_none_is_idle() -> None:
    """4 ms for 0 and for 1, who sends when it has opened; the others find one open."""
    steps = Steps()
    api = service(steps.time(10 * MS), connections=2, client=HttpLibrary.AIOHTTP)
    case = plan(steps, steps.call(), services=(api,), load=burst(4), aiohttp_connect_ns=4 * MS)
    trace = traced(case, [0, 0, 30, 30])
    assert finished(trace) == [14, 18, 40, 40]
    assert finished(traced(case, [0, 0, 0, 30])) == [14, 18, 24, 40]


@pytest.mark.parametrize(
    ("connections", "library", "last"),
    [
        (20, HttpLibrary.HTTPX, "ok"),
        (21, HttpLibrary.HTTPX, "client_pool_timeout:api"),
        (20, HttpLibrary.AIOHTTP, "client_pool_timeout:api"),
    ],
)
def test_a_wait_begins_anew_only_where_httpx_keeps_all_its_connections(
    connections: int, library: HttpLibrary, last: str
) -> None:
    """The last waits for the third wave, at 20 ms; its timeout is 15, a connection frees at 10.

    Against a live server of .25 s calls and a timeout of .6: all of 60 through 10 and of 75
    through 15 were served, 57 of 125 through 25 and 60 of 150 through 30.
    """
    steps = Steps()
    api = service(
        steps.time(10 * MS),
        connections=connections,
        connect_timeout_ns=15 * MS,
        client=library,
    )
    n = 2 * connections + 1
    case = plan(steps, steps.call(), services=(api,), load=burst(n))
    assert outcomes(traced(case, [0] * n)) == ["ok"] * (n - 1) + [last]
