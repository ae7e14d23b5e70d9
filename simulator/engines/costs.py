"""What every engine agrees on, continued: what clients, drivers and pauses cost, and when.

A database driver computes at each wake-up, and waits for answers. SQLAlchemy 2.1 (over asyncpg
and psycopg) and psycopg 3.3 begin a transaction: ``BEGIN`` is sent by itself, the first query
when that is answered; what ends it is a further round trip before the connection is back in its
pool. Whoever runs on a loop comes back to it for each answer: traced on the loop of uvicorn, a
query through SQLAlchemy's async engine has four parts of .2 to .5 ms each, before ``BEGIN``,
before the query, after its answer, after that of ``ROLLBACK``. asyncpg's pool sends the query at
once, and resets afterwards.

A loop that has waited for long finds its processor cold (``models.event_loop``), and a driver its
own code: of a query through SQLAlchemy's async engine that had slept for 50 ms or a second, .93 ms
of CPU came with its answer (.35 in a loop without a pause), .35 as the connection was given back
(.15), .12 as the next was taken (.07); waking up after as long a pause takes this loop .5 ms for
anybody. So ``query_wake`` comes where a connection is given back, on the first after a pause. The
processor of a backend that sleeps is cold, too (``backend_wake``), not of one that computes.
"""

from __future__ import annotations

from simulator.plan import UNLIMITED, HttpLibrary, Plan
from simulator.record import dataclass

COLD_AFTER_NS = 4_000_000
"""A pause of a loop that is as good as any longer one; a shorter one costs in proportion."""
COLD_LEAST, COLD_OPTIONS = 700, 601
"""Of the mean, in thousandths: what a pause costs at least, and from how many values it is
drawn, each as likely."""


def slept(cold_ns: int, ns: int) -> int:
    """What one that has slept for so long takes longer, where 4 ms or more cost ``cold_ns``."""
    return cold_ns * min(ns, COLD_AFTER_NS) // COLD_AFTER_NS


def client_costs(plan: Plan, service: int) -> tuple[int, int, int]:
    """CPU of a call's HTTP client: of the call, for each pair of a connection and a call that
    waits, for opening a connection.

    Without a limit of connections a call costs its caller nothing.
    """
    spec, overheads = plan.services[service], plan.server.overheads
    if spec.connections >= UNLIMITED:
        return 0, 0, 0
    if spec.client == HttpLibrary.AIOHTTP:
        return overheads.aiohttp_call_ns, 0, overheads.aiohttp_connect_ns
    return overheads.client_call_ns, overheads.client_scan_ns, 0


@dataclass(frozen=True, slots=True)
class DriverCosts:
    """In ns: CPU, then round trips."""

    begin_ns: int  # CPU before BEGIN is sent
    before_ns: int  # CPU before a query is sent
    after_ns: int  # CPU after its answer
    end_ns: int  # CPU after the answer to what ends the transaction
    begin_hold_ns: int  # of a connection, until BEGIN is answered
    end_hold_ns: int  # of a connection, until it may go back


def driver_costs(plan: Plan, pool: int) -> DriverCosts:
    """What the driver of this pool costs, of ``query_cpu`` and ``pool_hold``."""
    cpu_ns = plan.server.overheads.query_cpu_ns
    hold_ns = plan.server.overheads.pool_hold_ns
    if not plan.pools[pool].begins:
        return DriverCosts(0, cpu_ns // 2, cpu_ns - cpu_ns // 2, 0, 0, hold_ns)
    quarter = cpu_ns // 4
    return DriverCosts(
        quarter, quarter, quarter, cpu_ns - 3 * quarter, hold_ns // 2, hold_ns - hold_ns // 2
    )
