"""Which real pool stands for a pool of the scenario.

An awaited pool has coroutines ``open take give close``, and connections with coroutines
``sleep begin commit rollback lock``; a blocking one has the same as plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.calibration.served.failures import Failed, NotStarted, is_refusal
from simulator.plan import NEVER, NO_DATABASE
from simulator.record import dataclass

if TYPE_CHECKING:
    from simulator.calibration.served.process import Process


OPEN_S = 5.0
"""How long psycopg_pool tries to open its connections before the process gives up."""
NO_TIMEOUT_S = 1e6
"""psycopg_pool has no "wait for ever"; this is eleven days."""


def pg_sleep_s(seconds: float) -> float:
    """What ``pg_sleep`` is asked for, to sleep the whole milliseconds nearest to this.

    PostgreSQL (15 to 18, ``src/backend/utils/adt/misc.c``) sleeps whole milliseconds: what is left
    until its end, rounded up. Asked for 1 ms it sleeps 1 or 2, as its two looks at the clock and
    the rounding of a float will have it; asked for half a millisecond less, it sleeps 1. Rounded
    to the nearest, the mean of times that vary stays what it is.
    """
    return max(0.0, (round(seconds * 1e3) - 0.5) / 1e3)


@dataclass(frozen=True, slots=True)
class Settings:
    """A pool as its library is told it."""

    name: str
    dsn: str
    size: int
    overflow: int
    min: int
    timeout_s: float | None
    database: str  # whose connection limit applies, by its name in the scenario
    lifo: bool

    @property
    def per_request(self) -> bool:
        """Whether nothing is kept: each request connects for itself."""
        return self.size == 0

    def timed_out(self) -> Failed:
        """The failure of a request that had no connection in time."""
        return Failed(f"pool_timeout:{self.name}")

    def failed(self, error: Exception) -> Exception:
        """The failure of a request that could not connect: refused, or the error itself."""
        return Failed(f"too_many_connections:{self.database}") if is_refusal(error) else error

    def sqlalchemy_options(self) -> dict[str, Any]:
        """What an engine of SQLAlchemy is told."""
        if self.per_request:
            from sqlalchemy.pool import NullPool

            return {"poolclass": NullPool}
        return {
            "pool_size": self.size,
            "max_overflow": self.overflow,
            "pool_timeout": self.timeout_s,
            "pool_use_lifo": self.lifo,
        }

    def psycopg_options(self) -> dict[str, Any]:
        """What a pool of psycopg_pool is told."""
        timeout_s = NO_TIMEOUT_S if self.timeout_s is None else self.timeout_s
        size = self.size + self.overflow
        return {"min_size": self.min, "max_size": size, "timeout": timeout_s}

    def not_started(self, error: BaseException) -> NotStarted:
        """Why the process can't start."""
        return NotStarted(f"pool {self.name}: could not open {self.min} connections: {error}")


def settings(process: Process, index: int) -> Settings:
    """A pool of the plan, with its DSN."""
    pool, spec = process.plan.pools[index], process.spec
    timeout_ns, database = pool.acquire_timeout_ns, pool.database
    return Settings(
        name=pool.label,
        dsn=spec.dsn.get(pool.label, ""),
        size=pool.size,
        overflow=pool.overflow,
        min=pool.min,
        timeout_s=None if timeout_ns >= NEVER else timeout_ns / 1e9,
        database=pool.label if database == NO_DATABASE else process.plan.databases[database].label,
        lifo=pool.lifo,
    )


def make(process: Process, index: int) -> Any:
    """The real pool: by preset, and by whether its connections are awaited."""
    given = settings(process, index)
    preset = process.spec.document["pools"][given.name]["preset"]
    if index in process.awaited_pools:
        from simulator.calibration.served.pools_awaited import awaited_pool

        return awaited_pool(given, preset)
    from simulator.calibration.served.pools_blocking import blocking_pool

    return blocking_pool(given, preset)
