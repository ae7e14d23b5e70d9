"""Row locks: who holds a row when, deadlocks, first updater wins."""

from __future__ import annotations

import pytest

from models import (
    Clock,
    CommitLog,
    DeadlockDetected,
    RowLock,
    SerializationFailure,
    Transaction,
)
from models.lock import LockRefused


@pytest.fixture
def commits() -> CommitLog:
    return CommitLog()


def writer(env, row, transaction, name, arrive, hold, log, *, shared=False, timeout=None):
    """Take a row, hold it, commit."""
    yield env.timeout(arrive)
    try:
        yield row.acquire(transaction, shared=shared, deadlock_timeout=timeout)
    except LockRefused as error:
        log.append((name, type(error).__name__, env.now))
        return
    log.append((name, "has it", env.now))
    yield env.timeout(hold)
    transaction.commit()


def test_writers_have_the_row_one_after_the_other(env, log, commits) -> None:
    row = RowLock(env)
    for name in "abc":
        env.process(writer(env, row, Transaction(commits), name, 0, 10, log))
    env.run()
    assert log == [("a", "has it", 0), ("b", "has it", 10), ("c", "has it", 20)]
    assert not row.holders and not row.waiting


def test_readers_share_and_a_waiting_writer_comes_before_later_readers(env, log, commits) -> None:
    row = RowLock(env)
    for name, arrive, shared in [
        ("r1", 0, True),
        ("r2", 1, True),
        ("w", 2, False),
        ("r3", 3, True),
    ]:
        env.process(writer(env, row, Transaction(commits), name, arrive, 10, log, shared=shared))
    env.run()
    assert log == [
        ("r1", "has it", 0),
        ("r2", "has it", 1),
        ("w", "has it", 11),
        ("r3", "has it", 21),
    ]


def test_a_transaction_that_asks_again_has_it_already(env, commits) -> None:
    row, transaction = RowLock(env), Transaction(commits)
    for shared in (False, False, True):
        assert row.acquire(transaction, shared=shared).callbacks is None
    transaction.commit()
    assert not row.holders


def test_a_reader_becomes_the_writer_before_those_who_queue(env, log, commits) -> None:
    """a reads and upgrades at 5; b reads to 8; c wants to write from 1 on and gets it at 20."""
    row, a = RowLock(env), Transaction(commits)

    def upgrader():
        yield row.acquire(a, shared=True)
        yield env.timeout(5)
        yield row.acquire(a)
        log.append(("a", "has it", env.now))
        yield env.timeout(12)
        a.commit()

    env.process(upgrader())
    env.process(writer(env, row, Transaction(commits), "b", 0, 8, log, shared=True))
    env.process(writer(env, row, Transaction(commits), "c", 1, 1, log))
    env.run()
    assert log == [("b", "has it", 0), ("a", "has it", 8), ("c", "has it", 20)]


def test_the_next_one_may_be_drawn(env, log, commits) -> None:
    chosen = iter([2, 0])
    row = RowLock(env, choose=lambda waiting: next(chosen))
    for name in "abcd":
        env.process(writer(env, row, Transaction(commits), name, 0, 10, log))
    env.run()
    assert [name for name, *_ in log] == ["a", "d", "b", "c"]


def two_rows(env, rows, transaction, name, first, second, log, timeout):
    """Take one row, then after 1 the other."""
    yield rows[first].acquire(transaction, deadlock_timeout=timeout)
    yield env.timeout(1)
    try:
        yield rows[second].acquire(transaction, deadlock_timeout=timeout)
    except DeadlockDetected:
        log.append((name, "deadlock", env.now))
        return
    log.append((name, "has both", env.now))
    transaction.commit()


def test_the_first_whose_timer_ends_finds_the_cycle_and_the_other_goes_on(
    env, log, commits
) -> None:
    """PostgreSQL: the victim's locks are free at once; b has both at the same instant."""
    rows = [RowLock(env), RowLock(env)]
    env.process(two_rows(env, rows, Transaction(commits), "a", 0, 1, log, 1000))
    env.process(two_rows(env, rows, Transaction(commits), "b", 1, 0, log, 2000))
    env.run()
    assert log == [("a", "deadlock", 1001), ("b", "has both", 1001)]


def test_two_readers_who_both_upgrade_are_a_deadlock(env, log, commits) -> None:
    row = RowLock(env)

    def reader(name, timeout):
        transaction = Transaction(commits)
        yield row.acquire(transaction, shared=True)
        yield env.timeout(1)
        try:
            yield row.acquire(transaction, deadlock_timeout=timeout)
        except DeadlockDetected:
            log.append((name, "deadlock", env.now))
            return
        log.append((name, "has it", env.now))

    env.process(reader("a", 7))
    env.process(reader("b", 5))
    env.run()
    assert log == [("b", "deadlock", 6), ("a", "has it", 6)]


def test_a_long_wait_is_no_deadlock(env, log, commits) -> None:
    row = RowLock(env)
    for name in "ab":
        env.process(writer(env, row, Transaction(commits), name, 0, 5000, log, timeout=1000))
    env.run()
    assert log == [("a", "has it", 0), ("b", "has it", 5000)]


def test_a_row_that_was_committed_since_the_snapshot_is_refused(env, log, commits) -> None:
    """b and c wait when a commits: the serializable one fails, the other one gets it."""
    row = RowLock(env)
    for name, serializable in [("a", True), ("b", True), ("c", False)]:
        transaction = Transaction(commits, serializable=serializable)
        env.process(writer(env, row, transaction, name, 0, 10, log))
    late = Transaction(commits, serializable=True)  # its snapshot is from before all commits
    env.process(writer(env, row, late, "d", 30, 10, log))
    env.run()
    assert log == [
        ("a", "has it", 0),
        ("b", "SerializationFailure", 10),
        ("c", "has it", 10),
        ("d", "SerializationFailure", 30),
    ]


def test_a_rollback_writes_nothing() -> None:
    env, commits = Clock(), CommitLog()
    row = RowLock(env)
    first, second = (Transaction(commits, serializable=True) for _ in range(2))
    row.acquire(first)
    waits = row.acquire(second)
    first.rollback()
    assert waits.triggered and waits.ok
    second.commit()
    third = row.acquire(Transaction(commits, serializable=True))
    assert third.callbacks is None and third.ok


def test_who_fails_gives_up_all_its_locks_at_that_instant() -> None:
    env, commits = Clock(), CommitLog()
    rows = [RowLock(env), RowLock(env)]
    loser = Transaction(commits, serializable=True)
    winner = Transaction(commits)
    over: list[int] = []
    loser.when_over = lambda: over.append(env.now)
    rows[0].acquire(loser)
    rows[1].acquire(winner)
    winner.commit()
    refused = rows[1].acquire(loser)
    assert isinstance(refused.value, SerializationFailure)
    assert loser.ended and over == [0] and not rows[0].holders


def test_a_lock_granted_at_the_instant_of_the_failure_is_given_up_too() -> None:
    """Two branches wait for what one commit frees: the first row is read, the second written."""
    env, commits = Clock(), CommitLog()
    rows = [RowLock(env), RowLock(env)]
    winner, loser = Transaction(commits), Transaction(commits, serializable=True)
    rows[0].acquire(winner, shared=True)
    rows[1].acquire(winner)
    first, second = rows[0].acquire(loser), rows[1].acquire(loser)
    second.callbacks.append(lambda event: event.defused())
    winner.commit()
    assert first.ok and not second.ok
    assert isinstance(loser.error, SerializationFailure)
    assert not rows[0].holders and not rows[1].holders
