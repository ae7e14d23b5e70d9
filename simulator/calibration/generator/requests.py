"""Who sends: requests at their instants, attempts, retries, users who think.

The meaning is that of ``simulator.engines.clients`` and of the engine's loads; instead of a
model a server answers. Instants are of ``time.monotonic_ns``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from simulator.calibration.generator.connection import Connection
from simulator.calibration.generator.connections import Connections
from simulator.calibration.generator.job import AttemptRow, Job, Raw, RequestRow
from simulator.calibration.generator.loop import Loop, now_ns
from simulator.calibration.generator.outcomes import outcome_of, payloads
from simulator.plan import NEVER, NO_STREAM
from simulator.workload import Workload

SENDS_PER_TURN = 32
"""Sends of one instant between two looks at what has been answered."""
REFUSED_MAX = 50
"""Connections refused in a row, without any answer, after which the server counts as dead."""
IN_FLIGHT = "in_flight"
_OUT, _BACK = 0, 1  # the two ways of the network, as in the engine


class Request:
    """One request of a client, over all its attempts."""

    __slots__ = (
        "arrival", "attempt", "began", "connection", "deadline", "first", "index", "intended",
        "over", "route", "sent", "times", "user",
    )  # fmt: skip

    def __init__(self, index: int, route: int, arrival: int, deadline: int) -> None:
        self.index = index
        self.route = route
        self.arrival = arrival
        self.deadline = deadline
        self.attempt = 0
        self.intended = arrival
        self.began = self.sent = self.first = 0
        self.times = b""
        self.over = False
        self.connection: Connection | None = None
        self.user: User | None = None


class User:
    """One user of a closed load: asks, waits, thinks, asks again."""

    __slots__ = ("index", "load", "step")

    def __init__(self, load: int, index: int, step: int) -> None:
        self.load = load
        self.index = index
        self.step = step


class Sender:
    """Sends a job's load and writes down what came of it."""

    def __init__(self, job: Job, loop: Loop, workload: Workload) -> None:
        self.job = job
        self.loop = loop
        self.plan = job.plan
        self.workload = workload
        self.connections = Connections(job, loop, self._answered, self._lost)
        self.payload = payloads(job)
        self.live: dict[Request, None] = {}
        self.begun = 0
        self.stopped = ""
        self.said: dict[str, str] = {}
        self._rows: list[RequestRow] = []
        self._attempts: list[AttemptRow] = []
        self._next = 0  # of the open arrivals
        self._users = 0  # that will still ask
        self._sent = [0] * len(self.plan.loads)  # by users of each closed load
        self._refused = 0
        self._second = self._in_second = 0
        client = self.plan.client
        self._patient = client.timeout_ns == NEVER and all(
            route.deadline_ns == NEVER for route in self.plan.routes
        )
        self._backoff = client.retries.backoff
        self._latency = client.latency

    # The run.

    def run(self, begins: Callable[[int], None]) -> Raw:
        """Open the connections, send everything, wait for the answers."""
        self.connections.open_kept()
        for payload in self.payload:  # the first time anything is done takes longest
            payload(0, 0)
        self.connections.warm()
        self.origin = origin = now_ns() + self.job.ramp_ns
        begins(origin)
        self._arrivals = (self.job.arrival_ns + origin).tolist()
        self._routes = self.job.route.tolist()
        stop = self._stop()
        if stop < NEVER:
            self.loop.at(origin + stop, lambda _: self.cut(""))
        limit = "the time of the budget was over"
        self.loop.at(origin + self.job.time_max_ns, lambda _: self.cut(limit))
        self._begin_users()
        if self._arrivals:
            self.loop.at(self._arrivals[0], self._send_due)
        self._end_if_done()
        cpu = time.process_time_ns()
        self.loop.run()
        cpu = time.process_time_ns() - cpu
        end = now_ns()
        for request in self.live:
            self._row(request, -1, IN_FLIGHT)
        return Raw(
            origin, end, self._rows, self._attempts, cpu, self.connections.opened,
            self.stopped, self.said,
        )  # fmt: skip

    def cut(self, why: str) -> None:
        """End the run now; what was not answered is in flight."""
        self.stopped = self.stopped or why
        self.loop.running = False

    def _stop(self) -> int:
        """When a run with a ``drain`` is cut, as in the engine."""
        plan = self.plan
        closed = any(load.users and load.until_ns == NEVER for load in plan.loads)
        if plan.drain_ns == NEVER or closed:
            return NEVER
        ends = [load.until_ns for load in plan.loads if load.until_ns < NEVER]
        return max(ends + [int(at) for at in self.job.arrival_ns[-1:]]) + plan.drain_ns

    def _end_if_done(self) -> None:
        if not self.live and self._next == len(self._arrivals) and not self._users:
            self.loop.running = False

    # Open loads: they never wait for an answer.

    def _send_due(self, _: None) -> None:
        arrivals, n = self._arrivals, len(self._arrivals)
        now, i = now_ns(), self._next
        last = min(n, i + SENDS_PER_TURN)
        while i < last and arrivals[i] <= now:
            self._next = i + 1
            self._begin(i, self._routes[i], arrivals[i])
            i += 1
        if self._next < n:
            self.loop.at(arrivals[self._next], self._send_due)

    def _begin(self, index: int, route: int, arrival: int) -> Request:
        deadline = arrival + self.plan.routes[route].deadline_ns
        request = Request(index, route, arrival, deadline)
        self.begun += 1
        self.live[request] = None
        self._attempt(request)
        return request

    # Users.

    def _begin_users(self) -> None:
        first, step = len(self._arrivals), sum(load.users for load in self.plan.loads)
        number = 0
        for at, load in enumerate(self.plan.loads):
            for k in range(load.users):
                user = User(at, first + number, step)
                number += 1
                self._users += 1
                self.loop.at(self.origin + load.ramp_ns * k // load.users, partial(self._ask, user))

    def _ask(self, user: User, intended: int | None = None) -> None:
        load = self.plan.loads[user.load]
        if intended is None:  # the first time: as its ramp says
            k = (user.index - len(self._arrivals)) % user.step
            k -= sum(before.users for before in self.plan.loads[: user.load])
            intended = self.origin + load.ramp_ns * k // load.users
        if intended - self.origin >= load.until_ns or self._sent[user.load] == load.count:
            self._users -= 1
            self._end_if_done()
            return
        if self._beyond_budget():
            return
        self._sent[user.load] += 1
        request = self._begin(user.index, self.workload.route(user.load, user.index), intended)
        request.user = user

    def _beyond_budget(self) -> bool:
        """Whether users have used up what may be sent; then the run is cut."""
        second = now_ns() // 1_000_000_000
        self._in_second = self._in_second + 1 if second == self._second else 1
        self._second = second
        if self.begun >= self.job.requests_max:
            self.cut(f"the {self.job.requests_max} requests of the budget were sent")
        elif self._in_second > self.job.rate_max:
            self.cut(f"users asked more often than the budget's {self.job.rate_max:g}/s")
        else:
            return False
        return True

    def _think(self, user: User, finish: int) -> None:
        user.index += user.step
        think = self.plan.loads[user.load].think
        pause = 0 if think == NO_STREAM else self.workload.time(think)(user.index)
        at = finish + pause
        self.loop.at(at, lambda _: self._ask(user, at))

    # Attempts.

    def _attempt(self, request: Request) -> None:
        if not self._patient:
            over = min(request.intended + self.plan.client.timeout_ns, request.deadline)
            if over < NEVER:
                attempt = request.attempt
                self.loop.at(over, lambda _: self._give_up(request, attempt, over))
        if self._latency == NO_STREAM:
            self._dispatch(request)
            return
        attempt = request.attempt
        request.intended += self.workload.time(self._latency, attempt, _OUT)(request.index)
        self.loop.at(request.intended, lambda _: self._arrives(request, attempt))

    def _arrives(self, request: Request, attempt: int) -> None:
        if not request.over and request.attempt == attempt:
            self._dispatch(request)

    def _dispatch(self, request: Request) -> None:
        request.began = now_ns()
        connection = self.connections.take(request.index)
        request.connection = connection
        payload = self.payload[request.route](request.index, request.attempt)
        connection.ask(request, payload)

    def _answered(self, connection: Connection) -> None:
        request = connection.request
        assert request is not None
        now = now_ns()
        outcome = outcome_of(connection, self.plan.outcomes)
        if outcome != "ok" and outcome not in self.said:
            self.said[outcome] = connection.body[:200].decode("utf-8", "replace")
        self._refused = 0
        request.sent, request.times = connection.sent_ns, connection.times
        request.first = connection.first_ns if connection.chunked else now
        self.connections.give_back(connection)
        request.connection = None
        if self._latency == NO_STREAM:
            self._ended(request, outcome, now)
            return
        attempt = request.attempt
        at = now + self.workload.time(self._latency, attempt, _BACK)(request.index)
        self.loop.at(at, lambda _: self._comes_back(request, attempt, outcome, at))

    def _comes_back(self, request: Request, attempt: int, outcome: str, at: int) -> None:
        if not request.over and request.attempt == attempt:
            self._ended(request, outcome, at)

    def _lost(self, connection: Connection, reason: str) -> None:
        request = connection.request
        self.connections.drop(connection)
        if request is None:
            return
        request.sent = connection.sent_ns
        self._refused = self._refused + 1 if reason == "connection_refused" else 0
        self._ended(request, self._name_of_loss(reason), now_ns())
        if self._refused >= REFUSED_MAX:
            self.cut(f"the server refuses connections, {REFUSED_MAX} in a row")

    def _name_of_loss(self, reason: str) -> str:
        killed = self.plan.server.timeout_ns < NEVER and reason == "connection_reset"
        return "worker_timeout" if killed else reason

    def _give_up(self, request: Request, attempt: int, over: int) -> None:
        if request.over or request.attempt != attempt:
            return
        if request.connection is not None:
            request.sent = request.connection.sent_ns
            self.connections.drop(request.connection)
        outcome = "deadline" if over == request.deadline else "client_timeout"
        self._ended(request, outcome, over)

    def _ended(self, request: Request, outcome: str, now: int) -> None:
        """An attempt is over; the request may be, too."""
        request.connection = None
        row = (request.index, request.attempt, request.intended, request.began, now, outcome)
        self._attempts.append(row)
        if outcome in ("ok", "deadline") or request.attempt == len(self._backoff):
            self._finish(request, now, outcome)
            return
        pause = self.workload.time(self._backoff[request.attempt])(request.index)
        until = min(now + pause, request.deadline)
        request.attempt += 1
        request.intended = until
        self.loop.at(until, lambda _: self._again(request))

    def _again(self, request: Request) -> None:
        if request.intended == request.deadline:
            self._finish(request, request.deadline, "deadline")
        else:
            self._attempt(request)

    def _finish(self, request: Request, now: int, outcome: str) -> None:
        request.over = True
        del self.live[request]
        self._row(request, now, outcome)
        if request.user is not None:
            self._think(request.user, now)
        self._end_if_done()

    def _row(self, request: Request, finish: int, outcome: str) -> None:
        self._rows.append(
            (
                request.index, request.route, request.arrival, finish, outcome, request.first,
                request.intended, request.began, request.sent, request.times,
            )
        )  # fmt: skip
