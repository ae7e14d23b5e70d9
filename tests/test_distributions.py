"""Each distribution has the mean and the quantiles that its parameters promise.

n = 409,600 draws. The mean must lie within 5 standard errors, the share of draws below
each point within 5 binomial standard errors: a false alarm in about 2 of a million checks.
(Peers pass a variance as a standard deviation, or turn 3 ms into 1 s: seen at once here.)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
import pytest

from simulator.distributions import (
    Chance,
    Constant,
    Distribution,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    Geometric,
    Hyperexponential,
    Lognormal,
    Mixture,
    Normal,
    Pareto,
    Uniform,
    UniformKey,
    ZipfKey,
)
from simulator.plan import TimeStream
from simulator.workload import BLOCK, Workload
from tests.plans import MILLISECOND, Steps, burst, plan

MS = MILLISECOND
BLOCKS = 100
N = BLOCKS * BLOCK


def erlang_cdf(k: int, mean: float) -> Callable[[float], float]:
    def cdf(t: float) -> float:
        x = k * t / mean
        return 1 - math.exp(-x) * sum(x**i / math.factorial(i) for i in range(k))

    return cdf


def hyperexponential_cdf(mean: float, cv: float) -> Callable[[float], float]:
    c2 = cv**2
    p = (1 + math.sqrt((c2 - 1) / (c2 + 1))) / 2
    return lambda t: (
        1 - p * math.exp(-2 * p * t / mean) - (1 - p) * math.exp(-2 * (1 - p) * t / mean)
    )


LOGNORMAL_SIGMA = math.log(90 / 12) / 2.3263478740408408

CASES: dict[str, tuple[Distribution, float, float, list[tuple[float, float]]]] = {
    # name: (distribution, mean, standard deviation, [(point, share of draws below it)])
    "exp": (
        Exponential(20 * MS),
        20 * MS,
        20 * MS,
        [(20 * MS, 1 - math.exp(-1)), (20 * MS * math.log(20), 0.95)],
    ),
    "lognormal": (
        Lognormal(12 * MS, 90 * MS),
        12 * MS * math.exp(LOGNORMAL_SIGMA**2 / 2),
        Lognormal(12 * MS, 90 * MS).mean_ns * math.sqrt(math.expm1(LOGNORMAL_SIGMA**2)),
        [(12 * MS, 0.5), (90 * MS, 0.99)],
    ),
    "gamma, cv 1/2 (four phases)": (
        Gamma(8 * MS, 0.5),
        8 * MS,
        4 * MS,
        [(t, erlang_cdf(4, 8 * MS)(t)) for t in (4 * MS, 8 * MS, 16 * MS)],
    ),
    "gamma, cv 2": (Gamma(8 * MS, 2.0), 8 * MS, 16 * MS, []),
    "erlang": (
        Erlang(10 * MS, 2),
        10 * MS,
        10 * MS / math.sqrt(2),
        [(t, erlang_cdf(2, 10 * MS)(t)) for t in (5 * MS, 10 * MS, 30 * MS)],
    ),
    "hyperexp": (
        Hyperexponential(10 * MS, 3.0),
        10 * MS,
        30 * MS,
        [(t, hyperexponential_cdf(10 * MS, 3.0)(t)) for t in (2 * MS, 10 * MS, 80 * MS)],
    ),
    "uniform": (
        Uniform(30 * MS, 80 * MS),
        55 * MS,
        50 * MS / math.sqrt(12),
        [(40 * MS, 0.2), (55 * MS, 0.5), (77.5 * MS, 0.95)],
    ),
    "normal": (
        Normal(100 * MS, 10 * MS),
        100 * MS,
        10 * MS,
        [(100 * MS, 0.5), (110 * MS, NormalDist().cdf(1))],
    ),
    "normal, cut at 0": (
        Normal(10 * MS, 10 * MS),
        (NormalDist().cdf(1) + NormalDist().pdf(1)) * 10 * MS,
        8.7 * MS,
        [(0.5, NormalDist().cdf(-1)), (20 * MS, NormalDist().cdf(1))],
    ),
    "pareto": (Pareto(10 * MS, 40 * MS), math.nan, 0, [(10 * MS, 0.5), (40 * MS, 0.99)]),
    "empirical": (
        Empirical((1 * MS, 2 * MS, 2 * MS, 5 * MS)),
        2.5 * MS,
        1.5 * MS,
        [(1.5 * MS, 0.25), (3 * MS, 0.75)],
    ),
    "mix": (
        Mixture(((0.99, Constant(10 * MS)), (0.01, Constant(1000 * MS)))),
        19.9 * MS,
        98.5 * MS,
        [(20 * MS, 0.99)],
    ),
    # Rows, counts and chances: plain numbers, not ns.
    "uniform rows": (UniformKey(10), 4.5, math.sqrt(8.25), [(0.5, 0.1), (3.5, 0.4)]),
    "zipf rows, weights 6 3 2": (
        ZipfKey(3, 1.0),
        7 / 11,
        math.sqrt(1 - 49 / 121),
        [(0.5, 6 / 11), (1.5, 9 / 11)],
    ),
    "geometric": (Geometric(4.0), 4, math.sqrt(12), [(1.5, 0.25), (2.5, 0.4375)]),
    "geometric of one": (Geometric(1.0), 1, 0, [(1.5, 1), (0.5, 0)]),
    "chance": (Chance(0.01), 0.01, math.sqrt(0.0099), [(0.5, 0.99)]),
}


def draws(distribution: Distribution) -> np.ndarray:
    steps = Steps()
    case = plan(steps, steps.sleep(distribution), load=burst(1))
    draw = Workload(case).time(0)
    return np.asarray([draw(i) for i in range(N)])


@pytest.mark.parametrize("name", CASES)
def test_mean_and_quantiles(name: str) -> None:
    distribution, mean, sd, points = CASES[name]
    sample = draws(distribution)
    assert sample.dtype == np.int64 and (sample >= 0).all()
    if not math.isnan(mean):
        assert distribution.mean_ns == pytest.approx(mean, rel=1e-12)
        # Times are rounded to whole ns; plain numbers are whole as drawn.
        rounding = 0.5 if mean > MS else 0
        assert sample.mean() == pytest.approx(mean, abs=5 * sd / math.sqrt(N) + rounding)
    if sd and name != "lognormal":
        # The share of a sample's own deviation is looser: heavy tails converge slowly.
        assert sample.std() == pytest.approx(sd, rel=0.05)
    for point, share in points:
        allowed = 5 * math.sqrt(share * (1 - share) / N)
        assert (sample < point).mean() == pytest.approx(share, abs=allowed)


def test_a_constant_is_constant() -> None:
    assert set(draws(Constant(7 * MS))[:100].tolist()) == {7 * MS}


def test_a_pareto_without_a_mean_says_so_and_its_draws_stay_in_range() -> None:
    heavy = Pareto(1 * MS, 10_000 * MS)
    assert heavy.mean_ns == math.inf
    assert (draws(heavy) >= 0).all()


def test_streams_of_one_distribution_are_independent() -> None:
    """Correlation of two streams, of a stream with its successor, of two replications."""
    steps = Steps()
    exponential = Exponential(1e6)
    case = plan(steps, steps.sleep(exponential), steps.sleep(exponential), load=burst(1))

    def column(stream: int, **kwargs: int) -> np.ndarray:
        draw = Workload(case, **kwargs).time(stream)
        return np.asarray([draw(i) for i in range(20 * BLOCK)])

    first = column(0)
    others = [column(1), column(0, seed=1), column(0, replication=1), np.roll(first, 1)]
    others += [np.roll(first, BLOCK)]
    for other in others:
        # 5 standard deviations of a sample correlation of independent draws.
        assert abs(np.corrcoef(first, other)[0, 1]) < 5 / math.sqrt(len(first))


def test_the_name_of_a_stream_is_its_address() -> None:
    assert TimeStream("routes.a.steps[0].time", Constant(1)).name == "routes.a.steps[0].time"
