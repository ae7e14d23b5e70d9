"""Who sends requests: attempts with a timeout, retries, the network; users who think."""

from __future__ import annotations

import simpy

from models.clock import Steps, grant
from simulator.engines import contract
from simulator.engines.contract import BACKOFF, NETWORK, OK, PHASE_ARRIVAL, PHASE_TIMER
from simulator.engines.servers import Servers
from simulator.engines.task import Task
from simulator.plan import NEVER, NO_STREAM, Plan

_OUT, _BACK = 0, 1  # the two ways of the network, drawn apart


def plain(plan: Plan) -> bool:
    """True if every request is sent once, at once, and waited for: no client is needed."""
    client = plan.client
    return (
        client.timeout_ns == NEVER
        and not client.retries.backoff
        and client.latency == NO_STREAM
        and all(route.deadline_ns == NEVER for route in plan.routes)
    )


class Clients:
    """Clients that give up, try again, and leave work behind in the server."""

    def __init__(self, servers: Servers) -> None:
        self.servers = servers
        self.plan = servers.plan
        self.clock = servers.clock
        self.recorder = servers.recorder
        self.workload = servers.workload

    def request(self, root: Task) -> Steps:
        """Send a request until it is answered, given up for good or out of retries."""
        backoff = self.plan.client.retries.backoff
        deadline = root.arrival + self.plan.routes[root.route].deadline_ns
        attempt = 0
        while True:
            outcome = yield from self._attempt(root, attempt, deadline)
            if outcome in (OK, contract.DEADLINE) or attempt == len(backoff):
                break
            pause = self.workload.time(backoff[attempt])(root.request)
            until = min(self.clock.now + pause, deadline)
            root.doing = BACKOFF
            if until > self.clock.now:
                yield self.clock.at(until - self.clock.now, root.key(PHASE_TIMER))
                root.book(BACKOFF)
            if until == deadline:
                outcome = contract.DEADLINE
                break
            attempt += 1
        self.recorder.finish(root, outcome)

    def _attempt(self, root: Task, attempt: int, deadline: int) -> Steps:
        """Send it once; returns the outcome for the client."""
        task = self.recorder.attempt(root, attempt)
        root.branches = [task]
        over = simpy.Event(self.clock)
        gives_up = min(self.clock.now + self.plan.client.timeout_ns, deadline)
        if gives_up < NEVER:
            timer = self.clock.at(gives_up - self.clock.now, root.key(PHASE_TIMER))
            timer.callbacks.append(lambda _: None if over.triggered else grant(over))
        self.clock.start(self._travel(task, over))
        outcome = yield over
        if outcome is None:
            task.abandoned = True
            outcome = contract.CLIENT_TIMEOUT
            if self.clock.now == deadline:
                outcome = contract.DEADLINE
        root.branches = []
        root.absorb(task)
        root.process, root.first_byte = task.process, task.first_byte
        self.recorder.attempted(task, outcome)
        return outcome

    def _travel(self, task: Task, over: simpy.Event) -> Steps:
        """Over the network, through the server, and back."""
        yield from self._network(task, _OUT)
        task.answer = simpy.Event(self.clock)
        self.clock.start(self.servers.serve(task))
        outcome = yield task.answer
        yield from self._network(task, _BACK)
        if not over.triggered:
            grant(over, outcome)
        self.recorder.ended(task)

    def _network(self, task: Task, way: int) -> Steps:
        stream = self.plan.client.latency
        if stream != NO_STREAM:
            ns = self.workload.time(stream, task.attempt, way)(task.request)
            if ns:
                task.doing = NETWORK
                yield self.clock.at(ns, task.key(PHASE_ARRIVAL))
                task.book(NETWORK)
