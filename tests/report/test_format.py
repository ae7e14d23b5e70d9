"""How numbers are written."""

from __future__ import annotations

from fractions import Fraction

import pytest

from simulator.plan import UNLIMITED
from simulator.report import format


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (None, "–"),
        (0, "0s"),
        (1, "1ns"),
        (999, "999ns"),
        (250_000, "250us"),
        (12_300_000, "12.3ms"),
        (12_345_678, "12.35ms"),
        (999_949_999, "999.9ms"),
        (999_950_000, "1s"),
        (999_999, "1ms"),
        (47_500_000_000, "47.5s"),
        (50_000_000_000, "50s"),
        (5_001_000_000, "5.001s"),
        (100_000_000_000, "100s"),
        (2_502_500_000_000, "2502.5s"),
        (12_502_500_000_000, "12502.5s"),
        (-1_500_000, "-1.5ms"),
    ],
)
def test_a_duration_has_one_unit_and_four_digits(ns: int | None, text: str) -> None:
    assert format.duration(ns) == text


@pytest.mark.parametrize(
    ("per_second", "text"),
    [
        (None, "–"),
        (Fraction(0), "0.00/s"),
        (Fraction(1, 5), "0.2/s"),
        (Fraction(1, 3000), "0.000333/s"),
        (Fraction(2), "2.00/s"),
        (Fraction(10), "10.0/s"),
        (Fraction(2499, 2), "1250/s"),
    ],
)
def test_a_rate_has_three_digits(per_second: Fraction | None, text: str) -> None:
    assert format.rate(per_second) == text


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (None, "–"),
        (0, "0%"),
        (0.0001, "<0.1%"),
        (0.002, "0.2%"),
        (0.1, "10%"),
        (0.994, "99%"),
        (0.9999, "99.9%"),
        (1, "100%"),
    ],
)
def test_a_share_is_all_only_if_it_is_all(share: float | None, text: str) -> None:
    assert format.percent(share) == text


def test_seconds_in_a_file_are_exact() -> None:
    times = (0, 5_000_000_000, 5_001_000_000, 1, 2**61, -250_000_000)
    assert [format.seconds(ns) for ns in times] == [
        "0",
        "5",
        "5.001",
        "0.000000001",
        "2305843009.213693952",
        "-0.25",
    ]


def test_counts_and_sizes() -> None:
    assert [format.count(n, "worker") for n in (0, 1, 2)] == ["0 workers", "1 worker", "2 workers"]
    assert [format.size(n) for n in (None, UNLIMITED, 50)] == ["∞", "∞", "50"]
    assert format.rate_words(Fraction(3, 2)) == "1.5/s"
