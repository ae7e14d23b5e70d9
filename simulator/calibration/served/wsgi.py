"""The scenario as a WSGI application, for gunicorn's sync and gthread workers: ``create``.

Flask and Django are not in between: their CPU is the framework's, which is measured.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from http import HTTPStatus
from typing import Any

from simulator.calibration.served import children, pools
from simulator.calibration.served import spec as specs
from simulator.calibration.served.failures import Failed, NotStarted
from simulator.calibration.served.in_thread import InThread
from simulator.calibration.served.process import Process, switch_interval, versions
from simulator.calibration.served.streams import blocking_chunks, split
from simulator.calibration.served.task import TIMES, Task, from_wsgi
from simulator.calibration.served.written import address
from simulator.plan import Route

Environ = dict[str, Any]
Start = Callable[[str, list[tuple[str, str]]], object]
Application = Callable[[Environ, Start], Iterable[bytes]]


def create() -> Application:
    """The application of the scenario that the environment names."""
    children.die_with_parent()
    process = Process(specs.read())
    switch_interval(process)
    process.pools = [pools.make(process, i) for i in range(len(process.plan.pools))]
    routes = {address(route): _route(process, route) for route in process.plan.routes}
    ready = json.dumps({"versions": versions()}).encode()

    def application(environ: Environ, start: Start) -> Iterable[bytes]:
        called = routes.get((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        if called is not None:
            return called(environ, start)
        found = environ["PATH_INFO"] == "/-/ready"
        return _answer(start, HTTPStatus.OK if found else HTTPStatus.NOT_FOUND, ready, "")

    try:
        for pool in process.pools:
            pool.open()
    except NotStarted as error:
        process.has_failed(str(error))
        raise
    process.is_ready()
    return application


def _route(process: Process, route: Route) -> Application:
    code = InThread(process, route)
    head, tail = split(route.steps)
    run = code.steps(head)
    sends = blocking_chunks(code, tail) if tail else None
    after = code.steps(route.after) if route.after else None

    def handler(environ: Environ, start: Start) -> Iterable[bytes]:
        task = from_wsgi(environ)
        try:
            run(task)
        except Failed as failure:
            body = json.dumps({"outcome": failure.outcome}).encode()
            status = HTTPStatus.SERVICE_UNAVAILABLE
            return _answer(start, status, body, task.marks.header(True))
        if sends is not None:
            headers = [("Content-Type", "text/event-stream"), (TIMES, task.marks.header(True))]
            start("200 OK", headers)
            out: Iterable[bytes] = sends(task)
        else:
            body = json.dumps({"index": task.index}).encode()
            out = _answer(start, HTTPStatus.OK, body, task.marks.header(True))
        return out if after is None else _Then(out, after, task)

    return handler


class _Then:
    """A body after which something is done: gunicorn closes it when the answer is out."""

    def __init__(self, body: Iterable[bytes], after: Callable[[Task], None], task: Task) -> None:
        self._body = body
        self._after = after
        self._task = task

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._body)

    def close(self) -> None:
        """Do it; nobody hears of a failure."""
        try:
            self._after(self._task)
        except Failed:
            return


def _answer(start: Start, status: HTTPStatus, body: bytes, times: str) -> list[bytes]:
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start(f"{status.value} {status.phrase}", [*headers, (TIMES, times)] if times else headers)
    return [body]
