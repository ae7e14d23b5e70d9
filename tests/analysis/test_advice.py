"""What is said about the shipped scenarios, and that its advice can be followed."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.analysis.bottleneck import Bottleneck, bottleneck
from simulator.analysis.summary import Summary, summarize
from simulator.engines.reference import run
from simulator.scenario import load
from simulator.workload import Workload

CONFIGS = Path(__file__).parents[2] / "configs"


def simulate(name: str, *overrides: str) -> tuple[Summary, Bottleneck]:
    plan = load(CONFIGS / f"{name}.yaml", overrides).plan
    trace = run(plan, Workload(plan))
    summary = summarize(plan, trace)
    return summary, bottleneck(plan, trace, summary)


SENTENCES = {
    "1000req": "pool db: 1000 × 5s / 50 = 100s is the bound, the run took 100s.",
    "1000req-default-pool": "pool db: 1000 × 5s / 10 = 500s is the bound, the run took 500s.",
    "1000req-def": "threads: 1000 × 5s / 40 = 125s is the bound, the run took 125s.",
    "1000req-blocking-driver": "event loop: 1000 × 5s = 5000s is the bound, the run took 5000s.",
    "1000req-sqlalchemy-async": "pool db (15) and its 30s timeout: 910 of 1000 gave up.",
    "1000req-sqlalchemy-def": "pool db: 1000 × 5s / 15 = 333.3s is the bound, the run took 335s.",
    "1000req-4workers": (
        "pool db, 24 in each of 4 workers: 250 × 5s / 24 = 52.08s is the bound, the run took 55s."
    ),
    "1000req-max-connections": (
        "database postgres: 97 connections for applications; 903 of 1000 refused."
    ),
    "3users-sync": "workers: 3 × 5s = 15s is the bound, the run took 15s.",
    "3users-async": "nothing: each request takes its own 5s.",
    "same-row": "lock row: 100 × 10ms = 1s is the bound, the run took 1s.",
}


@pytest.mark.parametrize(("name", "sentence"), SENTENCES.items())
def test_the_bottleneck_of_each_scenario(name: str, sentence: str) -> None:
    assert simulate(name)[1].sentence == sentence


@pytest.mark.parametrize("name", [name for name in SENTENCES if name != "3users-async"])
def test_the_next_thing_to_try_helps(name: str) -> None:
    before, found = simulate(name)
    assert found.override is not None
    after, _ = simulate(name, found.override)
    served, last = after.total.ok - before.total.ok, after.total.last_ns or 0
    assert served > 0 or (served == 0 and last < (before.total.last_ns or 0))


def test_where_nothing_limits_more_load_can_be_tried() -> None:
    _, found = simulate("3users-async")
    assert found.override == "load.requests=30"
    assert simulate("3users-async", found.override)[0].total.last_ns == 5_000_000_000
