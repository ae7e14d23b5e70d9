"""`sim size` against trying every value: the same answer, with at most 15 trials."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from simulator.answer import simulate
from simulator.experiments import size, size_question
from simulator.experiments.axes import AxisError
from simulator.experiments.size import Found
from simulator.report import size as report
from simulator.scenario import loads
from simulator.thresholds import parse
from tests.conftest import Sim

BURST = """\
name: burst
vars: {pool: 4}
load: {requests: 120, at: once}
server: {preset: fastapi, workers: 1}
pools: {db: {size: '${pool}'}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""
THREADS = BURST.replace("handler: async def", "handler: def")
POISSON = BURST.replace("requests: 120, at: once", "rate: 40/s, for: 10s").replace(
    "time: 1s", "time: {exp: 100ms}"
)
DATABASE = BURST.replace("size: '${pool}'", "size: '${pool}', min: 0, database: main") + (
    "databases: {main: {max_connections: 30, reserved: 3}}\n"
)
CALLS = """\
name: calls
load: {requests: 60, at: once}
services: {pay: {time: 100ms, concurrency: 2}}
routes:
  buy: {handler: async def, steps: [{call: pay}]}
"""
THRASHING = """\
name: thrashing
load: {requests: 200, at: once}
pools: {db: {size: 4, database: main}}
databases: {main: {max_connections: 1000, cores: 4}}
routes:
  read:
    handler: async def
    deadline: 4600ms
    steps: [{query: db, time: 100ms}]
"""
"""More connections than cores: all queries take longer together, and all miss the deadline."""

TEN = [
    ("pool of a burst", BURST, ["vars.pool=1..100"], ["p(95)<10s"], []),
    ("the goal is met exactly", BURST, ["vars.pool=1..100"], ["p(95)<=10s"], []),
    (
        "threads, not the pool",
        THREADS,
        ["server.threads=1..60", "pools.db.size=50"],
        ["max<4s"],
        [],
    ),
    ("random arrivals", POISSON, ["pools.db.size=1..40"], ["p(95)<300ms"], []),
    ("the tail of random arrivals", POISSON, ["pools.db.size=1..40"], ["p(99)<1s"], []),
    ("a service", CALLS, ["services.pay.concurrency=1..64"], ["last value<1s"], []),
    ("the highest rate", POISSON, ["load.rate=10/s..80/s", "vars.pool=5"], ["p(95)<400ms"], []),
    ("the largest burst", BURST, ["load.requests=10..400..10"], ["p(95)<30s"], []),
    (
        "workers and pools",
        DATABASE,
        ["server.workers=1..6", "vars.pool=1..20"],
        ["p(95)<8s"],
        ["server.workers=5"],
    ),
    ("none", BURST, ["vars.pool=1..100"], ["max<500ms"], []),
]


def found(
    tmp_path: Path, text: str, arguments: list[str], slo: list[str], prices: list[str]
) -> Found:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    return size.search(size_question.question(str(path), arguments, slo=slo, prices=prices))


@pytest.mark.parametrize(
    ("text", "arguments", "slo", "prices"), [case[1:] for case in TEN], ids=[c[0] for c in TEN]
)
def test_it_finds_what_trying_everything_finds(
    tmp_path: Path, text: str, arguments: list[str], slo: list[str], prices: list[str]
) -> None:
    result = found(tmp_path, text, arguments, slo, prices)
    assert len(result.trials) <= 15
    asked = result.question
    goals = [parse("errors", "rate<1%", ()), *(parse(*goal, ()) for goal in asked.goals)]
    best: tuple[float, tuple[str, ...]] | None = None
    for places in product(*(range(len(axis.values)) for axis in asked.axes)):
        values = tuple(axis.values[i] for axis, i in zip(asked.axes, places, strict=True))
        cost = sum(float(p) * i for p, i in zip(asked.prices, places, strict=True))
        cost = -cost if asked.harder else cost
        if best is not None and cost >= best[0]:
            continue
        scenario = loads(text, asked.overrides(values))
        if passes(scenario, goals):
            best = (cost, values)
    assert (result.best and result.best.values) == (best and best[1])
    assert not result.interrupted and result.undecided == 0


def passes(scenario, goals) -> bool:  # type: ignore[no-untyped-def]
    """By the raw latencies, not by what the search reports."""
    plan = scenario.plan
    if plan.databases and plan.server.workers * plan.pools[0].size > plan.databases[0].connections:
        return False
    answer = simulate(scenario)
    if answer.trust.not_stable:
        return False
    trace = answer.trace
    ok = trace.outcome == 0
    latencies = sorted((trace.finish_ns - trace.arrival_ns)[ok].tolist())
    for goal in goals:
        if goal.metric == "errors":
            seen = 1 - ok.mean()
        elif goal.metric == "last":
            seen = int(trace.finish_ns.max())
        elif goal.aggregate == "max":
            seen = latencies[-1]
        else:
            rank = -(-len(latencies) * goal.percentile // 100)
            seen = latencies[int(rank) - 1]
        if not goal.holds(seen):
            return False
    return True


def test_a_wrong_rank_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = size._rank
    monkeypatch.setattr(size, "_rank", lambda asked: good(asked)[::-1].copy())
    with pytest.raises(AssertionError):
        test_it_finds_what_trying_everything_finds(tmp_path, *TEN[0][1:])


def test_the_answer_and_its_proof_to_the_letter(tmp_path: Path) -> None:
    result = found(tmp_path, BURST, ["vars.pool=1..100"], ["p(95)<10s"], [])
    assert report.answer(result) == (
        "vars.pool=13 is the smallest that keeps them; vars.pool=12 does not: p(95) is 10s."
    )
    assert report.as_dict(result, version="0", seed=0)["code"] == {
        "vars.pool": "asyncpg.create_pool(dsn, min_size=13, max_size=13)"
    }


def test_where_more_makes_things_worse_a_value_in_the_middle_is_found(tmp_path: Path) -> None:
    result = found(tmp_path, THRASHING, ["pools.db.size=1..200"], ["errors rate<9%"], [])
    assert not result.never_hurts
    assert result.best is not None and result.best.passed
    assert 4 <= int(result.best.values[0]) < 200
    assert "is the smallest found that keeps them" in report.answer(result)
    page = report.render(result, version="0", seed=0)
    assert "pools.db.size=200 fails, so more does not always help" in " ".join(page.split())


def test_without_a_goal_about_failures_few_may_fail(tmp_path: Path) -> None:
    text = BURST.replace("}}\nroutes", ", acquire_timeout: 2500ms}}\nroutes")
    result = found(tmp_path, text, ["vars.pool=1..100"], ["p(95)<5s"], [])
    assert result.assumed == ("errors rate<1%",)
    assert result.best is not None and result.best.values == ("40",)
    loose = found(tmp_path, text, ["vars.pool=1..100"], ["p(95)<5s", "errors rate<50%"], [])
    assert loose.assumed == ()
    assert loose.best is not None and loose.best.values == ("21",)


def test_what_the_database_does_not_accept_is_not_tried(tmp_path: Path) -> None:
    result = found(tmp_path, DATABASE, ["vars.pool=1..100"], ["p(95)<3s"], [])
    assert result.best is None
    assert all(int(trial.values[0]) <= 27 for trial in result.trials)
    words = report.answer(result)
    assert "the nearest is vars.pool=27, where p(95) is 5s" in words


def test_the_command(sim: Sim) -> None:
    shown = sim("size", "configs/1000req.yaml", "pools.db.size=1..1000", "--slo", "p(95)<30s")
    assert shown.code == 0
    assert "pools.db.size=190 is the smallest that keeps them; pools.db.size=189 does not" in (
        " ".join(shown.out.split())
    )
    none = sim("size", "configs/1000req.yaml", "pools.db.size=1..50", "--slo", "p(95)<1s")
    assert none.code == 4 and "no value keeps latency p(95)<1s" in none.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["pools.db.size=5"], "nothing to search, expected KEY=LO..HI"),
        (["pools.db.size=1..9"], "has no thresholds, expected some, or a goal: --slo"),
        (["pools.db.size=1..9", "--slo", "p(95)<5"], "5 has no unit"),
        (["pools.db.size=1..9", "--slo", "latency{route:x} p(95)<5s"], "unknown route 'x'"),
        (["pools.db.size=1..9", "--max", "cows<=3"], "--max cows<=3: expected NAME<=N"),
        (["pools.db.size=1..9", "--cost", "cows=3"], "cows is not searched, expected one of"),
        (["load.requests=1..9", "pools.db.size=1..9"], "is load, expected it alone"),
    ],
)
def test_what_is_wrong_is_said_before_any_run(sim: Sim, arguments: list[str], message: str) -> None:
    shown = sim("size", "configs/1000req.yaml", *arguments)
    assert shown.code == 2
    assert message in shown.err


