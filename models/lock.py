"""Row locks, shared and exclusive, and the transactions that hold them to their end.

Imitates PostgreSQL 15 to 18: ``SELECT … FOR UPDATE`` and ``UPDATE`` (exclusive), ``SELECT …
FOR SHARE`` (shared); locks are held until commit or rollback and a transaction that asks
again has its lock already. A waiter looks for a cycle of waits once, after
``deadlock_timeout``; if there is one its own transaction is rolled back. Under REPEATABLE
READ and SERIALIZABLE the first updater wins: a lock on a row that was committed after the
transaction's snapshot is a serialization failure, at once for all who wait when it commits.

Modelled: FIFO or random grants, upgrades (ahead of the queue), cycles of row locks, first
updater wins, locks given up at the instant of the error (not when the client rolls back).
Not modelled: PostgreSQL's own grant order, which is not always that of arrival, and its
readers that join readers past a waiting writer (here the writer comes first); key-share and
no-key-update modes; a row written without being locked before; the read-write
conflicts of SERIALIZABLE (predicate locks), savepoints, deadlocks through table locks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import simpy

from models.clock import PHASE_TIMER, Owner, after, grant, granted, refuse, refused


class LockRefused(Exception):
    """The lock is not granted, and the transaction that asked for it is rolled back."""


class DeadlockDetected(LockRefused):
    """The wait is part of a cycle (PostgreSQL: ``40P01 deadlock_detected``)."""


class SerializationFailure(LockRefused):
    """Another one updated the row first (PostgreSQL: ``40001 serialization_failure``)."""


class TransactionEnded(LockRefused):
    """The transaction was over before the lock was granted."""


class CommitLog:
    """The number of commits so far: what snapshots are taken of."""

    def __init__(self) -> None:
        self.commits = 0


class Transaction:
    """What holds locks from its begin to its commit or rollback.

    Parameters
    ----------
    log : CommitLog
        Shared by all transactions that may meet.
    serializable : bool, default False
        Whether it keeps to the snapshot of its begin (REPEATABLE READ, SERIALIZABLE).
    """

    def __init__(self, log: CommitLog, *, serializable: bool = False) -> None:
        self._log = log
        self.serializable = serializable
        self.snapshot = log.commits
        self.ended = False
        self.error: LockRefused | None = None  # that it was rolled back for
        self.held: list[RowLock] = []
        self.waits_for: list[RowLock] = []
        self.when_over: Callable[[], None] = lambda: None
        """Called at the instant at which its locks are given up."""

    def commit(self) -> None:
        """End it; what it has locked exclusively is now written."""
        if not self.ended:
            self._log.commits += 1
            self._end(self._log.commits)

    def rollback(self, error: LockRefused | None = None) -> None:
        """End it without a trace; because of this error, if there was one."""
        if not self.ended:
            self.error = error
            self._end(None)

    def sees(self, commit: int) -> bool:
        """Whether a row that this commit wrote may be updated on top of the snapshot."""
        return not self.serializable or commit <= self.snapshot

    def is_deadlocked(self) -> bool:
        """Whether a chain of transactions, each waiting for the next, leads back to this one."""
        seen: set[Transaction] = set()
        todo = list(self._blockers())
        while todo:
            other = todo.pop()
            if other is self:
                return True
            if other not in seen:
                seen.add(other)
                todo += other._blockers()
        return False

    def _blockers(self) -> Iterator[Transaction]:
        # Whoever waits, waits for all holders: directly or through a writer ahead of it.
        for lock in self.waits_for:
            yield from (holder for holder in lock.holders if holder is not self)

    def _end(self, commit: int | None) -> None:
        self.ended = True
        self.when_over()
        for lock in tuple(self.waits_for):
            lock.withdraw(self)
        for lock in tuple(self.held):
            lock.release(self, commit)
        self.held.clear()


class _Waiter:
    __slots__ = ("event", "shared", "transaction")

    def __init__(self, event: simpy.Event, transaction: Transaction, shared: bool) -> None:
        self.event = event
        self.transaction = transaction
        self.shared = shared


class RowLock:
    """One row: held by one transaction, or by several readers.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    choose : callable, optional
        Index of the waiter that a row which has come free goes to, given how many wait;
        the one who waited longest if not given.
    """

    def __init__(
        self, env: simpy.Environment, *, choose: Callable[[int], int] | None = None
    ) -> None:
        self._env = env
        self._choose = choose
        self._waiting: list[_Waiter] = []
        self._written = 0  # the commit that wrote the row last
        self.holders: dict[Transaction, bool] = {}
        """Who holds it, and whether as a reader."""

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def acquire(
        self,
        transaction: Transaction,
        *,
        shared: bool = False,
        deadlock_timeout: int | None = None,
        owner: Owner | None = None,
    ) -> simpy.Event:
        """An event that happens when the transaction holds the lock.

        It fails with a ``LockRefused``; the transaction is rolled back by then.
        """
        if self.is_held_by(transaction, shared=shared):
            return granted(self._env)
        if not transaction.sees(self._written):
            error = SerializationFailure("the row was updated since")
            transaction.rollback(error)
            return refused(self._env, error)
        waiter = _Waiter(simpy.Event(self._env), transaction, shared)
        upgrade = transaction in self.holders
        if self._admits(waiter) and (upgrade or not self._waiting):
            self._hold(waiter)
            return granted(self._env)
        ahead = sum(w.transaction in self.holders for w in self._waiting)
        self._waiting.insert(ahead if upgrade else len(self._waiting), waiter)
        transaction.waits_for.append(self)
        if deadlock_timeout is not None:
            timer = after(self._env, deadlock_timeout, PHASE_TIMER, owner)
            timer.callbacks.append(lambda _: self._look_for_cycle(waiter))
        return waiter.event

    def is_held_by(self, transaction: Transaction, *, shared: bool = False) -> bool:
        """Whether it has this lock already, or a stronger one."""
        held_shared = self.holders.get(transaction)
        return held_shared is False or (shared and held_shared is True)

    def release(self, transaction: Transaction, commit: int | None = None) -> None:
        """Let go; ``commit`` is the number of the commit that does, if it is one."""
        shared = self.holders.pop(transaction)
        if commit is not None and not shared:
            self._written = commit
            for waiter in tuple(self._waiting):
                if not waiter.event.triggered and not waiter.transaction.sees(commit):
                    self._fail(waiter, SerializationFailure("the row was updated meanwhile"))
        self._grant_next()

    def withdraw(self, transaction: Transaction) -> None:
        """A transaction that has ended waits no longer."""
        for waiter in tuple(self._waiting):
            if waiter.transaction is transaction:
                self._leave(waiter)
                refuse(waiter.event, TransactionEnded("the transaction is over"))
        self._grant_next()

    def _admits(self, waiter: _Waiter) -> bool:
        others = (s for holder, s in self.holders.items() if holder is not waiter.transaction)
        return all(shared and waiter.shared for shared in others)

    def _hold(self, waiter: _Waiter) -> None:
        transaction = waiter.transaction
        if transaction not in self.holders:
            transaction.held.append(self)
        self.holders[transaction] = waiter.shared and self.holders.get(transaction, True)

    def _grant_next(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            if not self.holders and self._choose is not None and len(self._waiting) > 1:
                first = self._waiting[self._choose(len(self._waiting))]
            if not self._admits(first):
                return
            self._hold(first)
            # What the same transaction asked for in another branch, it has now too.
            for waiter in [w for w in self._waiting if w.transaction is first.transaction]:
                if self.is_held_by(first.transaction, shared=waiter.shared):
                    self._leave(waiter)
                    grant(waiter.event)

    def _look_for_cycle(self, waiter: _Waiter) -> None:
        if not waiter.event.triggered and waiter.transaction.is_deadlocked():
            self._fail(waiter, DeadlockDetected("each of a circle waits for the next"))

    def _fail(self, waiter: _Waiter, error: LockRefused) -> None:
        self._leave(waiter)
        refuse(waiter.event, error)
        waiter.transaction.rollback(error)

    def _leave(self, waiter: _Waiter) -> None:
        self._waiting.remove(waiter)
        waiter.transaction.waits_for.remove(self)
