"""Computing: the GIL, the cores of the machine, and what a task holds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models import GIL
from models.clock import Steps
from simulator.engines.contract import PHASE_END
from simulator.engines.recorder import Task
from simulator.engines.wiring import Process

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Processor:
    """Computes for tasks of a run."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.clock = runner.clock
        self.recorder = runner.recorder
        self.processes = runner.processes

    def compute(self, task: Task, work: int, cause: int, *, releases_gil: bool = False) -> Steps:
        process = self.processes[task.process]
        gil = process.gil
        if gil is None or releases_gil:
            yield from self._compute_freely(task, work, cause, gil, process)
            return
        while work > 0:
            if not gil.asked_to_drop:
                began = self.clock.now
                yield gil.run(work, task)
                task.book(cause)
                now = self.clock.now
                work -= now - began
                self.recorder.visit(process.gil_station, task, 0, began, began, now, now - began)
            if work > 0:
                gil.release()
                yield from self.runner.take_gil(task, process)

    def _compute_freely(
        self, task: Task, work: int, cause: int, gil: GIL | None, process: Process
    ) -> Steps:
        if work:
            if gil is not None:
                gil.release()
            yield self.clock.at(work, task.key(PHASE_END))
            task.book(cause)
            if gil is not None:
                yield from self.runner.take_gil(task, process)
