"""A connection pool of one process.

Imitates, by its parameters:

- asyncpg 0.32 ``create_pool(min_size, max_size)``: ``size``, ``min``, no timeout, the
  connection used last first (LIFO), waiters FIFO;
- SQLAlchemy 2.1 ``QueuePool(pool_size, max_overflow, pool_timeout)`` and
  ``AsyncAdaptedQueuePool``: ``size``, ``overflow``, nothing opened beforehand, idle
  connections FIFO;
- psycopg_pool 3.3 ``ConnectionPool(min_size, max_size, timeout)``.

A connection given back is handed straight to the longest waiter.

SQLAlchemy's overflow (``QueuePool._do_return_conn``, ``_do_get``): a connection goes into a
queue of ``size`` places and stays there until a waiter who was woken runs and takes it. While
the queue is full, one that comes back is closed, also where others wait, and nobody is told
that there is room: those who ask from then on connect, and so does a waiter whose timeout
passes. Connections that come back one by one are handed over; of those that come back
together, in one turn of a busy event loop, ``size`` are kept.

A slot whose
connection the database refuses raises to the one who asked and stays in the pool
without a connection: the next one who asks tries in turn (asyncpg). Without a ``size``
(a connection for each, as many at a time as the overflow) a slot that closes goes to the
longest waiter, who connects.

Modelled: sizes, overflow, connecting on demand, refusal, timeout of the wait, FIFO
hand-over. Not modelled: a slot that stays taken while it is being refused, and those
who queue behind it; that a woken thread takes its connection only when it has the GIL; a new
request that barges in between a return and the wake-up of the waiter;
recycling and health checks of connections.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import simpy

from models.clock import PHASE_TIMER, Owner, after, grant, granted, refuse
from models.database import Database, TooManyConnections


class PoolTimeout(Exception):
    """No connection became free within the pool's acquire timeout."""


@dataclass(slots=True)
class Connection:
    """A slot of a pool, and the database's connection behind it once it is open."""

    slot: int
    backend: int = -1  # the database's number for it; -1 while it is not open
    fresh: bool = False  # opened for the one who holds it now
    untaken: bool = False  # handed to a waiter who has not run since


@dataclass(slots=True)
class _Waiter:
    event: simpy.Event
    later: bool
    gave_up: bool = False


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
        self._waiting: deque[_Waiter] = deque()
        self._waiters = 0
        self._untaken = 0
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
        return len(self._idle) + self._untaken >= self._size

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
            self._connect(connection)
            opened.append(connection)
        # Connection 0 is the first to be used, whichever end that is.
        self._idle.extend(reversed(opened) if self._lifo else opened)
        return opened

    def acquire(self, owner: Owner | None = None, *, later: bool = False) -> simpy.Event:
        """An event whose value is a ``Connection``, once there is one.

        ``later``: who waits runs some time after the event (its loop may be busy) and says so
        with ``took``; a thread is there at once. It fails with ``TooManyConnections`` if the
        database refuses a connection that is opened for it, with ``PoolTimeout`` if the wait
        takes longer than the timeout.
        """
        if self._idle:
            connection = self._idle.pop() if self._lifo else self._idle.popleft()
            connection.fresh = False
            return granted(self._env, connection)
        if self._has_room:
            try:
                return granted(self._env, self._open_another())
            except TooManyConnections as error:
                return _failed(self._env, error)
        waiter = _Waiter(simpy.Event(self._env), later)
        self._waiting.append(waiter)
        self._waiters += 1
        if self._timeout is not None:
            timer = after(self._env, self._timeout, PHASE_TIMER, owner)
            timer.callbacks.append(lambda _: self._give_up(waiter))
        return waiter.event

    def took(self, connection: Connection) -> None:
        """Say that who waited for this connection runs again."""
        self._untaken -= connection.untaken
        connection.untaken = False

    def release(self, connection: Connection, *, close: bool = False) -> None:
        """Give a connection back, or close it (what ``closes_on_return`` asks for)."""
        if close:
            self._disconnect(connection)
        while self._waiting and (self._tells or not close):
            waiter = self._waiting.popleft()
            if waiter.gave_up:
                continue
            self._waiters -= 1
            connection.fresh = connection.backend < 0
            if connection.fresh:
                self._connect(connection)  # never refused: its own place has just come free
            connection.untaken = waiter.later
            self._untaken += waiter.later
            grant(waiter.event, connection)
            return
        (self._idle if connection.backend >= 0 else self._spare).append(connection)

    def _give_up(self, waiter: _Waiter) -> None:
        if waiter.event.triggered:
            return
        waiter.gave_up = True
        self._waiters -= 1
        if not self._has_room:
            refuse(waiter.event, PoolTimeout(f"no connection within {self._timeout}"))
            return
        try:
            grant(waiter.event, self._open_another())
        except TooManyConnections as error:
            refuse(waiter.event, error)

    @property
    def _has_room(self) -> bool:
        return bool(self._spare) or self._made < self._limit

    def _open_another(self) -> Connection:
        if self._spare:
            connection = self._spare.pop()
        else:
            connection = Connection(self._made)
            self._made += 1
        try:
            self._connect(connection)
        except TooManyConnections:
            self._spare.append(connection)
            raise
        connection.fresh = True
        return connection

    def _connect(self, connection: Connection) -> None:
        # Without a database every connection is had; its number is that of the slot.
        database = self._database
        connection.backend = connection.slot if database is None else database.connect()

    def _disconnect(self, connection: Connection) -> None:
        if self._database is not None:
            self._database.disconnect(connection.backend)
        connection.backend = -1


def _failed(env: simpy.Environment, error: Exception) -> simpy.Event:
    event = simpy.Event(env)
    event._ok = False
    event._value = error
    event._defused = True
    event.callbacks = None  # type: ignore[assignment]
    return event
