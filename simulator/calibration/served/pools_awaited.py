"""Pools whose connections are awaited: asyncpg, SQLAlchemy's async engine, psycopg_pool."""

from __future__ import annotations

import asyncio
from typing import Any

from simulator.calibration.served.pools import OPEN_S, Settings, pg_sleep_s


def awaited_pool(given: Settings, preset: str) -> Any:
    """The pool of a preset; a semaphore without a database."""
    if not given.dsn:
        return SemaphorePool(given)
    if preset == "sqlalchemy":
        return SqlalchemyEngine(given)
    if preset == "psycopg_pool":
        return PsycopgEach(given) if given.per_request else PsycopgPool(given)
    return AsyncpgEach(given) if given.per_request else AsyncpgPool(given)


class SemaphorePool:
    """No database: a semaphore in the place of the pool, a sleep in that of a query."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._slots = asyncio.Semaphore(given.size + given.overflow)

    async def open(self) -> None:
        """Nothing to open."""

    async def take(self) -> Asleep:
        """A place, when one is free."""
        await _slot(self._slots, self._given)
        return Asleep()

    async def give(self, connection: Asleep) -> None:
        """Give it back."""
        self._slots.release()

    async def close(self) -> None:
        """Nothing to close."""


class Asleep:
    """A connection to nothing."""

    async def sleep(self, seconds: float) -> None:
        """Sleep on the loop."""
        await asyncio.sleep(seconds)


class AsyncpgPool:
    """``asyncpg.create_pool``."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._pool: Any = None

    async def open(self) -> None:
        """Open the pool with its minimum of connections."""
        import asyncpg

        given = self._given
        try:
            self._pool = await asyncpg.create_pool(
                given.dsn, min_size=given.min, max_size=given.size
            )
        except (asyncpg.PostgresError, OSError) as error:
            raise given.not_started(error) from error

    async def take(self) -> AsyncpgConnection:
        """A connection, as ``pool.acquire`` gives it."""
        try:
            return AsyncpgConnection(await self._pool.acquire(timeout=self._given.timeout_s))
        except TimeoutError as error:
            raise self._given.timed_out() from error
        except Exception as error:
            raise self._given.failed(error) from error

    async def give(self, connection: AsyncpgConnection) -> None:
        """Give it back: asyncpg resets it first."""
        await self._pool.release(connection.raw)

    async def close(self) -> None:
        """Close all connections, busy ones too."""
        if self._pool is not None:
            self._pool.terminate()


class AsyncpgEach:
    """``asyncpg.connect`` for each request."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._slots = asyncio.Semaphore(given.overflow)

    async def open(self) -> None:
        """Nothing is kept open."""

    async def take(self) -> AsyncpgConnection:
        """A new connection."""
        import asyncpg

        await _slot(self._slots, self._given)
        try:
            return AsyncpgConnection(await asyncpg.connect(self._given.dsn))
        except Exception as error:
            self._slots.release()
            raise self._given.failed(error) from error

    async def give(self, connection: AsyncpgConnection) -> None:
        """Close it."""
        try:
            await connection.raw.close()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Nothing is kept open."""


