"""The readable engine: wires the SimPy models of ``models/`` together for one plan.

Written to be read and to be extended; the meaning of a scenario is what happens here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import simpy

from models.clock import Livelock, Steps
from simulator.engines import contract
from simulator.engines.contract import FRAMEWORK, NOT_STARTED, OK, PHASE_ARRIVAL
from simulator.engines.failed import Failed
from simulator.engines.recorder import Task
from simulator.engines.steps import StepRunner
from simulator.engines.wiring import Process, Wiring
from simulator.plan import NEVER, Accept, Plan, ServerKind
from simulator.trace import Trace
from simulator.workload import Workload

PROGRESS_EVERY = 4096
"""Arrivals between two calls of ``progress``."""


def run(
    plan: Plan,
    workload: Workload,
    *,
    progress: Callable[[int], None] = lambda arrived: None,
    creation_order: Sequence[int] | None = None,
) -> Trace:
    """What happens to every request.

    Parameters
    ----------
    plan : Plan
    workload : Workload
        Where all randomness comes from; the engine has none of its own.
    progress : callable
        Called every ``PROGRESS_EVERY`` arrivals with the number arrived so far.
    creation_order : sequence of int, optional
        A permutation of the requests: the order in which their arrivals are created.
        It must not matter, and tests show that it does not.

    Returns
    -------
    Trace
        Also after Ctrl-C: what was done until then, ``ended == "interrupted"``.

    Raises
    ------
    LimitError
        More requests, events at one instant or simulated time than the named limits.
    """
    return _Run(plan, workload, progress).execute(creation_order)


class _Run:
    def __init__(self, plan: Plan, workload: Workload, progress: Callable[[int], None]) -> None:
        self.plan = plan
        self.progress = progress
        self.workload = workload
        self.wiring = Wiring(plan, workload)
        self.clock = self.wiring.clock
        self.recorder = self.wiring.recorder
        self.runner = StepRunner(self.wiring)
        self.accepted = 0
        self.serve = {
            ServerKind.SYNC: self._in_worker,
            ServerKind.THREADS: self._in_server_thread,
            ServerKind.ASGI: self._on_loop,
        }[plan.server.kind]

    # The run.

    def execute(self, creation_order: Sequence[int] | None) -> Trace:
        untils = [load.until_ns for load in self.plan.loads]
        stop = NEVER
        if self.plan.drain_ns < NEVER:
            stop = max(untils) + self.plan.drain_ns
        if creation_order is None:
            self.clock.start(self._arrivals())
        else:
            for i in creation_order:
                event = self.clock.at(int(self.wiring.arrival[i]), self._arrival_key(i))
                event.callbacks.append(partial(self._arrive, i))
        try:
            more = self.clock.run_until(min(stop, contract.TIME_MAX_NS))
        except KeyboardInterrupt:
            return self.recorder.trace("interrupted")
        except Livelock as error:
            raise contract.LimitError(
                f"{error}: EVENTS_PER_INSTANT_MAX = {contract.EVENTS_PER_INSTANT_MAX}; "
                "do requests come back without any time passing?"
            ) from error
        if more and stop > contract.TIME_MAX_NS:
            raise contract.LimitError(
                f"the run reached {contract.TIME_MAX_NS} ns, TIME_MAX_NS (about 73 years); "
                "shorten the times or the load"
            )
        if self.recorder.live:
            return self.recorder.trace("drained" if more else "deadlock", stop)
        return self.recorder.trace("empty")

    def _arrivals(self) -> Steps:
        clock = self.clock
        now = 0
        for i, at in enumerate(self.wiring.arrival.tolist()):
            yield clock.at(at - now, self._arrival_key(i))
            now = at
            if i % PROGRESS_EVERY == 0:
                self.progress(i)
            self._arrive(i)

    def _arrival_key(self, request: int) -> int:
        return self.recorder.request_owner(request).key(PHASE_ARRIVAL)

    def _arrive(self, request: int, _event: simpy.Event | None = None) -> None:
        task = self.recorder.task(request)
        if not self.wiring.started:
            self.recorder.finish(task, NOT_STARTED)
            return
        self.clock.start(self.serve(task))

    def _accept(self, task: Task) -> Process:
        server, number = self.plan.server, self.accepted
        self.accepted += 1
        if server.workers == 1:
            chosen = 0
        elif server.accept is Accept.ROUND_ROBIN:
            chosen = number % server.workers
        elif server.accept is Accept.RANDOM:
            chosen = self.workload.decide("accept", number, server.workers)
        else:
            chosen = self.workload.decide_by_weight("accept", number, server.accept_weights)
        task.process = chosen
        return self.wiring.processes[chosen]

    # The three servers.

    def _in_worker(self, task: Task) -> Steps:
        instance = 0
        workers = self.wiring.workers[instance]
        visit = task.queue(self.wiring.stations("workers", instance)[0])
        task.doing = contract.ACCEPT_QUEUE
        slot = yield workers.acquire()
        task.book(contract.ACCEPT_QUEUE)
        task.granted(visit, slot)
        task.process = instance * self.plan.server.workers + slot
        outcome = yield from self._handle(task, self.plan.server.overheads.worker_ns)
        self.recorder.finish(task, outcome)
        task.released(visit)
        workers.release(slot)

    def _in_server_thread(self, task: Task) -> Steps:
        process = self._accept(task)
        assert process.threads is not None
        visit = task.queue(process.threads_station)
        task.doing = contract.ACCEPT_QUEUE
        slot = yield process.threads.acquire()
        task.book(contract.ACCEPT_QUEUE)
        task.granted(visit, slot)
        if process.gil is not None:
            yield from self.runner.take_gil(task, process)
        outcome = yield from self._handle(task, self.plan.server.overheads.worker_ns)
        self.recorder.finish(task, outcome)
        if process.gil is not None:
            process.gil.release()
        task.released(visit)
        process.threads.release(slot)

    def _on_loop(self, task: Task) -> Steps:
        process = self._accept(task)
        overheads = self.plan.server.overheads
        # One callback reads the request; the handler is a task, so it runs a turn later.
        yield from self.runner.enter(task, process)
        if overheads.loop_before_ns:
            yield from self.runner.compute(task, overheads.loop_before_ns, FRAMEWORK)
        yield from self.runner.next_turn(task, process)
        route = self.plan.routes[task.route]
        outcome = OK
        try:
            if route.on_loop:
                yield from self.runner.run(task, route.steps)
            else:
                yield from self.runner.in_thread(task, route.steps)
        except Failed as failure:
            outcome = failure.outcome
        if overheads.loop_after_ns:
            yield from self.runner.compute(task, overheads.loop_after_ns, FRAMEWORK)
        self.recorder.finish(task, outcome)
        self.runner.leave(task, process)

    def _handle(self, task: Task, overhead_ns: int) -> Steps:
        """Run the route's steps where the task is; returns the outcome."""
        try:
            if overhead_ns:
                yield from self.runner.compute(task, overhead_ns, FRAMEWORK)
            yield from self.runner.run(task, self.plan.routes[task.route].steps)
        except Failed as failure:
            return failure.outcome
        return OK
