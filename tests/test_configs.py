"""Every shipped scenario asks a question; its run gives the answer that its comment states."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from simulator.analysis.exact import nearest_rank
from simulator.analysis.summary import Group
from simulator.answer import Answer, simulate
from simulator.engines.contract import OK
from simulator.scenario import examples, load
from tests.answers import ANSWERS, FINDINGS, Figure
from tests.conftest import ROOT, Sim

CONFIGS = ROOT / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
RANDOM = sorted(name for name, figures in ANSWERS.items() if any(f.within for f in figures))

SLICE = "{broadcast: {sockets: 1000, cpu: 20us}}, {await: 0s}"


@cache
def answer(name: str, *overrides: str, seed: int | None = None) -> Answer:
    return simulate(load(CONFIGS / f"{name}.yaml", overrides), seed=seed)


def group(found: Answer, route: str) -> Group:
    summary = found.summary
    return next((g for g in summary.routes if g.name == route), summary.total)


def rows(found: Answer, route: str = "") -> np.ndarray:
    """The requests of a route, or all of them."""
    names = [r.name for r in found.scenario.plan.routes]
    return found.trace.route == names.index(route) if route else found.trace.route >= 0


def measured(found: Answer, figure: Figure) -> float:
    """What the run says: ns for times, else a count."""
    trace, entry = found.trace, group(found, figure.route)
    what, _, name = figure.of.partition(":")
    if what in ("requests", "ok", "errors", "in_flight"):
        return int(getattr(entry, what))
    if what in ("memory", "threads"):
        most = found.summary.memory
        assert most is not None
        return most.threads if what == "threads" else most.connections * most.connection_bytes
    if what == "failures":
        return int((trace.outcome[rows(found, figure.route)] == trace.outcomes.index(name)).sum())
    if what == "visits":
        labels = [station.label for station in trace.stations]
        return int((trace.visits.station == labels.index(name)).sum())
    ns = {
        "last": entry.last_ns,
        "mean": entry.latency.mean_ns,
        "max": entry.latency.max_ns,
        "first_byte": _first_byte_p50_ns(found),
    }
    value = ns[what] if what in ns else entry.latency.percentile_ns(int(what.removeprefix("p")))
    assert value is not None
    return value / 1e9


def _first_byte_p50_ns(found: Answer) -> int | None:
    ok = found.trace.outcome == OK
    waited = (found.trace.first_byte_ns - found.trace.arrival_ns)[ok]
    return nearest_rank(np.sort(waited), 50)


def comment(path: Path) -> str:
    """The lines before the scenario, as one text."""
    lines = path.read_text(encoding="utf-8").splitlines()
    end = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:end])


def off(found: Answer, figures: tuple[Figure, ...]) -> list[str]:
    """The figures that the run does not give, each with what it gives instead."""
    out = []
    for figure in figures:
        value = measured(found, figure)
        if abs(value - figure.value) > (figure.within or 1e-12):
            out.append(f"{figure.route} {figure.of}: {value:.6g}, said to be {figure.text}")
    return out


def test_every_file_has_its_answer_and_every_answer_its_file() -> None:
    assert sorted(ANSWERS) == NAMES
    assert FINDINGS.keys() <= ANSWERS.keys()
    assert len(NAMES) >= 28


@pytest.mark.parametrize("name", NAMES)
def test_run_gives_the_answer(name: str) -> None:
    assert off(answer(name), ANSWERS[name]) == []


@pytest.mark.parametrize("name", RANDOM)
def test_another_seed_lies_within_the_spread(name: str) -> None:
    assert off(answer(name, seed=7), ANSWERS[name]) == []


def test_a_figure_that_is_wrong_is_seen() -> None:
    right = Figure("p50 50 s", "p50", 50)
    wrong = Figure("p50 51 s", "p50", 51)
    failed = Figure("1 error", "failures:pool_timeout:db", 1)
    assert off(answer("1000req"), (right, wrong, failed)) == [
        " p50: 50, said to be p50 51 s",
        " failures:pool_timeout:db: 0, said to be 1 error",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_comment_quotes_each_figure(name: str) -> None:
    text = comment(CONFIGS / f"{name}.yaml")
    assert [f.text for f in ANSWERS[name] if f.text not in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_first_line_is_the_question(name: str) -> None:
    lines = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ") and lines[0].endswith("?")
    assert lines[1].startswith("# ")
    assert max(map(len, lines)) <= 100
    assert (name, lines[0][2:], CONFIGS / f"{name}.yaml") in examples()


def test_examples_lists_each_file(sim: Sim) -> None:
    listed = sim("examples").out
    assert [name for name in NAMES if name not in listed] == []


@pytest.mark.parametrize("name", NAMES)
def test_name_is_the_file_s_and_findings_are_the_expected(name: str) -> None:
    found = answer(name)
    assert found.scenario.name == name
    assert tuple(sorted({f.code for f in found.findings})) == FINDINGS.get(name, ())


def test_validates_each_file(sim: Sim) -> None:
    result = sim("validate", *(f"configs/{name}.yaml" for name in NAMES))
    assert result.code == 0
    assert [name for name in NAMES if f"configs/{name}.yaml: valid" not in result.out] == []


# What the comments claim beside their figures: what mends, and what it mends.


def p95_of_listing(name: str) -> float:
    return measured(answer(name), Figure("", "p95", 0, route="list_products"))


def test_what_mends_the_mixed_system_in_order() -> None:
    suffixes = ["", "-workers", "-def", "-instances", "-gpu"]
    p95_s = [p95_of_listing(f"listing-inference{suffix}") for suffix in suffixes]
    assert p95_s == sorted(p95_s, reverse=True)
    missed = [s for s in suffixes if not answer(f"listing-inference{s}").passed]
    assert missed[:2] == ["", "-workers"]
    assert answer("listing-inference-instances").passed and answer("listing-inference-gpu").passed


def test_makespans_of_the_article_in_order() -> None:
    names = [
        "1000req-blocking-driver",
        "1000req-default-pool",
        "1000req-sqlalchemy-def",
        "1000req-def",
        "1000req",
        "1000req-4workers",
        "async-unlimited",
    ]
    last_s = [measured(answer(name), Figure("", "last", 0)) for name in names]
    assert last_s == [5000, 500, 335, 125, 100, 55, 5]


def test_computing_is_mended_by_processes_or_a_free_threaded_build_alone() -> None:
    names = ["cpu-async", "cpu-def", "cpu-4workers", "cpu-free-threaded"]
    assert [measured(answer(n), Figure("", "last", 0)) for n in names] == [0.4, 0.4, 0.1, 0.1]


def test_three_probes_in_a_row_fail() -> None:
    found = answer("blocking-in-async-health")
    fails = found.trace.outcome[rows(found, "health")] != OK
    assert "".join("x" if f else "." for f in fails[:12]) == "x...xxx...xx"
    assert "xxx" in "".join("x" if f else "." for f in fails)


@pytest.mark.parametrize(
    ("name", "overrides", "figure"),
    [
        ("probe-kills-pod", ["routes.health.handler=async def"], Figure("", "ok", 12, 0, "health")),
        ("abandoned-work", ["load.rate=300/s"], Figure("", "ok", 2937)),
        ("thread-pool-deadlock", ["pools.db.acquire_timeout=none"], Figure("", "in_flight", 60)),
        (
            "websocket-broadcast",
            [f"routes.announce.steps=[{', '.join([SLICE] * 10)}]"],
            Figure("", "max", 0.061, 0, "get_user"),
        ),
        (
            "connect-per-request",
            ["pools.db.size=10", "pools.db.min=10", "pools.db.overflow=0"],
            Figure("", "max", 0.00095),
        ),
        (
            "connect-per-request-burst",
            ["databases.postgres={preset: postgresql, cores: 2, queries: wait}"],
            # 300 forks of 5.4 ms on two cores, 250 ms for the query, 3.3 ms to close.
            Figure("", "last", 1.0633),
        ),
        ("1000req-sqlalchemy-async", ["routes.get_user.steps[0].time=5s"], Figure("", "ok", 105)),
        ("uneven-workers", ["server.accept=round_robin"], Figure("", "last", 5.5)),
        ("token-streaming", ["load.requests=100"], Figure("", "last", 0.4)),
        ("httpx-limit", ["services.prices.client={connections: 200}"], Figure("", "last", 0.25)),
    ],
)
def test_change_that_a_comment_names(name: str, overrides: list[str], figure: Figure) -> None:
    assert off(answer(name, *overrides), (figure,)) == []


def test_deadlock_without_a_timeout_is_named() -> None:
    assert answer("thread-pool-deadlock", "pools.db.acquire_timeout=none").trace.ended == "deadlock"


def served_after(name: str, since_s: int, *overrides: str) -> tuple[int, int]:
    """Of the requests that arrive from an instant on: how many are ok, and how many they are."""
    trace = answer(name, *overrides).trace
    late = trace.arrival_ns >= since_s * 10**9
    return int((trace.outcome[late] == OK).sum()), int(late.sum())


def test_retry_storm_outlasts_its_cause_and_shedding_ends_it() -> None:
    assert served_after("retry-storm", 20) == (0, 3500)
    assert served_after("retry-storm-mended", 20) == (3500, 3500)
    ok, of = served_after("retry-storm", 60, "client.retries=0")
    assert ok == of  # without retries the queue drains in the end


def test_abandoned_work_serves_nobody_in_the_end() -> None:
    assert served_after("abandoned-work", 2)[0] == 0


def test_probe_fails_for_good_once_the_threads_are_taken() -> None:
    found = answer("probe-kills-pod")
    outcome = found.trace.outcome[rows(found, "health")]
    assert [bool(ok) for ok in outcome == OK] == [True] * 2 + [False] * 10
