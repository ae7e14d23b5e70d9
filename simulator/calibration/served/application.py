"""The scenario as a FastAPI application; uvicorn's factory is ``create``."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.background import BackgroundTask

from simulator.calibration.served import children, pools
from simulator.calibration.served import spec as specs
from simulator.calibration.served.failures import Failed, NotStarted
from simulator.calibration.served.in_thread import InThread
from simulator.calibration.served.on_loop import OnLoop
from simulator.calibration.served.process import Process, switch_interval, versions
from simulator.calibration.served.streams import Chunks, blocking_chunks, chunks, split
from simulator.calibration.served.task import TIMES, Marks, Task, from_asgi
from simulator.calibration.served.written import address
from simulator.plan import Route, Stream

SERVER_SENT = "text/event-stream"

Handler = Callable[..., Any]


def create() -> FastAPI:
    """The application of the scenario that the environment names."""
    children.die_with_parent()
    process = Process(specs.read())
    switch_interval(process)
    app = FastAPI(lifespan=lambda _: _running(process), openapi_url=None)
    process.pools = [pools.make(process, i) for i in range(len(process.plan.pools))]
    for route in process.plan.routes:
        _add(app, process, route)
    told = {"pid": os.getpid(), "versions": versions()}

    @app.get("/-/ready")
    async def ready(response: Response) -> dict[str, Any]:
        response.headers[TIMES] = Marks().header(False)
        return told | {
            "loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "threads": anyio.to_thread.current_default_thread_limiter().total_tokens,
            "switch_interval_s": sys.getswitchinterval(),
            "frozen_objects": gc.get_freeze_count(),
        }

    @app.websocket("/-/sockets")
    async def listener(socket: WebSocket) -> None:
        await socket.accept()
        process.sockets.append(socket)
        try:
            async for _ in socket.iter_text():
                pass
        finally:
            process.sockets.remove(socket)

    return app


@asynccontextmanager
async def _running(process: Process) -> AsyncIterator[None]:
    process.loop = asyncio.get_running_loop()
    anyio.to_thread.current_default_thread_limiter().total_tokens = process.plan.server.threads
    try:
        for pool in process.pools:
            await _done(pool.open())
    except NotStarted as error:
        process.has_failed(str(error))
        raise
    await process.clients.open()
    process.is_ready()
    try:
        yield
    finally:
        await process.clients.close()
        for pool in process.pools:
            await _done(pool.close())


async def _done(result: Awaitable[None] | None) -> None:
    """Wait for what an awaited pool does; a blocking one has done it."""
    if result is not None:
        await result


def _add(app: FastAPI, process: Process, route: Route) -> None:
    method, path = address(route)
    head, tail = split(route.steps)
    if route.on_loop:
        code = OnLoop(process, route)
        after = code.steps(route.after) if route.after else None
        sends = chunks(code, tail) if tail else None
        # What can fail before the first chunk is waited for: its failure is an answer.
        primed = bool(tail) and not isinstance(tail[0], Stream)
        handler = _async_def(code, head, sends, after, primed=primed)
        if sends is not None:
            app.add_api_websocket_route(path, _socket(code, head, sends))
    else:
        handler = _def(InThread(process, route), route)
    handler.__name__ = route.name
    app.add_api_route(path, handler, methods=[method], response_model=None)


def _async_def(
    code: OnLoop,
    head: Any,
    sends: Chunks | None,
    after: Callable[[Task], Awaitable[None]] | None,
    *,
    primed: bool,
) -> Handler:
    run = code.steps(head)

    async def later(task: Task) -> None:
        try:
            assert after is not None
            await after(task)
        except Failed:
            return  # the answer is out; nobody hears of it

    async def handler(request: Request) -> Response:
        task = from_asgi(request.scope["headers"])
        try:
            await run(task)
        except Failed as failure:
            return _answer(task, failure, hop=False, background=None)
        background = None if after is None else BackgroundTask(later, task)
        if sends is None:
            return _answer(task, None, hop=False, background=background)
        out = sends(task)
        if primed:
            try:
                out = _after_first(await anext(out, b""), out)
            except Failed as failure:
                return _answer(task, failure, hop=False, background=None)
        return StreamingResponse(
            out,
            headers={TIMES: task.marks.header(False)},
            media_type=SERVER_SENT,
            background=background,
        )

    return handler


async def _after_first(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk


def _socket(code: OnLoop, head: Any, sends: Chunks) -> Handler:
    """The same chunks as the messages of a WebSocket."""
    run = code.steps(head)

    async def handler(socket: WebSocket) -> None:
        task = from_asgi(socket.scope["headers"])
        await socket.accept()
        try:
            await run(task)
            async for chunk in sends(task):
                await socket.send_text(chunk.decode())
        except Failed as failure:
            await socket.close(1011, failure.outcome)
            return
        await socket.close()

    return handler


def _def(code: InThread, route: Route) -> Handler:
    head, tail = split(route.steps)
    run = code.steps(head)
    sends = blocking_chunks(code, tail) if tail else None
    after = code.steps(route.after) if route.after else None

    def later(task: Task) -> None:
        try:
            assert after is not None
            after(task)
        except Failed:
            return

    def handler(request: Request) -> Response:
        task = from_asgi(request.scope["headers"])
        try:
            run(task)
        except Failed as failure:
            return _answer(task, failure, hop=True, background=None)
        background = None if after is None else BackgroundTask(later, task)
        if sends is None:
            return _answer(task, None, hop=True, background=background)
        return StreamingResponse(
            sends(task),
            headers={TIMES: task.marks.header(True)},
            media_type=SERVER_SENT,
            background=background,
        )

    return handler


def _answer(
    task: Task, failure: Failed | None, *, hop: bool, background: BackgroundTask | None
) -> Response:
    headers = {TIMES: task.marks.header(hop)}
    if failure is None:
        return JSONResponse({"index": task.index}, headers=headers, background=background)
    return JSONResponse({"outcome": failure.outcome}, status_code=503, headers=headers)
