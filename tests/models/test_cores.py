"""Cores: processor sharing in integers, literal ends and what was measured elsewhere."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from models import GIL, Clock, Cores, Job, Owner
from models.clock import PHASE_ARRIVAL, PHASE_END
from models.cores import SHARE


def thread(env, cores, name, arrive, work, log):
    yield env.timeout(arrive)
    yield cores.run(work)
    log.append((name, env.now))


def test_one_core_is_shared_in_equal_parts(env, log) -> None:
    """a has 4 alone, then half of the core to 16; b then has 14 left and runs alone."""
    cores = Cores(env, 1)
    env.process(thread(env, cores, "a", 0, 10, log))
    env.process(thread(env, cores, "b", 4, 20, log))
    env.run()
    assert log == [("a", 16), ("b", 30)]
    assert cores.running == 0


def test_as_many_threads_as_cores_do_not_notice_each_other(env, log) -> None:
    cores = Cores(env, 2)
    for name, work in [("a", 5), ("b", 7)]:
        env.process(thread(env, cores, name, 0, work, log))
    env.run()
    assert log == [("a", 5), ("b", 7)]


def test_three_threads_on_two_cores_run_at_two_thirds(env, log) -> None:
    """All have 6 at 9; then two are left, each with a core of its own."""
    cores = Cores(env, 2)
    for name, work in [("a", 6), ("b", 10), ("c", 11)]:
        env.process(thread(env, cores, name, 0, work, log))
    env.run()
    assert log == [("a", 9), ("b", 13), ("c", 14)]


def test_an_end_is_rounded_up(env, log) -> None:
    """Three jobs of 1 on two cores: 1.5 each; of 5: 7.5."""
    cores = Cores(env, 2)
    for name in "abc":
        env.process(thread(env, cores, name, 0, 1, log))
    env.run()
    assert log == [("a", 2), ("b", 2), ("c", 2)]


def test_no_work_is_done_at_once(env) -> None:
    assert Cores(env, 1).run(0).callbacks is None


def test_jobs_that_end_at_one_instant_end_in_the_order_of_their_owners() -> None:
    """Also where the one with the higher owner was due a fraction earlier (both round up)."""
    clock, log = Clock(), []
    cores = Cores(clock, 2)

    def job(index: int, arrive: int, work: int):
        owner = Owner(index)
        yield clock.at(arrive, owner.key(PHASE_ARRIVAL))
        yield cores.run(work, owner)
        log.append((index, clock.now))

    for index, arrive, work in [(9, 0, 2), (7, 0, 2), (3, 0, 2), (8, 1, 1), (2, 1, 1)]:
        clock.start(job(index, arrive, work))
    clock.run_until(100)
    # By 1 the first three have 2/3 each; then five share two cores: 4/3 more by 1 + 10/3,
    # but the jobs of 1 have theirs by 1 + 5/2: at 4. Then three have 2/3 + 6/5 of 2.
    assert log == [(2, 4), (8, 4), (3, 5), (7, 5), (9, 5)]


def test_a_job_taken_off_keeps_exactly_what_is_left() -> None:
    """7 on 2 cores with 3 jobs: 3 units of time give 2 each, 1 unit 682/1024 (rounded down)."""
    clock = Clock()
    cores = Cores(clock, 2)
    job = Job(7, Owner(0))
    for index in (1, 2):
        cores.run(100, Owner(index))
    cores.begin(job)
    clock.run_until(0)
    clock.start(_wait(clock, 1))
    clock.run_until(1)
    cores.take_off(job)
    assert (job.left, job.left_ns) == (7 * SHARE - 682, 7)
    ended = cores.begin(job)
    clock.run_until(50)
    assert ended.callbacks is None and job.left == 0


def _wait(clock: Clock, time: int):
    yield clock.at(time, Owner(99).key(PHASE_END))


def test_the_holder_of_the_gil_needs_a_core_and_leaves_it_when_preempted(log) -> None:
    """Two processes with two threads each on one core: their holders have half of it each.

    The quantum is wall time: a holder computes 5 of its 10 in the first interval.
    """
    clock = Clock()
    cores = Cores(clock, 1)

    def burner(gil: GIL, index: int, work: int):
        owner, job = Owner(index), Job(work, Owner(index))
        yield gil.acquire(owner)
        while job.left:
            if not gil.asked_to_drop:
                yield gil.run_on(cores, job)
                cores.take_off(job)
            if job.left:
                gil.release()
                yield gil.acquire(owner)
        log.append((index, clock.now))
        gil.release()

    for process in range(2):
        gil = GIL(clock, switch_interval=10)
        for index in range(2):
            clock.start(burner(gil, 2 * process + index, 8))
    clock.run_until(1000)
    # Work 32 on one core. Each holder has 5 in an interval of 10: at 20 all have 5 of 8;
    # the first of each process ends at 26, the second at 32.
    assert log == [(0, 26), (2, 26), (1, 32), (3, 32)]
    assert cores.running == 0


def sojourns(count: int, rate: float, works: np.ndarray, seed: int) -> np.ndarray:
    """Stays of jobs that arrive at random at one shared core."""
    clock = Clock()
    cores = Cores(clock, 1)
    gaps = np.random.default_rng(seed).exponential(1e9 / rate, count)
    arrivals = np.cumsum(gaps).astype(np.int64)
    stays = np.zeros(count)

    def job(index: int, work: int):
        yield cores.run(work, Owner(index))
        stays[index] = clock.now - arrivals[index]

    def source():
        for index, work in enumerate(works.tolist()):
            yield clock.at(int(arrivals[index]) - clock.now, Owner(index).key(PHASE_ARRIVAL))
            clock.start(job(index, work))

    clock.start(source())
    clock.run_until(2**61)
    return stays[count // 20 :] / 1e9


def test_exponential_work_on_one_shared_core_is_m_m_1() -> None:
    """Ciw's processor-sharing guide, λ 4, μ 9: mean 0.2 s.

    n = 40,000 with a load of .44: standard error about 0.8 %; 4 % is five of them.
    """
    works = np.random.default_rng(1).exponential(1e9 / 9, 40_000).astype(np.int64)
    assert sojourns(40_000, 4, works, 2).mean() == pytest.approx(0.2, rel=0.04)


def test_every_size_of_job_is_slowed_down_alike() -> None:
    """E[T | x] = x / (1 - ρ): 10 ms and 190 ms at ρ = .8 stay 50 and 950 ms.

    n = 60,000; standard error about 3 % (long busy periods), tolerance 12 %.
    """
    long = np.random.default_rng(3).random(60_000) < 0.5
    works = np.where(long, 190_000_000, 10_000_000)
    stays = sojourns(60_000, 8, works, 4)
    long = long[60_000 // 20 :]
    assert stays[~long].mean() == pytest.approx(0.05, rel=0.12)
    assert stays[long].mean() == pytest.approx(0.95, rel=0.12)


def test_the_drift_against_exact_fractions_is_small() -> None:
    """Law 7: worst 84 ns over 12,000 jobs; here 2,000 jobs at ρ = .9 on 3 cores."""
    generator = np.random.default_rng(5)
    count, cores_count = 2_000, 3
    arrivals = np.cumsum(generator.exponential(1e6, count)).astype(np.int64).tolist()
    works = generator.exponential(2.7e6, count).astype(np.int64).tolist()
    clock = Clock()
    cores = Cores(clock, cores_count)
    ends = [0] * count

    def job(index: int):
        yield clock.at(arrivals[index], Owner(index).key(PHASE_ARRIVAL))
        yield cores.run(works[index], Owner(index))
        ends[index] = clock.now

    for index in range(count):
        clock.start(job(index))
    clock.run_until(2**61)
    exact = exact_ends(arrivals, works, cores_count)
    assert max(abs(end - e) for end, e in zip(ends, exact, strict=True)) < 200


def exact_ends(arrivals: list[int], works: list[int], count: int) -> list[Fraction]:
    """Processor sharing with exact fractions, job by job."""
    ends = [Fraction(0)] * len(works)
    left: dict[int, Fraction] = {}
    now, arrived = Fraction(0), 0
    while left or arrived < len(works):
        rate = min(Fraction(1), Fraction(count, max(1, len(left))))
        first = min(left, key=lambda i: left[i]) if left else None
        end = now + left[first] / rate if first is not None else None
        if arrived < len(works) and (end is None or arrivals[arrived] <= end):
            then = Fraction(arrivals[arrived])
        else:
            assert end is not None
            then = end
        for i in left:
            left[i] -= (then - now) * rate
        now = then
        for i in [i for i, rest in left.items() if rest <= 0]:
            ends[i] = now
            del left[i]
        if arrived < len(works) and arrivals[arrived] <= now:
            left[arrived] = Fraction(works[arrived])
            arrived += 1
    return ends
