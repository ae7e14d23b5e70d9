"""Overheads fitted on other groups: the solver, on problems whose answer is known.

``python -m tests.truth --cross`` fits the recorded runs and predicts each group.
"""

from __future__ import annotations

import numpy as np
import pytest

from tests.truth.cases import CASES
from tests.truth.cross import COSTS, TYPICAL_NS, _Figure, _of_case, _solved, pays


def _problem(change: dict[str, float], *, skip: tuple[str, ...] = ()) -> list[_Figure]:
    chance = np.random.Generator(np.random.Philox(key=3))
    slopes = chance.uniform(0.5, 3.0, (40, len(COSTS)))
    for name in skip:
        slopes[:, COSTS.index(name)] = 0.0
    true = np.asarray([change.get(name, 0.0) for name in COSTS])
    return [_Figure("c99", float(-row @ true), row) for row in slopes]


def test_overheads_that_made_the_errors_are_found() -> None:
    found = _solved("c01", _problem({"timer": 0.5, "loop_before": -0.25}))
    expected = TYPICAL_NS | {"timer": 1.5 * 300e3, "loop_before": 0.75 * 280e3}
    assert found.costs == pytest.approx(expected)
    assert found.unknown == ()


def test_a_run_that_has_something_else_hardly_counts() -> None:
    figures = _problem({"timer": 0.5})
    figures[7] = _Figure("c99", figures[7].error + 200.0, figures[7].slopes)
    assert _solved("c01", figures).costs["timer"] == pytest.approx(1.5 * 300e3, rel=0.1)


def test_what_no_other_group_tells_is_not_known_and_not_used() -> None:
    found = _solved("c01", _problem({}, skip=("connect", "close")))
    assert found.unknown == ("connect", "close")
    assert found.used()["connect_ns"] == 0


def test_a_run_tells_of_what_it_pays() -> None:
    case = next(case for case in CASES if case.run == "c01_gsync_w1_n3")
    for figure in _of_case(case):
        told = {name for name, slope in zip(COSTS, figure.slopes, strict=True) if slope}
        assert told == {"worker", "sleep"}
    assert pays(case, ("lock_hold", "sleep"))
    assert not pays(case, ("lock_hold", "connect"))
    assert not pays(case, ())
