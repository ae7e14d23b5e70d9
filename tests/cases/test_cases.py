"""Cases with known answers: closed forms, exact chains and literal lists, from their sources.

``cases.json`` says what is expected and how near; the scenario of a case means the same
in the language. An exact case is asserted in any order of creation. A random one agrees if
|estimate - expected| <= max(tolerance, 3 half-widths), the 95 % half-width by 20 batch
means (Student's t) of what is left after a warm-up of 10 %. With 19 degrees of freedom
that is 6.3 standard errors: a false alarm in some 200,000 checks of a seed.

The number of requests, or how long users keep asking, is in each scenario: 100 to 150,000
where a case asks for up to 5,000,000. What the smaller run costs in precision the
half-width says, and where it is needed ``MOST_SLACK`` bounds it, so that no figure agrees
because it is hardly known.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simulator.engines.reference import run
from simulator.scenario import load
from simulator.trace import first_difference
from simulator.workload import Workload
from tests.cases.estimate import Estimate
from tests.cases.measures import MEASURES
from tests.cases.play import Figures, play, scenario_path

NOT_EXPRESSIBLE = {
    "erlang-a": "a caller's patience is constant (a pool's acquire_timeout), never drawn",
    "fastapi-pool15-threads40-retry-storm": "an incident without its rates; its request keeps "
    "a connection while it waits for a thread again, but a def handler gives up both together",
    "usl-exact": "a fit, not a scenario",
}
"""Cases that no scenario plays, and why."""

NOT_CHECKED = {
    "websocket-mm-inf.sd_open": "2 % of a standard deviation takes some 10,000,000 sockets; "
    "test_formulas checks the whole law at a mean of 20",
    "triton-inception-dynamic.measured_throughput_per_s[0]": "the case applies from two users on",
    "triton-inception-dynamic.measured_p95_us": "the case is about throughput",
    "fastapi-sync-10s-wrk-1worker.measured.timeouts": "what the case assumes, not a figure",
    "jmt-complex-webserver.bottleneck": "a word; test_the_web_server_is_the_bottleneck",
}
"""Single figures that are not compared, and why."""

PUBLISHED = {
    "ciw_doc",
    "ciw_doc_mean_wait",
    "ciw_doc_10_trials",
    "jmt_published",
    "published",
    "lqns_published",
    "line_ln_published",
    "exponential_mva",
    "upper_bound_inoue",
}
"""What others printed or approximated, beside the exact values that are checked."""

INPUTS = {"note_residence", "columns", "concurrency", "sweep.requests", "predicted_points"}
"""What stands among the expected values and says what was given."""

MOST_SLACK = 0.25
"""Largest 3 half-widths, as a share of what is expected, that may excuse a difference."""


@dataclass(frozen=True)
class Case:
    """One case of the file."""

    id: str
    expected: dict[str, Any]
    tolerance: dict[str, Any]

    def allowed(self, expected: float) -> float:
        """How far off a figure may be."""
        if self.tolerance["type"] == "relative":
            return float(self.tolerance["rel"]) * abs(expected)
        return float(self.tolerance["abs"])

    def checked(self) -> dict[str, Any]:
        """The expected figures that are to be checked, by name; inner ones follow a dot."""
        return {
            key: value
            for key, value in _flat(self.expected).items()
            if key.split(".")[0] not in PUBLISHED | INPUTS
            and key not in INPUTS
            and f"{self.id}.{key}" not in NOT_CHECKED
        }


def _flat(expected: Any, path: str = "") -> dict[str, Any]:
    """Values, and lists of them, by their path."""
    if isinstance(expected, dict):
        inner = [_flat(value, f"{path}.{key}" if path else key) for key, value in expected.items()]
        return {key: value for part in inner for key, value in part.items()}
    if isinstance(expected, list) and expected and isinstance(expected[0], list):
        return {path: [value for row in expected for value in row]}
    return {path: expected}


_FILE = Path(__file__).parent / "cases.json"
CASES = {
    case["id"]: Case(case["id"], case["expected"], case["tolerance"])
    for case in json.loads(_FILE.read_text())
}
EXACT = [name for name in MEASURES if CASES[name].tolerance["type"] == "exact"]


@cache
def measured(case: str) -> Figures:
    """The figures of a case, from runs that all tests share."""
    return MEASURES[case](case)


def rows(case: Case) -> list[tuple[str, Estimate, float, float]]:
    """Of every figure that is checked: its name, estimate, expected value and tolerance."""
    out = []
    for key, expected in case.checked().items():
        comp = measured(case.id)[key]
        estimates = comp if isinstance(comp, list) else [comp]
        values = expected if isinstance(expected, list) else [expected]
        for i, (estimate, value) in enumerate(zip(estimates, values, strict=True)):
            label = f"{key}[{i}]" if isinstance(expected, list) else key
            if f"{case.id}.{label}" in NOT_CHECKED:
                continue
            out.append((label, estimate, value, case.allowed(value)))
    return out


@pytest.mark.parametrize("name", MEASURES)
def test_a_case_has_its_known_answer(name: str) -> None:
    checks = rows(CASES[name])
    assert checks
    wrong = [
        f"{key}: {estimate.value:.7g} ± {estimate.half_width:.2g}, expected {expected:.7g}"
        for key, estimate, expected, allowed in checks
        if not estimate.agrees(expected, allowed)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("name", MEASURES)
def test_a_wrong_answer_is_seen(name: str) -> None:
    """Each expected value, off by 3 tolerances and 3 half-widths to either side, is red.

    A count that has to be 0 has neither, and is off by 1.
    """
    for key, estimate, expected, allowed in rows(CASES[name]):
        off = 3 * allowed + 3 * estimate.half_width or 1
        assert not estimate.agrees(expected + off, allowed), key
        assert not estimate.agrees(expected - off, allowed), key


@pytest.mark.parametrize("name", MEASURES)
def test_no_figure_agrees_by_ignorance(name: str) -> None:
    """Each is within the plain tolerance, or known well enough for its half-width to count."""
    for key, estimate, expected, allowed in rows(CASES[name]):
        if abs(estimate.value - expected) > allowed:
            assert 3 * estimate.half_width <= MOST_SLACK * abs(expected), (key, estimate)


@pytest.mark.parametrize(
    ("name", "key", "override"),
    [
        ("ciw-mm1-5-8", "mean_response", "server.workers=2"),
        ("md1-08", "mean_response", "routes.q.steps[0].block={exp: 500ms}"),
        ("line-lb-roundrobin", "mean_response", "server.accept=random"),
        ("simmer-mm23", "mean_response_accepted", "pools.servers.size=1"),
        ("lb-jsq-2", "mean_response", "server.balancer=random"),
        ("ciw-ps-4-9", "mean_response", "server.cores=2"),
        ("leaky-bucket-poisson", "mean_residence", "services.api.rate_limit.rate=20/s"),
        ("bulk-service-b5", "w", "accelerators.gpu.batch.max=20"),
        ("gpu-linear-batch-gpu10ms-cap3", "mean_response", "accelerators.gpu.count=2"),
        ("lqns-20-multiserver", "response", "server.workers=3"),
        ("lqns-serial", "response", "pools.t2.size=2"),
        ("layered-threads40-over-pool15", "response", "pools.db.size=30"),
    ],
)
def test_another_model_is_seen(name: str, key: str, override: str) -> None:
    """One word of the scenario changed, and the mean response is red."""
    case = CASES[name]
    changed = play(name, override, "load.requests=20k")
    expected = case.expected[key]
    assert not changed.mean(changed.response()).agrees(expected, case.allowed(expected))


@pytest.mark.parametrize("name", EXACT)
def test_the_order_of_creation_does_not_matter(name: str) -> None:
    plan = load(scenario_path(name)).plan
    ref = run(plan, Workload(plan))
    for seed in range(5):
        order = random.Random(seed).sample(range(len(ref)), len(ref))
        comp = run(plan, Workload(plan), creation_order=order)
        assert first_difference(ref, comp) is None


def test_the_web_server_is_the_bottleneck() -> None:
    """It is always busy, and nothing else is half of the time."""
    run = play("jmt-complex-webserver", *(f"routes.{c}.load.for=3m" for c in ("class1", "class2")))
    busy = {
        name: run.some(run.at_once(f"pool {name}")).value
        for name in ("ws", "db", "disk1", "disk2", "disk3")
    }
    assert max(busy, key=lambda name: busy[name]) == "ws"
    assert busy["ws"] > 0.99 and all(busy[name] < 0.5 for name in busy if name != "ws")


def test_every_case_is_checked_or_says_why_not() -> None:
    assert set(MEASURES) | set(NOT_EXPRESSIBLE) == set(CASES)
    assert not set(MEASURES) & set(NOT_EXPRESSIBLE)
    for name in NOT_CHECKED:
        case, key = name.split(".", 1)
        assert key.split("[")[0] in _flat(CASES[case].expected)
        assert case in MEASURES
