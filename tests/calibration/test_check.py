"""`sim check`: what agrees and what doesn't, scaling, and four real services."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.analysis.summary import summarize
from simulator.calibration import machine_use, measuring
from simulator.calibration.check import _as_seen, _with_backends
from simulator.calibration.figures import Bound, Figure, bound, figures
from simulator.calibration.generator import CouldNotKeepUp
from simulator.calibration.scaling import scaled
from simulator.commands import checking
from simulator.engines.reference import run
from simulator.scenario import dumps, load, loads
from simulator.workload import Workload
from tests.conftest import ROOT, Result, Sim

SLEEP = Figure("p50", (1.0, 1.1, 0.9), (1.05,), 0.1, 0.002, judged=True, by_interval=False)


def test_a_figure_agrees_within_its_tolerance_of_the_median_of_all_runs() -> None:
    assert SLEEP.agrees and SLEEP.error == pytest.approx(0.05)
    assert not replace(SLEEP, predicted=(1.11,)).agrees
    assert not replace(SLEEP, predicted=(0.89,)).agrees
    assert replace(SLEEP, measured=(1.0, 50.0, 0.9), predicted=(1.09,)).agrees


def test_two_milliseconds_are_always_allowed() -> None:
    assert replace(SLEEP, measured=(0.004,), predicted=(0.006,)).agrees
    assert not replace(SLEEP, measured=(0.004,), predicted=(0.0061,)).agrees


def test_of_several_workers_the_interval_counts() -> None:
    spread = tuple(i / 10 for i in range(1, 41))
    split = replace(SLEEP, predicted=spread, by_interval=True)
    assert split.interval == (0.2, 3.9)  # 38 of 40
    assert replace(split, measured=(3.8,)).agrees
    assert not replace(split, measured=(4.5,)).agrees
    assert not replace(split, measured=(3.8,), by_interval=False).agrees


@pytest.mark.parametrize(
    ("opens", "observed", "servers"),
    [(0, (6, 7, 7), (7, 15, 23)), (5, (13, 13, 14), (1, 1, 1))],
)
def test_splits_are_observed_before_each_run_and_on_servers_as_it_finds_them(
    opens: int,
    observed: Sequence[int],
    servers: Sequence[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pool that grows: each of three runs has a server of its own, and so has each split."""
    begun: list[int] = []
    splits: list[int] = []  # the server of each
    ran: list[tuple[int, int]] = []  # splits before each run, and its server
    rests: list[float] = []

    @contextmanager
    def served(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        begun.append(1)
        yield SimpleNamespace(url="", versions={}, database="")

    def split(_: str, kept: int) -> tuple[int, ...]:
        assert rests == [measuring.SETTLES_S] * (len(splits) + 1)  # one before each
        splits.append(len(begun))
        return (len(splits), kept)

    monkeypatch.setattr(measuring, "_warm_up", lambda *_: None)
    monkeypatch.setattr(measuring, "_believed", lambda *_: ran.append((len(splits), len(begun))))
    monkeypatch.setattr(measuring, "serve", served)
    monkeypatch.setattr(measuring, "split", split)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(sleep=rests.append))
    case = loads(
        "load: {requests: 9, at: once}\n"
        "client: {connections: {kept: 9}}\n"
        "server: {preset: fastapi, workers: 2}\n"
        f"pools: {{db: {{size: 5, min: {opens}}}}}\n"
        "routes: {r: {handler: async def, steps: [{query: db, time: 1ms}]}}"
    )
    found = measuring.measure(case, measuring.Options(), Bound.SPLIT, 1, lambda _: None)
    assert ran == [(sum(observed[: n + 1]), servers[n]) for n in range(3)]
    assert found.splits == tuple((n + 1, 9) for n in range(sum(observed)))
    if opens == 0:
        assert len({*splits, *servers}) == len(splits) + 3  # nobody shares one