def test_ctrl_c_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def run(*arguments, **options):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt
        return simulate(*arguments, **options)

    monkeypatch.setattr(size, "simulate", run)
    result = found(tmp_path, BURST, ["vars.pool=1..100"], ["p(95)<10s"], [])
    assert result.interrupted and len(result.trials) == 2
    assert report.answer(result).startswith("interrupted: so far vars.pool=50 passes, 49 values")


def test_bad_axes() -> None:
    with pytest.raises(AxisError, match="twice"):
        size_question.question("configs/1000req.yaml", ["a=1..2", "a=3"])


def test_replications_say_how_sure_the_answer_is(tmp_path: Path) -> None:
    path = tmp_path / "scenario.yaml"
    path.write_text(POISSON)
    asked = size_question.question(
        str(path), ["pools.db.size=1..40"], slo=["p(95)<300ms"], number=5
    )
    result = size.search(asked)
    assert result.best is not None and result.best.measured is not None
    assert result.best.measured.trust.replications == 5
    page = report.render(result, version="0", seed=0)
    assert "±" in page and "-n 5" in page
    document = report.as_dict(result, version="0", seed=0)
    assert document["answer"] == {"pools.db.size": result.best.values[0]}
    # Each replication alone: their mean is what is held against the goal.
    each = []
    for replication in range(5):
        scenario = loads(POISSON, [f"pools.db.size={result.best.values[0]}"])
        total = simulate(scenario, replication=replication).summary.total
        each.append(total.latency.percentile_ns(95) or 0)
    (goal,) = [r for r in result.best.measured.thresholds if r.threshold.metric == "latency"]
    assert goal.observed == pytest.approx(sum(each) / 5)


