"""The compiled engine agrees with the readable one; its kernels run as plain Python here."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import models.connection_pool
from models import GIL, Owner
from models.gpu_batch import _Line
from models.service import HttpClient
from simulator.analysis.folding import VisitFolding
from simulator.engine import EVENTS_WHEN_KEPT, Engine, chosen, events_of, run
from simulator.engines import costs, queries, reference, transactions, wiring
from simulator.engines.compiled import (
    clock,
    code,
    connection_pool,
    cores,
    draws,
    engine,
    event_loop,
    gathers,
    gil,
    gpu_batch,
    instructions,
    jit,
    kernel,
    lower_outside,
    memory,
    process,
    program,
    rate_limit,
    servers,
    steps,
    task,
)
from simulator.engines.compiled import queries as compiled_queries
from simulator.engines.compiled import transactions as compiled_transactions
from simulator.engines.compiled.connection_pool import DATABASE_FAULTS
from simulator.engines.compiled.failures import NotCompiled
from simulator.engines.compiled.writer import Writer
from simulator.plan import Plan
from simulator.scenario import load, loads
from simulator.trace import first_difference
from simulator.workload import Workload
from tests import swarm
from tests.agreement import difference, scenarios
from tests.conftest import ROOT
from tests.plans import MILLISECOND, Steps, burst, plan

MS = MILLISECOND
SMALL = 20_000
"""Events of a scenario that runs here; ``python -m tests.agreement files`` runs all."""


@pytest.mark.parametrize("path", list(scenarios()), ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_small_scenario_of_the_project(path: Path) -> None:
    case = load(str(path)).plan
    if events_of(case) > SMALL:
        pytest.skip("in python -m tests.agreement files")
    assert difference(case) is None


@pytest.mark.parametrize("first", range(0, 300, 50))
def test_random_scenarios(first: int) -> None:
    for seed in range(first, first + 50):
        assert difference(swarm.load(seed).plan) is None, f"python -m tests.agreement 1 {seed}"


def test_random_scenarios_that_once_differed() -> None:
    # 1784: a call that has timed out before it could spend its CPU is no answer.
    for seed in (1784,):
        assert difference(swarm.load(seed).plan) is None, f"python -m tests.agreement 1 {seed}"


def test_a_script_of_draws_is_followed_to_its_end() -> None:
    draw = Steps()
    case = plan(draw, draw.block(5 * MS), load=burst(3), threads=1)
    name = case.streams[0].name

    def scripted(*times: int) -> Workload:
        return Workload.scripted(case, times={name: list(times)})

    ref = reference.run(case, scripted(1 * MS, 0, 3 * MS))
    comp = engine.run(case, scripted(1 * MS, 0, 3 * MS))
    assert first_difference(ref, comp) is None
    assert comp.finish_ns.tolist() == [1 * MS, 1 * MS, 4 * MS]
    with pytest.raises(IndexError, match="the script of"):
        engine.run(case, scripted(1 * MS))


def test_more_of_everything_than_a_memory_begins_with() -> None:
    # Arrivals, events, visits, tasks and what one instant causes: each outgrows its first room.
    case = loads(
        "load: {requests: 9000, at: once}\n"
        "server: {preset: fastapi}\n"
        "routes: {r: {handler: async def, steps: [{await: 1ms}]}}"
    ).plan
    assert difference(case) is None


# Each rule broken in one engine is found among so many random scenarios.

FOUND_WITHIN = 200


def _by_creation(m: Any, task: int, phase: int) -> int:
    return phase * clock.PHASE_STEP + memory.serial(m)


def _no_reset(plan: Plan, pool: int) -> costs.DriverCosts:
    return replace(costs.driver_costs(plan, pool), end_hold_ns=0)


def _all_at_the_end(plan: Plan, pool: int) -> costs.DriverCosts:
    found = costs.driver_costs(plan, pool)
    held = found.begin_hold_ns + found.end_hold_ns
    return replace(found, begin_hold_ns=0, end_hold_ns=held)


def _as_if_warm(m: Any, task: int, ns: int) -> int:
    m[task + steps.NS] = ns
    return code.GO


def _never_stops(m: Any, task: int) -> None:
    gil.wait_an_interval(m, m[task + gil.PROC], task)


def _not_behind(m: Any, process: int) -> None:
    kernel.advance(m, process)


def _since_arrival(m: Any, time: int, key: int, what: int, waiting: int) -> None:
    began, now = m[waiting + task.ARRIVED_NS], m[memory.NOW]
    clock.at(m, max(now, began + time - now), key, what, waiting)


def _by_creation_in_simpy(self: Owner, phase: int) -> int:
    _CREATED.append(None)
    return (phase << 110) + len(_CREATED)


_CREATED: list[None] = []
_NEWEST = property(lambda self: list(self._by_arrival.values())[-1])


def _of_the_first_pool(m: Any, task: int, stream: int, sub: int) -> int:
    return draws.draw(m, task, stream, 0)


BROKEN: list[tuple[str, Any, str, Any]] = [
    ("ties by creation", steps, "key", _by_creation),
    ("ties by creation, in SimPy", Owner, "key", _by_creation_in_simpy),
    ("no reset on release", program, "driver_costs", _no_reset),
    ("no reset on release, in SimPy", transactions, "driver_costs", _no_reset),
    ("BEGIN takes no time", program, "driver_costs", _all_at_the_end),
    ("a pause costs the same, however long", event_loop, "COLD_AFTER_NS", 1),
    ("a pause costs the same, in SimPy", wiring, "slept", lambda cold_ns, ns: cold_ns),
    ("backends are late, however short a query", queries, "slept", lambda cold_ns, ns: cold_ns),
    ("backends that compute are late", compiled_queries, "QUERY_CORES", DATABASE_FAULTS),
    ("a driver is as cold as a backend", event_loop, "QUERY_WAKE", process.BACKEND_WAKE),
    ("a cold driver gives back at once", instructions, "ends_ns", _as_if_warm),
    ("openings and resets take no turns", Writer, "turn", lambda self, if_any: None),
    ("a quantum that nobody asks for", kernel, "interval_over", _never_stops),
    ("a quantum that nobody asks for, in SimPy", GIL, "_interval_over", lambda *_: None),
    ("a timeout before the end of a hold", connection_pool, "PHASE_TIMER", 0),
    ("a timeout before the end of a hold, in SimPy", models.connection_pool, "PHASE_TIMER", 0),
    ("a worker's timeout starts in its queue", servers, "GRANTED", task.QUEUED),
    ("an acquire timeout starts with its request", connection_pool, "at", _since_arrival),
    ("a window that does not wait", gpu_batch, "WAIT_NS", gpu_batch.WINDOW_TAKEN),
    ("a window that starts with the last, in SimPy", _Line, "oldest", _NEWEST),
    ("a bucket that leaks slowly", rate_limit, "PERIOD", rate_limit.AHEAD),
    ("the loop goes on at once", steps, "leave_loop", _not_behind),
    ("the first branch counts", gathers, "MARK", gathers.BRANCH),
    ("no CPU of the client", program, "FRAMEWORK", program.CPU),
    ("a client's connections are never open", HttpClient, "opened", lambda *_: None),
    ("urgent calls wait", lower_outside, "UNLIMITED", 0),
    ("pools open alike", compiled_transactions, "draw", _of_the_first_pool),
    ("cores are never idle", compiled_transactions, "RUNNING", cores.CORES_N),
]


@pytest.mark.parametrize(
    ("rule", "module", "name", "broken"), BROKEN, ids=[rule for rule, *_ in BROKEN]
)
def test_a_broken_rule_is_found(
    rule: str, module: Any, name: str, broken: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, name, broken)
    for seed in range(FOUND_WITHIN):
        try:
            if difference(swarm.load(seed).plan) is not None:
                return
        except Exception:
            continue  # a kernel that lost its way has shown no other trace
    pytest.fail(f"nobody noticed: {rule}")


# Which engine runs.


def mm1(requests: int) -> str:
    return (
        f"load: {{rate: 80/s, arrivals: poisson, requests: {requests}}}\n"
        "server: {preset: flask}\n"
        "routes: {r: {handler: def, steps: [{block: {exp: 10ms}}]}}"
    )


def choices(case: Any, monkeypatch: pytest.MonkeyPatch, **jitted: Any) -> list[str]:
    for name, value in jitted.items():
        monkeypatch.setattr(jit, name, value)
    return [chosen(case, wanted).value for wanted in Engine]


def test_auto_leaves_small_runs_to_simpy_and_large_ones_to_the_kernels(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    compiled: dict[str, Any] = {"PLAIN": False, "DISABLED": False}
    small, large = loads(mm1(1000)).plan, loads(mm1(2_000_000)).plan
    middle = loads(mm1(EVENTS_WHEN_KEPT)).plan
    kept: Callable[[], bool] = lambda: True  # noqa: E731
    assert choices(small, monkeypatch, **compiled, is_kept=kept) == ["simpy", "simpy", "compiled"]
    assert choices(middle, monkeypatch, is_kept=kept) == ["compiled", "simpy", "compiled"]
    assert choices(middle, monkeypatch, is_kept=lambda: False) == ["simpy", "simpy", "compiled"]
    assert choices(large, monkeypatch, is_kept=lambda: False) == ["compiled", "simpy", "compiled"]


def test_without_numba_simpy_runs_with_one_note(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "PLAIN", True)
    monkeypatch.setattr(jit, "DISABLED", False)
    told: list[str] = []
    assert chosen(loads(mm1(1_000_000)).plan, Engine.AUTO, told.append) is Engine.SIMPY
    assert len(told) == 1 and "concurrency-simulator[compiled]" in told[0]
    told.clear()
    assert chosen(loads(mm1(10)).plan, Engine.AUTO, told.append) is Engine.SIMPY
    assert told == []


def test_what_is_not_compiled_runs_on_simpy_and_says_so() -> None:
    case = loads(
        "load: {requests: 2, at: once}\n"
        "server: {preset: fastapi, cores: 1}\n"
        "routes: {r: {handler: async def, steps: [{cpu: 2000h}]}}"
    ).plan
    with pytest.raises(NotCompiled, match="beyond 64 bits"):
        engine.run(case, Workload(case))
    told: list[str] = []
    trace, used = run(case, Workload(case), engine=Engine.COMPILED, tell=told.append)
    assert used is Engine.SIMPY and len(trace) == 2
    assert len(told) == 1 and "beyond 64 bits" in told[0]


def test_the_command_line_names_the_engine(sim: Any) -> None:
    by_simpy = sim("run", "configs/3users-async.yaml", "--json")
    compiled = sim("run", "configs/3users-async.yaml", "--json", "--engine", "compiled")
    assert compiled.out == by_simpy.out.replace('"simpy"', '"compiled"') != by_simpy.out
    wrong = sim("run", "configs/3users-async.yaml", "--engine", "fst")
    assert wrong.code == 2 and "auto, simpy or compiled" in wrong.err


# Compiled, and interrupted.


@pytest.mark.skipif(not jit.is_installed(), reason="no Numba")
def test_compiled_kernels_agree() -> None:
    """One process that compiles, or finds what was compiled before."""
    command = [sys.executable, "-m", "tests.agreement", "60"]
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.stdout == "seeds 0 to 59: {'agree': 60}\n", done.stderr


@pytest.mark.parametrize("folded", [False, True], ids=["kept", "folded"])
def test_ctrl_c_between_two_steps_leaves_all_whole(
    monkeypatch: pytest.MonkeyPatch, folded: bool
) -> None:
    monkeypatch.setattr(engine, "BUDGET", 500)
    case = loads(mm1(1000)).plan
    before = signal.getsignal(signal.SIGINT)
    trace = engine.run(
        case,
        Workload(case),
        progress=lambda arrived: signal.raise_signal(signal.SIGINT),
        folding=VisitFolding(case, at_once=20) if folded else None,
    )
    assert signal.getsignal(signal.SIGINT) is before
    assert trace.ended == "interrupted" and 100 < len(trace) < 1000
    assert len(trace.finish_ns) == len(trace.spent_ns) == len(trace)
    whole = reference.run(case, Workload(case))
    done = trace.finish_ns >= 0
    assert (trace.finish_ns[done] == whole.finish_ns[: len(trace)][done]).all()
    visits = sum(used.visits for used in trace.used.values()) if folded else len(trace.visits)
    assert int(done.sum()) <= visits <= len(trace)


def test_users_start_one_after_the_other_as_the_ramp_says() -> None:
    case = loads(
        "load: {users: 7, ramp: 10s, think: 1s, requests: 20}\n"
        "server: {preset: fastapi}\n"
        "routes: {r: {handler: async def, steps: [{await: 3s}]}}"
    ).plan
    assert difference(case) is None
    first = engine.run(case, Workload(case)).arrival_ns[:7]
    assert first.tolist() == [10_000_000_000 * user // 7 for user in range(7)]


ROWS = """
server: {preset: fastapi}
databases: {postgres: {preset: postgresql, deadlock_timeout: 50ms}}
pools: {db: {size: 9, database: postgres}}
OTHERS
routes:
  one:
    handler: async def
    load: {requests: 3, at: once}
    steps: ONE
  other:
    handler: async def
    load: {requests: 3, at: once}
    steps: OTHER
"""


@pytest.mark.parametrize(
    ("others", "one", "other"),
    [
        (  # one branch fails while the other one waits for a row
            "locks: {ann: {}, bob: {}}\nservices: {flaky: {time: 2ms, errors: 100%}}",
            "[{with: db, do: [{lock: ann}, {gather: [{lock: bob}, {call: flaky}]}]}]",
            "[{with: db, do: [{lock: bob}, {query: db, time: 30ms}, "
            "{gather: [{lock: ann}, {await: 1ms}]}, {lock: bob, shared: true}]}]",
        ),
        (  # who reads a row wants to write it, and others wait already
            "locks: {ann: {}}",
            "[{with: db, do: [{lock: ann, shared: true}, {await: 5ms}, {lock: ann}]}]",
            "[{with: db, do: [{await: 1ms}, {lock: ann}, {query: db, time: 5ms}]}]",
        ),
    ],
    ids=["branches", "upgrades"],
)
def test_rows_that_the_swarm_seldom_has(others: str, one: str, other: str) -> None:
    text = ROWS.replace("OTHERS", others).replace("ONE", one).replace("OTHER", other)
    case = loads(text).plan
    assert difference(case) is None
