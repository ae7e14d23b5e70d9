"""Steps on a database: connections, transactions, row locks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models import PoolTimeout, TooManyConnections
from models.clock import Steps
from simulator.engines import contract
from simulator.engines.failed import Failed
from simulator.engines.recorder import Task
from simulator.plan import Lock, With

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Transactions:
    """Runs ``With`` and ``Lock``."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.processes = runner.processes
        self.locks = runner.wiring.locks
        self.steps: dict[type, Callable[..., Steps]] = {With: self._with, Lock: self._lock}

    def _with(self, task: Task, step: With) -> Steps:
        pool = self.plan.pools[step.pool]
        process = self.processes[task.process]
        model = process.pools[step.pool]
        visit = task.queue(process.pools_station + step.pool)
        try:
            connection = yield from self.runner.acquire(
                task,
                visit,
                model.acquire(task),
                contract.wait_for_pool(step.pool),
                step.frees_loop,
                soon=True,
            )
        except (PoolTimeout, TooManyConnections) as error:
            raise self._failure(step.pool, error) from error
        if connection.fresh:
            self.runner.wiring.opened(task.request, pool, connection)
        overheads = self.plan.server.overheads
        cause = contract.hold_connect(step.pool)
        failed: Failed | None = None
        if connection.fresh:
            yield from self.runner.hold(task, overheads.connect_ns, cause, step.frees_loop)
        task.transactions.append([])
        try:
            yield from self.runner.run(task, step.steps)
        except Failed as failure:
            failed = failure
        for lock, lock_visit in task.transactions.pop():
            task.released(lock_visit)
            self.locks[lock].release(0)
        yield from self.runner.hold(task, overheads.pool_hold_ns, cause, step.frees_loop)
        closes = model.closes_on_return
        if closes:
            yield from self.runner.hold(task, overheads.close_ns, cause, step.frees_loop)
            self.runner.wiring.closed(pool, connection)
        task.released(visit)
        model.release(connection, close=closes)
        if failed is not None:
            raise failed

    def _failure(self, pool: int, error: Exception) -> Failed:
        if isinstance(error, PoolTimeout):
            return Failed(contract.pool_timeout(pool))
        database = self.plan.pools[pool].database
        return Failed(contract.connection_refused(self.plan, database))

    def _lock(self, task: Task, step: Lock) -> Steps:
        held = task.transactions[-1]
        if any(lock == step.lock for lock, _ in held):
            return
        visit = task.queue(self.runner.wiring.lock_station[step.lock])
        cause = contract.wait_for_lock(self.plan, step.lock)
        event = self.locks[step.lock].acquire()
        yield from self.runner.acquire(task, visit, event, cause, step.frees_loop, soon=False)
        held.append((step.lock, visit))
