"""Every command on either engine: the same to the byte, but for the word that says which ran."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulator.engine import EVENTS_WHEN_KEPT, Engine
from simulator.engines.compiled import jit
from simulator.experiments import sweep, work
from simulator.experiments.executors import Local, Outcome, Task, compute
from tests.conftest import Sim

QUEUE = """\
name: queue
load: {rate: 60/s, requests: 60}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""
COMMANDS = {
    "run": ("run", "FILE", "-n", "3", "--json"),
    "sweep": ("sweep", "FILE", "pools.db.size=1,2,3", "-n", "2", "--json"),
    "compare": ("compare", "FILE", "pools.db.size=2", "--json"),
    "compare -n": ("compare", "FILE", "pools.db.size=2", "-n", "2", "--json"),
    "size": ("size", "FILE", "pools.db.size=1..4", "--slo", "p(95)<20ms", "--json"),
    "explain": ("explain", "FILE", "--json"),
}


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return path


def said(document: Any) -> set[str]:
    """Every engine that a document names."""
    if isinstance(document, dict):
        own = {document["engine"]} if "engine" in document else set()
        return own.union(*map(said, document.values()))
    return set().union(*map(said, document)) if isinstance(document, list) else set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_what_ran_and_all_else_is_the_same(sim: Sim, queue: Path, name: str) -> None:
    words = [word.replace("FILE", str(queue)) for word in COMMANDS[name]]
    by_simpy, compiled = (sim(*words, "--engine", engine) for engine in ("simpy", "compiled"))
    assert said(json.loads(by_simpy.out)) == {"simpy"}
    assert said(json.loads(compiled.out)) == {"compiled"}
    assert compiled.out.replace('"compiled"', '"simpy"') == by_simpy.out
    # A run this small is not worth the kernels; the page names no engine.
    assert sim(*words).out == by_simpy.out
    page = [sim(*words[:-1], "--engine", engine) for engine in ("simpy", "compiled")]
    assert page[0] == page[1]
    wrong = sim(*words, "--engine", "fst")
    assert wrong.code == 2 and "auto, simpy or compiled" in wrong.err


def test_the_csv_of_a_sweep_says_it_for_each_point(sim: Sim, queue: Path) -> None:
    words = ("sweep", str(queue), "pools.db.size=1,2", "--csv", "-", "--engine", "compiled")
    head, *rows = sim(*words).out.splitlines()
    assert head.endswith(",engine") and [row.rpartition(",")[2] for row in rows] == ["compiled"] * 2


def whose(task: Task) -> tuple[int, Outcome]:
    """What came of a task, and in which process."""
    return os.getpid(), compute(task)


def test_other_processes_really_run_compiled(queue: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("simulator.experiments.executors.compute", whose)
    with Local(2, 4, alone_s=0) as executor:
        for replication in range(4):
            task = Task(str(queue), QUEUE, (), None, replication, Engine.COMPILED)
            executor.submit(replication, task)
        found: list[Any] = [executor.next()[1] for _ in range(4)]
    assert os.getpid() not in {pid for pid, _ in found}
    assert {run.engine for _, run in found} == {"compiled"}


def test_auto_looks_at_the_work_of_all_points_together(monkeypatch: pytest.MonkeyPatch) -> None:
    large = QUEUE.replace("requests: 60", "requests: 3000")
    overrides = [(f"pools.db.size={size}",) for size in range(1, 21)]
    kept: Callable[[], bool] = lambda: True  # noqa: E731
    for name, value in {"PLAIN": False, "DISABLED": False, "is_kept": kept}.items():
        monkeypatch.setattr(jit, name, value)
    one = work.events_of_points("queue.yaml", large, overrides[:1])
    every = work.events_of_points("queue.yaml", large, overrides)
    assert every == 20 * one and one < EVENTS_WHEN_KEPT < every
    assert work.settled(Engine.AUTO, one) is Engine.SIMPY
    assert work.settled(Engine.AUTO, every) is Engine.COMPILED
    assert work.settled(Engine.SIMPY, every) is Engine.SIMPY
    # Of points that are invalid there is nothing to run.
    some = [("pools.db.size=0",), *overrides[:3]]
    assert work.events_of_points("queue.yaml", large, some) == 3 * one


def test_parts_of_two_engines_go_together(sim: Sim, queue: Path, tmp_path: Path) -> None:
    words = ("sweep", str(queue), "pools.db.size=1,2", "--json")
    files = [tmp_path / f"{name}.jsonl" for name in ("simpy", "compiled", "second")]
    sim(*words, "-o", str(files[0]), "--engine", "simpy")
    sim(*words, "-o", str(files[1]), "--engine", "compiled")
    sim(*words, "-o", str(files[2]), "--engine", "compiled", "--shard", "2/2")
    # The same points, whichever engine ran them: the first file's stay.
    assert said(json.loads(sim("merge", str(files[0]), str(files[1]), "--json").out)) == {"simpy"}
    head, first, _ = files[0].read_text().splitlines()
    files[0].write_text(f"{head}\n{first}\n")
    both = json.loads(sim("merge", str(files[0]), str(files[2]), "--json").out)
    assert both["meta"]["engine"] == "simpy and compiled"
    assert [point["engine"] for point in both["points"]] == ["simpy", "compiled"]


def test_the_engine_does_not_depend_on_a_shard_or_on_what_is_known() -> None:
    asked = sweep.Sweep("queue.yaml", QUEUE, (), replications=3)
    assert sweep.expected_events(asked) == 3 * work.events_of_points("queue.yaml", QUEUE, [()])
