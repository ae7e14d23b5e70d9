"""The readable engine: wires the SimPy models of ``models/`` together for one plan.

Written to be read and to be extended; the meaning of a scenario is what happens here.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from functools import partial

import simpy

from models.clock import Livelock, Steps
from simulator.engines import contract
from simulator.engines.clients import Clients, plain
from simulator.engines.contract import NOT_STARTED
from simulator.engines.servers import Servers
from simulator.engines.steps import StepRunner
from simulator.engines.task import Task
from simulator.engines.wiring import Wiring
from simulator.plan import NEVER, NO_STREAM, UNLIMITED, Plan
from simulator.trace import Trace
from simulator.workload import Workload

GC_THRESHOLDS = (100_000, 20, 20)
"""A run makes few cycles (of failures and transactions): looking for them as often as
Python does by default costs a tenth of it."""
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
        servers = Servers(StepRunner(self.wiring))
        self.begin = servers.serve if plain(plan) else Clients(servers).request
        self.sent = [0] * len(plan.loads)  # by the users of each closed load together

    def execute(self, creation_order: Sequence[int] | None) -> Trace:
        stop = self._stop()
        if creation_order is None:
            self.clock.start(self._arrivals())
        else:
            for i in creation_order:
                event = self.clock.at(int(self.wiring.arrival[i]), self.recorder.arrival_key(i))
                event.callbacks.append(partial(self._arrive, i))
        users = self._users()
        for user in users if creation_order is None else reversed(users):
            self.clock.start(user)
        thresholds = gc.get_threshold()
        gc.set_threshold(*GC_THRESHOLDS)
        try:
            more = self.clock.run_until(min(stop, contract.TIME_MAX_NS))
        except KeyboardInterrupt:
            return self.recorder.trace("interrupted")
        except Livelock as error:
            raise contract.LimitError(
                f"{error}: EVENTS_PER_INSTANT_MAX = {contract.EVENTS_PER_INSTANT_MAX}; "
                "do requests come back without any time passing?"
            ) from error
        finally:
            gc.set_threshold(*thresholds)
        if more and stop > contract.TIME_MAX_NS:
            raise contract.LimitError(
                f"the run reached {contract.TIME_MAX_NS} ns, TIME_MAX_NS (about 73 years); "
                "shorten the times or the load"
            )
        if self.recorder.live:
            return self.recorder.trace("drained" if more else "deadlock", stop)
        return self.recorder.trace("empty")

    def _stop(self) -> int:
        """When the run is cut: ``drain`` after the end of the last load; NEVER if it has none."""
        if self.plan.drain_ns == NEVER:
            return NEVER
        ends = [load.until_ns for load in self.plan.loads if load.until_ns < NEVER]
        if any(load.users and load.until_ns == NEVER for load in self.plan.loads):
            return NEVER  # its last request can't be known beforehand
        last_arrival = [int(at) for at in self.wiring.arrival[-1:]]
        return max(ends + last_arrival) + self.plan.drain_ns

    # Open loads.

    def _arrivals(self) -> Steps:
        clock = self.clock
        now = 0
        for i, at in enumerate(self.wiring.arrival.tolist()):
            yield clock.at(at - now, self.recorder.arrival_key(i))
            now = at
            if i % PROGRESS_EVERY == 0:
                self.progress(i)
            self._arrive(i)

    def _arrive(self, request: int, _event: simpy.Event | None = None) -> None:
        self._begin(self.recorder.task(request, self.wiring.route[request]))

    def _begin(self, task: Task) -> None:
        if self.wiring.started:
            self.clock.start(self.begin(task))
        else:
            self.recorder.finish(task, NOT_STARTED)

    # Closed loads.

    def _users(self) -> list[Steps]:
        """The users of all closed loads: request k of user u has index k · users + u."""
        first, users = len(self.wiring.arrival), sum(load.users for load in self.plan.loads)
        out: list[Steps] = []
        for number, load in enumerate(self.plan.loads):
            for user in range(load.users):
                starts_ns = load.ramp_ns * user // load.users
                out.append(self._user(number, first + len(out), users, starts_ns))
        return out

    def _user(self, number: int, index: int, step: int, starts_ns: int) -> Steps:
        """Ask, wait for the answer, think, ask again, until all requests of the load are sent."""
        load = self.plan.loads[number]
        pause = starts_ns
        last_ns, asked = -1, 0
        while True:
            yield self.clock.at(pause, self.recorder.arrival_key(index))
            if self.clock.now >= load.until_ns or self.sent[number] == load.count:
                return
            self.sent[number] += 1
            contract.limit_requests(self.recorder.arrived + 1)
            asked = asked + 1 if self.clock.now == last_ns else 1
            last_ns = self.clock.now
            if load.count == UNLIMITED:
                contract.limit_asked(asked, last_ns)
            if self.recorder.arrived % PROGRESS_EVERY == 0:
                self.progress(self.recorder.arrived)
            task = self.recorder.task(index, self.workload.route(number, index))
            task.done = simpy.Event(self.clock)
            self._begin(task)
            yield task.done
            index += step
            pause = 0 if load.think == NO_STREAM else self.workload.time(load.think)(index)
