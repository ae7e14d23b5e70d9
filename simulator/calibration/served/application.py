"""The scenario as a FastAPI application; uvicorn's factory is ``create``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from simulator.calibration.served import children, pools
from simulator.calibration.served import spec as specs
from simulator.calibration.served.failures import Failed, NotStarted
from simulator.calibration.served.in_thread import InThread
from simulator.calibration.served.on_loop import OnLoop
from simulator.calibration.served.process import Process, switch_interval, versions
from simulator.calibration.served.task import TIMES, Task, from_asgi
from simulator.calibration.served.written import call_numbers
from simulator.plan import Route

Handler = Callable[..., Any]


def create() -> FastAPI:
    """The application of the scenario that the environment names."""
    children.die_with_parent()
    process = Process(specs.read())
    switch_interval(process)
    app = FastAPI(lifespan=lambda _: _running(process), openapi_url=None)
    _build(app, process)
    return app


@asynccontextmanager
async def _running(process: Process) -> AsyncIterator[None]:
    process.loop = asyncio.get_running_loop()
    anyio.to_thread.current_default_thread_limiter().total_tokens = process.plan.server.threads
    try:
        for pool in process.pools:
            await pool.open()
    except NotStarted as error:
        process.has_failed(str(error))
        raise
    process.is_ready()
    try:
        yield
    finally:
        for pool in process.pools:
            await pool.close()


def _build(app: FastAPI, process: Process) -> None:
    process.pools = [pools.make(process, i) for i in range(len(process.plan.pools))]
    for route in process.plan.routes:
        method, path = address(route)
        handler = _async_def(process, route) if route.on_loop else _def(process, route)
        handler.__name__ = route.name
        app.add_api_route(path, handler, methods=[method], response_model=None)
    told = {"versions": versions()}

    @app.get("/-/ready")
    async def ready() -> dict[str, Any]:
        import os

        return {"pid": os.getpid(), **told}


def address(route: Route) -> tuple[str, str]:
    """The method and the path of a route; one without a path is ``GET /<name>``."""
    method, found, path = route.label.partition(" ")
    return (method, path) if found else ("GET", f"/{route.name}")


def _async_def(process: Process, route: Route) -> Handler:
    code = OnLoop(process, call_numbers(route.steps + route.after))
    run = code.steps(route.steps)

    async def handler(request: Request) -> Response:
        task = from_asgi(request.scope["headers"])
        try:
            await run(task)
        except Failed as failure:
            return _failed(task, failure, hop=False)
        return _ok(task, hop=False)

    return handler


def _def(process: Process, route: Route) -> Handler:
    code = InThread(process, call_numbers(route.steps + route.after))
    run = code.steps(route.steps)

    def handler(request: Request) -> Response:
        task = from_asgi(request.scope["headers"])
        try:
            run(task)
        except Failed as failure:
            return _failed(task, failure, hop=True)
        return _ok(task, hop=True)

    return handler


def _ok(task: Task, *, hop: bool) -> Response:
    return JSONResponse({"index": task.index}, headers={TIMES: task.marks.header(hop)})


def _failed(task: Task, failure: Failed, *, hop: bool) -> Response:
    body = {"outcome": failure.outcome}
    return JSONResponse(body, status_code=503, headers={TIMES: task.marks.header(hop)})
