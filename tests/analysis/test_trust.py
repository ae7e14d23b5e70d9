"""What a run says of its own numbers: warm-up, intervals, or why it has none."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from simulator.analysis.confidence import Interval
from simulator.analysis.verdicts import ThresholdResult
from simulator.answer import Answer, simulate
from simulator.scenario import loads
from simulator.thresholds import parse
from tests.conftest import Sim

QUEUE = """\
load: {rate: 60/s, requests: 4000}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
thresholds: {latency: ['p(95)<100ms']}
"""
BURST = """\
load: {requests: 6, at: once}
pools: {db: {size: 2}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""


def run(text: str, *overrides: str) -> Answer:
    return simulate(loads(text, overrides))


@pytest.mark.parametrize(
    ("overrides", "method", "note"),
    [
        ([], "batches", ""),
        (["load={rate: 60/s, requests: 400, arrivals: constant}"], "batches", ""),
        (["load={users: 20, think: {exp: 1s}, for: 60s}"], "batches", ""),
        (["load={requests: 50, at: once}"], "none", "one burst says nothing of the next"),
        (
            ["load={stages: [{duration: 5s, target: 90/s}]}"],
            "none",
            "one load in stages says nothing of the next",
        ),
        (
            ["load={users: 20, think: 1s, ramp: 5s, for: 20s}"],
            "none",
            "the users are still coming during the ramp: no warm-up leaves it out",
        ),
        (["load={users: 20, think: 1s, ramp: 5s, for: 20s, warmup: 6s}"], "batches", ""),
        (
            ["load.rate=110/s"],
            "none",
            "not stable: the load offered to pool db is 1.1 × its capacity",
        ),
    ],
)
def test_what_intervals_rest_on(overrides: list[str], method: str, note: str) -> None:
    trust = run(QUEUE, *overrides).trust
    assert (trust.method, trust.note) == (method, note)
    assert bool(trust.intervals) == (method == "batches")


def test_nothing_left_to_chance_is_deterministic() -> None:
    assert run(BURST).trust.method == "deterministic"
    constant = "load={rate: 1/s, requests: 200, arrivals: constant}"
    assert run(BURST, constant).trust.method == "deterministic"
    # Which of two routes a request takes is left to chance.
    other = "  other: {handler: async def, steps: [{await: 1ms}]}\n"
    assert run(BURST + other, constant).trust.method == "batches"


def test_a_timeout_that_bounds_the_queue_makes_an_overload_stable() -> None:
    assert run(QUEUE, "load.rate=110/s").trust.not_stable is not None
    assert run(QUEUE, "load.rate=110/s", "pools.db.acquire_timeout=50ms").trust.not_stable is None


def test_requests_of_the_warm_up_do_not_count() -> None:
    # One each second, at 0 … 9, each takes 3 s on one of two connections: they queue up.
    load = "load={rate: 1/s, requests: 10, arrivals: constant, warmup: 4s}"
    found = run(BURST, load, "routes.read.steps[0].time=3s")
    whole = run(BURST, load, "routes.read.steps[0].time=3s", "load.warmup=none")
    assert (found.warmup.until_ns, found.warmup.requests) == (4 * 10**9, 4)
    latencies = np.sort(whole.trace.latency_ns[4:])
    assert np.array_equal(found.summary.total.latency.ordered_ns, latencies)
    assert (found.summary.total.requests, whole.summary.total.requests) == (6, 10)
    (pool,), (pool_of_all,) = found.summary.resources, whole.summary.resources
    assert pool.visits == 6 and pool_of_all.visits == 10
    assert pool.wait_max_ns == pool_of_all.wait_max_ns
    assert (
        sum(row.mean_ns for row in found.summary.breakdown) == found.summary.total.latency.mean_ns
    )
    # The bound is that of the whole run, as without a warm-up.
    assert found.bottleneck == whole.bottleneck


def test_auto_finds_the_warm_up() -> None:
    # 40 users come at once: the first have waits that nobody has later.
    load = "load={users: 40, think: {exp: 1s}, for: 100s, warmup: auto}"
    found = run(QUEUE, load)
    assert found.warmup.over
    assert found.warmup.requests == int((found.trace.arrival_ns < found.warmup.until_ns).sum())
    assert found.summary.total.requests + found.warmup.requests == len(found.trace)


def test_a_warm_up_that_is_not_over_is_found(sim: Sim) -> None:
    codes = [f.code for f in run(QUEUE, "load={rate: 60/s, requests: 20, warmup: auto}").findings]
    assert "SIM126" in codes
    late = run(QUEUE, "load={rate: 60/s, requests: 20, warmup: 1h}")
    assert late.summary.total.requests == 0
    (message,) = [f.message for f in late.findings if f.code == "SIM126"]
    assert (
        message == "the warm-up is not over within the run's 20 requests, and none of them counts"
    )
    assert sim("explain", "--rule", "SIM126").code == 0


@pytest.mark.parametrize(
    ("expression", "observed", "interval", "verdict"),
    [
        ("p(95)<100ms", 90, (80, 99.9), "passed"),
        ("p(95)<100ms", 90, (80, 100), "undecided"),
        ("p(95)<=100ms", 90, (80, 100), "passed"),
        ("p(95)<100ms", 110, (90, 120), "undecided"),
        ("p(95)<100ms", 130, (110, 150), "failed"),
        ("p(95)<100ms", 90, (80, float("inf")), "undecided"),
        ("p(95)>100ms", 130, (110, float("inf")), "passed"),
        ("p(95)==100ms", 100, (90, 110), "undecided"),
        ("p(95)==100ms", 120, (110, 130), "failed"),
        ("p(95)!=100ms", 100, (90, 110), "undecided"),
        ("p(95)<100ms", 90, None, "passed"),
        ("p(95)<100ms", None, None, "failed"),
    ],
)
def test_verdicts(
    expression: str, observed: int | None, interval: tuple[float, float] | None, verdict: str
) -> None:
    threshold = parse("latency", expression, [])
    seen = None if observed is None else Fraction(observed * 10**6)
    found = interval and Interval(interval[0] * 1e6, interval[1] * 1e6)
    ok = seen is not None and threshold.holds(seen)
    assert ThresholdResult(threshold, ok, seen, found).verdict == verdict


def test_the_page_of_one_run_shows_its_intervals() -> None:
    (result,) = run(QUEUE).thresholds
    assert result.interval is not None
    assert result.interval == run(QUEUE).trust.of("", "p95")
