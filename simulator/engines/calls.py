"""Steps that call a service: its rate limit, its queue, timeouts, retries.

A call takes a connection of its process's HTTP client, passes the service's rate limit,
waits for a slot and is served; an outage strikes when the service begins. The slot goes to
the next in line before the answer is read; the connection is given back by the caller's
code, so when its loop or thread gets to it. A timeout counts from the start of an attempt
and strikes on time, be the loop busy or not; an answer of that same instant counts.

``overheads.client_call`` (``aiohttp_call`` where that is the client) is the HTTP client's CPU
of an attempt, as httpx 0.28 on httpcore 1.0 spends it: two tenths build the request, before
it waits for a connection; with the connection five tenths open it and send, on a loop a turn
later; the last three read the answer, an error too, before the connection is given back. Who
has timed out reads nothing. ``overheads.client_scan`` is httpcore's CPU for each pair of an
open connection and a call that waits, half of it where the connection is still being opened
(``models.service``): on top of building, the call itself among those who wait, and on top of
reading. ``overheads.aiohttp_connect`` is aiohttp's CPU of
opening a connection: a turn later it sends, so in a burst all open before the first sends.

Not modelled: the network's own time, a handshake, a timeout that fires late because
its loop is busy, a service that sees its caller leave.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import simpy

from models import PoolTimeout
from models.clock import Owner, Steps, grant
from models.rate_limit import (
    FixedWindow,
    LeakyBucket,
    RateLimit,
    RateLimited,
    SlidingWindow,
    TokenBucket,
)
from models.service import HttpClient, Service, ServiceFull
from simulator import plan as plans
from simulator.engines import contract
from simulator.engines.contract import BACKOFF, FRAMEWORK, PHASE_END, PHASE_TIMER
from simulator.engines.costs import client_costs
from simulator.engines.failed import Failed
from simulator.engines.faults import Faults
from simulator.engines.task import Task, Visit
from simulator.engines.wiring import Wiring
from simulator.plan import (
    NEVER,
    NO_STREAM,
    UNLIMITED,
    Call,
    Gather,
    RateLimitKind,
    Step,
    Target,
    ToThread,
    With,
)

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner

_RETRY_BITS = 16
_BUILDS, _READS = (2, 10), (3, 10)
"""Shares of the client's CPU; what is between them opens and sends. Of 100 httpx calls at
once .6 ms of 3 pass before the next handler begins; 10 at once have sent all after 21 ms
of their 31, as their last answer tells."""


class Calls:
    """Runs ``Call``: a connection, then an exchange, and again if it fails."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.workload = runner.wiring.workload
        self.remotes = [Remote(runner.wiring, i) for i in range(len(self.plan.services))]
        # Calls of one route to one service draw apart: by their number in the route.
        self._numbers = [_numbers(route.steps + route.after) for route in self.plan.routes]
        self.steps: dict[type, Callable[..., Steps]] = {Call: self._call}

    def _call(self, task: Task, step: Call) -> Steps:
        sub = self._numbers[task.route][id(step)]
        again = task.attempt + (task.transactions[-1].redone if task.transactions else 0)
        backoff = step.retries.backoff
        for retry in range(len(backoff) + 1):
            draws = again << _RETRY_BITS | retry, sub
            attempt = _Attempt(self.runner, self.remotes[step.service], task, step, draws)
            reason = yield from attempt.run()
            if reason is None or task.killed:
                return
            if retry < len(backoff):
                draw = self.workload.time(backoff[retry], again, sub)
                ns = draw(task.request)
                if ns:
                    pause = self.runner.clock.at(ns, task.key(PHASE_TIMER))
                    yield from self.runner.wait_for(task, pause, BACKOFF, step.frees_loop, False)
        raise Failed(contract.service_outcome(self.plan, step.service, reason))


