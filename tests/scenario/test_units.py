"""Durations, rates and counts are exact, and wrong ones get a hint."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.units import (
    DURATION_MAX_NS,
    exact_duration,
    parse_count,
    parse_duration,
    parse_percent,
    parse_rate,
    parse_size,
)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0s", 0),
        ("7ns", 7),
        ("200us", 200_000),
        ("200µs", 200_000),
        ("200μs", 200_000),
        ("5ms", 5_000_000),
        (".5s", 500_000_000),
        ("1.5s", 1_500_000_000),
        ("1m30s", 90_000_000_000),
        ("2h", 7_200_000_000_000),
        ("1.000000001s", 1_000_000_001),
        ("0.1s", 100_000_000),
    ],
)
def test_duration_is_exact(text: str, ns: int) -> None:
    assert parse_duration(text) == ns


@given(st.integers(0, DURATION_MAX_NS))
def test_exact_duration_reads_back(ns: int) -> None:
    assert parse_duration(exact_duration(ns)) == ns


@pytest.mark.parametrize(
    ("ns", "text"),
    [(0, "0s"), (1, "1ns"), (1_500, "1.5us"), (5_001_000_000, "5.001s"), (90 * 10**9, "90s")],
)
def test_exact_duration_is_short(ns: int, text: str) -> None:
    assert exact_duration(ns) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "5",
            "5 has no unit, expected a duration such as 5ms or 1m30s, did you mean 5s or 5ms?",
        ),
        ("-5s", "-5s is negative, expected a duration such as 5ms or 1m30s"),
        (
            "5 sec",
            "'5 sec' is not a duration, expected a duration such as 5ms or 1m30s, "
            "did you mean 5s?",
        ),
        ("0.5ns", "0.5ns is finer than a nanosecond, expected whole nanoseconds"),
        ("999999h", "999999h is too long, expected at most 2^61 ns (73 years)"),
        ("٣s", "'٣s' is not a duration, expected a duration such as 5ms or 1m30s"),
        ("5s\n", r"'5s\n' is not a duration, expected a duration such as 5ms or 1m30s, "
         "did you mean 5s?"),
        ("", "'' is not a duration, expected a duration such as 5ms or 1m30s"),
    ],
)  # fmt: skip
def test_wrong_duration(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_duration(text)
    assert str(raised.value) == message


def test_rate_is_a_fraction_per_second() -> None:
    assert parse_rate("200/s") == 200
    assert parse_rate("90/min") == Fraction(3, 2)
    assert parse_rate("1/h") == Fraction(1, 3600)
    assert parse_rate("0.1/ms") == 100


@pytest.mark.parametrize("text", ["200", "200/d", "1e3/s", "2000000000/s", "/s", "-1/s"])
def test_wrong_rate(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_rate(text)


def test_count_with_a_suffix() -> None:
    assert parse_count("10k") == 10_000
    assert parse_count("1.5M") == 1_500_000


@pytest.mark.parametrize("text", ["1.0001k", "5K", "9999M", "k", "10"])
def test_wrong_count(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_count(text)


def test_sizes() -> None:
    assert parse_size("64KiB") == 65_536
    assert parse_size("64KB") == parse_size("64kB") == 64_000
    assert parse_size("1.5MiB") == 1_572_864
    assert parse_size("0B") == 0


@pytest.mark.parametrize("text", ["64", "64 KiB", "64kib", "0.5B", "-1B", "9999999GiB", "64K"])
def test_wrong_size(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_size(text)


def test_percentages() -> None:
    assert parse_percent("1%") == Fraction(1, 100)
    assert parse_percent("0.5%") == Fraction(1, 200)
    assert parse_percent("100%") == 1
    assert parse_percent("0%") == 0


@pytest.mark.parametrize("text", ["1", "101%", "-1%", "1 %", "100.5%", "%"])
def test_wrong_percentage(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        parse_percent(text)


def test_a_bare_share_is_meant_as_a_percentage() -> None:
    with pytest.raises(ValueError, match=r"did you mean 1\.5%"):
        parse_percent("0.015")


def test_no_rate_at_all() -> None:
    assert parse_rate("0/s") == 0
