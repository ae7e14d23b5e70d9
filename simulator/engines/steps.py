"""What the steps of a handler do, on a loop and in a thread.

The same steps under ``def`` and ``async def`` behave differently because of what running
code holds: on a loop its turn, in a thread the GIL. ``_wait_for`` is where it lets go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import simpy

from models import LockRefused, PoolTimeout, TooManyConnections
from models.clock import Steps
from simulator.engines import contract
from simulator.engines.batches import Batches
from simulator.engines.calls import Calls
from simulator.engines.contract import AWAIT, BLOCK, EVENT_LOOP, FRAMEWORK, PHASE_END, THREADS
from simulator.engines.failed import Failed
from simulator.engines.gathers import Gathers
from simulator.engines.processor import Processor
from simulator.engines.streams import Streams
from simulator.engines.task import Task, Visit
from simulator.engines.transactions import Transactions
from simulator.engines.wiring import Process, Wiring
from simulator.plan import Cpu, Step, ToThread, Wait
from simulator.trace import NOT_GRANTED


class StepRunner:
    """Runs the steps of requests on the models of a plan."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.plan = wiring.plan
        self.clock = wiring.clock
        self.recorder = wiring.recorder
        self.processes = wiring.processes
        self.gil = self.plan.server.gil
        self.times = [wiring.workload.time(i) for i in range(len(self.plan.streams))]
        self.steps: dict[type, Callable[..., Steps]] = {
            Cpu: self._cpu,
            Wait: self._wait,
            ToThread: self._to_thread,
        }
        self.processor = Processor(self)
        for family in (Transactions, Gathers, Calls, Batches, Streams):
            self.steps |= family(self).steps

    def draw(self, task: Task, stream: int, sub: int = 0) -> int:
        """The drawn time (or number) of a stream for this task's request and attempt.

        ``sub``: which of several that one step draws, such as the chunks of a stream.
        """
        attempt = task.attempt
        if task.transactions:
            attempt += task.transactions[-1].redone
        if attempt or sub:
            return self.wiring.workload.time(stream, attempt, sub)(task.request)
        return self.times[stream](task.request)

    # Being on the loop, having the GIL.

    def enter(
        self, task: Task, process: Process, *, soon: bool = False, reads: bool = False
    ) -> Steps:
        """Wait for the loop; ``soon`` if a callback of this loop made the task ready.

        ``reads``: to read a request, which lets go of the GIL for a moment.
        """
        assert process.loop is not None
        return self._turn(task, process, process.loop.enter(soon=soon, reads=reads))

    def next_turn(self, task: Task, process: Process) -> Steps:
        """Go to the back of the loop's ready queue."""
        assert process.loop is not None
        self._leaves(task, process)
        return self._turn(task, process, process.loop.next_turn())

    def leave(self, task: Task, process: Process) -> None:
        """Let the loop go on with others."""
        assert process.loop is not None
        self._leaves(task, process)
        process.loop.leave()

    def _turn(self, task: Task, process: Process, turn: simpy.Event) -> Steps:
        assert process.loop is not None
        task.loop_queued = self.clock.now
        task.doing = EVENT_LOOP
        yield turn
        now = self.clock.now
        if now > task.mark:
            began, ended = process.loop.gil_waited
            if ended == now > began:
                task.book_until(max(began, task.mark), EVENT_LOOP)
                task.book(contract.GIL)
            else:
                task.book(EVENT_LOOP)
        task.loop_granted = now
        task.loop_waited = task.waited

    def _leaves(self, task: Task, process: Process) -> None:
        now = self.clock.now
        if now > task.loop_queued:
            work = now - task.loop_granted - (task.waited - task.loop_waited)
            self.recorder.visit(
                process.loop_station, task, 0, task.loop_queued, task.loop_granted, now, work
            )
        task.loop_queued = task.loop_granted = NOT_GRANTED

    def take_gil(self, task: Task, process: Process) -> Steps:
        assert process.gil is not None
        queued = self.clock.now
        task.doing = contract.GIL
        yield process.gil.acquire(task)
        if self.clock.now > queued:
            task.book(contract.GIL)
            now = self.clock.now
            self.recorder.visit(process.gil_station, task, 0, queued, now, now, 0)

    def write(self, task: Task, process: Process) -> Steps:
        """Write an answer from the loop, which may cost it the GIL."""
        assert process.loop is not None
        queued = self.clock.now
        task.doing = contract.GIL
        yield process.loop.write()
        if self.clock.now > queued:
            task.book(contract.GIL)

    def acquire(
        self, task: Task, visit: Visit, event: simpy.Event, cause: int, frees_loop: bool, soon: bool
    ) -> Steps:
        """Wait for a slot; the visit begins when it is handed over, not when the code goes on."""
        return self.wait_for(task, event, cause, frees_loop, soon, visit)

    def wait_for(
        self,
        task: Task,
        event: simpy.Event,
        cause: int,
        frees_loop: bool,
        soon: bool,
        visit: Visit | None = None,
    ) -> Steps:
        """Wait for an event without what running code holds: the loop's turn, the GIL."""
        waits = event.callbacks is not None
        process = self.processes[task.process]
        if waits and frees_loop:
            self.leave(task, process)
        elif waits and process.gil is not None:
            process.gil.release()
        error: Exception | None = None
        value: Any = None
        task.doing = cause
        try:
            value = yield event
        except (PoolTimeout, TooManyConnections, LockRefused) as raised:
            error = raised
        if waits:
            task.book(cause)
        if visit is not None:
            if error is None:
                task.granted(visit, value if isinstance(value, int) else value.slot)
            else:
                task.released(visit)
        if waits and frees_loop:
            yield from self.enter(task, process, soon=soon)
        elif waits and process.gil is not None:
            yield from self.take_gil(task, process)
        if error is not None:
            raise error
        return value

    def hold(self, task: Task, ns: int, cause: int, frees_loop: bool) -> Steps:
        if not ns:
            return
        event = self.clock.at(ns, task.key(PHASE_END))
        if frees_loop or self.gil:
            yield from self.wait_for(task, event, cause, frees_loop, False)
        else:  # what runs the code holds nothing that it could let go of
            task.doing = cause
            yield event
            task.book(cause)

    def compute(self, task: Task, work: int, cause: int, *, releases_gil: bool = False) -> Steps:
        """Compute for ``work`` ns where the task is."""
        return self.processor.compute(task, work, cause, releases_gil=releases_gil)

    # The steps.

    def run(self, task: Task, steps: tuple[Step, ...]) -> Steps:
        for step in steps:
            yield from self.steps[type(step)](task, step)
            if task.killed:
                raise Failed(contract.WORKER_TIMEOUT)

    def _cpu(self, task: Task, step: Cpu) -> Steps:
        work = self.draw(task, step.time)
        return self.compute(task, work, step.cause, releases_gil=step.releases_gil)

    def _wait(self, task: Task, step: Wait) -> Steps:
        ns = self.draw(task, step.time)
        if step.cause == AWAIT:
            ns += self.plan.server.overheads.timer_ns
        elif step.cause == BLOCK:
            ns += self.plan.server.overheads.sleep_ns
        if ns == 0 and step.cause == AWAIT:
            # asyncio.sleep(0): to the back of the loop's ready queue.
            return self.next_turn(task, self.processes[task.process])
        return self.hold(task, ns, step.cause, step.frees_loop)

    def _to_thread(self, task: Task, step: ToThread) -> Steps:
        return self.in_thread(task, step.steps)

    def in_thread(self, task: Task, steps: tuple[Step, ...]) -> Steps:
        return self.thread(task, self.run(task, steps))

    def thread(self, task: Task, work: Steps) -> Steps:
        """From the loop to a thread of the limiter, do the work there, and back."""
        process = self.processes[task.process]
        assert process.threads is not None
        visit = yield from self._hop(task, process)
        self.leave(task, process)
        if process.gil is not None:
            yield from self.take_gil(task, process)
        failed: Failed | None = None
        try:
            yield from work
        except Failed as failure:
            failed = failure
        if process.gil is not None:
            process.gil.release()
        yield from self.enter(task, process)
        task.released(visit)
        process.threads.release(visit.slot)
        if failed is not None:
            raise failed

    def _hop(self, task: Task, process: Process) -> Steps:
        """Get a thread of the limiter; returns its visit, which has the token.

        AnyIO 4.16 goes to the back of the loop's ready queue before it asks for a token
        (``run_sync_in_worker_thread``: ``checkpoint``) and again when it has one at once
        (``CapacityLimiter.acquire_on_behalf_of``: ``cancel_shielded_checkpoint``): of requests
        that come together the threads start after the others' handlers.
        """
        assert process.threads is not None
        yield from self.next_turn(task, process)
        visit = task.queue(process.threads_station)
        event = process.threads.acquire()
        waits = event.callbacks is not None
        token = yield from self.acquire(task, visit, event, THREADS, frees_loop=True, soon=True)
        if not waits:
            yield from self.next_turn(task, process)
        hop_ns = self.plan.server.overheads.thread_hop_ns
        if token >= process.threads_started:  # slots are numbered as they are first used
            process.threads_started = token + 1
            hop_ns += self.plan.server.overheads.thread_start_ns
        if hop_ns:
            yield from self.compute(task, hop_ns, FRAMEWORK)
        return visit