class Remote:
    """A service as the calls of a run meet it: its models, stations, causes and draws."""

    def __init__(self, wiring: Wiring, index: int) -> None:
        plan, clock = wiring.plan, wiring.clock
        self.spec = spec = plan.services[index]
        self.index = index
        self.clock = clock
        self.recorder = wiring.recorder
        self.workload = wiring.workload
        self.faults = Faults(plan)
        self.client_cause = contract.wait_for_client(plan, index)
        self.rate_limit_cause = contract.wait_for_rate_limit(plan, index)
        self.service_cause = contract.wait_for_service(plan, index)
        self.hold_cause = contract.hold_call(plan, index)
        self.station = wiring.stations("service")[index]
        queue = None if spec.queue >= UNLIMITED else spec.queue
        self.service = Service(clock, spec.concurrency, queue=queue)
        self.rate_limit: RateLimit | None = None
        if spec.limits:
            # Where it has one its station stands before that of the service.
            self.rate_limit_station = self.station - 1
            owner = wiring.recorder.station_owner(self.rate_limit_station)
            self.rate_limit = _rate_limit(clock, spec.limits[0], owner)
        self.cpu_ns, self.scan_ns, self.connect_ns = client_costs(plan, index)
        self.clients: list[HttpClient] = []
        self.client_stations: list[int] = []
        if spec.connections < UNLIMITED:
            timeout = None if spec.connect_timeout_ns >= NEVER else spec.connect_timeout_ns
            limited = [s.connections < UNLIMITED for s in plan.services]
            place = sum(limited[:index])
            anew = contract.timeout_restarts(spec)
            for process in wiring.processes:
                client = HttpClient(clock, spec.connections, pool_timeout=timeout, restarts=anew)
                self.clients.append(client)
                self.client_stations.append(wiring.stations("client", process.index)[place])

    def fails(self, request: int, draws: tuple[int, int]) -> bool:
        """True if the call fails after its time."""
        if self.spec.error == NO_STREAM:
            return False
        return self.workload.time(self.spec.error, *draws)(request) != 0

    def time(self, request: int, draws: tuple[int, int]) -> int | None:
        """How long a call takes that begins now; None if the service is out."""
        ns = self.workload.time(self.spec.time, *draws)(request)
        return self.faults.struck(Target.SERVICE, self.index, self.clock.now, ns)


class _Attempt:
    """One try of a call. What happens far away goes on without the caller's loop or thread.

    ``answer`` is None until the caller has to wait; ``reason`` says why it failed.
    """

    def __init__(
        self, runner: StepRunner, remote: Remote, task: Task, step: Call, draws: tuple[int, int]
    ) -> None:
        self.runner = runner
        self.remote = remote
        self.task = task
        self.step = step
        self.draws = draws
        cpu_ns = remote.cpu_ns
        self._builds_ns = cpu_ns * _BUILDS[0] // _BUILDS[1]
        self._reads_ns = cpu_ns * _READS[0] // _READS[1]
        self._sends_ns = cpu_ns - self._builds_ns - self._reads_ns
        self._connects_ns = 0
        self.over = False
        self.reason: str | None = None
        self.expired = False
        self.cause = remote.client_cause  # of what it waits for now
        self.answer: simpy.Event | None = None
        self.leave: Callable[[], None] = lambda: None  # the queue, or the slot, it is in

    def run(self) -> Steps:
        """Call; returns the reason if it fails."""
        if self.step.timeout_ns < NEVER:
            timer = self.runner.clock.at(self.step.timeout_ns, self.task.key(PHASE_TIMER))
            timer.callbacks.append(self._expire)
        yield from self._compute(self._builds_ns + self._scan(arriving=True))
        if not self.remote.clients or self.is_lost:
            yield from self._use()
            return self.reason
        task = self.task
        client = self.remote.clients[task.process]
        visit = task.queue(self.remote.client_stations[task.process])
        self._connects_ns = self.remote.connect_ns if client.opens else 0
        event = client.connect(task)
        self.leave = lambda: client.give_up(event)
        try:
            connection = yield from self.runner.acquire(
                task, visit, event, self.cause, self.step.frees_loop, soon=True
            )
        except PoolTimeout:
            self._ends("call_timeout" if self.expired else "client_pool_timeout")
            return self.reason
        self.leave = lambda: None
        yield from self._use(connection)
        task.released(visit)
        client.release(connection)
        return self.reason

    @property
    def is_lost(self) -> bool:
        """True if it has timed out, or its process was killed, before it has sent anything."""
        return self.expired or self.task.killed

    def _use(self, connection: int | None = None) -> Steps:
        """Send, wait, read; nothing if the time is over while it has waited for its loop.

        ``connection``: that of the client, if it has a limit of them.
        """
        task = self.task
        if (self.remote.cpu_ns or self.remote.connect_ns) and not self.is_lost:
            process = self.runner.processes[task.process]
            if self.step.frees_loop:
                yield from self.runner.next_turn(task, process)
            if self._connects_ns:
                yield from self._compute(self._connects_ns)
                if self.step.frees_loop:
                    yield from self.runner.next_turn(task, process)
            yield from self._compute(self._sends_ns)
        if self.is_lost:
            self._ends("call_timeout")
            return
        if connection is not None:
            self.remote.clients[task.process].opened(connection)
        yield from self._exchange()
        if not self.is_lost:
            yield from self._compute(self._reads_ns + self._scan())

    def _scan(self, *, arriving: bool = False) -> int:
        """CPU for going through the connections, once for each call that waits."""
        if not self.remote.scan_ns:
            return 0
        client = self.remote.clients[self.task.process]
        return self.remote.scan_ns * client.half_pairs(arriving=arriving) // 2

    def _compute(self, ns: int) -> Steps:
        """Run the client's code where the task is."""
        if ns:
            yield from self.runner.compute(self.task, ns, FRAMEWORK)

    def _exchange(self) -> Steps:
        self.runner.clock.start(self._at_service())
        if not self.over:
            self.answer = simpy.Event(self.runner.clock)
            yield from self.runner.wait_for(
                self.task, self.answer, self.cause, self.step.frees_loop, False
            )

    def _expire(self, _event: simpy.Event) -> None:
        if self.over or self.expired:
            return
        self.expired = True
        self.leave()
        if self.answer is not None:
            self.task.book(self.cause)
            self._ends("call_timeout")

    def _ends(self, reason: str | None) -> None:
        self.over, self.reason = True, reason
        if self.answer is not None:
            grant(self.answer)

    # What happens at the service.

    def _at_service(self) -> Steps:
        task, remote = self.task, self.remote
        if remote.rate_limit is not None:
            limit, pending = remote.rate_limit, remote.rate_limit.acquire()
            visit = task.queue(remote.rate_limit_station)
            try:
                yield from self._wait(pending, visit, remote.rate_limit_cause, limit.leave)
            except RateLimited:
                return self._is_refused(visit, "rate_limited")
            task.granted(visit, 0)
            task.released(visit)
        visit = task.queue(remote.station)
        priority = self.runner.plan.routes[task.route].priority
        pending = remote.service.acquire(priority)
        try:
            slot = yield from self._wait(pending, visit, remote.service_cause, remote.service.leave)
        except ServiceFull:
            return self._is_refused(visit, "service_full")
        task.granted(visit, slot)
        self._serve(visit, slot)
        return None

    def _wait(
        self,
        pending: simpy.Event,
        visit: Visit,
        cause: int,
        leave: Callable[[simpy.Event], None],
    ) -> Steps:
        """Wait in a queue; does not come back if the attempt expires there."""

        def leave_queue() -> None:
            leave(pending)
            self.task.released(visit)

        self._is_in(cause, leave_queue)
        value = yield pending
        self.task.book(cause)
        return value

    def _is_in(self, cause: int, leave: Callable[[], None]) -> None:
        self.cause = self.task.doing = cause
        self.leave = leave

    def _is_refused(self, visit: Visit, reason: str) -> None:
        self.task.released(visit)
        self._ends(reason)

    def _serve(self, visit: Visit, slot: int) -> None:
        task, remote = self.task, self.remote
        ns = remote.time(task.request, self.draws)
        if ns:
            hold = _Hold(remote, task, visit, slot)
            self._is_in(remote.hold_cause, hold.leave_behind)
            end = remote.clock.at(ns, task.key(PHASE_END))
            end.callbacks.append(lambda _: self._is_served(hold))
            return
        task.released(visit)
        remote.service.release(slot)
        failed = ns is None or remote.fails(task.request, self.draws)
        self._ends("service_error" if failed else None)

    def _is_served(self, hold: _Hold) -> None:
        if not self.over:
            self.task.book(self.cause)
        hold.end()
        if not self.over:
            failed = self.remote.fails(self.task.request, self.draws)
            self._ends("service_error" if failed else None)


