"""Which libraries serving a scenario takes, and which of them are not installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from simulator.calibration.served.command import sockets_of
from simulator.calibration.served.failures import ServeError
from simulator.calibration.served.written import awaited_pools
from simulator.plan import ServerKind
from simulator.scenario import Scenario


def needed(scenario: Scenario, database: str) -> Iterator[str]:
    """Packages, by the name that is imported."""
    plan, document = scenario.plan, scenario.document
    if plan.server.kind is ServerKind.ASGI:
        yield from ("fastapi", "uvicorn", "httptools")
        if document["server"]["loop"] == "uvloop":
            yield "uvloop"
    else:
        yield "gunicorn"
    if plan.pools and database != "none":
        yield "psycopg"
        awaited = awaited_pools(plan, document)
        for i, pool in enumerate(plan.pools):
            preset = document["pools"][pool.label]["preset"]
            if preset == "sqlalchemy":
                yield "sqlalchemy"
            if i in awaited and preset != "psycopg_pool":
                yield "asyncpg"
            elif pool.size and preset != "sqlalchemy":
                yield "psycopg_pool"
    if plan.services or plan.accelerators or sockets_of(plan):
        yield from ("aiohttp", "uvloop", "requests")
    if any(service["client"] != "none" for service in document["services"].values()):
        yield "httpx"


def check_installed(scenario: Scenario, database: str) -> None:
    """Raise ``ServeError`` that names all that is missing."""
    wanted = dict.fromkeys(needed(scenario, database))
    missing = [name for name in wanted if importlib.util.find_spec(name) is None]
    if missing:
        raise ServeError(
            f"not installed: {', '.join(missing)}; "
            "pip install 'concurrency-simulator[calibrate]' brings them"
        )
