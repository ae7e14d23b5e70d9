"""Turns of the loop, and who has the GIL."""

from __future__ import annotations

from models import GIL, Clock, EventLoop, Owner
from models.clock import PHASE_ARRIVAL, PHASE_END


def test_callbacks_run_one_at_a_time_in_order(env, log) -> None:
    loop = EventLoop(env)

    def callback(name, arrive, cpu):
        yield env.timeout(arrive)
        yield loop.enter()
        log.append((name, env.now))
        yield env.timeout(cpu)
        loop.leave()

    for name, arrive, cpu in [("a", 0, 10), ("b", 1, 5), ("c", 2, 1), ("d", 30, 1)]:
        env.process(callback(name, arrive, cpu))
    env.run()
    assert log == [("a", 0), ("b", 10), ("c", 15), ("d", 30)]


def test_what_a_callback_makes_ready_runs_in_the_next_turn_before_what_was_polled(env, log) -> None:
    """asyncio: ``call_soon`` goes to the ready queue, the poll appends behind it."""
    loop = EventLoop(env)

    def callback(name, turn, cpu):
        yield turn
        log.append((name, env.now))
        yield env.timeout(cpu)
        loop.leave()

    def first(env):
        yield loop.enter()
        yield env.timeout(10)
        env.process(callback("made ready", loop.enter(soon=True), 1))
        loop.leave()

    def from_outside(env):
        yield env.timeout(4)
        env.process(callback("polled", loop.enter(), 1))

    env.process(first(env))
    env.process(from_outside(env))
    env.run()
    assert log == [("made ready", 10), ("polled", 11)]


def test_a_turn_runs_only_what_was_ready_when_it_began(env, log) -> None:
    loop = EventLoop(env)

    def polled(name, arrive, cpu, soon_after=0):
        yield env.timeout(arrive)
        yield loop.enter()
        log.append((name, env.now))
        yield env.timeout(cpu)
        for _ in range(soon_after):
            loop.leave()
            yield loop.enter(soon=True)
            log.append((name + " again", env.now))
        loop.leave()

    # b and c are one turn (polled while a ran); b's "again" comes after c, before d.
    env.process(polled("a", 0, 10))
    env.process(polled("b", 1, 5, soon_after=1))
    env.process(polled("c", 2, 5))
    env.process(polled("d", 12, 1))
    env.run()
    assert log == [("a", 0), ("b", 10), ("c", 15), ("b again", 20), ("d", 20)]


def burner(clock, gil, owner, work, log):
    """A thread that computes, giving the lock up when asked."""
    yield gil.acquire(owner)
    while work > 0:
        if not gil.asked_to_drop:
            began = clock.now
            yield gil.run(work, owner)
            work -= clock.now - began
        if work > 0:
            gil.release()
            yield gil.acquire(owner)
    log.append((owner.name, clock.now))
    gil.release()


class Thread(Owner):
    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.name = index


def test_two_computing_threads_take_turns_of_the_switch_interval() -> None:
    """a: 0–5, 10–15, 20–22. b: 5–10, 15–20, then alone 22–24: it had 10 of 12 by then."""
    clock, log = Clock(), []
    gil = GIL(clock, switch_interval=5)
    clock.start(burner(clock, gil, Thread(0), 12, log))
    clock.start(burner(clock, gil, Thread(1), 12, log))
    clock.run_until(1000)
    assert log == [(0, 22), (1, 24)]


def test_a_lone_thread_is_never_interrupted() -> None:
    clock, log = Clock(), []
    gil = GIL(clock, switch_interval=5)
    clock.start(burner(clock, gil, Thread(0), 100, log))
    clock.run_until(1000)
    assert log == [(0, 100)]


def test_a_waiter_waits_anew_after_a_switch_that_was_not_to_it() -> None:
    """CPython asks to drop only after an interval without a switch.

    Thread 0 holds; 1 starts to wait at 0, 2 at 3. At 5 thread 0 drops for 1. Thread 2's
    interval ends at 8, but there was a switch at 5, so it waits anew and asks at 13;
    thread 0, in the queue again since 5, has asked at 10 already: 2 comes first in it.
    """
    clock, log = Clock(), []
    gil = GIL(clock, switch_interval=5)
    taken = []

    def late(clock):
        yield clock.at(3, Owner(2).key(PHASE_ARRIVAL))
        owner = Thread(2)
        yield gil.acquire(owner)
        taken.append(clock.now)
        yield clock.at(1, owner.key(PHASE_END))
        gil.release()

    clock.start(burner(clock, gil, Thread(0), 20, log))
    clock.start(burner(clock, gil, Thread(1), 20, log))
    clock.start(late(clock))
    clock.run_until(1000)
    assert taken == [10]


def test_the_one_woken_is_the_one_chosen() -> None:
    for chosen, expected in [(0, [1, 2]), (1, [2, 1])]:
        clock, log = Clock(), []
        gil = GIL(clock, switch_interval=1000, choose=lambda waiting, chosen=chosen: chosen)
        for index in range(3):
            clock.start(burner(clock, gil, Thread(index), 10, log))
        clock.run_until(1000)
        assert [name for name, _ in log] == [0, *expected]


def test_a_loop_beside_a_computing_thread_waits_an_interval_for_each_take() -> None:
    """A light request takes the GIL twice on uvloop, about three times on asyncio's loop:
    when it is read, and when its handler runs a turn later; each time after an interval."""
    for takes, handled in [(2, 110), (3, 115)]:
        clock, log = Clock(), []
        gil = GIL(clock, switch_interval=5)
        loop = EventLoop(clock, gil=gil, owner=Owner(0), gil_takes=takes)

        def light(clock, loop=loop, log=log):
            yield clock.at(100, Owner(1).key(PHASE_ARRIVAL))
            yield loop.enter(reads=True)
            yield loop.next_turn()
            log.append(("handled", clock.now))
            loop.leave()

        clock.start(burner(clock, gil, Thread(7), 10_000, log))
        clock.start(light(clock))
        clock.run_until(500)
        assert log == [("handled", handled)]
