"""Steps on an accelerator: static batches and continuous batching.

Not modelled: the loop's work for each token that is sent on, a client that leaves a
static batch, or whose generation runs in a branch of a gather.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import simpy

from models.clock import Steps, grant
from models.gpu_batch import (
    Aborted,
    AcceleratorError,
    AcceleratorFull,
    Batcher,
    ContinuousBatcher,
    Item,
)
from simulator.engines import contract
from simulator.engines.contract import OK
from simulator.engines.failed import Failed
from simulator.engines.faults import Faults
from simulator.engines.task import Task
from simulator.engines.wiring import Wiring
from simulator.plan import NO_STREAM, UNLIMITED, Generate, Predict, Target
from simulator.trace import NOT_FINISHED

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Batches:
    """Runs ``Predict`` and ``Generate``."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        count = len(self.plan.accelerators)
        self.devices = [Devices(runner.wiring, i) for i in range(count)]
        self.steps: dict[type, Callable[..., Steps]] = {
            Predict: self._predict,
            Generate: self._generate,
        }

    def _predict(self, task: Task, step: Predict) -> Steps:
        model = self.devices[step.accelerator].model
        assert isinstance(model, Batcher)
        item = model.submit(self._priority(task))
        yield from self._served(task, step, item)

    def _generate(self, task: Task, step: Generate) -> Steps:
        model = self.devices[step.accelerator].model
        assert isinstance(model, ContinuousBatcher)
        # The prompt's own step gives a token too: there is no answer without one.
        tokens = max(1, self.runner.draw(task, step.tokens))
        item = model.submit(
            tokens, self._priority(task), gone=lambda: task.abandoned or task.killed
        )
        yield from self._served(task, step, item)

    def _priority(self, task: Task) -> int:
        return self.plan.routes[task.route].priority

    def _served(self, task: Task, step: Predict | Generate, item: Item) -> Steps:
        """Wait for the answer without the loop or thread of the caller."""
        stay = _Stay(self.devices[step.accelerator], task, item)
        self.runner.clock.start(stay.steps())
        if not stay.over:
            stay.answer = simpy.Event(self.runner.clock)
            yield from self.runner.wait_for(task, stay.answer, task.doing, step.frees_loop, False)
        if stay.failure != OK:
            raise Failed(stay.failure)


class Devices:
    """An accelerator as the steps of a run meet it: its model, station, causes, times."""

    def __init__(self, wiring: Wiring, index: int) -> None:
        self.plan = plan = wiring.plan
        self.clock = clock = wiring.clock
        self.spec = spec = plan.accelerators[index]
        self.index = index
        self.faults = Faults(plan)
        self.draw = None if spec.time == NO_STREAM else wiring.workload.time(spec.time)
        self.wait_cause = contract.wait_for_batch(plan, index)
        self.hold_cause = contract.hold_accelerator(plan, index)
        self.station = wiring.stations("accelerator")[index]
        owner = wiring.recorder.station_owner(self.station)
        queue = None if spec.queue >= UNLIMITED else spec.queue
        # A window that opens when taken is a timer of the process's own loop.
        late_ns = plan.server.overheads.timer_ns if spec.window_taken and spec.wait_ns else 0
        self.model: Batcher | ContinuousBatcher
        if spec.continuous:
            self.model = ContinuousBatcher(
                clock, self.time, spec.batch_max, devices=spec.count, queue=queue, owner=owner
            )
        else:
            self.model = Batcher(
                clock,
                self.time,
                spec.batch_max,
                wait=spec.wait_ns + late_ns,
                window_taken=spec.window_taken,
                devices=spec.count,
                queue=queue,
                owner=owner,
            )

    def outcome(self, reason: str) -> int:
        """Index of the outcome of what fails here."""
        return contract.accelerator_outcome(self.plan, self.index, reason)

    def time(self, number: int, size: int) -> int | None:
        """How long a batch, or a step, takes that begins now; None if the device is out."""
        spec = self.spec
        if spec.table_ns:
            ns = spec.table_ns[size - 1]
        elif self.draw is not None:
            ns = self.draw(number)
        else:
            ns = spec.base_ns + spec.per_item_ns * size
        return self.faults.struck(Target.ACCELERATOR, self.index, self.clock.now, ns)


class _Stay:
    """A task at an accelerator. ``answer`` is None until the caller has to wait."""

    def __init__(self, devices: Devices, task: Task, item: Item) -> None:
        self.devices = devices
        self.task = task
        self.item = item
        self.over = False
        self.failure = OK
        self.answer: simpy.Event | None = None

    def steps(self) -> Steps:
        task, devices = self.task, self.devices
        visit = task.queue(devices.station)
        try:
            task.doing = devices.wait_cause
            device, place = yield self.item.started
            task.book(devices.wait_cause)
            task.granted(visit, device * devices.spec.batch_max + place)
            self._note_first_token()
            task.doing = devices.hold_cause
            yield self.item.done
        except AcceleratorFull:
            self.failure = devices.outcome("accelerator_full")
        except AcceleratorError:
            self.failure = devices.outcome("accelerator_error")
        except Aborted:
            self.failure = contract.CLIENT_TIMEOUT  # nobody reads it
        task.book(devices.hold_cause)
        task.released(visit)
        self.over = True
        if self.answer is not None:
            grant(self.answer)

    def _note_first_token(self) -> None:
        if not self.devices.spec.continuous:
            return
        event = self.item.first_token
        if event.callbacks is None:
            self._has_first_token()
        else:
            event.callbacks.append(lambda _: self._has_first_token())

    def _has_first_token(self) -> None:
        if self.task.first_byte == NOT_FINISHED:
            self.task.first_byte = self.devices.clock.now
