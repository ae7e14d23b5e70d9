"""Connections that are opened in a run: forks on the database's cores, delays, refusals."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.distributions import Normal
from simulator.engines.reference import run
from simulator.plan import UNLIMITED, Plan
from simulator.scenario import loads
from simulator.workload import Workload
from tests import invariants
from tests.engines.reading import finished, ledger, outcomes, traced
from tests.plans import MILLISECOND, Steps, burst, database, plan, pool

MS = MILLISECOND


def connects(
    count: int, *, cores: int, connections: int = 97, compute: bool = True, refused: int = 4
) -> Plan:
    """A connection for each request: 4 ms to open, 10 ms for its query."""
    steps = Steps()
    return plan(
        steps,
        steps.query(0, 10 * MS),
        load=burst(count),
        pools=(pool(0, overflow=10, min=0, database=0),),
        databases=(database(connections, cores=cores, compute=compute),),
        connect_ns=4 * MS,
        connect_refused_ns=refused * MS,
    )


def test_backends_are_forked_on_the_cores_of_the_database() -> None:
    """Two forks share the core to 8, two queries of 10 ms to 28."""
    trace = traced(connects(2, cores=1), [0, 0])
    assert finished(trace) == [28, 28]
    expected = {"wait database cores:pg": 14, "hold connection:db": 4, "hold query:db": 10}
    assert ledger(trace, 0) == expected


def test_without_cores_of_the_database_opening_a_connection_is_a_hold() -> None:
    trace = traced(connects(2, cores=UNLIMITED), [0, 0])
    assert finished(trace) == [14, 14]
    assert ledger(trace, 0) == {"hold connection:db": 4, "hold query:db": 10}


DELAYED = """
load: {requests: 3, at: once}
server: {preset: fastapi, overheads: {connect: 4ms, connect_delay: 1ms}}
databases: {pg: {preset: postgresql, cores: 1, queries: wait}}
pools:
  db: {size: 0, overflow: 10, database: pg}
  other: {size: 0, overflow: 10}
routes: {r: {handler: async def, steps: [{query: db, time: 10ms}]}}
"""
IN_OTHER = "routes.r.steps=[{query: other, time: 10ms}]"


def test_a_connection_that_is_opened_on_idle_cores_is_delayed() -> None:
    """Three forks share a core to 12 ms; the first had begun when nobody was on it."""
    case = loads(DELAYED).plan
    delays = case.streams[case.server.connect_delay].name
    workload = Workload.scripted(case, times={delays: [2 * MS, 3 * MS, 5 * MS]})
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    assert finished(trace) == [24, 22, 22]
    expected = {"wait database cores:pg": 8, "hold connection:db": 6, "hold query:db": 10}
    assert ledger(trace, 0) == expected
    alone = loads(DELAYED, ["load={rate: 10/s, arrivals: constant, requests: 3}"]).plan
    trace = run(alone, Workload.scripted(alone, times={delays: [2 * MS, 3 * MS, 5 * MS]}))
    assert [ns / MS for ns in trace.latency_ns] == [16, 17, 19]


def test_without_cores_of_the_database_each_opening_has_its_delay() -> None:
    """Normal, its deviation half of its mean: 4 standard errors of the mean of 20,000."""
    case = loads(DELAYED, [IN_OTHER]).plan
    drawn = Workload(case).time(case.server.connect_delay, 0, 1)
    trace = run(case, Workload(case))
    assert trace.latency_ns.tolist() == [14 * MS + drawn(i) for i in range(3)]
    assert len({drawn(i) for i in range(3)}) == 3
    assert np.mean([drawn(i) for i in range(20_000)]) == pytest.approx(
        Normal(MS, MS / 2).mean_ns, rel=2 / 20_000**0.5
    )


def test_a_connection_that_is_open_is_not_delayed() -> None:
    case = loads(DELAYED, ["pools.db={size: 1, database: pg}"]).plan
    assert case.pools[0].min == 1
    assert finished(run(case, Workload(case))) == [10, 20, 30]


@pytest.mark.parametrize(("cores", "refused_at", "served_at"), [(UNLIMITED, 4, 14), (1, 8, 18)])
def test_a_refused_connection_costs_its_fork_too(
    cores: int, refused_at: int, served_at: int
) -> None:
    trace = traced(connects(2, cores=cores, connections=1), [0, 0])
    assert outcomes(trace) == ["ok", "too_many_connections:pg"]
    assert finished(trace) == [served_at, refused_at]
    waited = {"wait database cores:pg": 4} if cores == 1 else {}
    assert ledger(trace, 1) == {"hold connection:db": 4} | waited


def test_being_refused_a_connection_may_cost_less_than_having_one() -> None:
    trace = traced(connects(2, cores=1, connections=1, refused=1), [0, 0])
    # They share the core to 2, when 3 of the other's 4 are left.
    assert finished(trace) == [15, 2]


def test_queries_that_wait_leave_the_cores_to_connections() -> None:
    trace = traced(connects(2, cores=1, compute=False), [0, 0])
    assert finished(trace) == [18, 18]
    expected = {"wait database cores:pg": 4, "hold connection:db": 4, "hold query:db": 10}
    assert ledger(trace, 0) == expected


TURNS = """
load: {requests: 1, at: once}
server: {preset: fastapi, overheads: {connect: 1ms}}
pools: {db: {size: 0, overflow: 10}}
routes:
  opens: {handler: async def, steps: [{query: db, time: 10ms}]}
  computes: {handler: async def, steps: [{cpu: 10ms}]}
