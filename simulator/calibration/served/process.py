"""One worker process of the service: its draws, pools, clients and devices."""

from __future__ import annotations

import gc
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from typing import Any

from simulator.calibration.served.clients import Clients, RemoteDevices
from simulator.calibration.served.failures import Failed
from simulator.calibration.served.spec import Spec
from simulator.calibration.served.task import Task
from simulator.calibration.served.written import (
    awaited_pools,
    pools_for_both,
    steps_as_written,
    updated_locks,
)
from simulator.distributions import Constant
from simulator.engines import contract
from simulator.engines.faults import Faults
from simulator.plan import NO_DATABASE, NO_STREAM, ServerKind, Target

Draw = Callable[[Task], int]

LIBRARIES = (
    "fastapi", "starlette", "uvicorn", "uvloop", "httptools", "anyio", "gunicorn", "asyncpg",
    "sqlalchemy", "psycopg", "psycopg-pool", "aiohttp", "httpx", "requests", "websockets", "numpy",
)  # fmt: skip
"""Whose versions a measurement depends on."""


class Process:
    """What the handlers of one process share."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        self.plan = plan = spec.plan
        self.faults = Faults(plan)
        self.struck = {(fault.target, fault.index) for fault in plan.faults}
        self.written = steps_as_written(spec.document, plan)
        self.updated_locks = updated_locks(plan)
        self.awaited_pools = awaited_pools(plan, spec.document)
        self.pools_for_both = pools_for_both(plan, spec.document)
        self.pool_of_cause = {contract.hold_query(i): i for i in range(len(plan.pools))}
        self.pools: list[Any] = []
        self.clients = Clients(self)
        self._batches: Any = None
        self.sockets: list[Any] = []  # open WebSockets that broadcasts are sent to
        self.loop: Any = None  # the event loop of an ASGI process

    def draw(self, stream: int) -> Draw:
        """The drawn time (or number) of a stream for a task's request and attempt."""
        time = self.spec.workload.time
        first = time(stream)
        first(0)  # its first block is made before anyone waits for it

        def draw(task: Task) -> int:
            attempt = task.attempt + task.redone
            return time(stream, attempt)(task.index) if attempt else first(task.index)

        return draw

    def draw_each(self, stream: int) -> Callable[[Task, int], int]:
        """The same for a step that draws several, such as the chunks of a stream."""
        time, spec = self.spec.workload.time, self.plan.streams[stream].distribution
        if isinstance(spec, Constant):
            return lambda task, sub: spec.value_ns

        def draw(task: Task, sub: int) -> int:
            return time(stream, task.attempt + task.redone, sub)(task.index)

        return draw

    def strikes(self, target: Target, index: int) -> Callable[[int], int | None] | None:
        """What the faults make of a time that begins now; None where none can strike."""
        if (target, index) not in self.struck:
            return None
        return lambda ns: self.faults.struck(target, index, self.spec.clock.now(), ns)

    def database_faults(self, pool: int) -> Callable[[int], int]:
        """What the faults of a pool's database make of a query's time; raises in an outage."""
        database = self.plan.pools[pool].database
        strikes = None if database == NO_DATABASE else self.strikes(Target.DATABASE, database)
        if strikes is None:
            return lambda ns: ns
        label = self.plan.databases[database].label

        def struck(ns: int) -> int:
            out = strikes(ns)
            if out is None:
                raise Failed(f"database_error:{label}")
            return out

        return struck

    def devices(self, accelerator: int) -> Any:
        """An accelerator: this process's own, or the one that all processes share."""
        if self.spec.shares_accelerators:
            return RemoteDevices(self, accelerator)
        if self._batches is None:
            from simulator.calibration.served.accelerator import Batches

            self._batches = Batches(self)
        return self._batches.devices[accelerator]

    def row(self, lock: int) -> Callable[[Task], int]:
        """The number of the row that a task locks."""
        spec = self.plan.locks[lock]
        if spec.pick == NO_STREAM:
            return lambda task: 0
        draw = self.spec.workload.time(spec.pick)
        return lambda task: draw(task.index) % spec.keys

    def is_ready(self, part: str = "ready") -> None:
        """Tell the supervisor that requests can come.

        What there is by now stays for good. Garbage collection looks at it no more: a full pass,
        of which a burst of 300 connections causes one, takes 45 to 80 ms with all the libraries
        of this process, which the scenario does not have, and 8 to 38 without.
        """
        gc.collect()
        gc.freeze()
        told = {"pid": os.getpid(), "versions": versions()}
        self._tell(part, json.dumps(told))

    def has_failed(self, why: str) -> None:
        """Tell the supervisor why this process can't serve."""
        self._tell("failed", why)

    def _tell(self, word: str, text: str) -> None:
        path = self.spec.folder / f"{word}-{os.getpid()}"
        unfinished = path.with_suffix(".part")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.rename(path)  # at once, for who looks at the folder


def versions() -> dict[str, str]:
    """Python's version and those of the libraries that are installed."""
    out = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def switch_interval(process: Process) -> None:
    """Set the GIL's switch interval as the scenario says."""
    server = process.plan.server
    if server.kind is not ServerKind.SYNC:
        sys.setswitchinterval(server.switch_interval_ns / 1e9)
