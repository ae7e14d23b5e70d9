"""Mutated scenarios load or raise ScenarioError; 20,000 of them in `tests.scenario.mutate`."""

from __future__ import annotations

from tests.scenario import mutate


def test_mutated_scenarios_give_no_traceback() -> None:
    sources, valid = mutate.texts(), 0
    for number in range(1000):
        valid += mutate.check(*mutate.case(1, number, sources))
    # Both sides must be met, or the mutations test nothing.
    assert 50 < valid < 950
