"""500 random scenarios keep every invariant; ``python -m tests.swarm 10000`` runs more."""

from __future__ import annotations

import pytest

from tests import swarm


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_random_scenarios_keep_every_invariant(first: int) -> None:
    for seed in range(first, first + 50):
        try:
            swarm.check(seed)
        except Exception as error:
            raise AssertionError(f"python -m tests.swarm 1 {seed}") from error


def test_the_swarm_reaches_every_way_a_run_can_end_and_every_step() -> None:
    ended, steps = set(), set()

    def walk(written: object) -> None:
        if isinstance(written, dict):
            steps.update(written)
            for value in written.values():
                walk(value)
        elif isinstance(written, list):
            for value in written:
                walk(value)

    for seed in range(300):
        document = swarm.scenario(seed)
        walk([route["steps"] for route in document["routes"].values()])
        ended.add(swarm.check(seed).trace.ended)
    assert ended == {"empty", "drained", "deadlock"}
    assert steps >= {"cpu", "await", "block", "query", "with", "lock", "gather", "to_thread"}
