"""Cases with known answers: closed forms, exact chains and literal lists, from their sources.

``cases.json`` says what is expected and how near; the scenario of a case means the same
in the language. An exact case is asserted in any order of creation. A random one agrees if
|estimate - expected| <= max(tolerance, 3 half-widths), the 95 % half-width by 20 batch
means (Student's t) of what is left after a warm-up of 10 %. With 19 degrees of freedom
that is 6.3 standard errors: a false alarm in some 200,000 checks of a seed.

The number of requests is in each scenario, 2,000 to 300,000 where a case asks for up to
5,000,000: what the smaller run costs in precision the half-width says, and where it is
needed ``MOST_SLACK`` bounds it, so that no figure agrees because it is hardly known.
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
from tests.cases.measures import MEASURES, Figures, play, scenario_path

_LOAD = "closed load (users, think) is not in the language yet"
_LIMIT = "rate limits (services) are not in the language yet"
_BATCH = "accelerators and their batches are not in the language yet"

NOT_YET = {
    "token-bucket-queueing-burst": _LIMIT,
    "token-bucket-steady-overload": _LIMIT,
    "leaky-bucket-poisson": _LIMIT,
    "lb-jsq-2.mean_response": "balancers (least_connections) are not in the language yet",
    "ps-conditional-slowdown": "needs cores: jobs of 10 ms are too short for slices of the GIL",
    "prio-nonpreemptive-mm1.wait_hi": "priorities are not in the language yet",
    "prio-nonpreemptive-mm1.wait_lo": "priorities are not in the language yet",
    "prio-nonpreemptive-mm3": "priorities are not in the language yet",
    "erlang-a": "random patience is not in the language yet: a pool's timeout is constant",
    "websocket-mm-inf.sd_open": "2 % of a standard deviation takes some 10,000,000 sockets; "
    "test_formulas checks the whole law at a mean of 20",
    "jmt-1class-whatif-1-10": _LOAD,
    "qnap-intro-2": _LOAD,
    "jmt-complex-webserver": _LOAD,
    "pdq-aws-tomcat": _LOAD,
    "pdq-ebiz": _LOAD,
    "lqns-20-multiserver": _LOAD,
    "line-cqn-oneline": _LOAD,
    "lqns-serial": _LOAD,
    "layered-threads40-over-pool15": _LOAD,
    "bulk-service-b5": _BATCH,
    "gpu-linear-batch-slow": _BATCH,
    "gpu-linear-batch-gpu10ms-cap3": _BATCH,
    "triton-5-requests": _BATCH,
    "triton-textrec-nobatch": _LOAD,
    "triton-inception-dynamic": _BATCH,
    "fastapi-sync-10s-wrk-1worker": _LOAD,
    "fastapi-sync-10s-wrk-4workers": _LOAD,
    "fastapi-pool15-threads40-retry-storm": "clients that retry are not in the language yet",
    "dlrm-batch-latency-table": _BATCH,
    "usl-exact": "fits belong to calibration, which is not there yet",
}
"""Cases, or single figures of one, that are not checked, and why."""

PUBLISHED = {"ciw_doc", "ciw_doc_mean_wait", "ciw_doc_10_trials", "jmt_published"}
"""Sample means that the source printed, beside the exact values that are checked."""

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
        """The expected figures that are to be checked."""
        return {
            key: value
            for key, value in self.expected.items()
            if key not in PUBLISHED and f"{self.id}.{key}" not in NOT_YET
        }


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
    """Each expected value, off by 3 tolerances and 3 half-widths to either side, is red."""
    for key, estimate, expected, allowed in rows(CASES[name]):
        off = 3 * allowed + 3 * estimate.half_width
        assert not estimate.agrees(expected + off, allowed), key
        assert not estimate.agrees(expected - off, allowed), key


@pytest.mark.parametrize("name", MEASURES)
def test_no_figure_agrees_by_ignorance(name: str) -> None:
    """Each is within the plain tolerance, or known well enough for its half-width to count."""
    for key, estimate, expected, allowed in rows(CASES[name]):
        if abs(estimate.value - expected) > allowed:
            assert 3 * estimate.half_width <= MOST_SLACK * abs(expected), (key, estimate)


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("ciw-mm1-5-8", "server.workers=2"),
        ("md1-08", "routes.q.steps[0].block={exp: 1s}"),
        ("line-lb-roundrobin", "server.accept=random"),
        ("simmer-mm23", "pools.servers.size=1"),
    ],
)
def test_another_model_is_seen(name: str, override: str) -> None:
    """One word of the scenario changed, and the mean response is red."""
    case = CASES[name]
    key = "mean_response" if "mean_response" in case.expected else "mean_response_accepted"
    changed = play(name, override)
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


def test_every_case_is_checked_or_says_why_not() -> None:
    whole = {name for name in NOT_YET if "." not in name}
    assert set(MEASURES) | whole == set(CASES)
    assert not set(MEASURES) & whole
    for name in set(NOT_YET) - whole:
        case, key = name.split(".", 1)
        assert key in CASES[case].expected and case in MEASURES