@pytest.mark.parametrize(
    ("workers", "client", "rests"),
    [(1, "none", 0.0), (2, "none", measuring.SETTLES_S), (1, "httpx", measuring.IDLE_S)],
)
def test_before_a_run_the_server_rests_until_it_is_what_is_simulated(
    workers: int, client: str, rests: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[float | str] = []

    @contextmanager
    def served(*_: object, **__: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(url="", versions={}, database="", processes={}, begins=None)

    def drive(*_: object, **__: object) -> None:
        events.append("run")
        if len(events) == 3:
            raise CouldNotKeepUp("late", SimpleNamespace())  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "_warm_up", lambda *_: events.append("warm"))
    monkeypatch.setattr(measuring, "drive", drive)
    monkeypatch.setattr(measuring, "machine_use", SimpleNamespace(used=id, delayed=lambda *_: 0))
    monkeypatch.setattr(measuring, "_refuse_partial", lambda *_: None)
    monkeypatch.setattr(measuring, "_run_of", lambda *_: None)
    monkeypatch.setattr(measuring, "observed_splits", lambda *_: ())
    monkeypatch.setattr(measuring, "serve", served)
    monkeypatch.setattr(measuring, "time", SimpleNamespace(sleep=events.append))
    case = loads(
        "load: {requests: 9, at: once}\n"
        "client: {connections: {kept: 9}}\n"
        f"server: {{preset: fastapi, workers: {workers}}}\n"
        f"services: {{api: {{time: 1ms, client: {client}}}}}\n"
        "routes: {r: {handler: async def, steps: [{call: api}]}}"
    )
    measuring.measure(case, measuring.Options(runs=2), Bound.CPU, 1, lambda _: None)
    assert events == ["warm", *[rests, "run"] * 3]  # the first was late


def test_figures_are_judged_by_what_bounds_the_run() -> None:
    one = {"makespan": 1.0, "throughput": 10.0, "mean": 0.5, "p50": 0.5, "p95": 0.9, "p99": None}
    cpu = figures(Bound.CPU, [one], [one])
    assert [f.name for f in cpu if f.judged] == ["makespan", "throughput", "p50", "p95"]
    assert {f.tolerance for f in cpu} == {0.25}
    gil = figures(Bound.GIL, [one], [one])
    assert [f.name for f in gil if f.judged] == ["mean", "p50"]
    assert {f.tolerance for f in figures(Bound.CPU, [one], [one], 0.01)} == {0.01}


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("1000req", Bound.WAITS),
        ("1000req-blocking-driver", Bound.WAITS),  # the loop is held, but not by computing
        ("same-row", Bound.WAITS),
        ("cpu-async", Bound.CPU),
        ("fast-api-no-gain", Bound.CPU),  # nothing is short, but latency is all computing
        ("cpu-def", Bound.GIL),
        ("cpu-4workers", Bound.SPLIT),
        ("3users-sync", Bound.WAITS),
    ],
)
def test_what_a_run_is_bound_by(config: str, expected: Bound) -> None:
    plan = load(ROOT / f"configs/{config}.yaml").plan
    trace = run(plan, Workload(plan))
    assert bound(plan, trace, summarize(plan, trace)) is expected


@pytest.mark.parametrize("config", ["1000req", "read-heavy-listing", "retry-storm", "long-polling"])
def test_a_scaled_scenario_is_the_same_in_less_time(config: str) -> None:
    given = load(ROOT / f"configs/{config}.yaml", ["server.overheads=none"])
    small = loads(dumps(scaled(given.document, Fraction(1, 10)))).plan
    ref, comp = run(given.plan, Workload(given.plan)), run(small, Workload(small))
    assert len(ref) == len(comp)
    assert (ref.outcome == comp.outcome).mean() > 0.99
    assert comp.arrival_ns * 10 == pytest.approx(ref.arrival_ns, rel=1e-3, abs=1000)
    ok = ref.outcome == comp.outcome
    assert comp.finish_ns[ok].sum() * 10 == pytest.approx(ref.finish_ns[ok].sum(), rel=2e-3)


