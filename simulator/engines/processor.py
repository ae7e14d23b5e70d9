"""Computing: the GIL, the cores of the machine, and what a task holds of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import simpy

from models import GIL
from models.clock import Steps, grant
from models.cores import SHARE, Cores, Job
from simulator.engines.contract import CORE, PHASE_END
from simulator.engines.task import Task
from simulator.engines.wiring import Process
from simulator.trace import NOT_GRANTED

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Processor:
    """Computes for tasks of a run.

    With cores, a stay on them is one visit: queued and granted when it begins, without a
    slot, its ``work_ns`` what was computed. The rest of the stay is the wait for a core.
    """

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.clock = runner.clock
        self.recorder = runner.recorder
        self.processes = runner.processes
        self._stays: dict[Task, tuple[Cores, Job]] = {}

    def kill(self, task: Task) -> None:
        """Take a task whose process was killed off the cores; what it has done is its work."""
        if task in self._stays:
            cores, job = self._stays[task]
            ended = job.ended
            assert ended is not None
            cores.take_off(job)
            grant(ended)

    def compute(self, task: Task, work: int, cause: int, *, releases_gil: bool = False) -> Steps:
        """Compute for ``work`` ns: under the GIL unless released, on the cores if limited."""
        process = self.processes[task.process]
        gil = process.gil
        if gil is None:
            yield from self._compute_freely(task, work, cause, process)
        elif not releases_gil:
            yield from self._compute_under_gil(task, Job(work, task), cause, gil, process)
        elif work:
            gil.release()
            yield from self._compute_freely(task, work, cause, process)
            yield from self.runner.take_gil(task, process)

    def _compute_under_gil(
        self, task: Task, job: Job, cause: int, gil: GIL, process: Process
    ) -> Steps:
        while job.left > 0:
            if not gil.asked_to_drop:
                began, before = self.clock.now, job.left_ns
                task.doing = cause
                if process.cores is None:
                    yield gil.run(before, task)
                    job.left -= (self.clock.now - began) * SHARE
                else:
                    end = gil.run_on(process.cores, job)
                    yield from self._stay(task, process.cores, job, end)
                held, now = before - job.left_ns, self.clock.now
                self._book(task, process, began, held, cause)
                self.recorder.visit(process.gil_station, task, 0, began, began, now, held)
            if job.left > 0:
                gil.release()
                yield from self.runner.take_gil(task, process)

    def _compute_freely(self, task: Task, work: int, cause: int, process: Process) -> Steps:
        if not work:
            return
        began = self.clock.now
        task.doing = cause
        if process.cores is None:
            yield self.clock.at(work, task.key(PHASE_END))
        else:
            job = Job(work, task)
            yield from self._stay(task, process.cores, job, process.cores.begin(job))
            work -= job.left_ns  # nothing unless it was killed
        self._book(task, process, began, work, cause)

    def _stay(self, task: Task, cores: Cores, job: Job, end: simpy.Event) -> Steps:
        """Be on the cores until this event; whoever is made to drop the GIL leaves them."""
        self._stays[task] = cores, job
        yield end
        del self._stays[task]
        cores.take_off(job)

    def _book(self, task: Task, process: Process, began: int, held: int, cause: int) -> None:
        now = self.clock.now
        if process.cores is not None and now > began:
            # Which moments of the stay were the wait can't be told: book them first.
            task.book_until(now - held, CORE)
            station = process.cores_station
            self.recorder.visit(station, task, NOT_GRANTED, began, began, now, held)
        task.book(cause)
