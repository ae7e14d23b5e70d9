"""The engine against the recurrence, request by request, to the nanosecond."""

from __future__ import annotations

import pytest

from simulator.distributions import Exponential, Uniform
from simulator.engines.reference import run
from simulator.plan import LoadKind, Plan, ServerKind
from simulator.trace import Trace
from simulator.workload import Workload
from tests import invariants, naive
from tests.plans import MILLISECOND, Steps, burst, plan, poisson, pool

MS = MILLISECOND
N = 2000


def drawn(case: Plan) -> tuple[list[int], list[list[int]]]:
    workload = Workload(case)
    arrival, _ = workload.arrivals()
    times = [[workload.time(s)(i) for i in range(len(arrival))] for s in range(len(case.streams))]
    return arrival.tolist(), times


def traced(case: Plan) -> Trace:
    trace = run(case, Workload(case))
    invariants.check(case, trace, Workload(case))
    return trace


# Coarse times make many events fall on one instant; fine ones nearly none.
TIMES = {
    "exponential": Exponential(10 * MS),
    "ties": Uniform(0.5, 4.5),  # rounds to 1, 2, 3 or 4 ns
}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("slots", [1, 2, 5, 16])
@pytest.mark.parametrize("kind", ["workers", "server threads", "pool", "limiter"])
def test_first_come_first_served(kind: str, slots: int, times: str) -> None:
    time = TIMES[times]
    per_second = int(0.9 * slots * 1e9 / time.mean_ns)
    load = poisson(N, (per_second, 1))
    steps = Steps(on_loop=kind == "pool")
    if kind == "pool":
        case = plan(steps, steps.query(0, time), load=load, pools=(pool(slots),))
    elif kind == "workers":
        case = plan(steps, steps.block(time), load=load, kind=ServerKind.SYNC, workers=slots)
    elif kind == "server threads":
        case = plan(steps, steps.block(time), load=load, kind=ServerKind.THREADS, threads=slots)
    else:
        case = plan(steps, steps.block(time), load=load, threads=slots)
    arrival, (service,) = drawn(case)
    ref = naive.fifo(arrival, service, slots)
    comp = traced(case)
    assert comp.finish_ns.tolist() == ref
    assert comp.arrival_ns.tolist() == arrival


@pytest.mark.parametrize("times", TIMES)
def test_a_pool_with_a_timeout(times: str) -> None:
    time = TIMES[times]
    patience = max(2, int(time.mean_ns))
    load = poisson(N, (int(1.2 * 5 * 1e9 / time.mean_ns), 1))
    steps = Steps()
    limited = pool(5, acquire_timeout_ns=patience)
    case = plan(steps, steps.query(0, time), load=load, pools=(limited,))
    arrival, (service,) = drawn(case)
    ref = naive.fifo_with_patience(arrival, service, 5, patience)
    trace = traced(case)
    comp = [
        ("ok" if outcome == 0 else "gave up", finish)
        for outcome, finish in zip(trace.outcome.tolist(), trace.finish_ns.tolist(), strict=True)
    ]
    assert comp == ref
    assert 100 < sum(outcome == "gave up" for outcome, _ in ref) < N - 100


def test_processes_by_turns() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, Exponential(10 * MS)),
        load=poisson(N, (500, 1)),
        pools=(pool(2),),
        workers=3,
    )
    arrival, (service,) = drawn(case)
    assert traced(case).finish_ns.tolist() == naive.processes(arrival, service, 3, 2)


def test_a_burst_with_drawn_times() -> None:
    steps = Steps()
    case = plan(steps, steps.query(0, Exponential(10 * MS)), load=burst(N), pools=(pool(50),))
    arrival, (service,) = drawn(case)
    assert case.loads[0].kind is LoadKind.BURST
    assert traced(case).finish_ns.tolist() == naive.fifo(arrival, service, 50)


@pytest.mark.parametrize("times", TIMES)
def test_a_loop_that_computes_is_one_server(times: str) -> None:
    time = TIMES[times]
    steps = Steps()
    case = plan(steps, steps.cpu(time), load=poisson(N, (int(0.9e9 / time.mean_ns), 1)))
    arrival, (cpu,) = drawn(case)
    assert traced(case).finish_ns.tolist() == naive.fifo(arrival, cpu, 1)
