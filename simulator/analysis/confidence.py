"""Confidence intervals: over replications, and of one long run by its batches.

Between replications numbers are independent, and Student's t holds for their mean; from ten on
what skewness they show bends it (a busy queue has more to fear than to hope). Within
one run they are correlated: a queue that is long stays long for a while. There the mean is
taken over batches (Conway 1963, Schmeiser 1982), fewer and longer ones until neighbours are
hardly correlated; what correlation is left widens the interval by (1 + φ) / (1 − φ), and
what skewness is left bends it, both as in Skart (Tafazzoli and Wilson 2011, Willink 2005). A
quantile's interval is that of the share of values below it, read back at the values of these
ranks (Heidelberger and Lewis 1984).

Short runs of a busy queue are seen less than half: `python -m tests.coverage` says how often
intervals hold, and of how long a run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import numpy as np

from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.record import dataclass

LEVEL = 0.95
"""How often an interval holds the true value, if its assumptions hold."""
BATCHES = (32, 16, 8)
"""Batches that one run is cut into: the most whose means are hardly correlated."""
BATCH_MIN = 10
"""Values of a batch at least."""
SKEWED_FROM = 10
"""Replications whose skewness is looked at: that of fewer says nothing."""
CORRELATED = 0.15
"""Correlation of neighbouring batches from which longer ones are taken."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Where the true value lies, in the unit of the number it belongs to."""

    low: float
    high: float  # inf where the values are too few to bound it

    def half(self, value: float) -> float:
        """How far it reaches from an estimate, on its longer side."""
        return max(self.high - value, value - self.low, 0.0)


def over_replications(values: Sequence[float], level: float = LEVEL) -> Interval | None:
    """The interval of the mean of independent values; None of fewer than two."""
    if len(values) < 2:
        return None
    found = np.asarray(values, dtype=np.float64)
    if len(found) < SKEWED_FROM:
        return _around(found, level)
    return _bent(found, level, 0.0)


def of_mean(values: FloatArray | IntArray, level: float = LEVEL) -> Interval | None:
    """The interval of the mean of one run's values, in their order; None if they are too few."""
    found = _batch_means(np.asarray(values, dtype=np.float64))
    return None if found is None else _bent(found, level, _correlation(found))


def of_ratio(
    sums: FloatArray | IntArray, counts: FloatArray | IntArray, level: float = LEVEL
) -> Interval | None:
    """The interval of Σ sums / Σ counts, both by equal pieces of one run; None of too few."""
    found = _batch_means(np.asarray(sums, dtype=np.float64), np.asarray(counts, dtype=np.float64))
    return None if found is None else _bent(found, level, _correlation(found))


def of_quantile(values: IntArray, percentile: float, level: float = LEVEL) -> Interval | None:
    """The interval of a percentile of one run's values, in their order; None of too few.

    Without an upper end where that would lie beyond the largest value.
    """
    if not len(values):
        return None
    rank = rank_of(percentile, len(values))
    below = _batch_means((values <= np.partition(values, rank)[rank]).astype(np.float64))
    if below is None:
        return None
    low, high = _ranks(below, percentile, len(values), level)
    ranks = [low, min(high, len(values) - 1)]
    ends = np.partition(values, ranks)[ranks]  # a third of the time that sorting takes
    return Interval(float(ends[0]), float(ends[1]) if high < len(values) else math.inf)


def of_quantile_of_pieces(
    ordered: IntArray,
    below: IntArray,
    counts: IntArray,
    percentile: float,
    level: float = LEVEL,
) -> Interval | None:
    """The same of values of which only how many lie below the percentile is known, by pieces.

    Parameters
    ----------
    ordered : ndarray of int64
        All values, ascending.
    below, counts : ndarray of int64
        Of each piece of time, in their order: how many lie below the percentile, and of how many.
    """
    shares = _batch_means(below.astype(np.float64), counts.astype(np.float64))
    if shares is None or not len(ordered):
        return None
    low, high = _ranks(shares, percentile, len(ordered), level)
    return Interval(float(ordered[low]), float(ordered[high]) if high < len(ordered) else math.inf)


