"""Steps on a database: connections, transactions, row locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING

import simpy

from models import (
    CommitLog,
    DeadlockDetected,
    LockRefused,
    RowLock,
    SerializationFailure,
    TooManyConnections,
    Transaction,
)
from models.clock import Steps
from models.connection_pool import Connection
from simulator.engines import contract
from simulator.engines.acquiring import acquire, go_on_behind_the_woken
from simulator.engines.contract import FRAMEWORK, PHASE_TIMER
from simulator.engines.costs import driver_costs
from simulator.engines.failed import Failed
from simulator.engines.queries import Queries
from simulator.engines.task import Task, Visit
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    NO_STREAM,
    Gather,
    Lock,
    Step,
    ToThread,
    Wait,
    With,
)

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner

DEADLOCK_TIMEOUT_NS = 1_000_000_000
"""PostgreSQL's default: of transactions on a pool whose database the plan doesn't name."""


class OpenTransaction:
    """One try of a ``With``: what it holds, as the database and as the trace see it."""

    __slots__ = ("_failure", "_taken", "_task", "_visits", "database", "model", "redone")

    def __init__(self, task: Task, model: Transaction, database: int, redone: int) -> None:
        self._task = task
        self.model = model
        self.database = database
        self.redone = redone  # how often this block was run before
        # What its other branches fail with. Where it just ended they were left behind by
        # their gather (asyncpg: InterfaceError), and nobody reads this outcome.
        self._failure = contract.IN_FLIGHT
        self._visits: list[Visit] = []
        self._taken: set[tuple[RowLock, bool]] = set()
        model.when_over = self._over

    @property
    def failure(self) -> int:
        """The outcome of whoever goes on in it when it is over."""
        return _FAILURES.get(type(self.model.error), self._failure)

    def fail(self, outcome: int) -> Failed:
        """Roll it back for another reason than a lock."""
        self._failure = outcome
        self.model.rollback()
        return Failed(outcome)

    def took(self, row: RowLock, shared: bool, task: Task, visit: Visit) -> None:
        """A lock was granted; its visit lasts to the end of the transaction."""
        if self.model.ended or (row, False) in self._taken or (row, shared) in self._taken:
            task.released(visit)  # over at the same instant, or another branch has it already
            return
        self._taken.add((row, shared))
        self._visits.append(visit)
        if task is not self._task:
            # The branch may end before its transaction.
            task.open.remove(visit)
            self._task.open.append(visit)
            visit.waited = self._task.waited + task.waited

    def _over(self) -> None:
        for visit in self._visits:
            self._task.released(visit)


class Transactions:
    """Runs ``With`` and ``Lock``.

    A statement that begins in an outage fails at once, and its transaction with it; one that has
    begun ends. Opening a connection forks a backend (PostgreSQL), also for one that is refused
    (which does less): where the database has cores it is work on them. Resetting and closing take
    none, and a fault slows none of the three.
    """

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.clock = runner.clock
        self.processes = runner.processes
        self.costs = [driver_costs(self.plan, i) for i in range(len(self.plan.pools))]
        self.log = CommitLog()
        self.rows: dict[tuple[int, int], RowLock] = {}
        self.choose = [self._chooser(lock) for lock in range(len(self.plan.locks))]
        self.queries = queries = Queries(runner)
        self.steps: dict[type, Callable[..., Steps]] = {With: self._with, Lock: self._lock}
        if queries.are_special:
            self.steps[Wait] = queries.wait
        # Blocks that lock no row and lose none: they need no transaction.
        self.plain = {
            id(step)
            for route in self.plan.routes
            for step in _withs((*route.steps, *route.after))
            if not step.serializable and not queries.shared and not _locks(step.steps)
        }

    # Connections and transactions.

    def _with(self, task: Task, step: With) -> Steps:
        pool = self.plan.pools[step.pool]
        process = self.processes[task.process]
        model = process.pools[step.pool]
        visit = task.queue(process.pools_station + step.pool)
        connection = yield from acquire(self.runner, task, step, visit)
        failed: Failed | None = None
        if connection.fresh:
            failed = yield from self._opens(task, step, connection)
        closes = failed is not None
        if not closes:
            yield from self._begin(task, step)
            if id(step) in self.plain:
                try:
                    yield from self.runner.run(task, step.steps)
                except Failed as failure:
                    failed = failure
            else:
                failed = yield from self._run_until_done(task, step)
            yield from self._end(task, step)
            if step.frees_loop and self.plan.server.overheads.pool_hold_ns:
                # The answer to the reset is read in one turn of the loop, the task goes on in
                # the next: a request that is read together with it has its task there, too.
                yield from self.runner.next_turn(task, process)
            closes = model.closes_on_return
            if closes:
                cause, ns = contract.hold_connect(step.pool), self.plan.server.overheads.close_ns
                yield from self.runner.hold(task, ns, cause, step.frees_loop)
        if closes and connection.backend >= 0:
            self.runner.wiring.closed(pool, connection)
        task.released(visit)
        told = model.release(connection, close=closes)
        if told and step.frees_loop and pool.gives_back_in_task:
            yield from go_on_behind_the_woken(self.runner, task)
        if failed is not None:
            raise failed

    def _opens(self, task: Task, step: With, connection: Connection) -> Steps:
        """Open a connection; returns the failure if it is refused, or the database out.

        Its work is shared with what else is on the database's cores; it is late on top where
        nobody is on them yet, for they, the backend and the loop have to wake up. A loop greets
        the database in its next turn, reads the answer in another and goes on in a third.
        """
        pool, overheads = self.plan.pools[step.pool], self.plan.server.overheads
        process = self.processes[task.process]
        in_turns = step.frees_loop and overheads.connect_ns
        if in_turns:  # as `asyncpg.connect` on uvloop: three turns, if nothing else is to be done
            yield from self.runner.next_turn(task, process)
        try:
            process.pools[step.pool].connect(connection)
        except TooManyConnections:
            yield from self._fork(task, step, overheads.connect_refused_ns)
            return Failed(contract.connection_refused(self.plan, pool.database))
        self.runner.wiring.opened(task.request, pool, connection)
        if self.queries.is_out(pool.database):
            return Failed(contract.database_error(self.plan, pool.database))
        cores = self.queries.cores_of(pool.database)
        late = self.plan.server.connect_delay != NO_STREAM and not (cores and cores.running)
        yield from self._fork(task, step, overheads.connect_ns)
        if in_turns:
            yield from self.runner.next_turn(task, process)
        if late:
            ns = self.runner.draw(task, self.plan.server.connect_delay, step.pool)
            yield from self.runner.hold(task, ns, contract.hold_connect(step.pool), step.frees_loop)
        return None

    def _fork(self, task: Task, step: With, ns: int) -> Steps:
        """Open a connection, or be refused one: CPU of a backend where the database has cores."""
        database = self.plan.pools[step.pool].database
        cause = contract.hold_connect(step.pool)
        if ns and self.queries.cores_of(database):
            yield from self.queries.compute(task, cause, database, ns, step.frees_loop)
        else:
            yield from self.runner.hold(task, ns, cause, step.frees_loop)

    def _begin(self, task: Task, step: With) -> Steps:
        costs, cause = self.costs[step.pool], contract.hold_connect(step.pool)
        if costs.begin_ns:
            yield from self.runner.compute(task, costs.begin_ns, FRAMEWORK)
        yield from self.runner.hold(task, costs.begin_hold_ns, cause, step.frees_loop)

    def _end(self, task: Task, step: With) -> Steps:
        costs, cause = self.costs[step.pool], contract.hold_connect(step.pool)
        yield from self.runner.hold(task, costs.end_hold_ns, cause, step.frees_loop)
        ns = costs.end_ns
        if step.frees_loop:
            process = self.processes[task.process]
            ns, process.driver_ns = ns + process.driver_ns, 0
        if ns:
            yield from self.runner.compute(task, ns, FRAMEWORK)

    def _run_until_done(self, task: Task, step: With) -> Steps:
        """Run the block, again while it loses a row and may; returns its failure if any."""
        database = self.plan.pools[step.pool].database
        backoff = step.retries.backoff
        before = task.transactions[-1].redone if task.transactions else 0
        failed: Failed | None = None
        for retry in range(len(backoff) + 1):
            if retry:
                # What the first try begins with, and the last one ends with, around this loop.
                yield from self._end(task, step)
                yield from self._back_off(task, backoff[retry - 1], step.frees_loop)
                yield from self._begin(task, step)
            model = Transaction(self.log, serializable=step.serializable)
            task.transactions.append(OpenTransaction(task, model, database, before + retry))
            failed = None
            try:
                yield from self.runner.run(task, step.steps)
            except Failed as failure:
                failed = failure
            if failed is None and model.held:
                lock_hold_ns = self.plan.server.overheads.lock_hold_ns
                cause = contract.hold_connect(step.pool)
                yield from self.runner.hold(task, lock_hold_ns, cause, step.frees_loop)
            task.transactions.pop()
            if failed is None:
                model.commit()
                break
            model.rollback()
            if failed.outcome != contract.SERIALIZATION_FAILURE:
                break
        return failed

    def _back_off(self, task: Task, stream: int, frees_loop: bool) -> Steps:
        ns = self.runner.draw(task, stream)
        if ns:
            event = self.clock.at(ns, task.key(PHASE_TIMER))
            yield from self.runner.wait_for(task, event, contract.BACKOFF, frees_loop, False)

    # Row locks.

    def _lock(self, task: Task, step: Lock) -> Steps:
        transaction = task.transactions[-1]
        if transaction.model.ended:
            raise Failed(transaction.failure)
        if self.queries.is_out(transaction.database):
            raise self.queries.outage(task, transaction.database)
        number = self._row_number(task, step.lock)
        row = self._row(step.lock, number)
        if row.is_held_by(transaction.model, shared=step.shared):
            return
        cause = contract.wait_for_lock(self.plan, step.lock)
        visit = task.queue(self.runner.wiring.lock_station[step.lock])

        def settled(event: simpy.Event) -> None:
            # At the instant itself, before the task goes on: its loop may be busy.
            task.book(cause)
            if event.ok:
                task.granted(visit, number)
                transaction.took(row, step.shared, task, visit)
            else:
                task.released(visit)

        event = row.acquire(
            transaction.model,
            shared=step.shared,
            deadlock_timeout=self._deadlock_timeout(transaction.database),
            owner=task,
        )
        if event.callbacks is None:
            settled(event)
        else:
            event.callbacks.append(settled)
        try:
            yield from self.runner.wait_for(task, event, cause, step.frees_loop, soon=False)
        except LockRefused as error:
            raise Failed(transaction.failure) from error
        if transaction.model.ended:
            raise Failed(transaction.failure)

    def _row(self, lock: int, number: int) -> RowLock:
        row = self.rows.get((lock, number))
        if row is None:
            choose = self.choose[lock] if self.plan.locks[lock].random_grant else None
            row = self.rows[lock, number] = RowLock(self.clock, choose=choose)
        return row

    def _row_number(self, task: Task, lock: int) -> int:
        spec = self.plan.locks[lock]
        if spec.pick == NO_STREAM:
            return 0
        return self.runner.times[spec.pick](task.request) % spec.keys

    def _chooser(self, lock: int) -> Callable[[int], int]:
        station = f"lock {self.plan.locks[lock].label}"
        numbers = count()
        return lambda waiting: self.runner.wiring.workload.decide(station, next(numbers), waiting)

    def _deadlock_timeout(self, database: int) -> int | None:
        timeout = DEADLOCK_TIMEOUT_NS
        if database != NO_DATABASE:
            timeout = self.plan.databases[database].deadlock_timeout_ns
        return None if timeout >= NEVER else timeout


_FAILURES: dict[type | None, int] = {
    DeadlockDetected: contract.DEADLOCK_DETECTED,
    SerializationFailure: contract.SERIALIZATION_FAILURE,
}


def _withs(steps: tuple[Step, ...]) -> Iterator[With]:
    """All blocks, at any depth."""
    for step in steps:
        if isinstance(step, With):
            yield step
        for inner in _inner(step):
            yield from _withs(inner)


def _locks(steps: tuple[Step, ...]) -> bool:
    """Whether these steps, or branches of theirs, lock rows in the block around them."""
    return any(
        isinstance(step, Lock)
        or (not isinstance(step, With) and any(_locks(inner) for inner in _inner(step)))
        for step in steps
    )


def _inner(step: Step) -> tuple[tuple[Step, ...], ...]:
    if isinstance(step, Gather):
        return tuple(branch.steps for branch in step.branches)
    return (step.steps,) if isinstance(step, With | ToThread) else ()
