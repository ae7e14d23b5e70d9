"""A connection pool of one process.

Imitates, by its parameters:

- asyncpg 0.32 ``create_pool(min_size, max_size)``: ``size``, ``min``, no timeout, the
  connection used last first (LIFO), waiters FIFO;
- SQLAlchemy 2.1 ``QueuePool(pool_size, max_overflow, pool_timeout)`` and
  ``AsyncAdaptedQueuePool``: ``size``, ``overflow``, nothing opened beforehand, idle
  connections FIFO;
- psycopg_pool 3.3 ``ConnectionPool(min_size, max_size, timeout)``.

Who takes a connection that is given back
------------------------------------------
psycopg_pool hands it straight to the longest waiter. The others put it back into their queue
and wake the longest waiter (``threading.Condition.notify`` of SQLAlchemy's ``Queue``;
``asyncio.Queue``, which ``AsyncAdaptedQueue`` and asyncpg's pool use), who looks again once it
runs. Until it has the GIL, or its loop comes to it, whoever asks finds the connection and takes
it; the woken one then waits again, *behind* all others (``while self._empty()``). So the wait
at a pool in demand is not first come, first served: now and then somebody waits twice as long.

SQLAlchemy's overflow (``QueuePool._do_return_conn``, ``_do_get``): the queue has ``size``
places. While it is full, a connection that comes back is closed, also where others wait who
have not run yet, and nobody is told that there is room: those who ask from then on connect, and
so does a waiter whose timeout passes. Connections that come back one by one are taken; of those
that come back together, in one turn of a busy event loop, ``size`` are kept.

A slot without a connection is connected by the one who gets it. If the database refuses, the slot
is taken until then and goes back without a connection: the next one who waits tries in turn
(asyncpg); SQLAlchemy tells nobody. Without a ``size`` (a connection for each, as many at a time
as the overflow) a slot that closes goes to the longest waiter, who connects.

Threads are taken to be there before the next connection comes back, as they are in
reality (recorded bursts on 5 + 10 lost none), where connections that were opened together do
not come back at the same nanosecond.

Modelled: sizes, overflow, connecting on demand, refusal, timeout of the wait, who takes. Not
modelled: a surplus that is closed because a woken thread has not run yet; recycling and health
checks of connections; the two further turns of a loop in which ``asyncio.wait_for`` (Python
3.11) passes on what its inner task has taken.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from typing import Protocol

import simpy

from models.clock import PHASE_TIMER, Owner, after, grant, granted, refuse
from models.database import Database


class PoolTimeout(Exception):
    """No connection became free within the pool's acquire timeout."""


@dataclass(slots=True)
class Connection:
    """A slot of a pool, and the database's connection behind it once it is open."""

    slot: int
    backend: int = -1  # the database's number for it; -1 while it is not open
    fresh: bool = False  # to be opened by the one who holds it now


class Runs(IntEnum):
    """When somebody who waits for a connection runs once there is one."""

    AT_ONCE = 0  # it is handed over
    ON_LOOP = 1  # when its loop comes to it
    IN_THREAD = 2  # when its thread has the GIL


class Place(Enum):
    """Where somebody is who asked for a connection."""

    WAITS = auto()
    TOLD = auto()  # that there may be one, and has not run since
    LATE = auto()  # told, and its timeout has passed since
    DONE = auto()


class Taker(Protocol):
    """Who keeps account of somebody's wait for a connection."""

    def told(self, connection: Connection) -> None:
        """This connection is there for them, at this instant."""

    def lost(self) -> None:
        """Somebody else has taken it since."""

    def gave_up(self) -> None:
        """They have waited for as long as they may."""


@dataclass(slots=True, eq=False)
class Asked:
    """Somebody who asked for a connection, which is the value of ``event``."""

    event: simpy.Event
    taker: Taker | None
    runs: Runs
    place: Place = Place.DONE
    connection: Connection | None = None  # that they were told of, until it is taken


