"""Rate limits: who is let through when, in order of arrival.

Imitates, by its class:

- ``TokenBucket``: AWS API Gateway, Stripe, nginx ``limit_req`` with ``burst`` and
  ``nodelay``; also aiolimiter 1.3 ``AsyncLimiter(20, 1)``, which lets 20 through at once
  and then one every 50 ms (burst 20, rate 20/s);
- ``LeakyBucket``: nginx ``limit_req`` with a queue: one every 1/rate, the first at once;
- ``FixedWindow``: a counter that is set back at the start of each window (``INCR`` and
  ``EXPIRE`` in Redis); windows start at 0;
- ``SlidingWindow``: a log of the instants of admission: never more than ``limit`` in any
  window that ends now.

What is over waits in order of arrival or, with ``waits=False``, is rejected at once. Who
gives up leaves its place, and its admission, to the next. All arithmetic is in integers:
the k-th of a backlog is let through at the first instant at or after its exact fraction
of time, so that nothing drifts.

Not modelled: limits per caller or key, a limit shared by several services, headers such
as ``Retry-After`` (the backoff is the caller's), the error of approximate sliding windows.
"""

from __future__ import annotations

from collections import deque

import simpy

from models.clock import PHASE_TIMER, Owner, after, grant, granted, refused


class RateLimited(Exception):
    """Over the limit, and the limit does not let wait (HTTP status 429)."""


class RateLimit:
    """Who waits for being let through; when that is, the subclasses know.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment with integer time.
    waits : bool
        Whether what is over waits; otherwise it is rejected.
    owner : Owner, optional
        Who owns the refills on a ``Clock``.
    """

    def __init__(
        self, env: simpy.Environment, *, waits: bool = True, owner: Owner | None = None
    ) -> None:
        self._env = env
        self._waits = waits
        self._owner = owner
        self._waiting: dict[simpy.Event, int] = {}  # when it arrived, in order of arrival
        self._refill_pending = False

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def acquire(self) -> simpy.Event:
        """An event that happens when the caller is let through.

        It fails with ``RateLimited`` at once if the limit does not let wait.
        """
        now = int(self._env.now)
        if not self._waiting and self._free_at(now) <= now:
            self._admit(now)
            return granted(self._env)
        if not self._waits:
            return refused(self._env, RateLimited("over the rate limit"))
        event = simpy.Event(self._env)
        self._waiting[event] = now
        self._await_refill()
        return event

    def leave(self, event: simpy.Event) -> None:
        """A waiter gives up; its admission goes to the next."""
        self._waiting.pop(event, None)

    def _await_refill(self) -> None:
        # One timer is enough: who leaves does not bring the next admission forward.
        if self._refill_pending:
            return
        self._refill_pending = True
        now = int(self._env.now)
        timer = after(self._env, self._free_at(now) - now, PHASE_TIMER, self._owner)
        assert timer.callbacks is not None
        timer.callbacks.append(self._refill)

    def _refill(self, _event: simpy.Event) -> None:
        self._refill_pending = False
        now = int(self._env.now)
        while self._waiting and self._free_at(now) <= now:
            event = next(iter(self._waiting))
            self._admit(self._waiting.pop(event))
            grant(event)
        if self._waiting:
            self._await_refill()

    def _free_at(self, now: int) -> int:
        """The first instant from now on at which one may be let through."""
        raise NotImplementedError

    def _admit(self, arrived: int) -> None:
        """Let one through now that arrived then."""
        raise NotImplementedError


class TokenBucket(RateLimit):
    """A bucket of ``burst`` tokens that starts full; each one let through takes one.

    Parameters
    ----------
    rate : (int, int)
        Tokens per 10⁹ units of the clock (per second, if they are ns), as a fraction.
    burst : int
        Tokens when full.
    per : int, default 10**9
        The units of the clock that ``rate`` is per.
    """

    def __init__(
        self,
        env: simpy.Environment,
        rate: tuple[int, int],
        burst: int,
        *,
        per: int = 10**9,
        waits: bool = True,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, waits=waits, owner=owner)
        # Instants times the numerator: so a token is made every `_period`, a whole number.
        self._scale, denominator = rate
        self._period = per * denominator
        self._ahead = (burst - 1) * self._period
        self._full = 0  # when the bucket will be full if no one comes

    def _free_at(self, now: int) -> int:
        return max(now, -(-(self._full - self._ahead) // self._scale))

    def _admit(self, arrived: int) -> None:
        # It took its token when that was made, be it between two instants of the clock.
        taken = max(arrived * self._scale, self._full - self._ahead)
        self._full = max(self._full, taken) + self._period


class LeakyBucket(TokenBucket):
    """One every 1/rate, the first at once: a token bucket that holds one."""

    def __init__(
        self,
        env: simpy.Environment,
        rate: tuple[int, int],
        *,
        per: int = 10**9,
        waits: bool = True,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, rate, 1, per=per, waits=waits, owner=owner)


class FixedWindow(RateLimit):
    """So many in each window; windows start at 0, ``window``, 2 · ``window`` …"""

    def __init__(
        self,
        env: simpy.Environment,
        limit: int,
        window: int,
        *,
        waits: bool = True,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, waits=waits, owner=owner)
        self._limit = limit
        self._length = window
        self._window = 0  # number of the window that `_used` counts in
        self._used = 0

    def _free_at(self, now: int) -> int:
        window = now // self._length
        used = self._used if window == self._window else 0
        return now if used < self._limit else (window + 1) * self._length

    def _admit(self, arrived: int) -> None:
        window = int(self._env.now) // self._length
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1


class SlidingWindow(RateLimit):
    """So many in any window that ends now; who passed just a window ago counts no more."""

    def __init__(
        self,
        env: simpy.Environment,
        limit: int,
        window: int,
        *,
        waits: bool = True,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, waits=waits, owner=owner)
        self._limit = limit
        self._window = window
        self._passed: deque[int] = deque(maxlen=limit)

    def _free_at(self, now: int) -> int:
        if len(self._passed) < self._limit:
            return now
        return max(now, self._passed[0] + self._window)

    def _admit(self, arrived: int) -> None:
        self._passed.append(int(self._env.now))
