"""The line of a user's own code for a key, by preset, driver and kind of server."""

from __future__ import annotations

import pytest

from simulator.scenario import loads
from simulator.scenario.code_lines import code_line

TEXT = """\
vars: {pool: 7}
load: {requests: 1, at: once}
server: {preset: fastapi, workers: 3, threads: 60, limit_concurrency: 500}
pools:
  a: {size: '${pool}'}
  b: {preset: sqlalchemy, size: 8}
  c: {preset: psycopg_pool, size: 9, driver: blocking}
services:
  pay: {time: 1ms, concurrency: 5}
routes:
  read: {handler: def, steps: [{call: pay, blocking: true}]}
  slow: {handler: def, steps: [{query: a, time: 1ms}, {query: b, time: 1ms}, {query: c, time: 1ms}]}
"""


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("vars.pool", "psycopg_pool.ConnectionPool(dsn, min_size=7, max_size=7)"),
        ("pools.b.size", "create_engine(url, pool_size=8, max_overflow=10)"),
        ("pools.c.size", "psycopg_pool.ConnectionPool(dsn, min_size=9, max_size=9)"),
        ("server.workers", "uvicorn --workers 3"),
        ("server.threads", "anyio.to_thread.current_default_thread_limiter().total_tokens = 60"),
        ("server.limit_concurrency", "uvicorn --limit-concurrency 500"),
        ("services.pay.concurrency", "asyncio.Semaphore(5) around the call"),
        ("routes.read.weight", None),
    ],
)
def test_the_line_of_a_key(key: str, line: str | None) -> None:
    assert code_line(loads(TEXT), key) == line


def test_async_drivers_and_gunicorn() -> None:
    on_loop = TEXT.replace("handler: def", "handler: async def").replace("blocking: true", "")
    on_loop = on_loop.replace(", driver: blocking", "").replace("{call: pay, }", "{call: pay}")
    assert code_line(loads(on_loop), "vars.pool") == (
        "asyncpg.create_pool(dsn, min_size=7, max_size=7)"
    )
    assert code_line(loads(on_loop), "pools.b.size") == (
        "create_async_engine(url, pool_size=8, max_overflow=10)"
    )
    assert code_line(loads(on_loop), "pools.c.size") == (
        "psycopg_pool.AsyncConnectionPool(dsn, min_size=9, max_size=9)"
    )
    gthread = TEXT.replace("fastapi", "django").replace("limit_concurrency: 500", "backlog: 9")
    assert code_line(loads(gthread), "server.threads") == "gunicorn --threads 60"
    assert code_line(loads(gthread), "server.workers") == "gunicorn --workers 3"
