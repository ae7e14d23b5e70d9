"""Steps of code that blocks what runs it: a thread, a sync worker, or a loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from simulator.calibration.served import burn
from simulator.calibration.served.clients import Caller, blocking_call
from simulator.calibration.served.failures import Failed, outcome_of
from simulator.calibration.served.process import Process
from simulator.calibration.served.task import Task
from simulator.calibration.served.written import call_numbers, locks_rows, table_of
from simulator.engines.contract import BLOCK
from simulator.plan import Call, Cpu, Generate, Lock, Predict, Route, Step, Stream, Wait, With

Run = Callable[[Task], None]


class InThread:
    """Makes plain functions of steps."""

    def __init__(self, process: Process, route: Route) -> None:
        self.process = process
        self.plan = process.plan
        self.priority = route.priority
        self.numbers = call_numbers(route.steps + route.after)
        self._makers: dict[type, Callable[..., Run]] = {
            Cpu: self._cpu,
            Wait: self._wait,
            With: self._with,
            Lock: self._lock,
            Call: self._call,
            Predict: self._predict,
            Generate: self._generate,
            Stream: self._stream,
        }

    def steps(self, steps: tuple[Step, ...], pool: int = -1) -> Run:
        """Runs these steps one after the other; ``pool``: whose connection is held."""
        parts = [self.step(step, pool) for step in steps]
        if len(parts) == 1:
            return parts[0]

        def run(task: Task) -> None:
            for part in parts:
                part(task)

        return run

    def step(self, step: Step, pool: int) -> Run:
        """Runs one step."""
        return self._makers[type(step)](step, pool)

    def _cpu(self, step: Cpu, pool: int) -> Run:
        draw = self.process.draw(step.time)
        burnt = burn.without_gil if step.releases_gil else burn.with_gil

        def run(task: Task) -> None:
            task.marks.cpu += burnt(draw(task))

        return run

    def _wait(self, step: Wait, pool: int) -> Run:
        draw = self.process.draw(step.time)
        if step.cause == BLOCK:
            return lambda task: time.sleep(draw(task) / 1e9)
        index = self.process.pool_of_cause[step.cause]
        struck, view = self.process.database_faults(index), self._view(index)

        def query(task: Task) -> None:
            ns = struck(draw(task))
            view(task.held[index]).sleep(ns / 1e9)
            task.marks.last_query = time.monotonic_ns()

        return query

    def _view(self, pool: int) -> Callable[[Any], Any]:
        """How blocking code uses a connection: as it is, or through the loop it belongs to."""
        if pool not in self.process.awaited_pools:
            return lambda connection: connection
        return lambda connection: Bridge(connection, self.process)

    def _with(self, step: With, pool: int) -> Run:
        index, view = step.pool, self._view(step.pool)
        pools = self.process.pools
        inner = self.steps(step.steps, index)
        if step.serializable or locks_rows(step.steps):
            inner = self._transaction(step, inner)

        def run(task: Task) -> None:
            connections = view(pools[index])
            connection = connections.take()
            marks = task.marks
            if not marks.first_connection:
                marks.first_connection = time.monotonic_ns()
            before = task.held.get(index)
            task.held[index] = connection
            try:
                inner(task)
            finally:
                task.held[index] = before
                connections.give(connection)

        return run

    def _transaction(self, step: With, inner: Run) -> Run:
        index, view = step.pool, self._view(step.pool)
        isolation = self.process.written[id(step)]["isolation"]
        backoff = [self.process.draw(stream) for stream in step.retries.backoff]

        def once(task: Task) -> str | None:
            connection = view(task.held[index])
            connection.begin(isolation)
            try:
                inner(task)
                connection.commit()
            except Exception as error:
                connection.rollback()
                outcome = error.outcome if isinstance(error, Failed) else outcome_of(error)
                if outcome is None:
                    raise
                return outcome
            return None

        def run(task: Task) -> None:
            before = task.redone
            outcome = None
            try:
                for retry in range(len(backoff) + 1):
                    if retry:
                        task.redone = before
                        if ns := backoff[retry - 1](task):
                            time.sleep(ns / 1e9)
                    task.redone = before + retry
                    outcome = once(task)
                    if outcome != "serialization_failure":
                        break
            finally:
                task.redone = before
            if outcome is not None:
                raise Failed(outcome)

        return run

    def statement(self, step: Lock) -> str:
        """What takes the row: ``{}`` stands for its number."""
        table = table_of(self.plan.locks[step.lock].label)
        if step.lock in self.process.updated_locks and not step.shared:
            return f'UPDATE "{table}" SET changes = changes + 1 WHERE id = {{}}'
        mode = "SHARE" if step.shared else "UPDATE"
        return f'SELECT changes FROM "{table}" WHERE id = {{}} FOR {mode}'

    def _lock(self, step: Lock, pool: int) -> Run:
        statement, row = self.statement(step), self.process.row(step.lock)
        struck, view = self.process.database_faults(pool), self._view(pool)

        def run(task: Task) -> None:
            struck(0)
            view(task.held[pool]).lock(statement, row(task))
            if not task.marks.first_lock:
                task.marks.first_lock = time.monotonic_ns()

        return run

    def caller(self, step: Call) -> Caller:
        """The attempts of a call."""
        return Caller(self.process, step, self.numbers[id(step)], self.priority)

    def _call(self, step: Call, pool: int) -> Run:
        return blocking_call(self.caller(step), self.process.clients.blocking(step.service))

    def _predict(self, step: Predict, pool: int) -> Run:
        served = self._served(step.accelerator)
        return lambda task: served(0)

    def _generate(self, step: Generate, pool: int) -> Run:
        tokens, served = self.process.draw(step.tokens), self._served(step.accelerator)
        return lambda task: served(max(1, tokens(task)))

    def _served(self, accelerator: int) -> Callable[[int], None]:
        """Waits in this thread until a device has served so many tokens."""
        devices, priority = self.process.devices(accelerator), self.priority
        if self.process.spec.shares_accelerators:
            return lambda tokens: devices.wait(priority, tokens)

        def served(tokens: int) -> None:
            coroutine = devices.submit(priority, tokens)
            asyncio.run_coroutine_threadsafe(coroutine, self.process.loop).result()

        return served

    def _stream(self, step: Stream, pool: int) -> Run:
        raise NotImplementedError("a stream is iterated by the server")


class Bridge:
    """A pool or a connection of the loop, used from a thread: each call waits for the loop."""

    def __init__(self, awaited: Any, process: Process) -> None:
        self._awaited = awaited
        self._process = process

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._awaited, name)

        def call(*given: Any) -> Any:
            return asyncio.run_coroutine_threadsafe(method(*given), self._process.loop).result()

        return call
