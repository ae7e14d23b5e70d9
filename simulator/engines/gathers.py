"""Branches that run at the same time."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import simpy

from models.clock import Steps, grant
from simulator.engines.contract import OK
from simulator.engines.failed import Failed
from simulator.engines.task import Task
from simulator.engines.wiring import Process
from simulator.plan import Branch, Gather

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Gathers:
    """Runs ``Gather``, as ``asyncio.gather`` does.

    The first failure is raised at once; the other branches go on without anyone waiting.
    """

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.clock = runner.clock
        self.recorder = runner.recorder
        self.processes = runner.processes
        self.steps: dict[type, Callable[..., Steps]] = {Gather: self._gather}

    def _gather(self, task: Task, step: Gather) -> Steps:
        process = self.processes[task.process]
        join = _Join(simpy.Event(self.clock), len(step.branches))
        for branch in step.branches:
            child = self.recorder.branch(task, branch.number)
            task.branches.append(child)
            self.clock.start(self._branch(child, branch, process, join))
        self.runner.leave(task, process)
        yield join.event
        task.branches = []
        task.absorb(join.last)
        yield from self.runner.enter(task, process, soon=True)
        if join.outcome != OK:
            raise Failed(join.outcome)

    def _branch(self, task: Task, branch: Branch, process: Process, join: _Join) -> Steps:
        outcome = OK
        yield from self.runner.enter(task, process, soon=True)
        try:
            yield from self.runner.run(task, branch.steps)
        except Failed as failure:
            outcome = failure.outcome
        join.ended(task, outcome)
        self.recorder.ended(task)
        self.runner.leave(task, process)


class _Join:
    """What a gather waits for: its last branch, or the first that fails."""

    def __init__(self, event: simpy.Event, branches: int) -> None:
        self.event = event
        self.running = branches
        self.outcome = OK
        self.last: Task | None = None

    def ended(self, branch: Task, outcome: int) -> None:
        self.running -= 1
        if self.event.triggered:
            return  # another branch failed before: this one was left behind
        last = self.last
        if last is None or branch.mark > last.mark or branch.branch < last.branch:
            self.last = branch
        if outcome != OK:
            self.outcome, self.last = outcome, branch
        if outcome != OK or self.running == 0:
            grant(self.event)
