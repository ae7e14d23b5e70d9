"""Exact formulas against the engine, beside the cases of the file.

Random checks: 95 % half-widths by 20 batch means (Student's t, 19 degrees of freedom),
after a warm-up of 10 %; a figure agrees within 3 half-widths, 6.3 standard errors, so a
false alarm comes in some 200,000 checks of a seed. There is no other tolerance. Each test
says its n; ``slack`` bounds 3 half-widths as a share of the formula's value, so that no
figure agrees because it is known too badly.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulator.arrays import IntArray
from simulator.distributions import (
    Constant,
    Distribution,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    Hyperexponential,
    Lognormal,
    Mixture,
    Normal,
    Uniform,
)
from simulator.engines.reference import run
from simulator.plan import NEVER, Plan, ServerKind
from simulator.trace import NOT_GRANTED, Trace
from simulator.workload import Workload
from tests.cases.estimate import Estimate, level
from tests.cases.measured import Measured
from tests.plans import MILLISECOND, SECOND, Steps, burst, plan, poisson, pool, sqlalchemy

MS = MILLISECOND


def erlang_b(servers: int, offered: float) -> float:
    """Share of arrivals lost by M/M/c/c (Erlang, 1917), by the usual recursion."""
    blocked = 1.0
    for c in range(1, servers + 1):
        blocked = offered * blocked / (c + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Share of arrivals that wait in M/M/c."""
    blocked = erlang_b(servers, offered)
    busy = offered / servers
    return blocked / (1 - busy * (1 - blocked))


def pollaczek_khinchine(rate: float, mean: float, second_moment: float) -> float:
    """Mean wait of M/G/1, first come, first served."""
    return rate * second_moment / (2 * (1 - rate * mean))


def in_workers(time: int | Distribution, *, workers: int, per_second: int, count: int) -> Measured:
    """So many sync workers behind Poisson arrivals; times in seconds."""
    steps = Steps(on_loop=False)
    load = poisson(count, (per_second, 1))
    return played(plan(steps, steps.block(time), load=load, kind=ServerKind.SYNC, workers=workers))


def in_pool(*, size: int, per_second: int, count: int, timeout_ns: int = NEVER) -> Measured:
    """A pool of so many connections, exponential queries of 100 ms; times in seconds."""
    steps = Steps()
    query = steps.query(0, Exponential(100 * MS))
    load = poisson(count, (per_second, 1))
    return played(plan(steps, query, load=load, pools=(pool(size, acquire_timeout_ns=timeout_ns),)))


def played(case: Plan) -> Measured:
    return Measured(case, run(case, Workload(case)), SECOND, 0.1, 20)


def check(estimate: Estimate, expected: float, *, slack: float) -> None:
    """Assert agreement, and that twice the slack away there would be none."""
    assert 3 * estimate.half_width <= slack * expected, "known too badly to say anything"
    assert estimate.agrees(expected, 0), (estimate, expected)
    assert not estimate.agrees(expected * (1 + 2 * slack), 0)
    assert not estimate.agrees(expected * (1 - 2 * slack), 0)


@pytest.mark.parametrize(("servers", "per_second"), [(1, 5), (4, 28), (16, 130)])
def test_erlang_c_by_sync_workers(servers: int, per_second: int) -> None:
    """P(wait) and the mean wait of M/M/c; n = 60,000, slack 40 and 70 %."""
    comp = in_workers(Exponential(100 * MS), workers=servers, per_second=per_second, count=60_000)
    offered = per_second / 10
    waits = erlang_c(servers, offered)
    check(comp.share(comp.waits() > 0), waits, slack=0.4)
    check(comp.mean(comp.waits()), waits * 0.1 / (servers - offered), slack=0.7)


