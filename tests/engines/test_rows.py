"""The same 1000 requests, eight ways: every completion time, under any creation order."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from simulator.engines.reference import run
from simulator.plan import Plan, ServerKind
from simulator.trace import first_difference
from simulator.workload import Workload
from tests import invariants
from tests.plans import SECOND, Steps, burst, database, plan, pool, sqlalchemy

S = SECOND
POSTGRESQL = (database(97),)


def row(*, on_loop: bool = True, blocking: bool = False, time: int = 5 * S, **kwargs) -> Plan:
    steps = Steps(on_loop=on_loop)
    query = steps.query(0, time, blocking=blocking)
    return plan(steps, query, load=burst(1000), **kwargs)


def waves(size: int, count: int, every: int = 5 * S) -> list[int]:
    """Completion times when ``size`` at a time are served, in order of arrival."""
    return [every * (1 + i // size) for i in range(count)]


def four_workers(size: int) -> list[int]:
    """Request i goes to worker i mod 4, whose pool serves ``size`` at a time."""
    return [5 * S * (1 + (i // 4) // size) for i in range(1000)]


SQLALCHEMY_5001 = waves(15, 90, 5001 * S // 1000) + [30 * S] * 910
SQLALCHEMY_5000 = waves(15, 105) + [30 * S] * 895

ROWS = {
    "1 async, pool of 50": (row(pools=(pool(50),)), waves(50, 1000), {"ok": 1000}),
    "2 async, default pool": (row(pools=(pool(10),)), waves(10, 1000), {"ok": 1000}),
    "3 def, pool of 50": (
        row(pools=(pool(50),), on_loop=False),
        waves(40, 1000),
        {"ok": 1000},
    ),
    "4 async, blocking driver": (
        row(pools=(pool(10),), blocking=True),
        waves(1, 1000),
        {"ok": 1000},
    ),
    "5 SQLAlchemy async, 5.001 s": (
        row(pools=(sqlalchemy(),), time=5001 * S // 1000),
        SQLALCHEMY_5001,
        {"ok": 90, "pool_timeout:db": 910},
    ),
    "5 SQLAlchemy async, 5.000 s": (
        row(pools=(sqlalchemy(),)),
        SQLALCHEMY_5000,
        {"ok": 105, "pool_timeout:db": 895},
    ),
    "6 def, SQLAlchemy": (
        row(pools=(sqlalchemy(),), on_loop=False),
        waves(15, 1000),
        {"ok": 1000},
    ),
    "7 four workers, pool of 24": (
        row(pools=(pool(24, database=0),), databases=POSTGRESQL, workers=4),
        four_workers(24),
        {"ok": 1000},
    ),
    "8 four workers, 97 connections": (
        row(pools=(pool(50, min=0, database=0),), databases=POSTGRESQL, workers=4),
        [5 * S] * 97 + [0] * 903,
        {"ok": 97, "too_many_connections:pg": 903},
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_every_completion_time(name: str) -> None:
    case, finish_ns, outcomes = ROWS[name]
    trace = run(case, Workload(case))
    assert trace.finish_ns.tolist() == finish_ns
    assert Counter(trace.outcomes[i] for i in trace.outcome) == outcomes
    invariants.check(case, trace, Workload(case))


@pytest.mark.parametrize("name", ROWS)
def test_any_order_of_creation_gives_the_same_trace(name: str) -> None:
    case, finish_ns, _ = ROWS[name]
    ref = run(case, Workload(case))
    for seed in range(20):
        order = random.Random(seed).sample(range(1000), 1000)
        comp = run(case, Workload(case), creation_order=order)
        assert comp.finish_ns.tolist() == finish_ns
        assert first_difference(ref, comp) is None


def test_a_pool_whose_minimum_the_database_refuses_keeps_the_service_from_starting() -> None:
    """FIELD: with min 50 in each of 4 workers and 97 connections nothing starts."""
    case = row(pools=(pool(50, database=0),), databases=POSTGRESQL, workers=4)
    trace = run(case, Workload(case))
    assert Counter(trace.outcomes[i] for i in trace.outcome) == {"not_started": 1000}
    assert not trace.latency_ns.any()


def test_the_articles_three_users() -> None:
    """Sync worker: 5, 10, 15 s. FastAPI `def` and `async def`: 5 s each."""
    in_worker = Steps(on_loop=False)
    cases = [
        (plan(in_worker, in_worker.block(5 * S), load=burst(3), kind=ServerKind.SYNC), [5, 10, 15]),
        (plan(in_worker, in_worker.block(5 * S), load=burst(3)), [5, 5, 5]),
    ]
    on_loop = Steps()
    cases.append((plan(on_loop, on_loop.sleep(5 * S), load=burst(3)), [5, 5, 5]))
    for case, seconds in cases:
        trace = run(case, Workload(case))
        assert (trace.finish_ns // S).tolist() == seconds
        assert not np.any(trace.finish_ns % S)
