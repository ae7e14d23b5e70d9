"""Steps of code that runs on an event loop: ``async def``."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from starlette.concurrency import run_in_threadpool

from simulator.calibration.served import burn
from simulator.calibration.served.clients import awaited_call
from simulator.calibration.served.failures import Failed, outcome_of
from simulator.calibration.served.in_thread import InThread
from simulator.calibration.served.process import Process
from simulator.calibration.served.task import Task
from simulator.calibration.served.written import locks_rows
from simulator.engines.contract import AWAIT
from simulator.plan import (
    Broadcast,
    Call,
    Cpu,
    Gather,
    Generate,
    Lock,
    Predict,
    Route,
    Step,
    ToThread,
    Wait,
    With,
)

MESSAGE = "0123456789abcdef"
"""What is broadcast."""

REQUESTS_AT_ONCE_MAX = 2000
"""How many may wait at a time for a blocking pool that the loop and threads use."""

Run = Callable[[Task], Awaitable[None]]


class OnLoop:
    """Makes coroutine functions of steps; what blocks is called as it is, and blocks."""

    def __init__(self, process: Process, route: Route) -> None:
        self.process = process
        self.plan = process.plan
        self.priority = route.priority
        self.thread = InThread(process, route)
        self._makers: dict[type, Callable[..., Run]] = {
            Wait: self._wait,
            With: self._with,
            Lock: self._lock,
            Call: self._call,
            Predict: self._predict,
            Generate: self._generate,
            Broadcast: self._broadcast,
            Gather: self._gather,
            ToThread: self._to_thread,
        }

    def steps(self, steps: tuple[Step, ...], pool: int = -1) -> Run:
        """Runs these steps one after the other; ``pool``: whose connection is held."""
        parts = [self._step(step, pool) for step in steps]
        if len(parts) == 1 and parts[0][0] is not None:
            return parts[0][0]

        async def run(task: Task) -> None:
            for awaited, called in parts:
                if awaited is not None:
                    await awaited(task)
                elif called is not None:
                    called(task)

        return run

    def _step(self, step: Step, pool: int) -> tuple[Run | None, Callable[[Task], None] | None]:
        blocks = isinstance(step, Wait | Lock | Call) and not step.frees_loop
        if blocks or isinstance(step, Cpu):
            return None, self.thread.step(step, pool)
        return self._makers[type(step)](step, pool), None

    def _wait(self, step: Wait, pool: int) -> Run:
        draw = self.process.draw(step.time)
        if step.cause == AWAIT:

            async def sleep(task: Task) -> None:
                await asyncio.sleep(draw(task) / 1e9)

            return sleep
        index = self.process.pool_of_cause[step.cause]
        struck, view = self.process.database_faults(index), self._view(index)

        async def query(task: Task) -> None:
            ns = struck(draw(task))
            await view(task.held[index]).sleep(ns / 1e9)
            task.marks.last_query = time.monotonic_ns()

        return query

    def _with(self, step: With, pool: int) -> Run:
        if not step.frees_loop:
            return self._blocking_with(step)
        view, index = self._view(step.pool), step.pool
        connections = view(self.process.pools[index])
        inner = self.steps(step.steps, step.pool)
        if step.serializable or locks_rows(step.steps):
            inner = self._transaction(step, inner)

        async def run(task: Task) -> None:
            connection = await connections.take()
            marks = task.marks
            if not marks.first_connection:
                marks.first_connection = time.monotonic_ns()
            before = task.held.get(index)
            task.held[index] = connection
            try:
                await inner(task)
            finally:
                task.held[index] = before
                await connections.give(connection)

        return run

    def _view(self, pool: int) -> Callable[[Any], Any]:
        """How the loop uses a connection: as it is, or in a thread if threads use it too."""
        if pool not in self.process.pools_for_both:
            return lambda connection: connection
        return ThreadsBeside

    def _blocking_with(self, step: With) -> Run:
        """A blocking driver on the loop; its block may await between its queries."""
        connections, index = self.process.pools[step.pool], step.pool
        inner = self.steps(step.steps, step.pool)
        if step.serializable or locks_rows(step.steps):
            inner = self._transaction(step, inner)

        async def run(task: Task) -> None:
            connection = connections.take()
            marks = task.marks
            if not marks.first_connection:
                marks.first_connection = time.monotonic_ns()
            before = task.held.get(index)
            task.held[index] = connection
            try:
                await inner(task)
            finally:
                task.held[index] = before
                connections.give(connection)

        return run

    def _transaction(self, step: With, inner: Run) -> Run:
        index, awaited, view = step.pool, step.frees_loop, self._view(step.pool)
        isolation = self.process.written[id(step)]["isolation"]
        backoff = [self.process.draw(stream) for stream in step.retries.backoff]

        async def call(method: Callable[..., Awaitable[None] | None], *given: str) -> None:
            result = method(*given)
            if awaited and result is not None:
                await result

        async def once(task: Task) -> str | None:
            connection = view(task.held[index])
            await call(connection.begin, isolation)
            try:
                await inner(task)
                await call(connection.commit)
            except Exception as error:
                await call(connection.rollback)
                outcome = error.outcome if isinstance(error, Failed) else outcome_of(error)
                if outcome is None:
                    raise
                return outcome
            return None

        async def run(task: Task) -> None:
            before = task.redone
            try:
                for retry in range(len(backoff) + 1):
                    if retry:
                        task.redone = before
                        if ns := backoff[retry - 1](task):
                            await asyncio.sleep(ns / 1e9)
                    task.redone = before + retry
                    outcome = await once(task)
                    if outcome != "serialization_failure":
                        break
            finally:
                task.redone = before
            if outcome is not None:
                raise Failed(outcome)

        return run

    def _lock(self, step: Lock, pool: int) -> Run:
        statement = self.thread.statement(step)
        row = self.process.row(step.lock)
        struck, view = self.process.database_faults(pool), self._view(pool)

        async def run(task: Task) -> None:
            struck(0)
            await view(task.held[pool]).lock(statement, row(task))
            if not task.marks.first_lock:
                task.marks.first_lock = time.monotonic_ns()

        return run

    def _call(self, step: Call, pool: int) -> Run:
        return awaited_call(self.thread.caller(step), self.process.clients.awaited(step.service))

    def _predict(self, step: Predict, pool: int) -> Run:
        devices, priority = self.process.devices(step.accelerator), self.priority

        async def run(task: Task) -> None:
            await devices.submit(priority)

        return run

    def _generate(self, step: Generate, pool: int) -> Run:
        """A generation inside a block or a branch: its tokens are awaited, not streamed."""
        devices, priority = self.process.devices(step.accelerator), self.priority
        tokens = self.process.draw(step.tokens)

        async def run(task: Task) -> None:
            await devices.submit(priority, max(1, tokens(task)))

        return run

    def _broadcast(self, step: Broadcast, pool: int) -> Run:
        """``await socket.send_text`` for each open socket, each at its cost in CPU.

        What one takes too much, some µs for looks at the clock, the next one takes less.
        """
        cost, sockets = self.process.draw_each(step.cpu), self.process.sockets

        async def run(task: Task) -> None:
            clock = time.thread_time_ns
            ends, ns = clock(), 0
            for number, socket in enumerate(sockets[: step.sockets]):
                ends, ns = max(ends, clock() - ns), cost(task, number)  # others may have run
                ends += ns
                await socket.send_text(MESSAGE)
                if (left := ends - clock()) > 0:
                    burn.with_gil(left)

        return run

    def _gather(self, step: Gather, pool: int) -> Run:
        branches = [self.steps(branch.steps, pool) for branch in step.branches]

        async def run(task: Task) -> None:
            await asyncio.gather(*(branch(task.branch()) for branch in branches))

        return run

    def _to_thread(self, step: ToThread, pool: int) -> Run:
        inner = self.thread.steps(step.steps, pool)

        async def run(task: Task) -> None:
            await run_in_threadpool(inner, task)

        return run


class ThreadsBeside:
    """A blocking pool or a connection of it, used from the loop: each call in a thread.

    These threads are none of the 40 that handlers have: a step that waits for a connection
    holds no thread of the limiter.
    """

    _threads = ThreadPoolExecutor(REQUESTS_AT_ONCE_MAX, thread_name_prefix="for the loop")

    def __init__(self, blocking: Any) -> None:
        self._blocking = blocking

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method = getattr(self._blocking, name)

        async def call(*given: Any) -> Any:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, method, *given)

        return call
