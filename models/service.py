"""Something called over the network: its slots and their queue, and the caller's connections.

``Service`` imitates what a caller sees of another service: so many requests at a time, a
queue with a limit (an Envoy cluster's ``max_requests`` and ``max_pending_requests``, a
server's workers and backlog), the most urgent first. A slot is handed straight to the
next in line.

``HttpClient`` imitates the connection limit of an HTTP client in one process: httpx 0.28
``Limits(max_connections=100)`` with its ``PoolTimeout``, aiohttp 3 ``TCPConnector(limit=100)``.

Modelled: slots, queue limit, priorities, giving up in the queue, the timeout of the wait
for a connection, and two habits of httpcore 1.0.9 (``AsyncConnectionPool``):

- Whenever a call comes or ends, ``_assign_requests_to_connections`` asks each connection,
  for each call that waits, whether it is available and whether it is idle. So a change costs
  connections × waiting: 10,000 pairs beside 100 connections and 100 who wait. One that is open
  passes each question on to its protocol, one that is still being opened answers itself, in half
  the time (.45 and .21 us a pair).
- A connection that comes free while no more than ``max_keepalive_connections`` (20) are open
  stays open, and *all* who wait are sent to it: one gets it, the others wait again, and their
  timeout begins anew. With more it is closed, a new one goes to the first in line alone, and
  the timeout of the others goes on.

Not modelled: the CPU of those who are sent in vain (.2 to .5 ms each, 2 to 14 times a call in
small pools and in bursts on a pool with idle connections), connections that are closed when they
have been idle, what connecting takes (``opens`` says who connects) and TLS; the pairs gone
through for a call that gives up; limits per host; a service that cuts short the work of a caller
who has gone.
"""

from __future__ import annotations

from heapq import heappop, heappush

import simpy

from models.clock import PHASE_TIMER, Owner, after, grant, granted, refuse, refused
from models.connection_pool import PoolTimeout


class ServiceFull(Exception):
    """All slots are taken and as many wait as may (HTTP status 503)."""


class Service:
    """Slots that are given to the most urgent, and among equals to who came first.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    concurrency : int
        How many are served at a time.
    queue : int, optional
        How many may wait; no limit if not given.
    """

    def __init__(
        self, env: simpy.Environment, concurrency: int, *, queue: int | None = None
    ) -> None:
        self._env = env
        self._size = concurrency
        self._queue = queue
        self._idle: list[int] = []
        self._made = 0  # slots are numbered as they are first used: 0, 1, 2, …
        self._asked = 0
        self._line: list[tuple[int, int, simpy.Event]] = []
        self._waiting: set[simpy.Event] = set()

    @property
    def size(self) -> int:
        return self._size

    @property
    def in_use(self) -> int:
        return self._made - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def opens(self) -> bool:
        """Whether who asks now gets a slot that nobody had before."""
        return not self._idle and self._made < self._size

    def acquire(self, priority: int = 0) -> simpy.Event:
        """An event whose value is the slot; the lowest ``priority`` is served first.

        It fails with ``ServiceFull`` at once if no more may wait.
        """
        if self._idle:
            return granted(self._env, self._idle.pop())
        if self._made < self._size:
            self._made += 1
            return granted(self._env, self._made - 1)
        if self._queue is not None and len(self._waiting) >= self._queue:
            return refused(self._env, ServiceFull(f"{self._queue} wait already"))
        event = simpy.Event(self._env)
        self._asked += 1
        heappush(self._line, (priority, self._asked, event))
        self._waiting.add(event)
        return event

    def release(self, slot: int) -> None:
        """Give a slot back."""
        while self._line:
            event = heappop(self._line)[2]
            if event in self._waiting:
                self._waiting.remove(event)
                grant(event, slot)
                return
        self._idle.append(slot)

    def leave(self, event: simpy.Event) -> None:
        """A waiter gives up its place."""
        self._waiting.discard(event)


class HttpClient(Service):
    """The connections of one process to a service.

    Parameters
    ----------
    connections : int
        How many can be open at a time.
    pool_timeout : int, optional
        Longest wait for one, in units of the clock; no limit if not given.
    restarts : bool, default True
        Whether that timeout begins anew whenever a connection comes free, as in httpx with
        at most 20 connections.
    """

    def __init__(
        self,
        env: simpy.Environment,
        connections: int,
        *,
        pool_timeout: int | None = None,
        restarts: bool = True,
    ) -> None:
        super().__init__(env, connections)
        self._timeout = pool_timeout
        self._restarts = restarts
        self._freed: int | None = None
        self._open: set[int] = set()

    def connect(self, owner: Owner | None = None) -> simpy.Event:
        """An event whose value is the connection; it fails with ``PoolTimeout``."""
        event = self.acquire()
        if self._timeout is not None and event.callbacks is not None:
            self._set_timer(event, owner, int(self._env.now) + self._timeout)
        return event

    def half_pairs(self, *, arriving: bool = False) -> int:
        """Pairs of a connection and a call that waits: what httpcore goes through at a change.

        In halves: one that is still being opened counts one. ``arriving``: one more call than
        those that wait already.
        """
        return (self.in_use + len(self._open)) * (self.waiting + arriving)

    def opened(self, slot: int) -> None:
        """A connection is open: something is sent on it."""
        self._open.add(slot)

    def release(self, slot: int) -> None:
        """Give a connection back."""
        self._open.discard(slot)
        self._freed = int(self._env.now)
        super().release(slot)

    def _set_timer(self, event: simpy.Event, owner: Owner | None, until: int) -> None:
        timer = after(self._env, until - int(self._env.now), PHASE_TIMER, owner)
        assert timer.callbacks is not None
        timer.callbacks.append(lambda _: self._time_is_up(event, owner, until))

    def _time_is_up(self, event: simpy.Event, owner: Owner | None, until: int) -> None:
        assert self._timeout is not None
        anew = until
        if self._restarts and self._freed is not None:
            anew = max(until, self._freed + self._timeout)
        if anew == until:
            self.give_up(event)
        elif event in self._waiting:
            self._set_timer(event, owner, anew)

    def give_up(self, event: simpy.Event) -> None:
        """A waiter leaves and fails with ``PoolTimeout``; nothing if it is served already."""
        if event in self._waiting:
            self.leave(event)
            refuse(event, PoolTimeout("no connection within the timeout"))
