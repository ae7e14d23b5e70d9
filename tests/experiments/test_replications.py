"""Replications: independent, the same for any number of processes, and as many as it takes."""

from __future__ import annotations

import json
import math
from collections.abc import Hashable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import pytest

from simulator.analysis.confidence import Interval, over_replications
from simulator.experiments import executors
from simulator.experiments.codec import decode, encode
from simulator.experiments.combining import combined
from simulator.experiments.executors import Local, Task, compute
from simulator.experiments.measures import Measured
from simulator.experiments.replications import (
    AUTO,
    LOOKS,
    Case,
    Replicating,
    enough,
    next_look,
)
from tests.conftest import Sim

QUEUE = """\
name: queue
load: {rate: 60/s, requests: 400}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
  write: {handler: async def, weight: 0.1, steps: [{query: db, time: 5ms}]}
thresholds: {latency: ['p(95)<200ms'], errors: 'rate<1%'}
"""
CERTAIN = "load={requests: 3, at: once}"


def case(*overrides: str, text: str = QUEUE) -> Case:
    return Case("queue.yaml", text, overrides, None)


def runs_of(
    number: int, *overrides: str, jobs: int = 1, alone_s: float = 9.0
) -> tuple[Measured, ...]:
    with Local(jobs, number or 5, alone_s) as executor:
        ((_, found),) = Replicating([case(*overrides)], number, executor)
    assert not isinstance(found, str)
    return found


def test_each_replication_is_another_and_the_first_is_the_run_alone() -> None:
    found = runs_of(6)
    assert len({run.total.mean_ns for run in found}) == 6
    assert found[0] == compute(Task("queue.yaml", QUEUE, (), None, 0))
    assert found[4] == compute(Task("queue.yaml", QUEUE, (), None, 4))


def test_any_number_of_processes_gives_the_same() -> None:
    assert runs_of(6, jobs=3, alone_s=0.0) == runs_of(6)


def test_what_is_left_to_no_chance_runs_once() -> None:
    certain = "routes={read: {handler: async def, steps: [{query: db, time: 5ms}]}}"
    with Local(1, 20) as executor:
        ((_, found),) = Replicating([case(CERTAIN, certain)], 20, executor)
    assert len(found) == 1


def test_an_invalid_case_says_why_beside_the_others() -> None:
    cases = [case("pools.db.size=0"), case(), case("pools.bd.size=1")]
    with Local(1, 3) as executor:
        found = dict(Replicating(cases, 2, executor))
    assert [isinstance(found[i], str) for i in range(3)] == [True, False, True]
    assert "no 'bd' in pools" in str(found[2])


def test_means_and_intervals_are_those_of_the_runs() -> None:
    found = runs_of(5)
    together = combined(found)
    means = [float(run.total.mean_ns or 0) for run in found]
    assert together.total.mean_ns == round(sum(means) / 5)
    assert together.trust.of("", "mean") == over_replications(means)
    tails = [float(dict(run.routes)["read"].percentile_ns(95) or 0) for run in found]
    assert together.trust.of("read", "p95") == over_replications(tails)
    waits = [float(next(c.mean_ns for c in run.causes if c.kind == "wait")) for run in found]
    assert together.trust.of("cause:wait pool:db", "mean") == over_replications(waits)
    assert together.trust.of("resource:pool db", "busy") is not None
    assert together.trust.replications == 5
    assert together.total.requests == 400
    # 40 writes are too few for a p99 of theirs, in each of the runs.
    assert dict(together.routes)["write"].percentile_ns(99) is None


def test_errors_that_were_never_seen_are_not_impossible() -> None:
    result = combined(runs_of(5)).thresholds[1]
    assert result.observed == 0 and result.interval is not None
    assert result.interval.high == pytest.approx(1 - 0.025 ** (1 / 2000))  # 2000 requests
    assert result.verdict == "passed"


def limit(run: Measured, ms: int, *, spread_ms: int = 0, number: int = 0) -> Measured:
    """A run whose p95 is about a limit of 100 ms; every other number is as it was."""
    seen = Fraction((ms + (-1) ** number * spread_ms) * 10**6)
    p95 = replace(run.thresholds[0], observed=seen)
    return replace(run, thresholds=(p95,))


def test_auto_goes_on_until_every_threshold_is_decided() -> None:
    (run,) = runs_of(1)
    sure = [limit(run, 150, spread_ms=1, number=i) for i in range(5)]
    unsure = [limit(run, 199, spread_ms=10, number=i) for i in range(5)]
    assert enough(sure) and not enough(unsure)
    assert (next_look(sure, AUTO), next_look(unsure, AUTO)) == (None, LOOKS[1])
    assert next_look(unsure * 40, AUTO) is None  # 200: no further
    near = [limit(run, 200, spread_ms=1, number=i) for i in range(20)]  # the limit is 200 ms
    assert combined(near).thresholds[0].verdict == "undecided" and enough(near)


def test_auto_wants_enough_samples_for_the_percentile() -> None:
    (run,) = runs_of(1)
    few = replace(run, total=replace(run.total, ok=39))  # 5 · 39 < 10 / (1 - 0.95)
    assert not enough([limit(few, 150) for _ in range(5)])
    assert enough([limit(replace(run, total=replace(run.total, ok=40)), 150) for _ in range(5)])


