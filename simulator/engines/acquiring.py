"""The wait for a connection of a pool, whoever else may take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import simpy

from models import PoolTimeout
from models.clock import Steps, grant
from models.connection_pool import Connection, Place, Runs
from simulator.engines import contract
from simulator.engines.failed import Failed
from simulator.engines.task import Task, Visit
from simulator.plan import With

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class _Taker:
    """The account of a task's wait for a connection: ``models.connection_pool.Taker``."""

    def __init__(self, task: Task, visit: Visit, cause: int) -> None:
        self._task = task
        self._visit = visit
        self._cause = cause

    def told(self, connection: Connection) -> None:
        self._task.book(self._cause)
        self._task.granted(self._visit, connection.slot)

    def lost(self) -> None:
        self._task.overtaken(self._visit)

    def gave_up(self) -> None:
        self._task.book(self._cause)
        self._task.released(self._visit)


def acquire(runner: StepRunner, task: Task, step: With, visit: Visit) -> Steps:
    """Wait for a connection; one who is told of it takes it as soon as the code goes on."""
    model = runner.processes[task.process].pools[step.pool]
    cause = contract.wait_for_pool(step.pool)
    runs = Runs(contract.runs_when_woken(runner.plan, step))
    asked = model.ask(task, runs=runs, taker=_Taker(task, visit, cause))
    connection: Connection | None = None
    try:
        while connection is None:
            connection = yield from runner.wait_for(
                task, asked.event, cause, step.frees_loop, soon=True
            )
            if asked.place is not Place.DONE:
                if asked.connection is None:
                    visit.queued = runner.clock.now  # until now it was its code's turn
                connection = model.take(asked)
    except PoolTimeout as error:
        raise Failed(contract.pool_timeout(step.pool)) from error
    return connection


def go_on_behind_the_woken(runner: StepRunner, task: Task) -> Steps:
    """Go on a turn later, behind whom this has woken."""
    woken = simpy.Event(runner.clock)
    grant(woken)
    yield woken  # by then that one is in the queue of the loop
    yield from runner.next_turn(task, runner.processes[task.process])
