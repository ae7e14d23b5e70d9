"""Latency against percentile of several replications as one: means, and where the truth lies.

Of each replication only its latencies at fixed shares are kept, the tail as finely as the middle.
At each share the replications give as many independent values, whose mean and interval are
those of any other number (``confidence.over_replications``). The share that is answered within
a time is read off the same values: to a two-hundredth, which no picture shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Self

import numpy as np

from simulator.analysis import confidence
from simulator.analysis.summary import Summary
from simulator.arrays import FloatArray, IntArray
from simulator.record import dataclass

_DECADE = 60  # shares from p0 to p90, from there to p99, and so on
_EVEN = 200  # shares that are evenly apart
_UNKNOWN = -1
STRETCHED: FloatArray = np.unique(
    np.concatenate(
        [
            np.geomspace(1, 1e7, 7 * _DECADE + 1),
            1 / (1 - np.arange(_EVEN, dtype=np.float64) / _EVEN),
        ]
    ).round(9)
)
"""1 / (1 - p) of the shares p whose latencies are kept; the largest value of all follows them."""

Latencies = Mapping[str, IntArray]
"""By the name of a route, "" for all: latencies in ns at STRETCHED, then the largest."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """Means over replications, and the interval of each mean."""

    mean: FloatArray
    low: FloatArray
    high: FloatArray

    @classmethod
    def of(cls, rows: FloatArray) -> Self:
        """Of values of shape (replications, n)."""
        found = [confidence.over_replications(column) for column in rows.T.tolist()]
        mean = rows.mean(axis=0)
        ends = [(i.low, i.high) if i else (m, m) for i, m in zip(found, mean, strict=True)]
        low, high = np.asarray(ends, dtype=np.float64).reshape(-1, 2).T
        return cls(mean, low, high)


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A group of requests of several replications."""

    label: str
    name: str
    latency_ns: Band  # at the first of STRETCHED, as far as all replications reach
    answered: Band  # share of its requests that were answered within ``within_ns``
    within_ns: FloatArray

    @property
    def stretched(self) -> FloatArray:
        """1 / (1 - p) of ``latency_ns``."""
        return STRETCHED[: len(self.latency_ns.mean)]


def latencies(summary: Summary) -> dict[str, IntArray]:
    """What is kept of one replication; nothing of groups without an answer."""
    found = {}
    for group in (summary.total, *summary.routes):
        count = group.latency.count
        if count:
            rank = np.ceil(count + 1 - (count + 1) / STRETCHED).astype(np.int64)
            values = group.latency.ordered_ns[np.clip(rank, 1, count) - 1]
            values = np.where(count + 1 >= STRETCHED, values, _UNKNOWN)
            found[group.name] = np.append(values, group.latency.ordered_ns[-1])
    return found


def curves(
    labels: Mapping[str, str], kept: Sequence[Latencies], answered: Mapping[str, Sequence[float]]
) -> list[Curve]:
    """Several replications together.

    Parameters
    ----------
    labels : mapping
        Of the groups that are wanted, by name.
    kept : sequence
        ``latencies`` of each replication.
    answered : mapping
        The share of a group's requests that were answered, in each replication.

    Returns
    -------
    list of Curve
        Without groups that had no answer in one of the replications.
    """
    longest = max((int(one[""][-1]) for one in kept if "" in one), default=0)
    within = np.linspace(0, longest * 1.04, 500)
    found = []
    for name, label in labels.items():
        if any(name not in one for one in kept):
            continue
        values = np.stack([one[name] for one in kept]).astype(np.float64)
        shares = np.asarray(answered[name])[:, None] * np.stack(
            [_within(v, within) for v in values]
        )
        everywhere = (values[:, :-1] != _UNKNOWN).all(axis=0)
        reach = int(everywhere.argmin()) if not everywhere.all() else len(everywhere)
        share = Band.of(shares)
        share = Band(share.mean, np.maximum(share.low, 0.0), np.minimum(share.high, 1.0))
        found.append(Curve(label, name, Band.of(values[:, :reach]), share, within))
    return found


def _within(values: FloatArray, within: FloatArray) -> FloatArray:
    """The share of the answers that came within each time."""
    known = values[:-1] != _UNKNOWN
    shares = np.append((1 - 1 / STRETCHED)[known], 1.0)
    place = np.searchsorted(np.append(values[:-1][known], values[-1]), within, side="right")
    # The value at share p is the first of its rank: shares up to the next are answered by then.
    reached: FloatArray = np.where(place > 0, shares[np.maximum(place - 1, 0)], 0.0)
    return reached
