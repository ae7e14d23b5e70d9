"""The warm-up of a run: how much of its beginning is not like the rest, and is left out.

MSER-5 (White 1997, White, Cobb and Spratt 2000): the latencies are averaged in fives, and as
many of these are cut off as make the standard error of the mean of the rest smallest. A cut
in the second half says that the run is too short to tell.
"""

from __future__ import annotations

import numpy as np

from simulator.arrays import FloatArray, IntArray
from simulator.engines.contract import OK
from simulator.plan import WARMUP_AUTO, Plan
from simulator.record import dataclass
from simulator.trace import Trace

FIVE = 5
"""Values that are averaged before anything else."""
KEPT_MIN = 5
"""Fives that are never cut off: the error of fewer means nothing."""


@dataclass(frozen=True, slots=True)
class Warmup:
    """What is left out of the numbers of a run."""

    until_ns: int  # requests that arrive earlier do not count; 0: all count
    requests: int  # how many these are
    over: bool = True  # False where the run is too short to tell


ALL_COUNT = Warmup(0, 0)
"""No warm-up."""


def mser5(values: FloatArray | IntArray) -> int | None:
    """How many values at the beginning are warm-up; None where the values are too few to tell."""
    fives = len(values) // FIVE
    if fives < 2 * KEPT_MIN:
        return None
    means = np.asarray(values[: fives * FIVE], dtype=np.float64).reshape(fives, FIVE).mean(axis=1)
    means -= means.mean()  # so that the sums of squares below stay small
    count = np.arange(fives, 0, -1)
    rest = np.cumsum(means[::-1])[::-1]
    squares = np.cumsum((means * means)[::-1])[::-1]
    # Σ (y - mean)² / n² of all from the d-th on, for every d.
    error = (squares - rest * rest / count) / (count * count)
    cut = int(np.argmin(error[: fives - KEPT_MIN + 1]))
    return None if 2 * cut > fives else cut * FIVE


def warmup(plan: Plan, trace: Trace) -> Warmup:
    """The warm-up of a run, by its plan."""
    if not plan.warmup_ns or not len(trace):
        return ALL_COUNT
    if plan.warmup_ns != WARMUP_AUTO:
        early = int((trace.arrival_ns < plan.warmup_ns).sum())
        return Warmup(plan.warmup_ns, early, over=early < len(trace))
    rows = np.flatnonzero(trace.outcome == OK)
    rows = rows[np.argsort(trace.arrival_ns[rows], kind="stable")]
    cut = mser5(trace.latency_ns[rows])
    if not cut:
        return Warmup(0, 0, over=cut == 0)
    until_ns = int(trace.arrival_ns[rows[cut]])
    return Warmup(until_ns, int((trace.arrival_ns < until_ns).sum()))
