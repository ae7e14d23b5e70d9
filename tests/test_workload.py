"""Randomness is addressed: what is drawn does not depend on what else happens."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest

from simulator.distributions import Exponential
from simulator.engines.reference import run
from simulator.plan import NEVER, LoadKind, Plan, Stage
from simulator.workload import BLOCK, Workload
from tests.plans import MILLISECOND, SECOND, Steps, burst, load, plan, poisson, pool

MS = MILLISECOND


def case_of(size: int = 5, **kwargs) -> Plan:
    steps = Steps()
    query = steps.query(0, Exponential(10 * MS))
    source = kwargs.pop("load", poisson(3000, (400, 1)))
    return plan(steps, query, load=source, pools=(pool(size),), **kwargs)


def test_a_draw_does_not_depend_on_the_order_of_asking() -> None:
    case = case_of()
    indices = [0, 5, BLOCK, BLOCK - 1, 3 * BLOCK + 7, 10 * BLOCK]
    forwards = Workload(case).time(0)
    expected = {i: forwards(i) for i in indices}
    backwards = Workload(case).time(0)
    assert {i: backwards(i) for i in reversed(indices)} == expected


def test_seed_replication_stream_attempt_and_sub_are_the_address() -> None:
    case = case_of()
    base = [Workload(case).time(0)(i) for i in range(10)]
    others = [
        Workload(case, seed=1).time(0),
        Workload(case, replication=1).time(0),
        Workload(case).time(0, attempt=1),
        Workload(case).time(0, sub=1),
    ]
    drawn = [[draw(i) for i in range(10)] for draw in others]
    assert all(other != base for other in drawn)
    assert len({tuple(other) for other in drawn}) == len(others)
    assert [Workload(case).time(0)(i) for i in range(10)] == base


def test_resizing_a_resource_changes_no_arrival_and_no_service_time() -> None:
    """Common random numbers: the hold of each request is the same in a larger pool."""
    small, large = case_of(5), case_of(50)
    first, second = run(small, Workload(small)), run(large, Workload(large))
    hold = [cause.name for cause in small.causes].index("query:db")
    assert (first.arrival_ns == second.arrival_ns).all()
    assert (first.spent_ns[:, hold] == second.spent_ns[:, hold]).all()
    assert (first.finish_ns != second.finish_ns).any()


def test_a_longer_run_begins_with_the_shorter_one() -> None:
    short, long = case_of(), case_of(load=poisson(5 * BLOCK, (400, 1)))
    assert (Workload(long).arrivals()[0][:3000] == Workload(short).arrivals()[0]).all()


def test_poisson_arrivals_have_the_rate_and_exponential_gaps() -> None:
    n = 100_000
    at, _ = Workload(case_of(load=poisson(n, (200, 1)))).arrivals()
    gaps = np.diff(at)
    assert len(at) == n and (gaps >= 0).all()
    # 5 standard errors of the mean of n exponential gaps of 5 ms.
    assert gaps.mean() == pytest.approx(5 * MS, abs=5 * 5 * MS / np.sqrt(n))
    assert (gaps > 5 * MS).mean() == pytest.approx(np.exp(-1), abs=5 * np.sqrt(0.233 / n))


def test_poisson_arrivals_stop_at_their_end() -> None:
    stops = load(LoadKind.POISSON, until_ns=10 * SECOND, rate=(1000, 1))
    at, _ = Workload(case_of(load=stops)).arrivals()
    assert at.max() < 10 * SECOND
    assert len(at) == pytest.approx(10_000, abs=5 * 100)


@pytest.mark.parametrize(
    ("rate", "count", "until", "expected"),
    [
        ((250, 1), 4, NEVER, [0, 4 * MS, 8 * MS, 12 * MS]),
        ((3, 1), 4, NEVER, [0, 333_333_333, 666_666_666, SECOND]),
        ((90, 60), 2**31, 2 * SECOND, [0, 666_666_666, 1_333_333_333]),
        ((1, 1), 2**31, 3 * SECOND, [0, SECOND, 2 * SECOND]),
    ],
)
def test_constant_arrivals_are_exact(rate, count, until, expected) -> None:
    constant = load(LoadKind.CONSTANT, count, until, rate)
    assert Workload(case_of(load=constant)).arrivals()[0].tolist() == expected


def test_several_loads_are_merged_by_time_and_at_one_instant_by_their_order() -> None:
    case = case_of(load=(burst(2), load(LoadKind.CONSTANT, 3, rate=(1, 1))))
    assert Workload(case).arrivals()[0].tolist() == [0, 0, 0, SECOND, 2 * SECOND]


def test_routes_share_a_load_by_weight() -> None:
    n = 50_000
    case = case_of(load=load(LoadKind.BURST, n, routes=(0, 1, 2), weights=(0.7, 0.2, 0.1)))
    _, route = Workload(dataclasses.replace(case, routes=case.routes * 3)).arrivals()
    for index, share in enumerate((0.7, 0.2, 0.1)):
        allowed = 5 * np.sqrt(share * (1 - share) / n)
        assert (route == index).mean() == pytest.approx(share, abs=allowed)


def test_decisions_of_a_station_are_addressed_by_number() -> None:
    case = case_of()
    workload = Workload(case)
    later = workload.decide("accept", 9000, 4)
    decisions = [workload.decide("accept", i, 4) for i in range(10_000)]
    assert decisions[9000] == later
    assert {workload.decide("gil[0]", i, 4) for i in range(100)} == {0, 1, 2, 3}
    shares = np.bincount(decisions) / len(decisions)
    assert shares == pytest.approx([0.25] * 4, abs=5 * np.sqrt(0.1875 / 10_000))
    weighted = [workload.decide_by_weight("w", i, (0.9, 0.1)) for i in range(10_000)]
    assert np.mean(weighted) == pytest.approx(0.1, abs=5 * 0.3 / 100)


def test_a_scripted_workload_is_written_by_hand() -> None:
    case = case_of(1)
    workload = Workload.scripted(case, arrival=[0, 0, 5], times={"t0": [5, 5, 1]})
    assert run(case, workload).finish_ns.tolist() == [5, 10, 11]
    with pytest.raises(KeyError):
        Workload.scripted(case, times={"no such stream": [1]})


def test_these_draws_are_part_of_the_meaning_of_a_seed() -> None:
    """Golden numbers: a change here changes every published result."""
    case = case_of()
    arrival, _ = Workload(case).arrivals()
    assert arrival[:3].tolist() == [1624012, 3513434, 13607345]
    assert [Workload(case).time(0)(i) for i in range(3)] == [15071542, 4893229, 10449571]


def gamma_load(cv: float, n: int = 50_000):
    return load(LoadKind.GAMMA, n, rate=(200, 1), cv=cv)


@pytest.mark.parametrize("cv", [0.5, 1.0, 3.0])
def test_gamma_arrivals_have_the_rate_and_the_variation_of_their_gaps(cv: float) -> None:
    at, _ = Workload(case_of(load=gamma_load(cv))).arrivals()
    gaps = np.diff(at) / (5 * MS)
    # 5 standard errors of the mean; the deviation of a gamma of cv 3 wanders by some 3 %.
    assert gaps.mean() == pytest.approx(1, abs=5 * cv / np.sqrt(len(gaps)))
    assert gaps.std() == pytest.approx(cv, rel=0.1)


def staged(evenly: bool, *targets: int, start: int = 0, seconds: int = 10):
    rates = [start, *targets]
    stages = tuple(Stage(seconds * SECOND, (a, 1), (b, 1)) for a, b in itertools.pairwise(rates))
    return load(
        LoadKind.STAGES, until_ns=seconds * len(targets) * SECOND, stages=stages, evenly=evenly
    )


def test_stages_go_linearly_from_rate_to_rate() -> None:
    """0 to 100/s in 10 s, then 100/s for 10 s: 500 and 1000 arrivals, the k-th at √(k/5) s."""
    at, _ = Workload(case_of(load=staged(True, 100, 100))).arrivals()
    ramp, plateau = at[at < 10 * SECOND], at[at >= 10 * SECOND]
    assert (len(ramp), len(plateau)) == (500, 1000)
    expected = np.sqrt(np.arange(500) / 5) * SECOND
    assert np.abs(ramp - expected).max() <= 1
    assert np.abs(np.diff(plateau) - 10 * MS).max() <= 1


def test_random_stages_have_the_expected_numbers() -> None:
    at, _ = Workload(case_of(load=staged(False, 1000, 1000, 0))).arrivals()
    counts = np.histogram(at, bins=[0, 10 * SECOND, 20 * SECOND, 30 * SECOND])[0]
    for count, expected in zip(counts, (5000, 10_000, 5000), strict=True):
        assert count == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert (np.diff(at) >= 0).all()


def test_recorded_arrivals_come_as_recorded() -> None:
    recorded = ((0, 0), (5, 1), (5, 0), (9, 1))
    source = load(LoadKind.RECORDED, until_ns=9, recorded=recorded)
    case = case_of(load=source)
    at, route = Workload(dataclasses.replace(case, routes=case.routes * 2)).arrivals()
    assert (at.tolist(), route.tolist()) == ([0, 5, 5], [0, 1, 0])
