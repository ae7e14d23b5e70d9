"""The line of a user's own code, or of a command line, that makes a key so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from simulator.scenario.scenario import Scenario

_SERVER = {
    ("workers", "asgi"): "uvicorn --workers {}",
    ("workers", "sync"): "gunicorn --workers {}",
    ("workers", "threads"): "gunicorn --workers {}",
    ("threads", "asgi"): "anyio.to_thread.current_default_thread_limiter().total_tokens = {}",
    ("threads", "threads"): "gunicorn --threads {}",
    ("limit_concurrency", "asgi"): "uvicorn --limit-concurrency {}",
    ("backlog", "asgi"): "uvicorn --backlog {}",
    ("backlog", "sync"): "gunicorn --backlog {}",
    ("backlog", "threads"): "gunicorn --backlog {}",
}
"""By key of `server` and kind."""


def code_line(scenario: Scenario, key: str) -> str | None:
    """What to write for what a key has in this scenario: "asyncpg.create_pool(max_size=13)".

    Parameters
    ----------
    key : str
        As it is overridden: ``pools.db.size``, or ``vars.pool`` where that stands for it.

    Returns
    -------
    str or None
        None where no library has such a line.
    """
    document = scenario.document
    on_loop = any(route["handler"] == "async def" for route in document["routes"].values())
    for name, pool in document["pools"].items():
        for field in ("size", "overflow", "acquire_timeout"):
            if scenario.key(f"pools.{name}.{field}") == key:
                return _pool_line(pool, on_loop)
    server = document["server"]
    for (field, kind), text in _SERVER.items():
        if kind == server["kind"] and scenario.key(f"server.{field}") == key:
            return text.format(server[field])
    for name, service in document["services"].items():
        for field, write in _SERVICE.items():
            if field in service and scenario.key(f"services.{name}.{field}") == key:
                return write(service[field])
    return None


_SERVICE: dict[str, Callable[[Any], str]] = {
    "concurrency": lambda n: f"asyncio.Semaphore({n}) around the call",
}


def _pool_line(pool: Mapping[str, Any], on_loop: bool) -> str:
    size, overflow = pool["size"], pool["overflow"]
    on_loop = on_loop and pool["driver"] == "async"
    if pool.get("preset") == "sqlalchemy" or overflow:
        make = "create_async_engine" if on_loop else "create_engine"
        return f"{make}(url, pool_size={size}, max_overflow={overflow})"
    if pool.get("preset") == "psycopg_pool" or not on_loop:
        make = "AsyncConnectionPool" if on_loop else "ConnectionPool"
        return f"psycopg_pool.{make}(dsn, min_size={pool['min']}, max_size={size})"
    return f"asyncpg.create_pool(dsn, min_size={pool['min']}, max_size={size})"
