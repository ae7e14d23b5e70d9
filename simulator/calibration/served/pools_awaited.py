"""Pools whose connections are awaited: asyncpg, SQLAlchemy's async engine, psycopg_pool."""

from __future__ import annotations

from typing import Any

import asyncpg

from simulator.calibration.served.failures import is_refusal
from simulator.calibration.served.pools import Settings


def awaited_pool(given: Settings, preset: str) -> Any:
    """The pool of a preset; a semaphore without a database."""
    return Asyncpg(given)


class Asyncpg:
    """``asyncpg.create_pool``."""

    def __init__(self, given: Settings) -> None:
        self._given = given
        self._pool: Any = None

    async def open(self) -> None:
        """Open the pool with its minimum of connections."""
        try:
            self._pool = await asyncpg.create_pool(
                self._given.dsn, min_size=self._given.min, max_size=self._given.size
            )
        except (asyncpg.PostgresError, OSError) as error:
            raise self._given.not_started(error) from error

    async def take(self) -> AsyncpgConnection:
        """A connection, as ``pool.acquire`` gives it."""
        try:
            return AsyncpgConnection(await self._pool.acquire(timeout=self._given.timeout_s))
        except TimeoutError as error:
            raise self._given.timed_out() from error
        except asyncpg.PostgresError as error:
            if is_refusal(error):
                raise self._given.refused() from error
            raise

    async def give(self, connection: AsyncpgConnection) -> None:
        """Give it back: asyncpg resets it first."""
        await self._pool.release(connection.raw)

    async def close(self) -> None:
        """Close all connections, busy ones too."""
        self._pool.terminate()


class AsyncpgConnection:
    """A connection of asyncpg."""

    __slots__ = ("_transaction", "raw")

    def __init__(self, raw: Any) -> None:
        self.raw = raw
        self._transaction: Any = None

    async def sleep(self, seconds: float) -> None:
        """A query that takes so long in the database."""
        await self.raw.fetchval("SELECT pg_sleep($1)", seconds)

    async def lock(self, statement: str, row: int) -> None:
        """Take a row lock; waits until it is granted."""
        await self.raw.execute(statement.format("$1"), row)

    async def begin(self, isolation: str) -> None:
        """Begin a transaction."""
        self._transaction = self.raw.transaction(isolation=isolation)
        await self._transaction.start()

    async def commit(self) -> None:
        """Commit it."""
        await self._transaction.commit()

    async def rollback(self) -> None:
        """Roll it back."""
        await self._transaction.rollback()
