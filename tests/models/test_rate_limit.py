"""Rate limits: who is let through at which instant."""

from __future__ import annotations

from fractions import Fraction

import pytest

from models import Clock, FixedWindow, LeakyBucket, RateLimited, SlidingWindow, TokenBucket
from models.clock import PHASE_ARRIVAL, PHASE_TIMER, Owner
from models.rate_limit import RateLimit
from simulator.distributions import Exponential
from simulator.workload import Workload
from tests.plans import Steps, burst, plan

SECOND = 10**9


def caller(env, limit, name, arrive, log):
    yield env.timeout(arrive)
    try:
        yield limit.acquire()
    except RateLimited:
        log.append((name, "rejected", env.now))
        return
    log.append((name, env.now))


def admitted(env, limit: RateLimit, arrivals: list[int]) -> list[int | None]:
    """When each of the callers was let through; None if it was rejected."""
    log: list[tuple[object, ...]] = []
    for name, at in enumerate(arrivals):
        env.process(caller(env, limit, name, at, log))
    env.run()
    out = {entry[0]: entry[1] for entry in log if len(entry) == 2}
    return [out.get(name) for name in range(len(arrivals))]


def test_a_full_bucket_lets_its_burst_through_then_one_per_refill(env) -> None:
    """token-bucket-queueing-burst: 10/s, burst 20, 100 at once."""
    at = admitted(env, TokenBucket(env, (10, 1), 20), [0] * 100)
    assert at[:20] == [0] * 20
    assert at[20:23] == [SECOND // 10, SECOND // 5, 3 * SECOND // 10]
    assert at[-1] == 8 * SECOND
    assert sum(a for a in at if a is not None) == 324 * SECOND


def test_an_overloaded_bucket_admits_its_burst_and_its_refills(env) -> None:
    """token-bucket-steady-overload: 20/s for 100 s against 10/s and a burst of 20."""
    limit = TokenBucket(env, (10, 1), 20, waits=False)
    at = admitted(env, limit, [k * SECOND // 20 for k in range(2000)])
    assert sum(a is not None for a in at) == 1019
    assert sum(a is None for a in at) == 981


def test_a_semaphore_like_limiter_of_20_per_second(env) -> None:
    """aiolimiter 20 per 1 s, 60 at once: measured 2.003 s."""
    at = admitted(env, TokenBucket(env, (20, 1), 20), [0] * 60)
    assert at[19:22] == [0, 50_000_000, 100_000_000]
    assert at[-1] == 2 * SECOND


def test_a_bucket_refills_while_nobody_comes_but_not_over_its_brim(env) -> None:
    limit = TokenBucket(env, (1, 1), 2, per=10, waits=False)
    arrivals = [0, 0, 0, 15, 15, 100, 100, 100]
    assert admitted(env, limit, arrivals) == [0, 0, None, 15, None, 100, 100, None]


def test_a_rate_that_is_no_whole_number_of_ns_does_not_drift(env) -> None:
    """3/s, or one every 333,333,333⅓ ns: the k-th at the ns after its exact instant."""
    for limit in (LeakyBucket(env, (3, 1)), TokenBucket(env, (3, 1), 1)):
        start = env.now
        at = admitted(env, limit, [0] * 3001)
        assert [at[k] - start for k in (0, 1, 2, 3)] == [0, 333333334, 666666667, SECOND]
        assert at[3000] - start == 1000 * SECOND


def test_a_leaky_bucket_is_a_queue_with_fixed_service(env) -> None:
    """leaky-bucket-poisson: 8/s through 10/s waits 0.2 s on average (M/D/1).

    n = 20,000; 18 % is three standard errors of ten other seeds, so that a right model fails
    with 3 seeds of 1000; this one is fixed. The recursion beside it is exact.
    """
    steps = Steps()
    gap = steps.time(Exponential(SECOND / 8))
    case = plan(steps, load=burst(1))
    draw = Workload(case).time(gap)
    arrivals, now = [], 0
    for k in range(20_000):
        now += draw(k)
        arrivals.append(now)
    at = admitted(env, LeakyBucket(env, (10, 1)), arrivals)
    expected, free = [], Fraction(0)
    for arrival in arrivals:
        through = max(Fraction(arrival), free)
        expected.append(-(-through.numerator // through.denominator))
        free = through + SECOND // 10
    assert at == expected
    mean = sum(a - b for a, b in zip(expected, arrivals, strict=True)) / len(at) / SECOND
    assert mean == pytest.approx(0.2, rel=0.18)


def test_a_fixed_window_lets_twice_its_limit_through_around_its_border(env) -> None:
    limit = FixedWindow(env, 2, 10)
    assert admitted(env, limit, [8, 8, 9, 9, 9, 35]) == [8, 8, 10, 10, 20, 35]


def test_a_sliding_window_never_has_more_than_its_limit_in_any_window(env) -> None:
    limit = SlidingWindow(env, 2, 10)
    assert admitted(env, limit, [7, 8, 9, 9, 9, 50]) == [7, 8, 17, 18, 27, 50]


@pytest.mark.parametrize("make", [FixedWindow, SlidingWindow])
def test_a_window_that_rejects(env, make) -> None:
    assert admitted(env, make(env, 1, 10, waits=False), [3, 4, 13]) == [3, None, 13]


def leaver(env, limit, name, arrive, patience, log):
    yield env.timeout(arrive)
    event = limit.acquire()
    yield env.any_of([event, env.timeout(patience)])
    if event.triggered:
        log.append((name, env.now))
    else:
        limit.leave(event)
        log.append((name, "left", env.now))


def test_who_leaves_passes_its_admission_on(env, log) -> None:
    """b would be let through at 10; it leaves at 5, so c has that instant."""
    limit = LeakyBucket(env, (1, 1), per=10)
    for name, arrive, patience in [("a", 0, 99), ("b", 1, 4), ("c", 2, 99), ("d", 3, 99)]:
        env.process(leaver(env, limit, name, arrive, patience, log))
    env.run()
    assert log == [("a", 0), ("b", "left", 5), ("c", 10), ("d", 20)]
    assert limit.waiting == 0


def test_a_refill_comes_before_a_timeout_of_its_instant_and_before_an_arrival() -> None:
    env, log = Clock(), []
    limit = LeakyBucket(env, (1, 1), per=10, owner=Owner(0))

    def waits(name, at, phase):
        yield env.at(at, Owner(name).key(phase))
        yield limit.acquire()
        log.append((name, env.now))

    def looks():
        yield env.at(10, Owner(5).key(PHASE_TIMER))
        log.append(("timeout", env.now))

    for steps in (waits(1, 10, PHASE_ARRIVAL), looks(), waits(2, 0, 0), waits(3, 0, 0)):
        env.start(steps)
    env.run_until(100)
    assert log == [(2, 0), (3, 10), ("timeout", 10), (1, 20)]