def test_overheads_and_the_switch_interval_are_not_scaled() -> None:
    given = load(ROOT / "configs/1000req.yaml", ["server.overheads=typical"]).document
    small = scaled(given, Fraction(1, 10))
    assert small["server"]["overheads"] == given["server"]["overheads"]
    assert small["server"]["switch_interval"] == given["server"]["switch_interval"]
    assert small["routes"]["get_user"]["steps"][0]["time"] == "500ms"


# Errors of the command.


def test_what_cannot_be_meant(sim: Sim) -> None:
    for words, said in (
        (("--scale", "0"), "--scale 0: expected a number above 0"),
        (("--budget", "x"), "--budget 'x', expected such as"),
        (("--tolerance", "5"), "--tolerance "),
    ):
        result = sim("check", "configs/1000req.yaml", *words)
        assert (result.code, result.out) == (2, "")
        assert said in result.err


POOLS = """
load: {requests: 10, at: once}
server: {preset: fastapi}
databases: {own: {cores: 7, queries: wait}, theirs: {}}
pools:
  full: {size: 2}
  free: {preset: sqlalchemy}
  kept: {size: 2, database: theirs}
  grows: {size: 2, min: 0, database: DATABASE}
routes:
  a: {path: GET /a, handler: async def, steps: [STEPS]}
"""


@pytest.mark.parametrize(
    ("database", "cores"),
    [("theirs", {"theirs": os.cpu_count()}), ("own", {"theirs": "none", "own": 7})],
)
def test_backends_that_start_meanwhile_share_this_machine(
    tmp_path: Path, database: str, cores: dict[str, object]
) -> None:
    """Where a pool grows, and the database has no cores of its own; one without a name gets one."""
    steps = ", ".join(f"{{query: {pool}, time: 1ms}}" for pool in ("full", "free", "kept", "grows"))
    text = POOLS.replace("DATABASE", database).replace("STEPS", steps)
    if database == "theirs":
        text = text.replace("own: {cores: 7, queries: wait}, ", "")
    file = tmp_path / "a.yaml"
    file.write_text(text)
    given = load(file)
    document = _with_backends(given.document, given.plan)
    added = document["pools"]["free"]["database"]
    expected = cores | {added: os.cpu_count()}
    assert {name: d["cores"] for name, d in document["databases"].items()} == expected
    assert document["pools"]["full"]["database"] == added
    assert loads(dumps(document)).plan.databases[-1].queries_compute is False


