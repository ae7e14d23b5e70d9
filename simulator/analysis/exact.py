"""Sums, roundings and ranks on integer nanoseconds, without a float on the way."""

from __future__ import annotations

import math
from fractions import Fraction

from simulator.arrays import IntArray


def exact_sum(values: IntArray) -> int:
    """The sum of non-negative int64 values, also beyond int64."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


def rounded(value: Fraction) -> int:
    """The nearest integer, halves up."""
    return math.floor(value + Fraction(1, 2))


def nearest_rank(ordered: IntArray, percentile: int | Fraction) -> int | None:
    """The smallest value that at least this percentage does not exceed; None if empty."""
    if not len(ordered):
        return None
    rank = math.ceil(Fraction(percentile) * len(ordered) / 100)
    return int(ordered[max(rank, 1) - 1])
