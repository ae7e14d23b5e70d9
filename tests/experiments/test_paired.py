"""Paired differences: the numbers by hand, how sure they are, and what they decide."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from simulator.analysis.confidence import over_replications
from simulator.answer import simulate
from simulator.experiments import conditions
from simulator.experiments.conditions import held
from simulator.experiments.paired import (
    Sample,
    Side,
    causes,
    change,
    padded,
    within_one_run,
)
from simulator.experiments.sides import StoredError, enough, stored
from simulator.report import paired as page
from simulator.scenario import loads
from tests.conftest import Sim

MS = 1e6
QUEUE = """\
name: queue
load: {rate: 70/s, requests: 800}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""


def side(
    letter: str, means: Sequence[float], *, seed: int = 0, deterministic: bool = False
) -> Side:
    samples = tuple(
        Sample(
            {("", "mean"): m * MS, ("", "p95"): 3 * m * MS, ("", "error_rate"): m / 1000},
            {("wait", "pool:db"): (m - 5) * MS, ("hold", "query:db"): 5 * MS},
            "pool db",
        )
        for m in means
    )
    return Side(letter, f"{letter}.yaml", letter, 0, samples, deterministic, "pool db: …")


A = side("A", [10, 20, 30, 40])
B = side("B", [12.5, 25, 37.5, 50])
C = side("C", [13, 24.5, 38, 49.5])


def test_what_both_have_more_of_together_cancels() -> None:
    found = change(A, B, "", "mean")
    assert found is not None
    # 1.25 times in every replication: the ratio has no spread at all, the means have much.
    assert (found.ratio, found.difference) == (1.25, 6.25 * MS)
    assert found.ratio_interval is not None
    assert found.ratio_interval.half(1.25) == pytest.approx(0, abs=1e-12)
    assert page.verdict(A, B) == "B is 1.25 times slower than A (mean 31.25ms against 25ms)"


def test_the_interval_of_a_ratio_is_that_of_its_residuals() -> None:
    found = change(A, C, "", "mean")
    assert found is not None and found.ratio_interval is not None
    ratio = (13 + 24.5 + 38 + 49.5) / 100
    residuals = [b - ratio * a for a, b in zip((10, 20, 30, 40), (13, 24.5, 38, 49.5), strict=True)]
    assert sum(residuals) == pytest.approx(0)
    expected = over_replications(residuals)
    assert expected is not None
    assert found.ratio == pytest.approx(ratio)
    assert found.ratio_interval.half(ratio) == pytest.approx(expected.high / 25)
    assert page.verdict(A, C) == "C is 1.25 ± 0.04 times slower than A (mean 31.25ms against 25ms)"
    assert page.verdict(C, A).startswith("A is 1.25 ± 0.04 times faster than C")


def test_the_causes_add_up_to_the_difference() -> None:
    found = causes(A, C)
    assert [key for key, _ in found] == [("wait", "pool:db"), ("hold", "query:db")]
    assert sum(row.difference for _, row in found) == pytest.approx(6.25 * MS)
    assert found[0][1].difference_interval == over_replications(
        [3 * MS, 4.5 * MS, 8 * MS, 9.5 * MS]
    )


def test_where_the_interval_holds_one_nothing_is_faster() -> None:
    other = side("B", [11, 19, 31, 40])
    assert page.verdict(A, other) == (
        "B is as fast as A, as far as these runs can tell: 1.01 ± 0.06 times slower "
        "(mean 25.25ms against 25ms)"
    )


def test_a_deterministic_side_is_the_same_in_every_replication() -> None:
    certain = side("A", [20], deterministic=True)
    first, other = padded([certain, B])
    assert [len(s.samples) for s in (first, other)] == [4, 4]
    found = change(first, other, "", "mean")
    assert found is not None and found.difference == 11.25 * MS


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("latency p(95) > +5%", "holds"),
        ("latency p(95) > 30%", "does not hold"),
        ("latency p(95)>+25%", "undecided"),
        ("latency avg > +24%", "undecided"),
        ("latency avg < -1%", "does not hold"),
        ("errors rate > +0.1%", "holds"),
        ("errors rate > +2%", "does not hold"),
        ("latency p(99) > +5%", "holds"),  # no number there: that is no improvement
    ],
)
def test_conditions(text: str, verdict: str) -> None:
    found = held(conditions.parse(text, ["read"]), A, C)
    assert found.verdict == verdict


