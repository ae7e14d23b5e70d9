"""Estimates with confidence intervals by batch means, and when one agrees with a known answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simulator.arrays import FloatArray, IntArray

STUDENT_95 = {4: 3.182446, 8: 2.364624, 20: 2.093024}
"""Student's t, two-sided 95 %, of the mean of so many parts."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number from a run, with the half-width of its 95 % confidence interval."""

    value: float
    half_width: float = 0.0

    def agrees(self, expected: float, tolerance: float) -> bool:
        """True within the tolerance, or within 3 half-widths where that is more."""
        return abs(self.value - expected) <= max(tolerance, 3 * self.half_width)


def exactly(value: float) -> Estimate:
    """A number that chance has no part in."""
    return Estimate(float(value))


def mean(values: FloatArray, batches: int) -> Estimate:
    """The mean of values in order of arrival."""
    return by_batches(values, batches, lambda batch: float(batch.mean()))


def percentile(values: FloatArray, p: float, batches: int) -> Estimate:
    """A percentile, 0 … 100, of values in order of arrival."""
    return by_batches(values, batches, lambda batch: float(np.percentile(batch, p)))


def by_batches(values: FloatArray, batches: int, figure: Callable[[FloatArray], float]) -> Estimate:
    """A figure of all values; its half-width from the figures of so many equal batches."""
    parts = [figure(batch) for batch in np.array_split(values, batches)]
    return Estimate(figure(values), half_width(parts))


def half_width(parts: list[float]) -> float:
    """Of the 95 % confidence interval of the mean of independent parts."""
    return STUDENT_95[len(parts)] * float(np.std(parts, ddof=1)) / math.sqrt(len(parts))


def level(begin: IntArray, end: IntArray) -> tuple[IntArray, IntArray]:
    """Instants of change, ascending, and how many intervals are open from each one on."""
    at = np.concatenate([begin, end])
    order = np.argsort(at, kind="stable")
    change = np.repeat(np.array([1, -1], dtype=np.int64), len(begin))
    return at[order], np.cumsum(change[order])


def over_time(at: IntArray, values: FloatArray | IntArray, edges: FloatArray) -> Estimate:
    """The mean over time of a step function; its half-width from the windows between edges."""
    area = np.concatenate([[0.0], np.cumsum(values[:-1] * np.diff(at))])
    parts = np.diff(np.interp(edges, at, area)) / np.diff(edges)
    return Estimate(float(parts.mean()), half_width(parts.tolist()))
