"""A SimPy environment in which simultaneous events have an order of their own.

Stock SimPy orders the events of one instant by when they were created, so two
spellings of one model can give two answers. On a ``Clock`` every event bears a unique
key instead: (phase, owner, part). What an event causes at once (a slot handed to a
waiter, a task that starts) happens before the next event of that instant.

A ``Clock`` is a ``simpy.Environment``: any SimPy process runs on it. The models of this
package run on a stock environment too, with SimPy's own order of ties.

Imitates SimPy 4.1 (``Environment.step``, ``Process._resume``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from heapq import heappop, heappush
from typing import Any, cast

import simpy

PHASE_END = 0
PHASE_TIMER = 1
PHASE_ARRIVAL = 2

_NUMBER_BITS = 32
_ATTEMPT_BITS = 16
_BRANCH_BITS = 16
_OWNER_BITS = 40
_INDEX_SHIFT = _BRANCH_BITS + _ATTEMPT_BITS + _NUMBER_BITS
_PHASE_SHIFT = _OWNER_BITS + _INDEX_SHIFT
_PHASES = tuple(phase << _PHASE_SHIFT for phase in range(3))

Steps = Generator[simpy.Event, Any, Any]


class Livelock(Exception):
    """More events at one instant than the clock's limit."""


class Owner:
    """Who schedules an event: gives each of its events a unique key.

    Parameters
    ----------
    index : int
        Order among all owners; at one instant and phase the lower one comes first.
    branch, attempt : int, default 0
        Order among the concurrent parts of one owner, then among its attempts.
    """

    __slots__ = ("_base", "_number")

    def __init__(self, index: int, branch: int = 0, attempt: int = 0) -> None:
        part = ((index << _BRANCH_BITS | branch) << _ATTEMPT_BITS) | attempt
        self._base = part << _NUMBER_BITS
        self._number = 0

    def key(self, phase: int) -> int:
        """The key of this owner's next event in that phase."""
        self._number += 1
        return _PHASES[phase] + self._base + self._number


def first_key(index: int, phase: int) -> int:
    """The key that ``Owner(index)`` gives its first event."""
    return _PHASES[phase] + (index << _INDEX_SHIFT) + 1


class Clock(simpy.Environment):
    """A SimPy environment with integer time, keyed events and inline consequences.

    Parameters
    ----------
    events_per_instant_max : int
        Events at one instant before ``run_until`` raises ``Livelock``.
    """

    def __init__(self, *, events_per_instant_max: int = 50_000_000) -> None:
        super().__init__(0)
        self._now: int = 0
        self._events = cast("list[tuple[int, int, int, simpy.Event]]", self._queue)
        self._soon: deque[simpy.Event] = deque()
        self._instant_max = events_per_instant_max

    @property
    def now(self) -> int:
        """The current time in ns."""
        return self._now

    @property
    def is_settled(self) -> bool:
        """True if nothing caused at this instant is still to be processed."""
        return not self._soon

    def at(self, delay: int, key: int) -> simpy.Event:
        """An event ``delay`` ns from now, ordered within its instant by ``key``."""
        event = simpy.Event(self)
        event._ok = True
        event._value = None
        heappush(self._events, (self._now + delay, key, 0, event))
        return event

    def fire(self, event: simpy.Event) -> None:
        """Process a triggered event within this instant, after what runs right now."""
        self._soon.append(event)

    def start(self, steps: Steps) -> None:
        """Run a generator of events as a process, from its first step on, at once."""
        _Process(steps).resume(_STARTED)

    def step(self) -> None:
        """Process the next event, and all that it causes at the same instant."""
        if not self._events:
            raise simpy.core.EmptySchedule
        self._now, _, _, event = heappop(self._events)
        _process(event)
        self._settle()

    def run_until(self, end: int) -> bool:
        """Process all events up to ``end`` (inclusive); False if nothing is left to do.

        Raises
        ------
        Livelock
            If one instant takes more events than the limit.
        """
        self._settle()
        queue, soon, limit = self._events, self._soon, self._instant_max
        instant, events = -1, 0
        while queue:
            if queue[0][0] > end:
                return True
            now, _, _, event = heappop(queue)
            self._now = now
            if now == instant:
                events += 1
                if events > limit:
                    raise Livelock(f"more than {limit} events at {now} ns")
            else:
                instant, events = now, 0
            callbacks = event.callbacks
            event.callbacks = None  # type: ignore[assignment]
            for callback in callbacks:
                callback(event)
            if not event._ok and not hasattr(event, "_defused"):
                raise event._value
            while soon:
                _process(soon.popleft())
        return False

    def _settle(self) -> None:
        soon = self._soon
        while soon:
            _process(soon.popleft())


def _process(event: simpy.Event) -> None:
    callbacks = event.callbacks
    event.callbacks = None  # type: ignore[assignment]
    for callback in callbacks:
        callback(event)
    if not event._ok and not hasattr(event, "_defused"):
        raise event._value


class _Process:
    """A running generator; unlike ``simpy.Process`` it starts and ends without an event."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def resume(self, event: simpy.Event) -> None:
        steps = self._steps
        try:
            while True:
                if event._ok:
                    event = steps.send(event._value)
                else:
                    event._defused = True
                    event = steps.throw(event._value)
                if event.callbacks is not None:
                    event.callbacks.append(self.resume)
                    return
        except StopIteration:
            return


def granted(env: simpy.Environment, value: Any = None) -> simpy.Event:
    """An event that has happened already: who yields it goes on at once."""
    event = simpy.Event(env)
    event._ok = True
    event._value = value
    event.callbacks = None  # type: ignore[assignment]
    return event


def refused(env: simpy.Environment, error: Exception) -> simpy.Event:
    """An event that has failed already: who yields it gets the error at once."""
    event = simpy.Event(env)
    event._ok = False
    event._value = error
    event._defused = True
    event.callbacks = None  # type: ignore[assignment]
    return event


def grant(event: simpy.Event, value: Any = None) -> None:
    """Let a waiter go on: at this instant, before any other event of it on a ``Clock``."""
    env = event.env
    if isinstance(env, Clock):
        event._ok = True
        event._value = value
        env._soon.append(event)
    else:
        event.succeed(value)


def refuse(event: simpy.Event, error: Exception) -> None:
    """Let a waiter fail with this error, at this instant."""
    env = event.env
    if isinstance(env, Clock):
        event._ok = False
        event._value = error
        env._soon.append(event)
    else:
        event.fail(error)


def after(env: simpy.Environment, delay: int, phase: int, owner: Owner | None) -> simpy.Event:
    """An event ``delay`` from now; on a ``Clock`` its place in the instant is the owner's."""
    if isinstance(env, Clock) and owner is not None:
        return env.at(delay, owner.key(phase))
    return env.timeout(delay)


def is_done(event: simpy.Event) -> bool:
    """True if the event has happened, so that nobody needs to wait for it."""
    return event.callbacks is None


_STARTED = granted(simpy.Environment())
