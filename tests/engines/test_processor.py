"""Cores and the GIL in a run: who computes when, and what the rest of the time is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from simulator.distributions import Exponential
from simulator.engines import contract
from simulator.engines.reference import run
from simulator.plan import NEVER, UNLIMITED, LoadKind, ServerKind
from simulator.trace import NOT_GRANTED
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, traced
from tests.plans import (
    MILLISECOND,
    SECOND,
    Steps,
    burst,
    changed,
    database,
    load,
    of_parts,
    plan,
    poisson,
    pool,
    route,
    server,
)

MS = MILLISECOND


def test_sync_workers_share_the_cores() -> None:
    """Three workers on two cores: 9 ms for work of 6; then two run alone."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.cpu(6 * MS), load=burst(3), kind=ServerKind.SYNC, workers=3)
    case = changed(case, server={"cores": 2})
    trace = traced(case, [0, 0, 0], {"t0": [6, 10, 11]})
    assert finished(trace) == [9, 13, 14]
    assert ledger(trace, 0) == {"wait core": 3, "hold cpu": 6}
    station = next(i for i, s in enumerate(trace.stations) if s.kind == "cores")
    stays = trace.visits.station == station
    assert sorted((trace.visits.work_ns[stays] // MS).tolist()) == [6, 10, 11]


def test_work_that_nobody_did_is_found() -> None:
    """The invariant sees a microsecond more, and a stay that is missing."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.cpu(6 * MS), load=burst(3), kind=ServerKind.SYNC, workers=3)
    trace = traced(changed(case, server={"cores": 2}), [0, 0, 0])
    stays = np.flatnonzero(trace.visits.slot == NOT_GRANTED)
    work = trace.visits.work_ns.copy()
    work[stays[0]] += 1000
    more = dataclasses.replace(trace, visits=dataclasses.replace(trace.visits, work_ns=work))
    station = trace.visits.station.copy()
    station[stays[0]] = 1
    fewer = dataclasses.replace(trace, visits=dataclasses.replace(trace.visits, station=station))
    for broken in (more, fewer):
        with pytest.raises(AssertionError, match="cores: off by"):
            invariants.cores_are_shared_equally(broken)


def test_a_blocked_worker_needs_no_core() -> None:
    steps = Steps(on_loop=False)
    case = plan(
        steps,
        steps.block(10 * MS),
        steps.cpu(2 * MS),
        load=burst(2),
        kind=ServerKind.SYNC,
        workers=2,
    )
    assert finished(traced(changed(case, server={"cores": 1}), [0, 2])) == [12, 14]
    assert finished(traced(changed(case, server={"cores": 1}), [0, 1])) == [13, 14]


def test_loops_of_two_processes_share_one_core() -> None:
    steps = Steps()
    case = plan(steps, steps.cpu(10 * MS), load=burst(3), workers=2)
    trace = traced(changed(case, server={"cores": 1}), [0, 0, 0])
    # 0 and 2 are of process 0, 1 of process 1: 0 and 1 end at 20, 2 runs alone to 30.
    assert finished(trace) == [20, 20, 30]
    assert ledger(trace, 1) == {"wait core": 10, "hold cpu": 10}
    assert ledger(trace, 2) == {"wait event loop": 20, "hold cpu": 10}


def test_each_instance_has_cores_of_its_own() -> None:
    steps = Steps(on_loop=False)
    case = plan(steps, steps.cpu(10 * MS), load=burst(4), kind=ServerKind.SYNC, workers=2)
    case = changed(case, server={"cores": 1, "instances": 2})
    assert finished(traced(case, [0] * 4)) == [20] * 4


def test_threads_under_the_gil_need_one_core_together() -> None:
    """One process on one core or on none is the same: its threads take turns anyway."""
    for cores in (UNLIMITED, 1, 4):
        steps = Steps(on_loop=False)
        case = plan(steps, steps.cpu(12 * MS), load=burst(2), gil=True, kind=ServerKind.THREADS)
        trace = traced(changed(case, server={"cores": cores}), [0, 0])
        assert finished(trace) == [22, 24]
        assert ledger(trace, 0) == {"wait gil": 10, "hold cpu": 12}


def test_holders_of_two_gils_share_one_core() -> None:
    """Each process's holder has half the core: in a quantum of 5 ms it computes 2.5."""
    steps = Steps(on_loop=False)
    case = plan(
        steps, steps.cpu(4 * MS), load=burst(4), gil=True, kind=ServerKind.THREADS, workers=2
    )
    trace = traced(changed(case, server={"cores": 1}), [0] * 4)
    # 0 and 1 compute 2.5 of 4 by 5, 2 and 3 by 10; 0 and 1 end at 13, 2 and 3 at 16.
    assert finished(trace) == [13, 13, 16, 16]
    assert ledger(trace, 0) == {"wait gil": 5, "wait core": 4, "hold cpu": 4}
    assert ledger(trace, 2) == {"wait gil": 8, "wait core": 4, "hold cpu": 4}


def test_code_without_the_gil_needs_only_a_core() -> None:
    steps = Steps(on_loop=False)
    free = steps.cpu(12 * MS, releases_gil=True)
    case = plan(steps, free, load=burst(3), gil=True, kind=ServerKind.THREADS)
    assert finished(traced(changed(case, server={"cores": 2}), [0] * 3)) == [18, 18, 18]


def test_queries_share_the_cores_of_their_database() -> None:
    """Two cores, three queries: 9 ms for 6; waiting for the pool is another matter."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 6 * MS),
        load=burst(4),
        pools=(pool(3, database=0),),
        databases=(database(97, cores=2),),
    )
    trace = traced(case, [0] * 4)
    assert finished(trace) == [9, 9, 9, 15]
    assert ledger(trace, 0) == {"wait database cores:pg": 3, "hold query:db": 6}
    assert ledger(trace, 3) == {"wait pool:db": 9, "hold query:db": 6}


def test_queries_share_the_cores_of_the_server_whose_machine_their_database_is_on() -> None:
    """One core: the loop's 4 ms and the query's 6 run side by side, 8 ms for the first."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 6 * MS),
        steps.cpu(2 * MS),
        load=burst(2),
        pools=(pool(2, database=0),),
        databases=(database(97, cores=1, of_server=True),),
    )
    trace = traced(changed(case, server={"cores": 1}), [0, 0])
    # Both queries until 12; then one computes after the other, each alone on the core.
    assert finished(trace) == [14, 16]
    assert ledger(trace, 0) == {"wait core": 6, "hold query:db": 6, "hold cpu": 2}
    trace = traced(changed(case, server={"cores": 1}), [0, 4])
    # Two queries from 4 to 8; then the loop and a query share the core, 4 ms for 2 of each.
    assert finished(trace) == [12, 16]
    assert ledger(trace, 0) == {"wait core": 4, "hold query:db": 6, "hold cpu": 2}
    assert ledger(trace, 1) == {"wait core": 4, "hold query:db": 6, "hold cpu": 2}
    assert [s.label for s in trace.stations if s.kind == "cores"] == ["cores"]


def test_a_blocking_query_on_shared_database_cores_freezes_its_loop() -> None:
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 6 * MS, blocking=True),
        load=burst(2),
        workers=2,
        pools=(pool(3, database=0),),
        databases=(database(97, cores=1),),
    )
    trace = traced(case, [0, 0])
    assert finished(trace) == [12, 12]
    assert ledger(trace, 1) == {"wait database cores:pg": 6, "hold query:db": 6}