def test_the_client_sees_half_of_the_round_trip_there_and_half_back(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text("loop_before: 1ms\nround_trip: 3ms\n")
    routes = "routes: {a: {handler: async def, steps: [{await: 10ms}]}}"
    file = tmp_path / "a.yaml"
    file.write_text(
        f"load: {{requests: 1, at: once}}\nserver: {{overheads: mine.yaml}}\n{routes}\n"
    )
    plan = _as_seen(load(file), str(mine)).plan
    assert run(plan, Workload(plan)).finish_ns.tolist() == [14 * 10**6]
    network = load(file, ["client={latency: 5ms}"])
    assert _as_seen(network, str(mine)) is network
    assert _as_seen(load(file), "typical").plan == load(file).plan
    assert run(load(file).plan, Workload(load(file).plan)).finish_ns.tolist() == [11 * 10**6]


def test_a_wrong_scenario_is_told_and_not_served(sim: Sim) -> None:
    result = sim("check", "configs/1000req.yaml", "pools.db.sise=5")
    assert result.code == 3
    assert "did you mean 'size'?" in result.err


def test_a_run_that_takes_too_long_is_not_begun(sim: Sim) -> None:
    result = sim("check", "configs/1000req-default-pool.yaml")
    assert result.code == 5
    assert "not measured: a run takes" in result.err and "--scale 0.1" in result.err


def test_one_that_cannot_be_measured_does_not_hide_the_others(sim: Sim, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("load: 5\n")
    result = sim("check", str(wrong), "configs/1000req-default-pool.yaml", "--json")
    assert result.code == 3
    (other,) = json.loads(result.out)["checks"]
    assert other["not_measured"].startswith("a run takes")


# Real services, in seconds each.

ALONE = bool(os.environ.get("SIM_ALONE"))
"""Whether nothing else runs on this machine, as where .ci/run does these tests: then all is
asserted. Beside other tests a service is as slow as they make it, and a miss says nothing."""
ATTEMPTS = 3


def checked_alone(sim: Sim, *words: str, expected: int) -> Result:
    """The result of a check, tried again where it was disturbed; skipped among other tests."""
    for _ in range(ATTEMPTS if ALONE else 1):
        result = sim("check", *words)
        if result.code == expected:
            break
    if result.code != expected and (not ALONE or result.code == 5):
        pytest.skip(f"others compute here, too: {result.err.strip() or result.code}")
    return result


CASES = {
    "sleep": ("configs/async-unlimited.yaml", "load.requests=100", "--scale", "0.1"),
    "pool": ("configs/1000req.yaml", "load.requests=200", "--scale", "0.1"),
    "lock": (
        "configs/same-row.yaml", "load.requests=20", "pools.db.size=20",
        "routes.count_view.steps[0].do[1].time=50ms",
    ),
    "cpu": ("configs/cpu-async.yaml",),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_real_service_does_as_predicted(sim: Sim, case: str) -> None:
    result = checked_alone(sim, *CASES[case], "--json", expected=0)
    assert result.code == 0, result.out + result.err
    checked = json.loads(result.out)["checks"][0]
    assert checked["passed"] and checked["ok"]["predicted"] == checked["ok"]["measured"][0]
    assert {"makespan", "throughput", "p50", "p95", "p99"} <= checked["figures"].keys()


def test_a_wrong_prediction_fails(sim: Sim, tmp_path: Path) -> None:
    slow = tmp_path / "slow.yaml"
    slow.write_text("{timer: 30ms}\n")
    result = checked_alone(
        sim, "configs/async-unlimited.yaml", "load.requests=50", "--scale", "0.02",
        "--runs", "1", "--overheads", str(slow), expected=99,
    )  # fmt: skip
    assert result.code == 99, result.err
    assert "prediction does NOT agree" in result.out and "FAILED" in result.out


# Whether it had a processor.


def test_waiting_for_a_processor_is_told_relative_to_running() -> None:
    ms = 1_000_000
    before, after = machine_use.Use(100 * ms, 50 * ms), machine_use.Use(300 * ms, 90 * ms)
    assert machine_use.delayed(before, after) == pytest.approx(0.2)
    assert machine_use.delayed(before, before) == 0.0
    assert machine_use.delayed(before, machine_use.Use(101 * ms, 54 * ms)) == 0.0  # too short


@pytest.mark.skipif(not machine_use.used([os.getpid()]).ran_ns, reason="reads /proc")
def test_two_that_compute_on_one_processor_wait_half_of_the_time() -> None:
    burn = "import os, time\nos.sched_setaffinity(0, {0})\nwhile time.process_time() < 0.6: pass"
    burners = [subprocess.Popen([sys.executable, "-c", burn]) for _ in range(2)]
    time.sleep(0.4)
    use = machine_use.used(burner.pid for burner in burners)
    for burner in burners:
        burner.wait()
    assert machine_use.delayed(machine_use.Use(0, 0), use) > 0.3


def test_the_line_that_repeats_a_check_has_its_options_and_no_password() -> None:
    usual: dict[str, Any] = {
        "overheads": None,
        "runs": 3,
        "tolerance": None,
        "scale": "1",
        "budget": None,
    }
    assert checking._given(checking.options(**usual, database="embedded")) == []
    dsn = "postgresql://u:secret@h/db"
    given = usual | {"runs": 2, "scale": "0.1", "tolerance": "5%"}
    assert checking._given(checking.options(**given, database=dsn)) == [
        "--runs", "2", "--tolerance", "5%", "--scale", "0.1",
        "--database", "postgresql://u:…@h/db",
    ]  # fmt: skip
