"""Instances and balancers, backlog, limit_concurrency, kept connections, background work."""

from __future__ import annotations

import pytest

from simulator.distributions import Exponential
from simulator.engines.reference import run
from simulator.plan import Balancer, Broadcast, Plan, ServerKind, Stream
from simulator.trace import Trace
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished
from tests.plans import MILLISECOND, SECOND, Steps, burst, changed, plan, poisson, pool

MS = MILLISECOND


def traced(case: Plan, arrival: list[float] | None = None, **times: list[int]) -> Trace:
    script = {name: [ms * MS for ms in values] for name, values in times.items()}
    instants = None if arrival is None else [int(at * MS) for at in arrival]
    workload = Workload.scripted(case, arrival=instants, times=script)
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    return trace


def test_a_sync_worker_that_is_busy_for_too_long_is_killed() -> None:
    """gunicorn: the request fails at the timeout, a new worker takes the next one."""
    steps = Steps(on_loop=False)
    work = (steps.block(4 * MS), steps.query(0, 10 * MS), steps.block(MS))
    case = plan(steps, *work, load=burst(3), kind=ServerKind.SYNC, pools=(pool(2),))
    case = changed(case, server={"timeout_ns": 9 * MS})
    trace = traced(case, t1=[10, 2, 10])
    assert [trace.outcomes[i] for i in trace.outcome] == [
        "worker_timeout",
        "ok",
        "worker_timeout",
    ]
    assert finished(trace) == [9, 16, 25]
    # Its query ran on to 14, and nothing came after it; 1 took the other connection at 13.
    assert (trace.visits.released_ns[trace.visits.request == 0] // MS).tolist() == [9, 14]


def test_each_instance_has_its_own_workers_and_pools() -> None:
    steps = Steps()
    case = plan(steps, steps.query(0, 10 * MS), load=burst(8), workers=2, pools=(pool(1),))
    trace = traced(changed(case, server={"instances": 2}))
    assert trace.process.tolist() == [0, 2, 1, 3, 0, 2, 1, 3]
    assert finished(trace) == [10] * 4 + [20] * 4


@pytest.mark.parametrize(
    ("balancer", "expected"),
    [
        # Request 0 is long (100 ms), the rest short; arrivals every 5 ms.
        (Balancer.ROUND_ROBIN, [0, 1, 0, 1, 0, 1]),
        (Balancer.LEAST_CONNECTIONS, [0, 1, 1, 1, 1, 1]),
        (Balancer.TWO_CHOICES, [1, 0, 0, 0, 0, 0]),
    ],
)
def test_balancers(balancer: Balancer, expected: list[int]) -> None:
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(MS), load=burst(6), kind=ServerKind.SYNC)
    case = changed(case, server={"instances": 2, "balancer": balancer})
    trace = traced(case, [0, 5, 10, 15, 20, 25], t0=[100, 2, 2, 2, 2, 2])
    if balancer is Balancer.TWO_CHOICES:  # the first one is chance, the others follow from it
        expected = [trace.process[0]] + [1 - trace.process[0]] * 5
    assert trace.process.tolist() == expected


def test_random_balancing_is_a_decision_by_number() -> None:
    steps = Steps()
    case = plan(steps, steps.sleep(MS), load=burst(2000))
    case = changed(case, server={"instances": 4, "balancer": Balancer.RANDOM})
    counts = [int((traced(case).process == i).sum()) for i in range(4)]
    assert all(abs(count - 500) < 97 for count in counts)  # 5 standard deviations