def test_limited_processor_sharing_of_exponential_work_is_m_m_1() -> None:
    """Ciw's guide: at most 3 share one server, λ 4, μ 9: mean .2 s, as without the limit.

    n = 20,000; standard error about 1.2 %, tolerance 5 %.
    """
    steps = Steps()
    work = Exponential(SECOND / 9)
    case = plan(
        steps,
        steps.query(0, work),
        load=poisson(20_000, (4, 1)),
        pools=(pool(3, database=0),),
        databases=(database(97, cores=1),),
    )
    workload = Workload(case)
    trace = run(case, workload)
    assert trace.latency_ns.mean() / SECOND == pytest.approx(0.2, rel=0.05)
    # By Little's law and work conservation: the mean of what was worked is that of the draws.
    works = trace.spent_ns[:, contract.hold_query(0)]
    assert works.tolist() == [workload.time(0)(i) for i in range(20_000)]


def light_beside_burners(burners: int, burn_ms: int, cores: int) -> np.ndarray:
    """Latencies in ms of a light async route beside k closed-loop `def` burners."""
    written = Steps()
    light = written.cpu(10_000)
    burn = Steps(on_loop=False)
    burn.streams = written.streams
    heavy = burn.cpu(burn_ms * MS)
    think = written.time(0)
    closed = load(LoadKind.CLOSED, until_ns=10 * SECOND, routes=(1,), users=burners, think=think)
    open_ = load(LoadKind.POISSON, until_ns=10 * SECOND, rate=(40, 1), routes=(0,))
    case = of_parts(
        server=server(gil=True),
        routes=(route("light", steps=(light,)), route("burn", on_loop=False, steps=(heavy,))),
        loads=(open_, closed),
        drain_ns=NEVER // 4,
        streams=tuple(written.streams),
    )
    case = changed(case, server={"cores": cores})
    trace = run(case, Workload(case))
    return trace.latency_ns[(trace.route == 0) & (trace.outcome == contract.OK)] / MS


@pytest.mark.parametrize("cores", [UNLIMITED, 2], ids=["cores for all", "2 cores"])
def test_a_light_route_beside_a_burner_waits_an_interval_for_each_take_of_the_gil(
    cores: int,
) -> None:
    """FIELD: uvloop, 100 ms burners, 5 ms; measured mean 9.3–10.5, its model 9.7 ms.

    n is about 400 requests, as measured; the standard error is about .15 ms. One process
    never computes on two cores under the GIL, so two of them change nothing.
    """
    latencies = light_beside_burners(1, 100, cores)
    assert len(latencies) > 300
    assert latencies.mean() == pytest.approx(9.7, abs=1.5)
    assert 9.5 < np.median(latencies) < 12


def test_four_burners_make_it_wait_for_their_turns_too() -> None:
    """FIELD: k = 4: measured mean 54–59 ms, its model 62; n about 400, turns are drawn."""
    assert light_beside_burners(4, 100, UNLIMITED).mean() == pytest.approx(56, rel=0.25)


def test_a_killed_worker_leaves_the_cores() -> None:
    """gunicorn kills 0 at 30, when it has 25 of its 100; 1, which came at 20, has 5 by then."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.cpu(100 * MS), load=burst(2), kind=ServerKind.SYNC, workers=2)
    case = changed(case, server={"cores": 1, "timeout_ns": 30 * MS})
    trace = traced(case, [0, 20], {"t0": [100, 15]})
    assert [trace.outcomes[i] for i in trace.outcome] == ["worker_timeout", "ok"]
    assert finished(trace) == [30, 40]
    assert ledger(trace, 1) == {"wait core": 5, "hold cpu": 15}
