"""What a served service lets through: rate limits and slots, in real time.

Written on their own, not from the models that simulate them: a mistake in one of the two
then shows.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from fractions import Fraction
from heapq import heappop, heappush
from math import ceil

from simulator.calibration.served.timer import Timer
from simulator.plan import RateLimit, RateLimitKind


class Refused(Exception):
    """A call that the service does not take; ``reason`` is the simulator's word for why."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Gate:
    """Lets calls through at a rate, in the order in which they come."""

    def __init__(self, spec: RateLimit, now: Callable[[], int], timer: Timer) -> None:
        self._waits = spec.waits
        self._now = now
        self._timer = timer
        self._line: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._opener: asyncio.Task[None] | None = None
        self._rule = _rule(spec)

    async def enter(self) -> None:
        """Come back when let through.

        Raises
        ------
        Refused
            If it is over the limit and may not wait.
        """
        now = self._now()
        if not self._line and self._rule.opens(now) <= now:
            self._rule.passes(now, now)
            return
        if not self._waits:
            raise Refused("rate_limited")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._line.append((now, place))
        if self._opener is None:
            self._opener = asyncio.create_task(self._open())
        await place  # who leaves cancels it, and is passed over

    async def _open(self) -> None:
        while self._line:
            came, place = self._line[0]
            if place.done():
                self._line.popleft()
                continue
            now = self._now()
            opens = self._rule.opens(now)
            if opens <= now:
                self._rule.passes(now, came)
                self._line.popleft()
                place.set_result(None)
            else:
                await self._timer.sleep(opens - now)
        self._opener = None


class _Rule:
    def opens(self, now: int) -> int:
        """The first instant, from now on, at which one may pass."""
        raise NotImplementedError

    def passes(self, now: int, came: int) -> None:
        """One passes now that came then."""
        raise NotImplementedError


class _Bucket(_Rule):
    """The virtual scheduling of GCRA (ITU-T I.371): a call may be ``lag`` ahead of its due."""

    def __init__(self, rate: tuple[int, int], burst: int) -> None:
        self._every = Fraction(10**9 * rate[1], rate[0])
        self._lag = (burst - 1) * self._every
        self._due = Fraction(-(2**62))

    def opens(self, now: int) -> int:
        return max(now, ceil(self._due - self._lag))

    def passes(self, now: int, came: int) -> None:
        # By its coming, not by now: a timer that is late doesn't slow the rate.
        self._due = max(self._due, Fraction(came)) + self._every


class _FixedWindow(_Rule):
    def __init__(self, limit: int, window: int) -> None:
        self._limit, self._window = limit, window
        self._number, self._passed = -1, 0

    def opens(self, now: int) -> int:
        number = now // self._window
        if number != self._number or self._passed < self._limit:
            return now
        return (number + 1) * self._window

    def passes(self, now: int, came: int) -> None:
        number = now // self._window
        if number != self._number:
            self._number, self._passed = number, 0
        self._passed += 1


class _SlidingWindow(_Rule):
    def __init__(self, limit: int, window: int) -> None:
        self._window = window
        self._passed: deque[int] = deque(maxlen=limit)

    def opens(self, now: int) -> int:
        if len(self._passed) < (self._passed.maxlen or 0):
            return now
        return max(now, self._passed[0] + self._window)

    def passes(self, now: int, came: int) -> None:
        self._passed.append(now)


def _rule(spec: RateLimit) -> _Rule:
    if spec.kind is RateLimitKind.TOKEN_BUCKET:
        return _Bucket(spec.rate, spec.burst)
    if spec.kind is RateLimitKind.LEAKY_BUCKET:
        return _Bucket(spec.rate, 1)
    if spec.kind is RateLimitKind.FIXED_WINDOW:
        return _FixedWindow(spec.limit, spec.window_ns)
    return _SlidingWindow(spec.limit, spec.window_ns)


class Slots:
    """So many calls at a time; the most urgent first, and of equals who came first."""

    def __init__(self, count: int, queue: int) -> None:
        self._free = count
        self._queue = queue
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        self._came = 0
        self._waiting = 0

    async def take(self, priority: int) -> None:
        """Come back with a slot.

        Raises
        ------
        Refused
            If as many wait as may.
        """
        if self._free:
            self._free -= 1
            return
        if self._waiting >= self._queue:
            raise Refused("service_full")
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._came += 1
        heappush(self._line, (priority, self._came, place))
        self._waiting += 1
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give()  # it was handed over while its caller left
            raise
        finally:
            self._waiting -= 1

    def give(self) -> None:
        """Hand a slot to the next in line."""
        while self._line:
            place = heappop(self._line)[2]
            if not place.done():
                place.set_result(None)
                return
        self._free += 1
