"""What a server does with a request: accepting, the three kinds of process, the answer."""

from __future__ import annotations

from models import two_choices
from models.clock import Steps, grant
from simulator.engines import contract
from simulator.engines.contract import (
    ACCEPT_QUEUE,
    BACKLOG,
    FRAMEWORK,
    LIMIT_CONCURRENCY,
    OK,
    PHASE_ARRIVAL,
    PHASE_TIMER,
    WORKER_TIMEOUT,
)
from simulator.engines.failed import Failed
from simulator.engines.steps import StepRunner
from simulator.engines.task import Task, Visit
from simulator.engines.wiring import Process
from simulator.plan import NEVER, UNLIMITED, Accept, Balancer, ServerKind, Step, Stream

SYN_RETRIES_S = (1, 2, 4, 8, 16, 32)
"""Linux waits so long before it sends a dropped SYN again (tcp_syn_retries = 6) …"""
SYN_GIVES_UP_S = 64
"""… and so long after the last one before the connection fails."""
LINGER_MAX_NS = 2_000_000_000
"""gunicorn 27's sync worker waits at most so long for the client to close."""
BACKGROUND = 0xFFFF
"""The branch number of work after the answer: behind all branches of gathers."""


class Servers:
    """Instances behind a balancer, each with its processes."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.clock = runner.clock
        self.recorder = runner.recorder
        self.wiring = runner.wiring
        self.workload = runner.wiring.workload
        server = self.plan.server
        self.in_flight = [0] * server.instances
        self.unaccepted = [0] * server.instances
        self.connections = [0] * (server.instances * server.workers)
        self._timeout_ns = server.timeout_ns
        self._worker_ns = server.overheads.worker_ns
        self._linger_ns = min(self.plan.client.close_delay_ns, LINGER_MAX_NS)
        self._backlog_max = server.backlog
        self._backlog_limited = server.backlog < UNLIMITED
        self._steps = [route.steps for route in self.plan.routes]
        self._has_after = [bool(route.after) for route in self.plan.routes]
        self._worker_stations = self.wiring.stations("workers")
        self._busy: dict[int, tuple[Task, Visit]] = {}  # what each sync worker is at
        self._watched: set[int] = set()  # workers that have a timer running
        self._balanced = 0
        self._accepted = [0] * server.instances
        # Connections that are kept stay with the process that accepted them. A request waits for
        # none: HTTP/1.1 has one at a time on each, so the client takes another or opens one.
        self._kept = [
            self._place(self._balance()) for _ in range(self.plan.client.kept_connections)
        ]
        self._idle = dict.fromkeys(range(len(self._kept)))
        self._used: dict[Task, int] = {}
        for process in self._kept:
            self.connections[process] += 1
        self._serve = {
            ServerKind.SYNC: self._in_worker,
            ServerKind.THREADS: self._in_server_thread,
            ServerKind.ASGI: self._on_loop,
        }[server.kind]

    def serve(self, task: Task) -> Steps:
        """A request, or an attempt of it, reaches the balancer."""
        if self._kept:
            task.process = self._kept[self._take_kept(task)]
            task.instance = task.process // self.plan.server.workers
        else:
            task.instance = self._balance()
        self.in_flight[task.instance] += 1
        full = self._backlog_limited and self._backlog(task.instance) >= self._backlog_max
        if full and not self._kept:
            return self._serve_if_connected(task)
        return self._serve(task)

    def _take_kept(self, task: Task) -> int:
        """The request's own connection; if it is busy the one given back last; else another."""
        number = task.request % self.plan.client.kept_connections
        if number not in self._idle:
            if self._idle:
                number = next(reversed(self._idle))
            else:
                number = len(self._kept)
                process = self._place(self._balance())
                self._kept.append(process)
                self.connections[process] += 1
                self._idle[number] = None
        del self._idle[number]
        self._used[task] = number
        return number

    def _serve_if_connected(self, task: Task) -> Steps:
        outcome = yield from self._connect(task)
        if outcome == OK:
            yield from self._serve(task)
        else:
            self._finish(task, outcome)

    def _balance(self) -> int:
        server, number = self.plan.server, self._balanced
        self._balanced += 1
        if server.instances == 1:
            return 0
        if server.balancer is Balancer.ROUND_ROBIN:
            return number % server.instances
        if server.balancer is Balancer.RANDOM:
            return self.workload.decide("balancer", number, server.instances)
        if server.balancer is Balancer.LEAST_CONNECTIONS:
            return min(range(server.instances), key=lambda i: (self.in_flight[i], i))
        first = self.workload.decide("balancer", 2 * number, server.instances)
        second = self.workload.decide("balancer", 2 * number + 1, server.instances - 1)
        return two_choices(self.in_flight, first, second)

    def _accept(self, task: Task) -> Process:
        if task.process < 0:
            task.process = self._place(task.instance)
        return self.wiring.processes[task.process]

    def _place(self, instance: int) -> int:
        """The process of an instance that accepts the next connection."""
        server, number = self.plan.server, self._accepted[instance]
        self._accepted[instance] += 1
        if server.workers == 1:
            chosen = 0
        elif server.accept is Accept.ROUND_ROBIN:
            chosen = number % server.workers
        elif server.accept is Accept.RANDOM:
            chosen = self.workload.decide(f"accept[{instance}]", number, server.workers)
        else:
            weights = server.accept_weights
            chosen = self.workload.decide_by_weight(f"accept[{instance}]", number, weights)
        return instance * server.workers + chosen

    def _connect(self, task: Task) -> Steps:
        """Get a place in the backlog; a dropped SYN is sent again after 1, 3, 7, … s."""
        for pause in (*SYN_RETRIES_S, SYN_GIVES_UP_S):
            if self._backlog(task.instance) < self.plan.server.backlog:
                return OK
            task.doing = BACKLOG
            yield self.clock.at(pause * 10**9, task.key(PHASE_ARRIVAL))
            task.book(BACKLOG)
        return contract.CONNECT_TIMEOUT

    def _backlog(self, instance: int) -> int:
        """Connections that wait to be accepted: a threaded server's main thread takes all."""
        if self.plan.server.kind is ServerKind.SYNC:
            return self.wiring.workers[instance].waiting
        return self.unaccepted[instance]

    def _finish(self, task: Task, outcome: int) -> None:
        self.in_flight[task.instance] -= 1
        if self._kept:
            number = self._used.pop(task)
            if task.abandoned:
                self.connections[task.process] -= 1
            else:
                self._idle[number] = None
        if task.answer is None:
            self.recorder.finish(task, outcome)
        else:
            grant(task.answer, outcome)

    # The three kinds of process.

    def _in_worker(self, task: Task) -> Steps:
        workers = self.wiring.workers[task.instance]
        visit = task.queue(self._worker_stations[task.instance])
        task.doing = ACCEPT_QUEUE
        slot = yield workers.acquire()
        task.book(ACCEPT_QUEUE)
        task.granted(visit, slot)
        task.process = task.instance * self.plan.server.workers + slot
        if self._timeout_ns < NEVER:
            self._watch(task, visit)
        outcome = yield from self._handle(task)
        if task.killed:
            self.recorder.lingering.pop(task, None)
            return
        self._busy.pop(task.process, None)
        self._finish(task, outcome)
        if self._has_after[task.route]:
            yield from self._after(task)
        if self._linger_ns:
            self.recorder.lingering[task] = None
            yield self.clock.at(self._linger_ns, task.key(contract.PHASE_END))
            self.recorder.lingering.pop(task, None)
        task.released(visit)
        workers.release(slot)

    def _watch(self, task: Task, visit: Visit) -> None:
        """Kill the worker if this request keeps it busy for longer than the timeout."""
        self._busy[task.process] = (task, visit)
        if task.process not in self._watched:
            self._watched.add(task.process)
            self._arm(task, visit)

    def _arm(self, task: Task, visit: Visit) -> None:
        over = visit.granted + self.plan.server.timeout_ns
        timer = self.clock.at(over - self.clock.now, task.key(PHASE_TIMER))
        timer.callbacks.append(lambda _: self._look_at(task.process))

    def _look_at(self, process: int) -> None:
        """One timer per worker: it has moved on to another request since, or it is killed.

        What runs elsewhere by then, such as a query, runs to its end; no step comes after it.
        """
        busy = self._busy.get(process)
        if busy is None:
            self._watched.discard(process)
            return
        task, visit = busy
        if self.clock.now < visit.granted + self.plan.server.timeout_ns:
            self._arm(task, visit)
            return
        self._watched.discard(process)
        del self._busy[process]
        slot = visit.slot
        task.spent, task.mark, task.killed = task.so_far(), self.clock.now, True
        self.recorder.lingering[task] = None
        self.runner.processor.kill(task)
        self._finish(task, WORKER_TIMEOUT)
        task.released(visit)
        self.wiring.workers[task.instance].release(slot)

    def _in_server_thread(self, task: Task) -> Steps:
        process = self._accept(task)
        assert process.threads is not None
        visit = task.queue(process.threads_station)
        task.doing = ACCEPT_QUEUE
        slot = yield process.threads.acquire()
        task.book(ACCEPT_QUEUE)
        task.granted(visit, slot)
        if process.gil is not None:
            yield from self.runner.take_gil(task, process)
        outcome = yield from self._handle(task)
        self._finish(task, outcome)
        if self._has_after[task.route]:
            yield from self._after(task)
        if process.gil is not None:
            process.gil.release()
        task.released(visit)
        process.threads.release(slot)

    def _handle(self, task: Task) -> Steps:
        """Run the route's steps where the task is; returns the outcome."""
        try:
            worker_ns = self._worker_ns + self._first_ns(self.wiring.processes[task.process])
            if worker_ns:
                yield from self.runner.compute(task, worker_ns, FRAMEWORK)
            yield from self.runner.run(task, self._steps[task.route])
        except Failed as failure:
            return failure.outcome
        return OK

    def _on_loop(self, task: Task) -> Steps:
        process = self._accept(task)
        overheads = self.plan.server.overheads
        # One callback reads the request; the handler is a task, so it runs a turn later.
        self.unaccepted[task.instance] += 1
        yield from self.runner.enter(task, process, reads=True)
        self.unaccepted[task.instance] -= 1
        if not self._kept:
            self.connections[process.index] += 1
        # uvicorn decides while it reads the request (`on_headers_complete`); its own application
        # answers who is turned away, the service's is not called.
        accepted = self.connections[process.index] < self.plan.server.limit_concurrency
        before_ns = overheads.loop_before_ns if accepted else overheads.refusal_ns
        before_ns += self._first_ns(process)
        if before_ns:
            yield from self.runner.compute(task, before_ns, FRAMEWORK)
        yield from self.runner.next_turn(task, process)
        outcome = LIMIT_CONCURRENCY
        if accepted:
            outcome = yield from self._handler(task)
        if accepted and overheads.loop_after_ns:
            yield from self.runner.compute(task, overheads.loop_after_ns, FRAMEWORK)
        yield from self.runner.write(task, process)
        if not self._kept:
            self.connections[process.index] -= 1
        self._finish(task, outcome)
        if self._has_after[task.route]:
            yield from self._after(task)
        self.runner.leave(task, process)

    def _first_ns(self, process: Process) -> int:
        """What the first request of a process costs on top."""
        if process.has_served:
            return 0
        process.has_served = True
        return self.plan.server.overheads.first_request_ns

    def _handler(self, task: Task) -> Steps:
        """Run the route's handler: on the loop, or in a thread and then on the loop."""
        route = self.plan.routes[task.route]
        try:
            if route.on_loop:
                yield from self.runner.run(task, route.steps)
            else:
                yield from self._function(task, route.steps)
        except Failed as failure:
            return failure.outcome
        return OK

    def _function(self, task: Task, steps: tuple[Step, ...]) -> Steps:
        """Run a `def` handler in a thread; what it streams is iterated after it has returned."""
        called = False
        while True:
            streams = (i for i, step in enumerate(steps) if isinstance(step, Stream))
            end = next(streams, len(steps))
            if end or not called:
                yield from self.runner.in_thread(task, steps[:end])
            if end == len(steps):
                return
            yield from self.runner.run(task, steps[end : end + 1])
            called, steps = True, steps[end + 1 :]

    def _after(self, task: Task) -> Steps:
        """Run background tasks where the answer was sent: held, but outside the latency."""
        route = self.plan.routes[task.route]
        background = self.recorder.branch(task, BACKGROUND)
        self.recorder.lingering[task] = None
        background.take_turn_of(task)
        on_asgi = self.plan.server.kind is ServerKind.ASGI
        try:
            if on_asgi and not route.on_loop:
                yield from self.runner.in_thread(background, route.after)
            else:
                yield from self.runner.run(background, route.after)
        except Failed:
            pass  # the answer is out; nobody hears of it
        task.take_turn_of(background)
        self.recorder.ended(background)
        self.recorder.lingering.pop(task, None)