@pytest.mark.parametrize(("size", "per_second"), [(2, 12), (8, 56)])
def test_erlang_c_by_a_pool(size: int, per_second: int) -> None:
    """The same by the connections of a pool; n = 40,000, slack 40 and 70 %."""
    comp = in_pool(size=size, per_second=per_second, count=40_000)
    offered = per_second / 10
    waits = erlang_c(size, offered)
    check(comp.share(comp.waits() > 0), waits, slack=0.4)
    check(comp.mean(comp.waits()), waits * 0.1 / (size - offered), slack=0.7)


@pytest.mark.parametrize(("size", "per_second"), [(1, 10), (3, 20), (8, 80)])
def test_erlang_b_by_a_pool_that_nobody_waits_for(size: int, per_second: int) -> None:
    """Share of requests that fail with a timeout of 0 s; n = 20,000, slack 20 %."""
    comp = in_pool(size=size, per_second=per_second, count=20_000, timeout_ns=0)
    check(comp.failed(), erlang_b(size, per_second / 10), slack=0.2)
    assert not comp.waits().any(), "nobody waits"


_SIGMA = math.log(4) / 2.3263478740408408  # of the log-normal below: p99 = 4 × p50

SERVICES: dict[str, tuple[Distribution, float, float]] = {
    # name: (times, mean in units of 10 ms, second moment in the same units squared)
    "constant": (Constant(10 * MS), 1.0, 1.0),
    "exponential": (Exponential(10 * MS), 1.0, 2.0),
    "erlang of 4 phases": (Erlang(10 * MS, 4), 1.0, 1 + 1 / 4),
    "gamma, cv 0.5": (Gamma(10 * MS, 0.5), 1.0, 1 + 0.25),
    "gamma, cv 2": (Gamma(10 * MS, 2.0), 1.0, 1 + 4.0),
    "hyperexponential, cv 2": (Hyperexponential(10 * MS, 2.0), 1.0, 1 + 4.0),
    "lognormal": (
        Lognormal(10 * MS, 40 * MS),
        math.exp(_SIGMA**2 / 2),
        math.exp(2 * _SIGMA**2),
    ),
    "uniform": (Uniform(5 * MS, 20 * MS), 1.25, (0.5**2 + 0.5 * 2 + 2**2) / 3),
    "normal": (Normal(10 * MS, 2 * MS), 1.0, 1 + 0.04),
    "mix": (
        Mixture(((0.9, Constant(5 * MS)), (0.1, Exponential(50 * MS)))),
        0.9 * 0.5 + 0.1 * 5,
        0.9 * 0.25 + 0.1 * 2 * 25,
    ),
    "empirical": (Empirical((2 * MS, 4 * MS, 24 * MS)), 1.0, (0.04 + 0.16 + 5.76) / 3),
}


@pytest.mark.parametrize("name", SERVICES)
def test_pollaczek_khinchine(name: str) -> None:
    """Mean wait of M/G/1 at about 50 %; n = 40,000, slack 60 %."""
    time, mean, second_moment = SERVICES[name]
    comp = in_workers(time, workers=1, per_second=50, count=40_000)
    expected = pollaczek_khinchine(0.5, mean, second_moment) * 0.01
    check(comp.mean(comp.waits()), expected, slack=0.6)
    check(comp.utilization("workers"), 0.5 * mean, slack=0.2)


def test_poisson_law_of_requests_without_a_limit() -> None:
    """M/M/inf with a mean of 20 open: every state's share of time; n = 40,000, slack 40 %."""
    steps = Steps()
    comp = played(plan(steps, steps.sleep(Exponential(SECOND)), load=poisson(40_000, (20, 1))))
    shares = comp.in_states(31)
    law = [math.exp(-20) * 20**n / math.factorial(n) for n in range(31)]
    assert sum(law[12:29]) > 0.94
    for n in range(12, 29):
        assert shares[n].agrees(law[n], 0), n
    at, number = comp.in_system()
    check(comp.over_time((at, number)), 20.0, slack=0.1)
    check(comp.over_time((at, (number - 20) ** 2)), 20.0, slack=0.4)