def of_share(happened: BoolArray, level: float = LEVEL) -> Interval | None:
    """The interval of how often something happens, of one run's requests in their order."""
    number = int(happened.sum())
    if number in (0, len(happened)):
        return exact_share(number, len(happened), level)
    found = of_mean(happened.astype(np.float64), level)
    return None if found is None else Interval(max(found.low, 0.0), min(found.high, 1.0))


def exact_share(number: int, of: int, level: float = LEVEL) -> Interval | None:
    """Clopper and Pearson's interval of a share: also where none, or all, were seen."""
    if not of:
        return None
    from scipy.special import betaincinv  # half a second of a start: only where it is used

    tail = (1 - level) / 2
    low = float(betaincinv(number, of - number + 1, tail)) if number else 0.0
    high = float(betaincinv(number + 1, of - number, 1 - tail)) if number < of else 1.0
    return Interval(low, high)


@cache
def t_quantile(freedom: int, level: float = LEVEL) -> float:
    """How many standard errors Student's t reaches to each side."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + level) / 2))


def _around(values: FloatArray, level: float) -> Interval:
    mean = float(values.mean())
    error = float(values.std(ddof=1)) / math.sqrt(len(values))
    reach = t_quantile(len(values) - 1, level) * error if error else 0.0
    return Interval(mean - reach, mean + reach)


def _bent(values: FloatArray, level: float, correlation: float) -> Interval:
    """Student's interval of values that may be a little correlated and a little skewed."""
    number, mean, spread = len(values), float(values.mean()), float(values.std(ddof=1))
    if not spread:
        return Interval(mean, mean)
    error = spread / math.sqrt(number) * math.sqrt((1 + correlation) / (1 - correlation))
    cubes = float(((values - mean) ** 3).sum()) / spread**3
    skew = cubes * number / ((number - 1) * (number - 2)) / (6 * math.sqrt(number))
    reach = t_quantile(number - 1, level)
    return Interval(mean - _unskewed(reach, skew) * error, mean - _unskewed(-reach, skew) * error)


def _unskewed(t: float, skew: float) -> float:
    """Willink's transform of a quantile: t itself where nothing is skewed."""
    if abs(skew) < 1e-6:
        return t
    return (math.cbrt(1 + 6 * skew * (t - skew)) - 1) / (2 * skew)


def rank_of(percentile: float, number: int) -> int:
    """The place of the nearest-rank percentile among so many ascending values, from 0 on."""
    return min(max(math.ceil(percentile / 100 * number), 1), number) - 1


def _ranks(below: FloatArray, percentile: float, number: int, level: float) -> tuple[int, int]:
    """Places of the ends of a percentile's interval; the upper may lie beyond all values."""
    share = percentile / 100
    found, mean = _bent(below, level, _correlation(below)), float(below.mean())
    # Where the true share below the estimate may be larger, the true percentile may be lower.
    low = math.floor((share - (found.high - mean)) * number)
    high = math.ceil((share + (mean - found.low)) * number)
    return max(low, 1) - 1, high


def _batch_means(values: FloatArray, counts: FloatArray | None = None) -> FloatArray | None:
    """The means of the most batches that are hardly correlated, else of the fewest.

    ``counts``: how many each value is the sum of; without them each is one.
    """
    found: FloatArray | None = None
    for batches in BATCHES:
        size = len(values) // batches
        if size < BATCH_MIN:
            continue
        # What does not fill a batch is left out at the beginning, where a run is settling.
        cut = (batches, size)
        kept = values[len(values) - batches * size :].reshape(cut)
        if counts is None:
            found = kept.mean(axis=1)
        else:
            of = counts[len(values) - batches * size :].reshape(cut).sum(axis=1)
            if not of.all():
                continue  # nothing came for so long: longer batches may have some
            found = kept.sum(axis=1) / of
        if _correlation(found) <= CORRELATED:
            return found
    return found


def _correlation(values: FloatArray) -> float:
    """The correlation of neighbours, from 0 to 0.9."""
    apart = values - values.mean()
    spread = float((apart * apart).sum())
    if not spread:
        return 0.0
    return min(max(float((apart[1:] * apart[:-1]).sum()) / spread, 0.0), 0.9)