"""


def ends_of(at: list[int], route: list[int], connect: str) -> list[float]:
    case = loads(TURNS, [f"server.overheads.connect={connect}"]).plan
    workload = Workload.scripted(case, arrival=[ms * MS for ms in at], route=route)
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    return finished(trace)


@pytest.mark.parametrize(("connect", "end"), [("1ms", 31), ("0s", 20)])
def test_a_loop_greets_a_database_in_its_next_turn(connect: str, end: int) -> None:
    """At 10 both that came at 5 have their turn; the backend begins when the other has computed.

    An opening that takes no time takes no turn: then the query has ended by 20.
    """
    assert ends_of([0, 5, 5], [1, 0, 1], connect) == [10, end, 20]


@pytest.mark.parametrize(("connect", "end"), [("1ms", 40), ("0s", 10)])
def test_the_answer_is_read_in_one_turn_and_used_in_the_next(connect: str, end: int) -> None:
    """It is there at 1, read at 10 with two requests, whose handlers have the turn before it."""
    assert ends_of([0, 0, 0, 0], [0, 1, 1, 1], connect) == [end, 10, 20, 30]


COLD = """
load: {rate: 20/s, arrivals: constant, requests: 2}
server: {preset: fastapi, overheads: {loop_wake: 1ms, query_wake: 2ms, backend_wake: 3ms}}
pools: {db: {size: 2, driver: async}}
routes: {r: {handler: async def, steps: [{query: db, time: 10ms}]}}
"""


@pytest.mark.parametrize(("query_ms", "backend_ms"), [(10, 3), (4, 3), (2, 1.5), (0, 0)])
def test_queries_find_a_cold_loop_a_cold_driver_and_a_cold_backend(
    query_ms: float, backend_ms: float
) -> None:
    """The request is late by 1 ms, its answer by another, its end by its driver's 2.

    A shorter pause costs in proportion, but the driver has been cold since the longer one before;
    the draws are .7 to 1.3 of each.
    """
    case = loads(COLD, [f"routes.r.steps=[{{query: db, time: {query_ms}ms}}]"]).plan
    trace = run(case, Workload(case))
    invariants.check(case, trace, Workload(case))
    paused = min(query_ms + backend_ms, 4) / 4
    for request in range(2):
        spent = ledger(trace, request)
        assert spent.get("hold query:db", 0) == query_ms + backend_ms
        assert 0.7 * (1 + paused) <= spent["wait event loop"] <= 1.3 * (1 + paused)
        assert 1.4 <= spent["hold framework"] <= 2.6
    assert trace.latency_ns[0] != trace.latency_ns[1]


def test_one_driver_is_cold_after_a_pause_the_others_find_it_warm() -> None:
    """Two queries end together: the first that gives back its connection pays."""
    case = loads(COLD, ["load={requests: 2, at: once}"]).plan
    workload = Workload(case)
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    first, second = (ledger(trace, request) for request in range(2))
    assert 1.4 <= first["hold framework"] <= 2.6
    assert "hold framework" not in second


def test_queries_that_compute_have_no_cold_backend() -> None:
    text = COLD.replace("size: 2", "size: 2, database: pg")
    case = loads(text, ["databases={pg: {preset: postgresql, cores: 1}}"]).plan
    assert ledger(run(case, Workload(case)), 0)["hold query:db"] == 10