def test_arrivals_see_time_averages() -> None:
    """PASTA in M/M/4 at 70 %: what Poisson arrivals find is what time shows.

    The difference is 0 within 3 half-widths, batch by batch; n = 100,000.
    """
    comp = in_workers(Exponential(100 * MS), workers=4, per_second=28, count=100_000)
    at, number = comp.in_system()
    arrival = comp.trace.arrival_ns[comp.first :]
    found = number[np.searchsorted(at, arrival, "left") - 1]
    for n in range(8):
        in_time = comp.over_time((at, (number == n).astype(np.int64)))
        by_arrivals = comp.share(found == n)
        both = in_time.half_width + by_arrivals.half_width
        assert abs(in_time.value - by_arrivals.value) <= 3 * both
        assert both < 0.3 * in_time.value, "known too badly to say anything"


def test_arrivals_at_even_intervals_do_not() -> None:
    """The check above can fail: D/D/1 at 50 % is busy half of the time, and no arrival sees it."""
    steps = Steps(on_loop=False)
    case = plan(steps, steps.block(50 * MS), load=poisson(1, (1, 1)), kind=ServerKind.SYNC)
    times = [i * 100 * MS for i in range(2000)]
    comp = Measured(case, run(case, Workload.scripted(case, arrival=times)), SECOND, 0.1, 20)
    at, number = comp.in_system()
    found = number[np.searchsorted(at, comp.trace.arrival_ns[comp.first :], "left") - 1]
    assert not found.any()
    assert comp.over_time((at, number)).value == pytest.approx(0.5, abs=1e-3)


def _laws() -> dict[str, Plan]:
    loop, thread = Steps(), Steps(on_loop=False)
    row = Steps()
    query = loop.query(0, Gamma(80 * MS, 1.5))
    load = poisson(4000, (100, 1))
    return {
        "pool": plan(loop, query, load=load, pools=(pool(10),)),
        "pool with a timeout": plan(
            loop, query, load=poisson(4000, (200, 1)), pools=(pool(10, acquire_timeout_ns=20 * MS),)
        ),
        "SQLAlchemy's pool, a burst": plan(loop, query, load=burst(400), pools=(sqlalchemy(),)),
        "four processes": plan(loop, query, load=load, pools=(pool(3),), workers=4),
        "threads": plan(thread, thread.block(Exponential(90 * MS)), load=load, threads=10),
        "row lock": plan(
            row,
            row.with_(0, row.lock(0), row.statement(0, Uniform(MS, 15 * MS))),
            load=load,
            pools=(pool(20),),
            locks=1,
        ),
    }


@pytest.mark.parametrize("name", _laws())
def test_littles_law_to_the_nanosecond(name: str) -> None:
    """L × T = sum of W, in the system and in the queue of each station, as integers.

    From empty to empty the law is an identity (Little, 1961; Stidham, 1974), so chance has
    no part in it. The left side counts requests over time, by arrivals and finishes or by
    visits; the right side adds up what was booked to each request.
    """
    case = _laws()[name]
    trace = run(case, Workload(case))
    assert trace.ended == "empty"
    assert area(trace.arrival_ns, trace.finish_ns) == int(trace.spent_ns.sum())
    for i, cause in enumerate(trace.causes):
        if cause.kind == "wait":
            assert area(*waiting_for(trace, i)) == int(trace.spent_ns[:, i].sum()), cause.name


def area(begin: IntArray, end: IntArray) -> int:
    """Integral over time of how many intervals are open."""
    at, number = level(begin, end)
    return int((number[:-1] * np.diff(at)).sum())


def waiting_for(trace: Trace, cause: int) -> tuple[IntArray, IntArray]:
    """Begin and end of every wait at the stations whose waits are booked to this cause."""
    visits = trace.visits
    booked = [i for i, station in enumerate(trace.stations) if station.cause == cause]
    rows = np.isin(visits.station, booked)
    until = np.where(visits.granted_ns == NOT_GRANTED, visits.released_ns, visits.granted_ns)
    return visits.queued_ns[rows], until[rows]
