"""The program of a route: its steps, and what its server does around them, as instructions."""

from __future__ import annotations

from collections.abc import Callable

from simulator.engines import contract
from simulator.engines.compiled import code
from simulator.engines.compiled.facts import needs_no_transaction, numbers_of_calls, slowed_by
from simulator.engines.compiled.store import Store
from simulator.engines.compiled.writer import Label, Writer
from simulator.engines.contract import CPU, FRAMEWORK, STREAM, THREADS
from simulator.engines.costs import client_costs, driver_costs
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    UNLIMITED,
    Branch,
    Broadcast,
    Call,
    Cpu,
    Gather,
    Generate,
    Lock,
    Plan,
    Predict,
    Route,
    ServerKind,
    Step,
    Stream,
    Wait,
    With,
)

DEADLOCK_TIMEOUT_NS = 1_000_000_000
"""PostgreSQL's default: of transactions on a pool whose database the plan doesn't name."""


class Program(Writer):
    """Writes the instructions of one route.

    Parameters
    ----------
    store : Store
        Where they are put.
    plan, route
        What they do.
    databases : list of int
        The record of each database.
    """

    def __init__(self, store: Store, plan: Plan, route: Route, databases: list[int]) -> None:
        super().__init__(store)
        self.plan = plan
        self.route = route
        self.databases = databases
        self.overheads = plan.server.overheads
        self.costs = [driver_costs(plan, pool) for pool in range(len(plan.pools))]
        self.numbers = numbers_of_calls((*route.steps, *route.after))
        server = plan.server
        self.kills = server.kind is ServerKind.SYNC and server.timeout_ns < NEVER

    def write(self, *, plain: bool, started: bool) -> None:
        """The whole program: of the client, of the server, of the steps.

        ``plain``: requests go straight to the server. ``started``: there is one.
        """
        self.mark(self.client)
        if not started:
            self.emit(code.FAILS_TO_START)
        elif not plain:
            self.emit(code.ATTEMPT_OP)
        self.mark(self.steps)
        if not plain:
            self.emit(code.TRAVEL)
        self.emit(code.SERVE)
        serve = {
            ServerKind.SYNC: self._in_worker,
            ServerKind.THREADS: self._in_server_thread,
            ServerKind.ASGI: self._on_loop,
        }
        serve[self.plan.server.kind]()
        self.place()

    # What the server does.

    def _in_worker(self) -> None:
        self.emit(code.WORKER)
        self._compute(self.overheads.worker_ns, code.FIRST_NS, self.overheads.first_request_ns)
        self._run(self.route.steps)
        self.mark(self.handler)
        self.emit(code.WORKER_DONE)
        self._after()
        if self.plan.client.close_delay_ns:
            self.emit(code.LINGERS_ON)
        self.emit(code.WORKER_ENDS)

    def _in_server_thread(self) -> None:
        self.emit(code.SERVER_THREAD)
        self._compute(self.overheads.worker_ns, code.FIRST_NS, self.overheads.first_request_ns)
        self._run(self.route.steps)
        self.mark(self.handler)
        self.emit(code.ANSWER_NOW)
        self._after()
        self.emit(code.SERVER_THREAD_ENDS)

    def _on_loop(self) -> None:
        self.emit(code.ON_LOOP)
        before_ns, first_ns = self.overheads.loop_before_ns, self.overheads.first_request_ns
        away, answered = Label(), Label()
        if limited := self.plan.server.limit_concurrency < UNLIMITED:
            self.emit(code.IF_LIMITED, away)
        self._compute(before_ns, code.FIRST_NS, first_ns)
        self.emit(code.READ)
        if self.route.on_loop:
            self._run(self.route.steps)
        else:
            self._function(self.route.steps)
        self.mark(self.handler)
        self._compute(self.overheads.loop_after_ns)
        self.mark(answered)
        if self.plan.server.gil and self.plan.server.gil_writes_release:
            self.emit(code.WRITE_ANSWER)
        self.emit(code.HANDLED)
        self._after()
        self.emit(code.LEAVE)
        if limited:
            self.mark(away)
            self._compute(self.overheads.refusal_ns, code.FIRST_NS, first_ns)
            self.emit(code.READ)
            self.emit(code.TURN_AWAY, answered)

    def _function(self, steps: tuple[Step, ...]) -> None:
        """A `def` handler runs in a thread; what it streams is iterated after it returned."""
        called = False
        while True:
            streams = (i for i, step in enumerate(steps) if isinstance(step, Stream))
            end = next(streams, len(steps))
            if end or not called:
                self._in_thread(steps[:end])
            if end == len(steps):
                return
            self._run(steps[end : end + 1])
            called, steps = True, steps[end + 1 :]

    def _after(self) -> None:
        if not self.route.after:
            return
        begins, done, on = Label(), Label(), Label()
        self.emit(code.AFTERWARDS, begins, done)
        self.emit(code.JUMP, on)
        self.mark(begins)
        if self.plan.server.kind is ServerKind.ASGI and not self.route.on_loop:
            self._in_thread(self.route.after)
        else:
            self._run(self.route.after)
        self.mark(done)
        self.emit(code.AFTERWARDS_DONE)
        self.mark(on)

    # The steps.

    def _run(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            self._step(step)
            if self.kills:
                self.emit(code.CHECK_KILLED)

    def _step(self, step: Step) -> None:
        if isinstance(step, Cpu):
            self.emit(code.DRAW_NS, step.time)
            self.emit(code.COMPUTE, step.cause, int(step.releases_gil))
        elif isinstance(step, Wait):
            self._wait(step)
        elif isinstance(step, With):
            self._with(step)
        elif isinstance(step, Lock):
            self._lock(step)
        elif isinstance(step, Call):
            self._call(step)
        elif isinstance(step, Predict):
            self._predict(step.accelerator, -1, step.frees_loop)
        elif isinstance(step, Generate):
            self._predict(step.accelerator, step.tokens, step.frees_loop)
        elif isinstance(step, Stream):
            self._stream(step)
        elif isinstance(step, Broadcast):
            self.emit(code.BROADCAST, step.sockets, step.cpu)
            self.emit(code.COMPUTE, CPU)
        elif isinstance(step, Gather):
            self._gather(step)
        else:
            self._in_thread(step.steps)

    def _compute(self, ns: int, op: int = code.SET_NS, more_ns: int = 0) -> None:
        """``more_ns``: what ``op`` may add."""
        if ns or more_ns:
            self.emit(op if more_ns else code.SET_NS, ns, more_ns)
            self.emit(code.COMPUTE, FRAMEWORK)

    def _wait(self, step: Wait) -> None:
        queries = [contract.hold_query(i) for i in range(len(self.plan.pools))]
        if step.cause not in queries:
            self._hold(step)
            return
        costs, database = self.costs[queries.index(step.cause)], slowed_by(self.plan, step.cause)
        record = 0 if database == NO_DATABASE else self.databases[database]
        self._compute(costs.before_ns)
        self.emit(code.DRAW_NS, step.time)
        self.emit(code.QUERY, step.cause, int(step.frees_loop), record)
        self._compute(costs.after_ns)

    def _hold(self, step: Wait) -> None:
        overshoot = {
            contract.AWAIT: self.overheads.timer_ns,
            contract.BLOCK: self.overheads.sleep_ns,
        }.get(step.cause, 0)
        self.emit(code.DRAW_NS, step.time, 0, overshoot)
        op = code.SLEEP if step.cause == contract.AWAIT else code.HOLD
        self.emit(op, step.cause, int(step.frees_loop))

    def _in_thread(self, steps: tuple[Step, ...]) -> None:
        self._thread(lambda: self._run(steps))

    def _thread(self, work: Callable[[], None]) -> None:
        ends = Label()
        self.emit(code.CHECKPOINT, 0)
        self.emit(code.THREAD, ends)
        self.emit(code.WAIT, THREADS, 1, 1, 1)
        self.emit(code.CHECKPOINT, 1)
        hop_ns, start_ns = self.overheads.thread_hop_ns, self.overheads.thread_start_ns
        self._compute(hop_ns, code.START_NS, start_ns)
        self.emit(code.THREAD_BEGINS)
        work()
        self.mark(ends)
        self.emit(code.THREAD_ENDS)

    def _gather(self, step: Gather) -> None:
        on = Label()
        table: list[int | Label] = []
        address = self.store.take(3 * len(step.branches))
        self.emit(code.GATHER, len(step.branches), address)
        self.emit(code.JUMP, on)
        for branch in step.branches:
            table += [branch.number, *self._branch(branch)]
        self.tables.append((address, table))
        self.mark(on)

    def _branch(self, branch: Branch) -> tuple[Label, Label]:
        begins, ends = Label(), Label()
        self.mark(begins)
        self.emit(code.BRANCH_BEGINS)
        self._run(branch.steps)
        self.mark(ends)
        self.emit(code.BRANCH_ENDS)
        return begins, ends

    def _stream(self, step: Stream) -> None:
        again, over = Label(), Label()
        in_thread = step.per_chunk_thread or not step.frees_loop
        overshoot = self.overheads.sleep_ns if in_thread else self.overheads.timer_ns
        self.emit(code.STREAM, step.chunks)
        self.mark(again)
        self.emit(code.STREAM_NEXT, step.every, overshoot, over)
        self._next_chunk(step)
        self.emit(code.CHUNK_READY, step.cpu)
        self.emit(code.COMPUTE, CPU)
        self.emit(code.CHUNK_SENT, again)
        self.mark(over)
        if step.per_chunk_thread:
            self._next_chunk(step)

    def _next_chunk(self, step: Stream) -> None:
        def wait(frees_loop: bool) -> None:
            self.emit(code.EVERY_NS)
            self.emit(code.HOLD, STREAM, int(frees_loop))

        if step.per_chunk_thread:
            self._thread(lambda: wait(frees_loop=False))
        else:
            wait(step.frees_loop)

    def _predict(self, accelerator: int, tokens: int, frees_loop: bool) -> None:
        self.emit(code.PREDICT, accelerator, tokens)
        self.emit(code.WAIT, -1, int(frees_loop))
        self.emit(code.PREDICTED)

    def _call(self, step: Call) -> None:
        number, frees, backoff = self.numbers[id(step)], int(step.frees_loop), step.retries.backoff
        again, releases, ends, on, uses, sends = (Label() for _ in range(6))
        self.emit(code.CALL_OP)
        self.mark(again)
        self.emit(code.CALL_TRY, step.service, number, step.timeout_ns)
        limited = self.plan.services[step.service].connections < UNLIMITED
        cpu_ns, scan_ns, connect_ns = client_costs(self.plan, step.service)
        builds_ns, reads_ns = cpu_ns * 2 // 10, cpu_ns * 3 // 10
        if limited:
            self._scans(step.service, builds_ns, scan_ns, arriving=True)
            self.emit(code.CALL_CONNECT, step.service, ends)
            self.emit(code.WAIT, contract.wait_for_client(self.plan, step.service), frees, 1, 1)
            self.emit(code.CALL_CONNECTED, ends)
        if cpu_ns or connect_ns:
            self.emit(code.IF_LOST, uses)
            self.turn(frees)
            if connect_ns:
                self.emit(code.IF_OPEN, sends)
                self._compute(connect_ns)
                self.turn(frees)
                self.mark(sends)
            self._compute(cpu_ns - builds_ns - reads_ns)
            self.mark(uses)
        self.emit(code.EXCHANGE, releases, step.service if limited else -1)
        self.emit(code.WAIT, -1, frees)
        if cpu_ns or scan_ns:
            self.emit(code.IF_LOST, releases)
            self._scans(step.service, reads_ns, scan_ns, arriving=False)
        self.mark(releases)
        if limited:
            self.emit(code.CALL_RELEASES, step.service)
        self.mark(ends)
        self.emit(code.CALL_ENDS, self.store.table(backoff), len(backoff), number, on)
        self.pause(frees, again)
        self.mark(on)

    def _scans(self, service: int, ns: int, scan_ns: int, *, arriving: bool) -> None:
        """Compute, and go through the client's connections for each call that waits."""
        if ns or scan_ns:
            self.emit(code.CLIENT_SCAN, service, ns, scan_ns, int(arriving))
            self.emit(code.COMPUTE, FRAMEWORK)

    # Databases.

    def _with(self, step: With) -> None:
        pool, frees = step.pool, int(step.frees_loop)
        again, uses, refused, over, closed, on = (Label() for _ in range(6))
        runs = contract.runs_when_woken(self.plan, step)
        self.emit(code.WITH_OP, pool, over, runs)
        self.mark(again)
        self.emit(code.WAIT, contract.wait_for_pool(pool), frees, 1, 0)
        if runs:
            self.emit(code.TAKE, pool, again, runs)
        self.emit(code.CONNECTED, pool, uses)
        self.turn(frees and self.overheads.connect_ns)
        self.emit(code.OPENS, pool, refused, closed)
        self._fork(pool, frees, self.overheads.connect_ns)
        self.turn(frees and self.overheads.connect_ns)
        if self.overheads.connect_delay_ns:
            self.emit(code.DELAYED_HOLD, contract.hold_connect(pool), frees)
        self.mark(uses)
        if needs_no_transaction(self.plan, step):
            self._begin(pool, frees)
            self._run(step.steps)
        else:
            self._transaction(step, over)
        self.mark(over)
        self._end(pool, frees)
        self.turn(frees and self.overheads.pool_hold_ns)
        self.emit(code.WITH_CLOSES, pool)
        if self.overheads.close_ns:
            self.emit(code.HOLD, contract.hold_connect(pool), frees)
        self.mark(closed)
        self.emit(code.WITH_ENDS, pool, int(frees and self.plan.pools[pool].gives_back_in_task))
        self.emit(code.JUMP, on)
        self.mark(refused)
        self._fork(pool, frees, self.overheads.connect_refused_ns)
        self.emit(code.JUMP, closed)
        self.mark(on)

    def _begin(self, pool: int, frees: int) -> None:
        self._compute(self.costs[pool].begin_ns)
        self.hold(self.costs[pool].begin_hold_ns, contract.hold_connect(pool), frees)

    def _end(self, pool: int, frees: int) -> None:
        self.hold(self.costs[pool].end_hold_ns, contract.hold_connect(pool), frees)
        if frees and self.overheads.query_wake_ns:
            self.emit(code.ENDS_NS, self.costs[pool].end_ns)
            self.emit(code.COMPUTE, FRAMEWORK)
        else:
            self._compute(self.costs[pool].end_ns)

    def _fork(self, pool: int, frees: int, ns: int) -> None:
        """Open a connection, or be refused one: CPU of a backend where the database has cores."""
        if not ns:
            return
        cause, database = contract.hold_connect(pool), self.plan.pools[pool].database
        if database != NO_DATABASE and self.plan.databases[database].cores < UNLIMITED:
            self.emit(code.DATABASE_HOLD, cause, frees, self.databases[database])
        else:
            self.emit(code.HOLD, cause, frees)

    def _transaction(self, step: With, over: Label) -> None:
        database = self.plan.pools[step.pool].database
        record = 0 if database == NO_DATABASE else self.databases[database]
        backoff, frees = step.retries.backoff, int(step.frees_loop)
        again, ends = Label(), Label()
        self.mark(again)
        self._begin(step.pool, frees)
        self.emit(code.BEGIN, record, int(step.serializable), ends)
        self._run(step.steps)
        self.mark(ends)
        if self.overheads.lock_hold_ns:
            self.emit(code.ROWS_HELD)
            self.emit(code.HOLD, contract.hold_connect(step.pool), frees)
        self.emit(code.COMMIT, len(backoff), over)
        if backoff:
            self._end(step.pool, frees)
            self.emit(code.BACK_OFF, self.store.table(backoff))
            self.pause(frees, again)

    def _lock(self, step: Lock) -> None:
        self.emit(code.LOCK_ROW, step.lock, int(step.shared), DEADLOCK_TIMEOUT_NS)
        self.emit(code.LOCKED_ROW, contract.wait_for_lock(self.plan, step.lock), step.frees_loop)
