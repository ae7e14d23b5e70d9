"""The search finds what trying everything finds, with few trials, wherever more never hurts."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from simulator.experiments.search import Point, Search, within


def searched(rank: np.ndarray, good: np.ndarray, allowed: np.ndarray | None = None) -> Search:
    """A search at its end; ``good`` says of each point whether it passes."""
    state = Search(rank, np.ones(rank.shape, dtype=bool) if allowed is None else allowed)
    tried: list[Point] = []
    while (point := state.next()) is not None:
        assert point not in tried, "a trial that tells nothing new"
        tried.append(point)
        (state.passed if good[point] else state.failing)(point)
    state.tried = len(tried)  # type: ignore[attr-defined]
    return state


@pytest.mark.parametrize("first_good", [0, 1, 500, 998, 999, 1000])
def test_along_one_key_it_is_a_bisection(first_good: int) -> None:
    good = np.arange(1000) >= first_good
    state = searched(np.arange(1000), good)
    assert state.best == (None if first_good == 1000 else (first_good,))
    assert state.proof() == (None if first_good in (0, 1000) else (first_good - 1,))
    assert state.tried <= 10  # type: ignore[attr-defined]


def staircase(generator: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A random region that holds with a point all that have more of everything."""
    edge = np.sort(generator.integers(0, columns + 2, rows))[::-1]
    return np.arange(columns)[None, :] >= edge[:, None]


@pytest.mark.parametrize("seed", range(40))
def test_on_a_grid_it_finds_the_cheapest_of_all(seed: int) -> None:
    generator = np.random.default_rng(seed)
    good = staircase(generator, 8, 50)
    cost = generator.integers(1, 60) * np.arange(8)[:, None] + np.arange(50)[None, :]
    rank = np.empty(400, dtype=np.int64)
    rank[np.argsort(cost, axis=None, kind="stable")] = np.arange(400)
    rank = rank.reshape(8, 50)
    allowed = ~staircase(generator, 8, 50)
    state = searched(rank, good, allowed)
    passing = [point for point in product(range(8), range(50)) if good[point] and allowed[point]]
    assert state.best == min(passing, key=lambda point: rank[point], default=None)
    assert state.tried <= 24  # type: ignore[attr-defined]


def test_a_point_that_passes_by_mistake_would_be_found() -> None:
    good = np.arange(100) >= 40
    good[39] = True
    assert searched(np.arange(100), good).best == (39,)


@pytest.mark.parametrize("seed", range(20))
def test_what_is_allowed_is_known_after_few_questions(seed: int) -> None:
    allowed = ~staircase(np.random.default_rng(seed), 8, 50)
    asked: list[Point] = []

    def holds(point: Point) -> bool:
        asked.append(point)
        return bool(allowed[point])

    assert (within((8, 50), holds) == allowed).all()
    assert len(asked) <= 40


def test_the_most_of_everything_is_there_or_not() -> None:
    whole = np.ones((2, 2), dtype=bool)
    rank = np.arange(4).reshape(2, 2)
    assert Search(rank, whole).most == (1, 1)
    without = whole.copy()
    without[1, 1] = False
    assert Search(rank, without).most is None
    assert Search(rank, np.zeros((2, 2), dtype=bool)).next() is None
