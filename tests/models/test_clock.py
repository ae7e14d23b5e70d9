"""The order of what happens at one instant."""

from __future__ import annotations

import itertools
import random

import pytest
import simpy

from models import Clock, Owner
from models.clock import PHASE_ARRIVAL, PHASE_END, PHASE_TIMER, Livelock, first_key, grant

EVENTS = [
    # (phase, owner, branch, attempt) in the order that the law gives them at one instant
    (PHASE_END, 0, 0, 0),
    (PHASE_END, 1, 0, 0),
    (PHASE_END, 1, 0, 1),
    (PHASE_END, 1, 1, 0),
    (PHASE_END, 2, 0, 0),
    (PHASE_TIMER, 0, 0, 0),
    (PHASE_TIMER, 7, 0, 0),
    (PHASE_ARRIVAL, 0, 0, 0),
    (PHASE_ARRIVAL, 3, 0, 0),
]


@pytest.mark.parametrize("seed", range(20))
def test_one_instant_is_ordered_by_phase_owner_branch_attempt_whatever_was_created_first(
    seed: int,
) -> None:
    clock, log = Clock(), []
    for event in random.Random(seed).sample(EVENTS, len(EVENTS)):
        phase, *owner = event
        at = clock.at(5, Owner(*owner).key(phase))
        at.callbacks.append(lambda _, event=event: log.append(event))
    clock.run_until(10)
    assert log == EVENTS


def test_stock_simpy_does_not_have_this_order() -> None:
    env, log = simpy.Environment(), []
    for event in reversed(EVENTS):
        env.timeout(5).callbacks.append(lambda _, event=event: log.append(event))
    env.run()
    assert log == EVENTS[::-1]


def test_events_of_one_owner_and_phase_keep_their_own_order() -> None:
    owner = Owner(4)
    keys = [owner.key(PHASE_END) for _ in range(5)]
    assert keys == sorted(keys) and len(set(keys)) == 5


def test_the_first_key_of_an_owner_is_known_without_it() -> None:
    for index, phase in itertools.product((0, 1, 2**39), range(3)):
        assert first_key(index, phase) == Owner(index).key(phase)


def test_keys_are_unique_and_ordered_over_all_parts() -> None:
    parts = itertools.product(range(3), (0, 1, 2**40 - 1), (0, 1, 2**16 - 1), (0, 1, 2**16 - 1))
    keys = [Owner(owner, branch, attempt).key(phase) for phase, owner, branch, attempt in parts]
    assert keys == sorted(keys) and len(set(keys)) == len(keys)


def test_what_an_event_causes_at_once_comes_before_the_next_event_of_the_instant() -> None:
    clock, log = Clock(), []
    waiter = simpy.Event(clock)

    def waits():
        yield waiter
        log.append(("handed over", clock.now))

    def gives():
        yield clock.at(5, Owner(0).key(PHASE_END))
        grant(waiter)
        log.append(("gave", clock.now))

    def next_one():
        yield clock.at(5, Owner(1).key(PHASE_END))
        log.append(("next event", clock.now))

    for steps in (next_one(), waits(), gives()):
        clock.start(steps)
    clock.run_until(10)
    assert log == [("gave", 5), ("handed over", 5), ("next event", 5)]


def test_plain_simpy_processes_run_on_it() -> None:
    clock, log = Clock(), []

    def process(env):
        yield env.timeout(3)
        log.append(env.now)
        yield env.timeout(4)
        log.append(env.now)

    clock.process(process(clock))
    clock.run()
    assert log == [3, 7]


def test_it_stops_at_the_end_that_it_is_given() -> None:
    clock, log = Clock(), []
    for at in (1, 5, 6):
        event = clock.at(at, Owner(at).key(PHASE_END))
        event.callbacks.append(lambda _, at=at: log.append(at))
    assert clock.run_until(5) is True
    assert log == [1, 5]
    assert clock.run_until(9) is False


def test_an_instant_without_end_is_an_error() -> None:
    clock = Clock(events_per_instant_max=100)
    owner = Owner(0)

    def again(_):
        clock.at(0, owner.key(PHASE_END)).callbacks.append(again)

    again(None)
    with pytest.raises(Livelock, match="more than 100 events at 0 ns"):
        clock.run_until(10)


def test_an_error_in_a_process_is_not_lost() -> None:
    clock = Clock()

    def fails():
        yield clock.at(1, Owner(0).key(PHASE_END))
        raise ValueError("a bug")

    clock.start(fails())
    with pytest.raises(ValueError, match="a bug"):
        clock.run_until(5)