class _Hold:
    """A slot of a service while it works; it does so to the end, whoever still waits."""

    def __init__(self, remote: Remote, task: Task, visit: Visit, slot: int) -> None:
        self.remote = remote
        self.task = task
        self.visit = visit
        self.slot = slot
        self.left_behind = False

    def leave_behind(self) -> None:
        """The caller has gone: the visit goes on as one of its own."""
        behind = self.remote.recorder.branch(self.task, self.task.branch)
        behind.is_request = False
        behind.waited = self.visit.waited
        self.task.open.remove(self.visit)
        behind.open.append(self.visit)
        self.task, self.left_behind = behind, True

    def end(self) -> None:
        """Give the slot to the next in line."""
        self.task.released(self.visit)
        if self.left_behind:
            self.remote.recorder.ended(self.task)
        self.remote.service.release(self.slot)


def _rate_limit(env: simpy.Environment, spec: plans.RateLimit, owner: Owner) -> RateLimit:
    if spec.kind is RateLimitKind.TOKEN_BUCKET:
        return TokenBucket(env, spec.rate, spec.burst, waits=spec.waits, owner=owner)
    if spec.kind is RateLimitKind.LEAKY_BUCKET:
        return LeakyBucket(env, spec.rate, waits=spec.waits, owner=owner)
    window = FixedWindow if spec.kind is RateLimitKind.FIXED_WINDOW else SlidingWindow
    return window(env, spec.limit, spec.window_ns, waits=spec.waits, owner=owner)


def _numbers(steps: tuple[Step, ...]) -> dict[int, int]:
    """The number of each call among those of its service, in the order they are written."""
    numbers: dict[int, int] = {}
    count: dict[int, int] = {}
    for call in _calls(steps):
        numbers[id(call)] = count.get(call.service, 0)
        count[call.service] = numbers[id(call)] + 1
    return numbers


def _calls(steps: tuple[Step, ...]) -> Iterator[Call]:
    for step in steps:
        if isinstance(step, Call):
            yield step
        elif isinstance(step, With | ToThread):
            yield from _calls(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from _calls(branch.steps)
