"""A run whose visits are taken up as it goes says the same as one that keeps them all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.analysis.folding import Values, VisitFolding, why_kept
from simulator.analysis.limits import idle_beside_a_queue, peak_demand, requests_waiting
from simulator.analysis.resources import most_open, steps_of
from simulator.answer import Answer, simulate
from simulator.engine import Engine, events_of
from simulator.engines.compiled import engine, recorder, source
from simulator.report import machine, terminal
from simulator.scenario import Scenario, load, loads
from simulator.trace import first_difference
from simulator.workload import Workload
from tests import swarm
from tests.conftest import ROOT

BUSY = """
name: busy
load: {rate: 290/s, arrivals: poisson, requests: 900}
server: {preset: fastapi, workers: 2, cores: 2, accept: {weights: [0.6, 0.4]}}
databases: {pg: {max_connections: 12, cores: 2}}
pools: {db: {size: 2, overflow: 1, acquire_timeout: 30ms, database: pg}}
services: {pay: {time: {exp: 8ms}, concurrency: 3}}
routes:
  read: {weight: 3, handler: async def, steps: [{cpu: 1ms}, {query: db, time: {exp: 12ms}}]}
  burn: {weight: 1, handler: def, steps: [{cpu: {exp: 3ms}}, {call: pay}]}
"""


@pytest.fixture(autouse=True)
def as_if_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folded runs are long ones, whose intervals are by pieces of time: these here are as if."""
    monkeypatch.setattr("simulator.analysis.inside.VISITS_UP_TO", -1)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "CHUNK", 16)


def said(answer: Answer) -> str:
    """All that a run says: the page, every number, and what advice is made of."""
    plan, trace = answer.scenario.plan, answer.trace
    results = (plan, answer.summary, answer.bottleneck, answer.thresholds, answer.findings)
    trust: dict[str, Any] = {"trust": answer.trust, "warmup": answer.warmup}
    how: dict[str, Any] = {"preset": answer.scenario.server_preset, "command": "", "version": ""}
    meta = machine.Meta(seed=0, version="", engine=answer.engine.value)
    labels = sorted({station.label for station in trace.stations})
    advice = [
        (label, peak_demand(trace, label), requests_waiting(trace, label))
        for label in labels
        if not label.startswith("accelerator")
    ]
    advice += [
        (label, idle_beside_a_queue(trace, label), 0)
        for label in labels
        if label.startswith("pool")
    ]
    page = terminal.render(*results, seed=0, **how, **trust)
    numbers = machine.dumps(machine.as_dict(*results, meta=meta, **trust)).decode()
    return f"{page}\n{numbers}\n{answer.bottleneck}\n{advice}"


class Counted(VisitFolding):
    folds = 0

    def fold(self, settled_ns: int) -> None:
        self.folds += settled_ns > self._settled_ns
        super().fold(settled_ns)


def both(scenario: Scenario, at_once: int = 40) -> tuple[str, str, Counted]:
    folding = Counted(scenario.plan, at_once=at_once)
    kept = simulate(scenario, engine=Engine.COMPILED)
    folded = simulate(scenario, engine=Engine.COMPILED, folding=folding)
    assert kept.engine is folded.engine is Engine.COMPILED
    return said(kept), said(folded), folding


def test_a_busy_service_folded_says_the_same() -> None:
    for seed in range(4):
        scenario = loads(BUSY + f"seed: {seed}\n")
        for at_once in (1, 100, 10**6):
            kept, folded, folding = both(scenario, at_once)
            assert folded == kept
            assert (folding.folds > 0) == (at_once < 10**6)


@pytest.mark.parametrize(
    "path", sorted((ROOT / "configs").glob("*.yaml")), ids=lambda path: path.stem
)
def test_scenarios_that_come_with_it(path: Path) -> None:
    scenario = load(str(path))
    if events_of(scenario.plan) > 8_000 or why_kept(scenario.plan):
        pytest.skip("large, or its visits are kept")
    kept, folded, _ = both(scenario)
    assert folded == kept


def test_random_scenarios() -> None:
    tried = 0
    for seed in range(150):
        scenario = swarm.load(seed)
        if why_kept(scenario.plan) is None:
            kept, folded, _ = both(scenario)
            assert folded == kept, f"swarm seed {seed}"
            tried += 1
    assert tried >= 10, tried


def test_a_run_that_settles_too_early_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    # As if nothing were in work: what is to come is no longer seen beside what has been.
    now = engine.memory.NOW
    monkeypatch.setattr(engine._Run, "_settled", lambda self: int(self.store.words[now]))
    kept, folded, _ = both(loads(BUSY), 1)
    assert folded != kept


def test_times_that_were_given_up_are_drawn_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "BLOCKS_MAX", 2)
    scenario = loads(
        "load: {rate: 1000/s, arrivals: poisson, requests: 9000}\n"
        "server: {preset: fastapi}\npools: {db: {size: 9}}\n"
        "routes: {r: {handler: async def, steps: ["
        "{await: {exp: 5s}}, {query: db, time: {exp: 8ms}}, {await: {exp: 1ms}}]}}\n"
    )
    given_up: list[int] = []
    original = source.Source._give_up_oldest

    def counted(self: source.Source, wanted: tuple[int, ...]) -> None:
        given_up.append(self._most)
        original(self, wanted)

    monkeypatch.setattr(source.Source, "_give_up_oldest", counted)
    comp = engine.run(scenario.plan, Workload(scenario.plan))
    assert len(given_up) > 3 and given_up[-1] > 2, "none was given up, or none made again"
    monkeypatch.setattr(source, "BLOCKS_MAX", 1 << 10)
    assert first_difference(engine.run(scenario.plan, Workload(scenario.plan)), comp) is None


def test_most_open_is_the_highest_step() -> None:
    draw = np.random.Generator(np.random.Philox(1))
    for _ in range(300):
        begin = draw.integers(0, 12, 9)
        end = begin + draw.integers(0, 5, 9)
        assert most_open(begin, end) == max(steps_of(begin, end)[1], default=0)


def test_values_come_back_in_order() -> None:
    values = Values()
    for chunk in ([0, 5, 3], [], [2**40, 0], [7]):
        values.add(np.asarray(chunk, dtype=np.int64))
    assert values.ordered().tolist() == [0, 0, 3, 5, 7, 2**40]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("load: {users: 3, requests: 9}", "users"),
        ("load: {rate: 5/s, for: 9s, warmup: 1s}", "load.warmup"),
        ("client: {timeout: 1s}", "client"),
        ("load: {rate: 5/s, for: 9s}", None),
    ],
)
def test_what_has_to_be_kept(change: str, why: str | None) -> None:
    text = "load: {rate: 5/s, for: 9s}\n" if not change.startswith("load") else ""
    text += change + "\nserver: {preset: flask}\n"
    text += "routes: {r: {handler: def, steps: [{block: 1ms}]}}\n"
    found = why_kept(loads(text).plan)
    assert found is None if why is None else why in str(found)