def test_auto_without_thresholds_goes_on_until_intervals_are_tight() -> None:
    (run,) = runs_of(1)
    bare = replace(run, thresholds=())
    numbers = [replace(run.total, mean_ns=10**8 + (-1) ** i * 10**6) for i in range(6)]
    tight = [replace(bare, total=total) for total in numbers]
    assert enough(tight)
    wide = [replace(bare, total=replace(t, mean_ns=(i + 1) * 10**8)) for i, t in enumerate(numbers)]
    assert not enough(wide)


def test_auto_looks_at_the_same_numbers_for_any_number_of_processes() -> None:
    goal = "thresholds={latency: ['p(95)<62ms']}"
    alone = runs_of(AUTO, goal)
    assert len(alone) in LOOKS
    assert runs_of(AUTO, goal, jobs=2, alone_s=0.0) == alone


class Reversed(Local):
    """Computes what it was given last first."""

    def next(self) -> tuple[Hashable, executors.Outcome]:
        self._queue.reverse()
        found = super().next()
        self._queue.reverse()
        return found


def test_the_order_in_which_runs_are_done_does_not_matter() -> None:
    cases = [case(f"pools.db.size={size}") for size in (1, 2, 3)]
    with Local(1, 12) as forward, Reversed(1, 12) as backward:
        assert dict(Replicating(cases, 4, forward)) == dict(Replicating(cases, 4, backward))


def test_what_is_stored_comes_back_the_same() -> None:
    for kept in (runs_of(1)[0], combined(runs_of(5))):
        open_ended = replace(
            kept, trust=replace(kept.trust, intervals={("", "p99"): Interval(1.5, math.inf)})
        )
        for run in (kept, open_ended):
            assert decode(Measured, json.loads(json.dumps(encode(run), allow_nan=False))) == run
    with pytest.raises(ValueError, match="not a Measured"):
        decode(Measured, {"total": 1})


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return path


def test_run_n_as_a_user_meets_it(sim: Sim, queue: Path, tmp_path: Path) -> None:
    page = sim("run", str(queue), "-n", "5", "-o", str(tmp_path / "out"))
    assert page.code == 0
    assert "seed 0, 5 replications" in page.out
    assert page.out.count("± 95%") >= 4
    assert "✓ latency p(95)<200ms   observed" in page.out
    assert f"repeat: sim run {queue} -n 5" in page.out
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    assert len(document["replications"]) == 5
    low, high = document["intervals"]["metrics"]["latency_mean_s"]
    means = [run["metrics"]["latency_mean_s"] for run in document["replications"]]
    assert low < document["metrics"]["latency_mean_s"] < high
    assert document["metrics"]["latency_mean_s"] == pytest.approx(sum(means) / 5, abs=1e-9)
    again = sim("run", str(queue), "-n", "5", "--json", "--jobs", "2")
    assert json.loads(again.out) == document


def test_a_threshold_that_the_interval_holds_is_undecided(sim: Sim, queue: Path) -> None:
    words = ["run", str(queue), "-n", "5", "thresholds={latency: ['avg<25ms']}"]
    shown = sim(*words).out
    assert "? latency avg<25ms   observed" in shown and "undecided" in shown
    (result,) = json.loads(sim(*words, "--json").out)["thresholds"]
    low, high = result["interval"]
    assert low < 0.025 < high and result["verdict"] == "undecided"


def test_a_deterministic_scenario_says_so(sim: Sim) -> None:
    several = sim("run", "configs/1000req.yaml", "-n", "20")
    alone = sim("run", "configs/1000req.yaml")
    assert several.out.replace(" -n 20", "") == alone.out
    assert "seed 0, deterministic" in alone.out
    document = json.loads(sim("run", "configs/1000req.yaml", "--json").out)
    assert document["intervals"]["method"] == "deterministic"
    assert document["intervals"]["metrics"] == {}


@pytest.mark.parametrize("number", ["0", "-1", "many", "1.5", "100000"])
def test_what_n_refuses(sim: Sim, queue: Path, number: str) -> None:
    result = sim("run", str(queue), "-n", number)
    assert (result.code, result.out) == (2, "")
    assert "expected auto or a number from 1 to 10000" in result.err


def test_scipy_is_loaded_only_where_something_is_left_to_chance() -> None:
    import subprocess
    import sys

    from tests.conftest import ROOT

    for file, loaded in (("1000req", "False"), ("read-heavy-listing", "True")):
        code = (
            f"import sys, cli; sys.argv = ['sim', 'run', 'configs/{file}.yaml']\n"
            "try: cli.main()\n"
            "except SystemExit: pass\n"
            "print('scipy' in sys.modules, file=sys.stderr)"
        )
        shown = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT
        )
        assert shown.stderr.strip() == loaded, file


def test_ctrl_c_keeps_the_replications_that_are_done(
    sim: Sim, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = executors.compute

    def compute(task: Task) -> executors.Outcome:
        if task.replication == 4:
            raise KeyboardInterrupt
        return computed(task)

    monkeypatch.setattr(executors, "compute", compute)
    result = sim("run", str(queue), "-n", "9", "--jobs", "1")
    assert result.code == 130
    assert "INTERRUPTED: 4 of 9 replications were done." in result.out
    assert "seed 0, 4 replications" in result.out
