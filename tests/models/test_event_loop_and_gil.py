"""Turns of the loop, and who has the GIL."""

from __future__ import annotations

from models import GIL, Clock, EventLoop, Owner
from models.clock import PHASE_ARRIVAL, PHASE_END
from models.event_loop import FOREVER, Release


def callback(env, loop, log, name, arrive, cpu):
    yield env.timeout(arrive)
    yield loop.enter()
    log.append((name, env.now))
    yield env.timeout(cpu)
    loop.leave()


def test_callbacks_run_one_at_a_time_in_order(env, log) -> None:
    loop = EventLoop(env)

    for name, arrive, cpu in [("a", 0, 10), ("b", 1, 5), ("c", 2, 1), ("d", 30, 1)]:
        env.process(callback(env, loop, log, name, arrive, cpu))
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


def test_the_first_callback_after_a_pause_is_late(env, log) -> None:
    """b comes while the loop wakes for a and has the next turn; c finds it warm, d colder again."""
    pauses = []

    def wake(pause):
        pauses.append(pause)
        return min(pause, 100) // 10

    loop = EventLoop(env, wake=wake)

    for name, arrive, cpu in [("a", 0, 5), ("b", 7, 5), ("c", 21, 0), ("d", 50, 0), ("e", 250, 0)]:
        env.process(callback(env, loop, log, name, arrive, cpu))
    env.run()
    assert log == [("a", 10), ("b", 15), ("c", 21), ("d", 52), ("e", 260)]
    assert pauses == [FOREVER, 1, 29, 198]


def test_a_cold_loop_takes_the_gil_when_it_is_awake(log) -> None:
    clock = Clock()
    gil = GIL(clock, switch_interval=5_000)
    loop = EventLoop(clock, gil=gil, owner=Owner(0), wake=lambda pause: 1000)

    def callback():
        yield loop.enter()
        log.append((clock.now, loop.gil_waited))
        loop.leave()

    clock.start(burner(clock, gil, Thread(1), 3_000, log))
    clock.start(callback())
    clock.run_until(10_000)
    assert log == [(1, 3_000), (3_000, (1_000, 3_000))]


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


def beside_a_computing_thread(log, *, lost=(), writes_release=False):
    """A light request at 100 beside a thread that computes all the time; interval 5."""
    clock = Clock()
    gil = GIL(clock, switch_interval=5)
    loop = EventLoop(
        clock,
        gil=gil,
        owner=Owner(0),
        lost=lambda release: release in lost,
        writes_release=writes_release,
    )

    def light(clock):
        yield clock.at(100, Owner(1).key(PHASE_ARRIVAL))
        yield loop.enter(reads=True)
        log.append(("read", clock.now))
        yield loop.next_turn()
        log.append(("handled", clock.now))
        yield loop.write()
        log.append(("written", clock.now))
        loop.leave()

    clock.start(burner(clock, gil, Thread(7), 10_000, []))
    clock.start(light(clock))
    clock.run_until(500)
    return log


def test_a_loop_waits_an_interval_to_wake_and_wins_back_what_it_lets_go_of_for_a_moment() -> None:
    log = beside_a_computing_thread([])
    assert log == [("read", 105), ("handled", 105), ("written", 105)]


def test_each_release_that_is_lost_costs_a_loop_another_interval() -> None:
    log = beside_a_computing_thread([], lost=(Release.READ,))
    assert log == [("read", 110), ("handled", 110), ("written", 110)]
    log = beside_a_computing_thread([], lost=(Release.READ, Release.TURN))
    assert log == [("read", 110), ("handled", 115), ("written", 115)]


def test_only_asyncio_lets_go_of_the_gil_to_write() -> None:
    log = beside_a_computing_thread([], lost=(Release.WRITE,))
    assert log == [("read", 105), ("handled", 105), ("written", 105)]
    log = beside_a_computing_thread([], lost=(Release.WRITE,), writes_release=True)
    assert log == [("read", 105), ("handled", 105), ("written", 110)]


def test_each_request_of_a_turn_is_read_with_a_release_of_its_own() -> None:
    """Two that arrive at once: the second waits for its own interval too."""
    clock, log = Clock(), []
    gil = GIL(clock, switch_interval=5)
    loop = EventLoop(clock, gil=gil, owner=Owner(0), lost=lambda release: release is Release.READ)

    def light(index):
        yield clock.at(100, Owner(index).key(PHASE_ARRIVAL))
        yield loop.enter(reads=True)
        log.append((index, clock.now))
        loop.leave()

    clock.start(burner(clock, gil, Thread(7), 10_000, []))
    for index in (1, 2):
        clock.start(light(index))
    clock.run_until(500)
    assert log == [(1, 110), (2, 115)]


def test_a_release_is_lost_to_a_waiter_that_has_asked() -> None:
    """FORCE_SWITCHING: the loop computed for 7, its waiter asked after 5, the turn ends at 7."""
    clock, log = Clock(), []
    gil = GIL(clock, switch_interval=5)
    loop = EventLoop(clock, gil=gil, owner=Owner(0))

    def light(clock):
        yield loop.enter(reads=True)
        yield clock.at(7, Owner(1).key(PHASE_END))
        yield loop.next_turn()
        log.append(("handled", clock.now))
        loop.leave()

    clock.start(light(clock))
    clock.start(burner(clock, gil, Thread(7), 3, log))
    clock.run_until(500)
    assert log == [(7, 10), ("handled", 10)]


def test_nobody_waiting_nothing_is_asked() -> None:
    clock, asked = Clock(), []
    gil = GIL(clock, switch_interval=5)
    loop = EventLoop(clock, gil=gil, owner=Owner(0), lost=asked.append, writes_release=True)

    def light(clock):
        yield loop.enter(reads=True)
        yield loop.next_turn()
        yield loop.write()
        loop.leave()

    clock.start(light(clock))
    clock.run_until(500)
    assert asked == []