class AsyncpgConnection:
    """A connection of asyncpg."""

    __slots__ = ("_transaction", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._transaction: Any = None

    async def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        await self.raw.fetchval("SELECT pg_sleep($1)", pg_sleep_s(seconds))

    async def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        await self.raw.execute(statement.format("$1"), row)

    async def begin(self, isolation: str) -> None:
        """Begin a transaction."""
        self._transaction = self.raw.transaction(isolation=isolation)
        await self._transaction.start()

    async def commit(self) -> None:
        """Commit it; where that fails it is over, too."""
        transaction, self._transaction = self._transaction, None
        await transaction.commit()

    async def rollback(self) -> None:
        """Roll it back, unless its commit has failed."""
        if self._transaction is not None:
            await self._transaction.rollback()


class SqlalchemyEngine:
    """``create_async_engine`` over asyncpg; without a size, its ``NullPool``."""

    def __init__(self, given: Settings) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        self._given = given
        self._engine = create_async_engine(
            given.dsn.replace("postgresql://", "postgresql+asyncpg://", 1),
            **given.sqlalchemy_options(),
        )
        self._slots = asyncio.Semaphore(given.overflow) if given.per_request else None

    async def open(self) -> None:
        """Open the minimum: SQLAlchemy by itself connects on demand."""
        given = self._given
        try:
            kept = [await self._engine.connect() for _ in range(given.min)]
        except Exception as error:
            raise given.not_started(error) from error
        for connection in kept:
            await connection.close()

    async def take(self) -> SqlalchemyConnection:
        """A connection, as ``engine.connect()`` gives it."""
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        if self._slots is not None:
            await _slot(self._slots, self._given)
        try:
            return SqlalchemyConnection(await self._engine.connect())
        except PoolTimeout as error:
            raise self._given.timed_out() from error
        except Exception as error:
            if self._slots is not None:
                self._slots.release()
            raise self._given.failed(error) from error

    async def give(self, connection: SqlalchemyConnection) -> None:
        """Give it back: SQLAlchemy rolls back what is open."""
        try:
            await connection.raw.close()
        finally:
            if self._slots is not None:
                self._slots.release()

    async def close(self) -> None:
        """Close what is idle."""
        await self._engine.dispose()


class SqlalchemyConnection:
    """A connection of SQLAlchemy's async engine."""

    __slots__ = ("raw",)

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        from sqlalchemy import text

        await self.raw.execute(text("SELECT pg_sleep(:seconds)"), {"seconds": pg_sleep_s(seconds)})

    async def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        from sqlalchemy import text

        await self.raw.execute(text(statement.format(":row")), {"row": row})

    async def begin(self, isolation: str) -> None:
        """Begin a transaction."""
        level = isolation.upper().replace("_", " ")
        await self.raw.execution_options(isolation_level=level)
        await self.raw.begin()

    async def commit(self) -> None:
        """Commit it."""
        await self.raw.commit()

    async def rollback(self) -> None:
        """Roll it back."""
        await self.raw.rollback()


class PsycopgPool:
    """``psycopg_pool.AsyncConnectionPool``."""

    def __init__(self, given: Settings) -> None:
        from psycopg_pool import AsyncConnectionPool

        self._given = given
        self._pool: Any = AsyncConnectionPool(given.dsn, open=False, **given.psycopg_options())

    async def open(self) -> None:
        """Open the pool with its minimum of connections."""
        try:
            await self._pool.open(wait=True, timeout=OPEN_S)
        except Exception as error:
            raise self._given.not_started(error) from error

    async def take(self) -> PsycopgConnection:
        """A connection, as ``pool.connection()`` gives it."""
        from psycopg_pool import PoolTimeout

        try:
            return PsycopgConnection(await self._pool.getconn())
        except PoolTimeout as error:
            raise self._given.timed_out() from error

    async def give(self, connection: PsycopgConnection) -> None:
        """Commit what is open and give it back."""
        try:
            await connection.ends()
        finally:
            await self._pool.putconn(connection.raw)

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.close(timeout=0)


class PsycopgEach:
    """``psycopg.AsyncConnection.connect`` for each request."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._slots = asyncio.Semaphore(given.overflow)

    async def open(self) -> None:
        """Nothing is kept open."""

    async def take(self) -> PsycopgConnection:
        """A new connection."""
        import psycopg

        await _slot(self._slots, self._given)
        try:
            return PsycopgConnection(await psycopg.AsyncConnection.connect(self._given.dsn))
        except Exception as error:
            self._slots.release()
            raise self._given.failed(error) from error

    async def give(self, connection: PsycopgConnection) -> None:
        """Commit what is open and close it."""
        try:
            await connection.ends()
            await connection.raw.close()
        finally:
            self._slots.release()

    async def close(self) -> None:
        """Nothing is kept open."""


class PsycopgConnection:
    """A connection of psycopg 3, awaited; its transactions begin by themselves."""

    __slots__ = ("raw",)

    def __init__(self, raw: Any) -> None:
        self.raw = raw

    async def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        await self.raw.execute("SELECT pg_sleep(%s)", (pg_sleep_s(seconds),))

    async def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        await self.raw.execute(statement.format("%s"), (row,))

    async def begin(self, isolation: str) -> None:
        """Let the next statement begin a transaction of this isolation."""
        from psycopg import IsolationLevel

        await self.raw.set_isolation_level(IsolationLevel[isolation.upper()])

    async def commit(self) -> None:
        """Commit it."""
        await self.raw.commit()

    async def rollback(self) -> None:
        """Roll it back."""
        await self.raw.rollback()

    async def ends(self) -> None:
        """Commit what is open, as leaving ``with connection`` does, and forget its isolation."""
        await self.raw.commit()
        if self.raw.isolation_level is not None:
            await self.raw.set_isolation_level(None)


async def _slot(slots: asyncio.Semaphore, given: Settings) -> None:
    """A place among the connections that may be open."""
    if given.timeout_s is None:
        await slots.acquire()
        return
    try:
        await asyncio.wait_for(slots.acquire(), given.timeout_s)
    except TimeoutError as error:
        raise given.timed_out() from error
