"""Pools of blocking drivers: psycopg_pool, SQLAlchemy over psycopg, a connection per request.

asyncpg has no blocking form: in ``def`` a pool of that preset is psycopg_pool's.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from simulator.calibration.served.pools import OPEN_S, Settings, pg_sleep_s


def blocking_pool(given: Settings, preset: str) -> Any:
    """The pool of a preset; a semaphore without a database."""
    if not given.dsn:
        return SemaphorePool(given)
    if preset == "sqlalchemy":
        return SqlalchemyEngine(given)
    return PsycopgEach(given) if given.per_request else PsycopgPool(given)


class Slots:
    """Places among the connections that may be open."""

    def __init__(self, given: Settings, count: int) -> None:
        self._given = given
        self._free = threading.Semaphore(count)

    def take(self) -> None:
        """A place, when one is free."""
        if not self._free.acquire(timeout=self._given.timeout_s):
            raise self._given.timed_out()

    def give(self) -> None:
        """Give it back."""
        self._free.release()


class SemaphorePool:
    """No database: a semaphore in the place of the pool, a sleep in that of a query."""

    def __init__(self, given: Settings) -> None:
        self._slots = Slots(given, given.size + given.overflow)

    def open(self) -> None:
        """Nothing to open."""

    def take(self) -> Asleep:
        """A place, when one is free."""
        self._slots.take()
        return Asleep()

    def give(self, connection: Asleep) -> None:
        """Give it back."""
        self._slots.give()

    def close(self) -> None:
        """Nothing to close."""


class Asleep:
    """A connection to nothing."""

    def sleep(self, seconds: float) -> None:
        """Sleep in this thread."""
        time.sleep(seconds)


class PsycopgPool:
    """``psycopg_pool.ConnectionPool``."""

    def __init__(self, given: Settings) -> None:
        from psycopg_pool import ConnectionPool

        self._given = given
        self._pool: Any = ConnectionPool(given.dsn, open=False, **given.psycopg_options())

    def open(self) -> None:
        """Open the pool with its minimum of connections."""
        try:
            self._pool.open(wait=True, timeout=OPEN_S)
        except Exception as error:
            raise self._given.not_started(error) from error

    def take(self) -> PsycopgConnection:
        """A connection, as ``pool.connection()`` gives it."""
        from psycopg_pool import PoolTimeout

        try:
            return PsycopgConnection(self._pool.getconn())
        except PoolTimeout as error:
            raise self._given.timed_out() from error

    def give(self, connection: PsycopgConnection) -> None:
        """Commit what is open and give it back."""
        try:
            connection.ends()
        finally:
            self._pool.putconn(connection.raw)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close(timeout=0)


class PsycopgEach:
    """``psycopg.connect`` for each request."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._slots = Slots(given, given.overflow)

    def open(self) -> None:
        """Nothing is kept open."""

    def take(self) -> PsycopgConnection:
        """A new connection."""
        import psycopg

        self._slots.take()
        try:
            return PsycopgConnection(psycopg.connect(self._given.dsn))
        except Exception as error:
            self._slots.give()
            raise self._given.failed(error) from error

    def give(self, connection: PsycopgConnection) -> None:
        """Commit what is open and close it."""
        try:
            connection.ends()
            connection.raw.close()
        finally:
            self._slots.give()

    def close(self) -> None:
        """Nothing is kept open."""


class PsycopgConnection:
    """A connection of psycopg 3; its transactions begin by themselves."""

    __slots__ = ("raw",)

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        self.raw.execute("SELECT pg_sleep(%s)", (pg_sleep_s(seconds),))

    def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        self.raw.execute(statement.format("%s"), (row,))

    def begin(self, isolation: str) -> None:
        """Let the next statement begin a transaction of this isolation."""
        from psycopg import IsolationLevel

        self.raw.isolation_level = IsolationLevel[isolation.upper()]

    def commit(self) -> None:
        """Commit it."""
        self.raw.commit()

    def rollback(self) -> None:
        """Roll it back."""
        self.raw.rollback()

    def ends(self) -> None:
        """Commit what is open, as leaving ``with connection`` does, and forget its isolation."""
        self.raw.commit()
        if self.raw.isolation_level is not None:
            self.raw.isolation_level = None


class SqlalchemyEngine:
    """``create_engine`` over psycopg; without a size, its ``NullPool``."""

    def __init__(self, given: Settings) -> None:
        from sqlalchemy import create_engine

        self._given = given
        self._engine = create_engine(
            given.dsn.replace("postgresql://", "postgresql+psycopg://", 1),
            **given.sqlalchemy_options(),
        )
        self._slots = Slots(given, given.overflow) if given.per_request else None

    def open(self) -> None:
        """Open the minimum: SQLAlchemy by itself connects on demand."""
        try:
            kept = [self._engine.connect() for _ in range(self._given.min)]
        except Exception as error:
            raise self._given.not_started(error) from error
        for connection in kept:
            connection.close()

    def take(self) -> SqlalchemyConnection:
        """A connection, as ``engine.connect()`` gives it."""
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        if self._slots is not None:
            self._slots.take()
        try:
            return SqlalchemyConnection(self._engine.connect())
        except PoolTimeout as error:
            raise self._given.timed_out() from error
        except Exception as error:
            if self._slots is not None:
                self._slots.give()
            raise self._given.failed(error) from error

    def give(self, connection: SqlalchemyConnection) -> None:
        """Give it back: SQLAlchemy rolls back what is open."""
        try:
            connection.raw.close()
        finally:
            if self._slots is not None:
                self._slots.give()

    def close(self) -> None:
        """Close what is idle."""
        self._engine.dispose()


class SqlalchemyConnection:
    """A connection of SQLAlchemy's engine."""

    __slots__ = ("raw",)

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        from sqlalchemy import text

        self.raw.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": pg_sleep_s(seconds)})

    def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        from sqlalchemy import text

        self.raw.execute(text(statement.format(":row")), {"row": row})

    def begin(self, isolation: str) -> None:
        """Begin a transaction."""
        self.raw.execution_options(isolation_level=isolation.upper().replace("_", " "))
        self.raw.begin()

    def commit(self) -> None:
        """Commit it."""
        self.raw.commit()

    def rollback(self) -> None:
        """Roll it back."""
        self.raw.rollback()
