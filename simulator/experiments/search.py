"""Which point of a grid to try next, to find the best that passes with few trials.

More of anything never hurts: where a point passes, so does every point with as much of
each key; where one fails, so does every point with as little. What such a search finds is
proven by its trials: each better point has as little of everything as one that failed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from simulator.arrays import BoolArray, IntArray

CANDIDATES_MAX = 256
"""Points looked at to choose the next, evenly among those that are undecided."""

Point = tuple[int, ...]
"""A point by its place on each axis, from the least to the most generous value."""


class Search:
    """The best point of a grid that passes, where the best is the first in ``rank``.

    Parameters
    ----------
    rank : ndarray of int64, one axis per key
        A different number for each point: the lower, the better it would be.
    allowed : ndarray of bool, shape of ``rank``
        Points that may be tried; with a point all that have less of everything.
    """

    def __init__(self, rank: IntArray, allowed: BoolArray) -> None:
        self._shape = rank.shape
        self._rank = rank
        self._undecided = allowed.copy()
        self._most = tuple(int(at.max()) for at in np.nonzero(allowed)) if allowed.any() else None
        if self._most is not None and not allowed[self._most]:
            self._most = None
        self.best: Point | None = None
        self.failed: list[Point] = []

    @property
    def undecided(self) -> int:
        """Points that may still be better than the best so far."""
        return int(self._undecided.sum())

    @property
    def most(self) -> Point | None:
        """The allowed point with the most of everything, if there is one: if it fails, all do."""
        return self._most

    def next(self) -> Point | None:
        """The point whose trial decides the most others in the worse case; None at the end."""
        places = np.flatnonzero(self._undecided)
        if not len(places):
            return None
        ranks = self._rank.ravel()[places]
        order = places[np.argsort(ranks)]
        some = np.unique(np.linspace(0, len(order) - 1, CANDIDATES_MAX).astype(np.int64))
        best, best_decided = order[0], -1
        for at in some:
            # All that rank behind it are decided if it passes, all with as little if it fails.
            point = np.unravel_index(order[at], self._shape)
            decided = min(len(order) - int(at), int(self._undecided[_up_to(point)].sum()))
            if decided > best_decided:
                best, best_decided = order[at], decided
        return tuple(int(i) for i in np.unravel_index(best, self._shape))

    def passed(self, point: Point) -> None:
        """Tell that a point passed."""
        if self.best is None or self._rank[point] < self._rank[self.best]:
            self.best = point
            self._undecided &= self._rank < self._rank[point]

    def failing(self, point: Point) -> None:
        """Tell that a point failed."""
        self.failed.append(point)
        self._undecided[_up_to(point)] = False

    def proof(self) -> Point | None:
        """The failed point that comes nearest to the best: one step less on one axis, if any."""
        if self.best is None:
            return None
        best = np.asarray(self.best)
        less = [p for p in self.failed if (np.asarray(p) <= best).all()]
        return min(less, key=lambda p: int((best - p).sum()), default=None)


def within(shape: Sequence[int], holds: Callable[[Point], bool]) -> BoolArray:
    """The points that a condition holds for, where it holds for all with less of everything.

    ``holds`` is asked of few points: as in a bisection each answer settles many.
    """
    allowed = np.zeros(tuple(shape), dtype=np.bool_)
    unknown = ~allowed
    while unknown.any():
        places = np.flatnonzero(unknown)
        some = places[np.unique(np.linspace(0, len(places) - 1, CANDIDATES_MAX).astype(np.int64))]
        chosen = max(
            (tuple(int(i) for i in np.unravel_index(at, allowed.shape)) for at in some),
            key=lambda point: min(unknown[_up_to(point)].sum(), unknown[_from(point)].sum()),
        )
        if holds(chosen):
            allowed[_up_to(chosen)] = True
            unknown[_up_to(chosen)] = False
        else:
            unknown[_from(chosen)] = False
    return allowed


def _from(point: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(int(i), None) for i in point)


def _up_to(point: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(0, int(i) + 1) for i in point)
