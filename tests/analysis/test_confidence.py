"""Intervals and warm-up by hand; how often intervals hold is shown by tests.coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.warmup import mser5


def test_over_replications_is_student_s_t() -> None:
    values = [3.0, 5.0, 7.0, 9.0]
    low, high = stats.t.interval(0.95, 3, loc=6, scale=stats.sem(values))
    found = confidence.over_replications(values)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.half(6.0) == pytest.approx(3.182446 * 2.581989 / 2)
    assert confidence.over_replications([3.0]) is None
    assert confidence.over_replications([4.0, 4.0, 4.0]) == Interval(4.0, 4.0)


def test_ten_replications_that_are_skewed_bend_the_interval() -> None:
    even, skewed = [9.0, 11.0] * 5, [9.0] * 9 + [19.0]
    found = confidence.over_replications(even)
    low, high = stats.t.interval(0.95, 9, loc=10, scale=stats.sem(even))
    assert found is not None and (found.low, found.high) == pytest.approx((low, high))
    bent = confidence.over_replications(skewed)
    assert bent is not None
    assert bent.high - 10 > 2 * (10 - bent.low)


def test_a_share_that_was_never_seen_has_an_upper_end() -> None:
    found = confidence.exact_share(0, 1000)
    assert found is not None
    # (1 - p)^1000 = 0.025.
    assert (found.low, found.high) == pytest.approx((0, 1 - 0.025 ** (1 / 1000)))
    all_of_them = confidence.exact_share(20, 20)
    assert all_of_them is not None
    assert (all_of_them.low, all_of_them.high) == pytest.approx((0.025 ** (1 / 20), 1))
    assert confidence.exact_share(0, 0) is None


def test_batches_of_independent_values_give_what_the_values_give() -> None:
    halves = []
    for seed in range(50):
        found = confidence.of_mean(np.random.default_rng(seed).normal(10, 2, 32 * 400))
        assert found is not None
        halves.append((found.high - found.low) / 2)
    # 12,800 values: 1.96 · 2 / √12800 = 0.0346, and more because batches have to find it out.
    assert 0.0346 < float(np.mean(halves)) < 1.4 * 0.0346


def test_correlated_values_have_wider_intervals() -> None:
    noise = np.random.default_rng(1).normal(0, 1, 20_000)
    slow = np.convolve(noise, np.ones(50) / math.sqrt(50))[: len(noise)]  # the same variance
    wide, narrow = confidence.of_mean(slow), confidence.of_mean(noise)
    assert wide is not None and narrow is not None
    assert (wide.high - wide.low) > 4 * (narrow.high - narrow.low)  # √50 = 7 times, ideally


def test_skewed_means_bend_the_interval_upwards() -> None:
    values = np.random.default_rng(3).pareto(2.5, 32 * 10)
    found = confidence.of_mean(values)
    assert found is not None
    assert found.high - values.mean() > 1.2 * (values.mean() - found.low)


def test_few_values_have_no_interval() -> None:
    assert confidence.of_mean(np.arange(79)) is None
    assert confidence.of_mean(np.arange(80)) is not None
    assert confidence.of_quantile(np.zeros(0, dtype=np.int64), 50) is None


def test_a_percentile_whose_end_lies_beyond_the_values_is_open() -> None:
    values = np.random.default_rng(1).permutation(200)
    median, tail = confidence.of_quantile(values, 50), confidence.of_quantile(values, 99)
    assert median is not None and tail is not None
    assert median.low < 99 < median.high < 199
    assert tail.low < 197 and math.isinf(tail.high)


def test_a_percentile_is_a_value_that_occurred() -> None:
    found = confidence.of_quantile(np.random.default_rng(1).integers(0, 5, 8000) * 1000, 50)
    assert found is not None
    assert found.low % 1000 == found.high % 1000 == 0


def test_mser5_cuts_off_the_part_that_is_not_like_the_rest() -> None:
    rng = np.random.default_rng(1)
    settled = rng.normal(100, 1, 1000)
    assert mser5(np.concatenate([np.linspace(0, 99, 200), settled])) == pytest.approx(200, abs=15)
    cut = mser5(settled)
    assert cut is not None and cut < 200


def test_mser5_by_its_definition() -> None:
    values = np.random.default_rng(2).exponential(1, 203)
    means = values[:200].reshape(40, 5).mean(axis=1)
    error = [means[d:].var() / (40 - d) for d in range(36)]
    assert mser5(values) == 5 * int(np.argmin(error))


def test_mser5_does_not_cut_off_the_second_half() -> None:
    assert mser5(np.linspace(0, 1, 1000)) is None
    assert mser5(np.arange(49)) is None


def test_a_ratio_is_that_of_its_batches_whatever_stands_in_each_piece() -> None:
    sums, counts = np.arange(640), np.full(640, 2)
    assert confidence.of_ratio(sums, counts) == confidence.of_mean(sums / 2)
    bare = np.where(np.arange(640) % 5 == 0, 2, 0)  # four of five pieces are empty
    assert confidence.of_ratio(bare * 3, bare) == Interval(3.0, 3.0)
    assert confidence.of_ratio(bare, bare * 0) is None


def test_a_percentile_of_pieces_is_that_of_the_values() -> None:
    rng = np.random.Generator(np.random.Philox(3))
    values = rng.integers(0, 1000, 6400)
    q = int(np.sort(values)[math.ceil(0.95 * 6400) - 1])
    below = (values.reshape(640, 10) <= q).sum(axis=1)
    found = confidence.of_quantile_of_pieces(np.sort(values), below, np.full(640, 10), 95)
    assert found == confidence.of_quantile(values, 95)