def test_a_load_that_has_no_steady_state_does_not_keep_its_goals(tmp_path: Path) -> None:
    # 5 connections of 100 ms serve 50/s; ten seconds above that are over before it hurts.
    result = found(tmp_path, POISSON, ["load.rate=40/s..60/s", "vars.pool=5"], ["p(95)<60s"], [])
    assert result.best is not None and result.best.values == ("49/s",)
    assert "not stable" in report.answer(result)


@pytest.mark.parametrize(
    ("old", "new", "argument"),
    [
        ("rate: 40/s", "rate: '${rps}'", "vars.rps=10/s..80/s"),
        ("rate: 40/s", "rate: '${rps}/s'", "vars.rps=10..80"),
    ],
)
def test_a_variable_is_what_it_stands_for(
    tmp_path: Path, old: str, new: str, argument: str
) -> None:
    assert old in POISSON
    first = argument.partition("=")[2].partition("..")[0]
    text = POISSON.replace(old, new).replace("pool: 4", f"pool: 5, rps: {first}")
    by_name = found(tmp_path, text, [argument], ["p(95)<400ms"], [])
    plain = found(tmp_path, POISSON, ["load.rate=10/s..80/s", "vars.pool=5"], ["p(95)<400ms"], [])
    assert by_name.best is not None and plain.best is not None
    assert plain.best.values == (f"{by_name.best.values[0].removesuffix('/s')}/s",)
    assert "is the highest that keeps them" in report.answer(by_name)


def test_of_work_the_most_is_searched(tmp_path: Path) -> None:
    # 120 requests on 50 connections are three waves: 3 t < 10 s.
    argument = "routes.read.steps[0].time=1s..9s..500ms"
    result = found(tmp_path, BURST, [argument, "vars.pool=50"], ["last value<10s"], [])
    assert result.best is not None and result.best.values == ("3s",)
    words = report.answer(result)
    assert "is the highest that keeps them; routes.read.steps[0].time=3.5s does not" in words


def test_a_deadlock_is_no_answer(tmp_path: Path) -> None:
    nested = "[{with: db, do: [{with: db, do: [{query: db, time: 10ms}]}]}]"
    text = (
        "load: {requests: 20, at: once}\npools: {db: {size: 5}}\n"
        f"routes: {{a: {{handler: async def, steps: {nested}}}}}\n"
    )
    result = found(tmp_path, text, ["pools.db.size=1..60"], ["p(95)<100ms"], [])
    # 20 take one at once, and 14 leave some for the second of those who came first.
    assert result.best is not None and result.best.values == ("14",)
    assert "pools.db.size=13 does not: the run deadlocks" in report.answer(result)
