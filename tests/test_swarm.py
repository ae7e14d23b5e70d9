"""500 random scenarios keep every invariant; ``python -m tests.swarm 10000`` runs more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from simulator.answer import simulate
from simulator.scenario import keys
from simulator.scenario.steps import _STEP
from tests import swarm

STEPS = _STEP.sections


@pytest.mark.parametrize("first", range(0, 500, 50))
def test_random_scenarios_keep_every_invariant(first: int) -> None:
    for seed in range(first, first + 50):
        try:
            swarm.check(seed)
        except Exception as error:
            raise AssertionError(f"python -m tests.swarm 1 {seed}") from error


NAMED = {"pools", "databases", "locks", "services", "accelerators", "routes"}
SCENARIOS = 600


def keys_of(written: object, path: str = "") -> Iterator[str]:
    """Every key of a document as a dotted path, ``*`` for a name; steps by their words."""
    if isinstance(written, list):
        for value in written:
            yield from keys_of(value, path)
    elif isinstance(written, dict):
        words = [word for word in STEPS if word in written] if path == "step" else []
        for key, value in written.items():
            inner = f"{path}.*" if path in NAMED else f"{path}.{key}".lstrip(".")
            if words:
                inner = words[0] if key == words[0] else f"{words[0]}.{key}"
            yield inner
            steps = key in ("steps", "after", "do", "gather", "to_thread")
            yield from keys_of(value, "step" if steps else inner)


def test_every_key_and_every_step_appears_in_one_of_a_hundred() -> None:
    counts: Counter[str] = Counter()
    for seed in range(SCENARIOS):
        counts.update(set(keys_of(swarm.scenario(seed))))
    fields = {f"{word}.{field}" for word, section in STEPS.items() for field in section.fields}
    expected = {*keys(), *STEPS, *fields} - {f"{word}.{word}" for word in STEPS}
    rare = {key: counts[key] for key in expected if counts[key] < SCENARIOS / 100}
    assert rare == {}


def test_the_swarm_reaches_every_way_a_run_can_end() -> None:
    ended = {simulate(swarm.load(seed)).trace.ended for seed in range(300)}
    assert ended == {"empty", "drained", "deadlock"}