def test_a_change_of_exactly_the_limit_is_not_more() -> None:
    found = held(conditions.parse("latency avg > +25%", []), A, B)
    assert (found.holds, found.verdict) == (False, "does not hold")
    assert held(conditions.parse("latency avg >= +25%", []), A, B).holds


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p95 > 5%", "expected METRIC AGGREGATE > +N%"),
        ("latency p(95) > 5ms", "expected METRIC AGGREGATE > +N%"),
        ("latency p(97) > 5%", "unknown aggregate 'p(97)', known: avg, med, p(50)"),
        ("latency{route:raed} avg > 5%", "unknown route 'raed', known routes: read"),
        ("throughput avg < 5%", "throughput has the aggregate rate alone"),
    ],
)
def test_what_is_no_condition(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=r"--fail-if") as raised:
        conditions.parse(text, ["read"])
    assert message in str(raised.value)


def test_auto_stops_when_the_ratio_is_sure_or_the_conditions_are_decided() -> None:
    assert enough([A, B], [])
    assert not enough([A, C], [])
    assert not enough([A, C], [conditions.parse("latency avg > +25%", [])])
    assert enough([A, C], [conditions.parse("latency avg > -90%", [])])


def test_the_interval_within_one_run_is_wider_than_nothing_and_holds_the_ratio() -> None:
    a, b = (simulate(loads(QUEUE, ["load.requests=8000", f"load.rate={r}/s"])) for r in (60, 61))
    found = within_one_run(a, b)
    assert found is not None and found.ratio is not None and found.ratio_interval is not None
    means = [float(np.mean(answer.trace.latency_ns)) for answer in (a, b)]
    assert found.ratio == pytest.approx(means[1] / means[0])
    # M/M/1: 1/(100 - 61) over 1/(100 - 60) is 40/39.
    assert found.ratio_interval.low < 40 / 39 < found.ratio_interval.high
    assert found.ratio_interval.high - found.ratio_interval.low < 0.05


def test_one_run_without_a_steady_state_has_no_interval() -> None:
    burst = ["load={requests: 50, at: once}"]
    a, b = (simulate(loads(QUEUE, [*burst, f"pools.db.size={size}"])) for size in (1, 2))
    assert within_one_run(a, b) is None


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return path


def test_compare_n_as_a_user_meets_it(sim: Sim, queue: Path) -> None:
    words = ["compare", str(queue), "pools.db.size=2", "-n", "5"]
    result = sim(*words)
    assert result.code == 0
    assert " times faster than A (mean " in result.out and "±" in result.out
    assert "5 pairs of replications, each with the same draws." in result.out
    document = json.loads(sim(*words, "--json", "--jobs", "2").out)
    (difference,) = document["differences"]
    low, high = difference["metrics"]["latency_mean_s"]["ratio_interval"]
    assert low < difference["metrics"]["latency_mean_s"]["ratio"] < high < 1
    by_cause = sum(row["difference"] for row in difference["causes"])
    assert by_cause == pytest.approx(
        difference["metrics"]["latency_mean_s"]["difference"], abs=1e-8
    )


def test_stored_results_are_compared_like_the_runs_themselves(
    sim: Sim, queue: Path, tmp_path: Path
) -> None:
    files = []
    for name, override in (("one", "pools.db.size=1"), ("two", "pools.db.size=2")):
        assert sim("run", str(queue), override, "-n", "5", "-o", str(tmp_path / name)).code == 0
        files.append(str(tmp_path / name / "result.json"))
    runs = json.loads(sim("compare", str(queue), "pools.db.size=2", "-n", "5", "--json").out)
    for words in (files, [files[0], str(queue), "pools.db.size=2"]):
        document = json.loads(sim("compare", *words, "--json").out)
        found, expected = (d["differences"][0]["metrics"] for d in (document, runs))
        assert found.keys() == expected.keys()
        for name in expected:
            assert found[name]["ratio"] == pytest.approx(expected[name]["ratio"]), name
        assert [s["letter"] for s in document["scenarios"]] == ["A", "B"]


def test_fail_if_exits_99(sim: Sim, queue: Path) -> None:
    words = ["compare", str(queue), "load.rate=75/s", "-n", "6", "--fail-if"]
    slower = sim(*words, "latency avg > +5%")
    assert slower.code == 99 and "✗ fail if latency avg > +5%   B: +" in slower.out
    assert sim(*words, "latency avg > +500%").code == 0
    assert sim("compare", str(queue), "load.rate=75/s", "--fail-if", "latency avg > +1%").code == 99
    assert sim(*words, "latency avg").code == 2


def test_what_is_no_result_says_so(sim: Sim, queue: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("{}")
    result = sim("compare", str(queue), str(other))
    assert result.code == 3
    assert f"{other}: error: not a result, expected what `sim run -o DIR` writes" in result.err
    with pytest.raises(StoredError, match="can't read it"):
        stored("A", str(tmp_path / "missing.json"))
    assert sim("compare", str(other), "pools.db.size=2").code == 3