def test_a_full_backlog_drops_the_syn_which_comes_again_after_1_3_and_7_s() -> None:
    """One worker of 2.5 s, a backlog of 1: 2, 3 and 4 find it full at once."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(2500 * MS), load=burst(5), kind=ServerKind.SYNC)
    trace = traced(changed(case, server={"backlog": 1}))
    # 2 gets in at 3 s (1 is served from 2.5 s on), 3 and 4 not before 7 s: only one of them.
    assert finished(trace) == [2500, 5000, 7500, 10_000, 17_500]
    backlog = [cause.name for cause in trace.causes].index("backlog")
    assert (trace.spent_ns[:, backlog] // SECOND).tolist() == [0, 0, 3, 7, 15]


def test_a_connection_that_never_gets_in_fails_after_127_s() -> None:
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(1000 * SECOND), load=burst(3), kind=ServerKind.SYNC)
    trace = traced(changed(case, server={"backlog": 1}))
    assert trace.outcomes[trace.outcome[2]] == "connect_timeout"
    assert finished(trace)[2] == 127_000


def test_who_is_turned_away_costs_a_refusal_and_nothing_else() -> None:
    """The first has left at 12, two of 10 ms and one refused in 3 are read to 35, then answered."""
    costs = {"loop_before_ns": 10 * MS, "loop_after_ns": 2 * MS, "refusal_ns": 3 * MS}
    case = plan(Steps(), load=burst(4), **costs)
    trace = traced(changed(case, server={"limit_concurrency": 3}))
    assert finished(trace) == [12, 37, 39, 39]


def test_limit_concurrency_counts_connections_its_own_included() -> None:
    """FIELD, uvicorn: limit - 1 can be served."""
    steps = Steps()
    case = plan(steps, steps.sleep(10 * MS), load=burst(5))
    trace = traced(changed(case, server={"limit_concurrency": 3}))
    outcomes = [trace.outcomes[i] for i in trace.outcome]
    assert outcomes == ["ok", "ok", "limit_concurrency", "limit_concurrency", "limit_concurrency"]


def test_a_request_whose_kept_connection_is_busy_goes_over_the_one_given_back_last() -> None:
    """HTTP/1.1 has one request at a time on a connection; which worker has it is fixed."""
    steps = Steps()
    case = plan(steps, steps.cpu(10 * MS), load=burst(7), workers=2)
    kept = changed(case, client={"kept_connections": 3})  # workers 0, 1 and 0
    # 0 keeps worker 0 busy to 10, 2 waits for it. 3 would go over 0's connection and goes over
    # 1's, idle since 1; so does 5 for 2's. 4 has its own. 6 finds none idle and opens a fourth.
    trace = traced(kept, [0, 0, 0, 2, 5, 7, 8], t0=[10, 1, 1, 1, 1, 10, 1])
    assert trace.process.tolist() == [0, 1, 0, 1, 1, 1, 1]
    assert finished(trace) == [10, 1, 11, 3, 6, 17, 18]


def test_idle_kept_connections_count_too() -> None:
    """FIELD: --limit-concurrency 20, 60 requests on open connections: 60 × 503."""
    steps = Steps()
    case = plan(steps, steps.sleep(10 * MS), load=burst(60))
    limited = changed(case, server={"limit_concurrency": 20}, client={"kept_connections": 60})
    trace = traced(limited)
    assert {trace.outcomes[i] for i in trace.outcome} == {"limit_concurrency"}


def test_a_kept_connection_stays_with_its_process() -> None:
    steps = Steps()
    case = plan(steps, steps.sleep(MS), load=burst(9), workers=2)
    trace = traced(changed(case, client={"kept_connections": 3}), [2 * i for i in range(9)])
    assert trace.process.tolist() == [0, 1, 0, 0, 1, 0, 0, 1, 0]


def test_background_work_is_outside_the_latency_but_holds_what_it_holds() -> None:
    steps = Steps()
    work, later = steps.sleep(10 * MS), steps.block(20 * MS)
    case = changed(plan(steps, work, load=burst(2)), route={"after": (later,)})
    trace = traced(case)
    # Both wake at 10; 0's background work freezes the loop from 10 to 30.
    assert finished(trace) == [10, 30]
    assert trace.end_ns == 50 * MS
    steps = Steps(on_loop=False)
    work, later = steps.block(10 * MS), steps.block(20 * MS)
    case = plan(steps, work, load=burst(2), kind=ServerKind.SYNC)
    assert finished(traced(changed(case, route={"after": (later,)}))) == [10, 40]


def streamed(
    steps: Steps, chunks: int, every: int, *, cpu: int = 0, thread: bool = False
) -> Stream:
    return Stream(steps.time(chunks), steps.time(every), steps.time(cpu), True, thread)


def test_a_stream_frees_the_loop_between_chunks_and_tells_its_first_byte() -> None:
    steps = Steps()
    stream = streamed(steps, 3, 10 * MS, cpu=2 * MS)
    trace = traced(plan(steps, stream, load=burst(2)))
    assert finished(trace) == [36, 38]
    assert (trace.first_byte_ns // MS).tolist() == [12, 14]


def test_a_sync_iterator_takes_a_token_for_each_next() -> None:
    """FIELD: each next() takes one of the 40 tokens, the last (StopIteration) too."""
    steps = Steps(on_loop=False)
    stream = streamed(steps, 2, 10 * MS, thread=True)
    trace = traced(plan(steps, stream, load=burst(3), threads=2))
    # Two at a time: 0 and 1 at 0–10, then 2 with 0 at 10–20, then 1 with 2 at 20–30.
    assert finished(trace) == [20, 30, 30]


def test_a_client_that_leaves_ends_its_stream_at_the_next_chunk() -> None:
    steps = Steps()
    stream = streamed(steps, 100, 10 * MS)
    case = changed(plan(steps, stream, load=burst(1)), client={"timeout_ns": 25 * MS})
    trace = traced(case)
    assert trace.outcomes[trace.outcome[0]] == "client_timeout"
    assert trace.end_ns == 30 * MS


def test_ten_thousand_idle_sockets_fit_one_loop() -> None:
    steps = Steps()
    stream = streamed(steps, 1, 60 * SECOND)
    trace = traced(plan(steps, stream, load=burst(10_000)))
    assert set(finished(trace)) == {60_000}


def test_a_broadcast_holds_the_loop_to_its_last_send() -> None:
    """A send that finds room in its buffer does not suspend: asyncio's drain returns at once."""
    steps = Steps()
    case = plan(steps, Broadcast(100, steps.time(MS)), load=burst(2))
    assert finished(traced(case, [0, 0])) == [100, 200]


def test_two_choices_are_nearly_as_good_as_least_connections() -> None:
    """M/M/1 × 2 at ρ .8: random 5, least connections 2.96 (exact); two of two are the same."""
    means = {}
    for balancer in (Balancer.RANDOM, Balancer.LEAST_CONNECTIONS, Balancer.TWO_CHOICES):
        steps = Steps(on_loop=False)
        case = plan(
            steps,
            steps.block(Exponential(SECOND)),
            load=poisson(20_000, (16, 10)),
            kind=ServerKind.SYNC,
        )
        trace = run(changed(case, server={"instances": 2, "balancer": balancer}), Workload(case))
        means[balancer] = trace.latency_ns.mean() / SECOND
    # n = 20,000 at ρ .8: the means wander by some 10 %; the order and the gap do not.
    assert means[Balancer.RANDOM] > 1.3 * means[Balancer.LEAST_CONNECTIONS]
    assert means[Balancer.TWO_CHOICES] == pytest.approx(means[Balancer.LEAST_CONNECTIONS], rel=0.05)
