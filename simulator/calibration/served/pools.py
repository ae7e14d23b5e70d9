"""Which real pool stands for a pool of the scenario.

An awaited pool has coroutines ``open take give close``, and connections with coroutines
``sleep begin commit rollback lock``; a blocking one has the same as plain functions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulator.calibration.served.failures import Failed, NotStarted
from simulator.plan import NEVER, NO_DATABASE
from simulator.record import dataclass

if TYPE_CHECKING:
    from simulator.calibration.served.process import Process


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

    def refused(self) -> Failed:
        """The failure of a request whose connection PostgreSQL refused."""
        return Failed(f"too_many_connections:{self.database}")

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