class ConnectionPool:
    """Connections that requests take and give back.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    size : int
        Connections that are kept.
    overflow : int, default 0
        Further connections under load; closed when given back.
    acquire_timeout : int, optional
        Longest wait for a connection, in units of the clock; no limit if not given.
    database : Database, optional
        Where connections are opened; one that never refuses if not given.
    lifo : bool, default True
        Which idle connection is taken first: the one used last, or the one idle longest.
    """

    def __init__(
        self,
        env: simpy.Environment,
        size: int,
        *,
        overflow: int = 0,
        acquire_timeout: int | None = None,
        database: Database | None = None,
        lifo: bool = True,
    ) -> None:
        self._env = env
        self._size = size
        self._limit = size + overflow
        self._timeout = acquire_timeout
        self._database = database
        self._lifo = lifo
        self._idle: deque[Connection] = deque()
        self._spare: list[Connection] = []  # slots without a connection, used before
        self._made = 0
        self._waiting: deque[Asked] = deque()
        self._waiters = 0
        self._untaken: list[Asked] = []  # who were told of a connection, the last one last
        self._tells = size == 0 or overflow == 0  # whether a waiter hears of a closed slot

    @property
    def size(self) -> int:
        return self._limit

    @property
    def waiting(self) -> int:
        return self._waiters

    @property
    def closes_on_return(self) -> bool:
        """True if a connection given back now is surplus: ``size`` are idle or not taken yet."""
        untaken = sum(asked.runs is Runs.ON_LOOP for asked in self._untaken)
        return len(self._idle) + untaken >= self._size

    def open(self, count: int) -> list[Connection]:
        """The connections opened beforehand, idle now: ``min_size`` when a process starts.

        Raises
        ------
        TooManyConnections
            If the database refuses one of them.
        """
        opened = []
        for _ in range(count):
            connection = Connection(self._made)
            self._made += 1
            self.connect(connection)
            opened.append(connection)
        # Connection 0 is the first to be used, whichever end that is.
        self._idle.extend(reversed(opened) if self._lifo else opened)
        return opened

    def acquire(self, owner: Owner | None = None) -> simpy.Event:
        """An event whose value is a ``Connection``, once there is one.

        If it is ``fresh``, ``connect`` it. The event fails with ``PoolTimeout`` if the wait
        takes longer than the timeout.
        """
        return self.ask(owner).event

    def ask(
        self, owner: Owner | None = None, *, runs: Runs = Runs.AT_ONCE, taker: Taker | None = None
    ) -> Asked:
        """Ask for a connection; who does not run at once has to ``take`` it then."""
        asked = Asked(simpy.Event(self._env), taker, runs)
        connection = self._free()
        if connection is not None:
            if taker is not None:
                taker.told(connection)
            asked.event = granted(self._env, connection)
            return asked
        self._wait(asked)
        if self._timeout is not None:
            timer = after(self._env, self._timeout, PHASE_TIMER, owner)
            timer.callbacks.append(lambda _: self._give_up(asked))
        return asked

    def take(self, asked: Asked) -> Connection | None:
        """The connection for one who was told of it; None: there is none any more, and ``event``
        is another wait.

        Raises
        ------
        PoolTimeout
            There is none, and the timeout has passed meanwhile.
        """
        connection, late = asked.connection, asked.place is Place.LATE
        if connection is not None:
            self._untaken.remove(asked)
            asked.connection = None
        else:
            connection = self._queued()
            if connection is None and (self._tells or late):
                connection = self._room()
            if connection is not None and asked.taker is not None:
                asked.taker.told(connection)
        if connection is None and not late:
            asked.event = simpy.Event(self._env)
            self._wait(asked)
            return None
        asked.place = Place.DONE
        if connection is None:
            raise self._timed_out(asked)
        return connection

    def connect(self, connection: Connection) -> None:
        """Open a connection.

        Raises
        ------
        TooManyConnections
            The database refuses it; give the slot back.
        """
        # Without a database every connection is had; its number is that of the slot.
        database = self._database
        connection.backend = connection.slot if database is None else database.connect()

    def release(self, connection: Connection, *, close: bool = False) -> bool:
        """Give a connection back, or close it (what ``closes_on_return`` asks for).

        Returns whether somebody was told of it who has yet to take it.
        """
        if close and connection.backend >= 0:
            if self._database is not None:
                self._database.disconnect(connection.backend)
            connection.backend = -1
        is_open = connection.backend >= 0
        asked = self._longest_waiter() if is_open or self._tells else None
        if asked is None:
            (self._idle if is_open else self._spare).append(connection)
            return False
        if asked.runs:
            asked.place, asked.connection = Place.TOLD, connection
            self._untaken.append(asked)
        self._hand_over(asked, self._for_use(connection))
        return bool(asked.runs)

    def _longest_waiter(self) -> Asked | None:
        while self._waiting:
            asked = self._waiting.popleft()
            if asked.place is Place.WAITS:
                self._waiters -= 1
                asked.place = Place.DONE
                return asked
        return None

    def _hand_over(self, asked: Asked, connection: Connection) -> None:
        if asked.taker is not None:
            asked.taker.told(connection)
        grant(asked.event, connection)

    def _wait(self, asked: Asked) -> None:
        asked.place = Place.WAITS
        self._waiting.append(asked)
        self._waiters += 1

    def _give_up(self, asked: Asked) -> None:
        if asked.place is Place.TOLD:
            asked.place = Place.LATE
        if asked.place is not Place.WAITS:
            return
        asked.place = Place.DONE
        self._waiters -= 1
        connection = self._room()
        if connection is None:
            refuse(asked.event, self._timed_out(asked))
        else:
            self._hand_over(asked, connection)

    def _timed_out(self, asked: Asked) -> PoolTimeout:
        if asked.taker is not None:
            asked.taker.gave_up()
        return PoolTimeout(f"no connection within {self._timeout}")

    def _free(self) -> Connection | None:
        """A connection that is idle or not taken yet, or a slot for one."""
        return self._queued() or self._room()

    def _queued(self) -> Connection | None:
        if self._idle:
            return self._for_use(self._idle.pop() if self._lifo else self._idle.popleft())
        if not self._untaken:
            return None
        # Whoever was told last, and runs last, is left without.
        asked = self._untaken.pop()
        connection, asked.connection = asked.connection, None
        assert connection is not None
        if asked.taker is not None:
            asked.taker.lost()
        return self._for_use(connection)

    def _room(self) -> Connection | None:
        if self._spare:
            return self._for_use(self._spare.pop())
        if self._made == self._limit:
            return None
        self._made += 1
        return self._for_use(Connection(self._made - 1))

    def _for_use(self, connection: Connection) -> Connection:
        connection.fresh = connection.backend < 0
        return connection
