"""Row locks of transactions (``simulator.engines.transactions``)."""

from __future__ import annotations

from simulator.engines.compiled.code import FAILS, GO, STARVES
from simulator.engines.compiled.connection_pool import (
    DATABASE_ERROR,
    DEADLOCK_TIMEOUT,
    is_out,
)
from simulator.engines.compiled.draws import drawn
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.lock import (
    LOCK_CAUSE,
    LOCK_KEYS,
    LOCK_PICK,
    LOCK_ROWS,
    LOCK_SIZE,
    LOCK_STATION,
    ROW_LOCK,
    ROW_SIZE,
    WAITER_GRANTED,
    WAITER_ROW,
    WAITER_SHARED,
    WAITER_TASK,
    WAITER_TRANSACTION,
    WAITER_VISIT,
    acquire_lock,
    is_held_by,
    rollback,
)
from simulator.engines.compiled.memory import (
    LOCK_WAITER,
    LOCKS,
    MISSING,
    Memory,
    free,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.steps import wait_for
from simulator.engines.compiled.task import (
    ERROR,
    NO_ERROR,
    OPEN_TRANSACTION,
    OUTCOME,
    PENDING,
    REQUEST,
    VISIT_WAITED,
    WAITED,
    book,
    granted,
    open_visit,
    queue,
    take_visit,
)
from simulator.engines.compiled.transaction import (
    DEADLOCK,
    ENDED,
    FAILURE,
    OWNER,
    REFUSED_BY,
    SERIALIZATION,
    TRANSACTION_DATABASE,
    forget_transaction,
    is_taken,
    note_taken,
)
from simulator.engines.contract import (
    DEADLOCK_DETECTED,
    SERIALIZATION_FAILURE,
)


@kernel
def failure_of(m: Memory, transaction: int) -> int:
    """The outcome of whoever goes on in a transaction that is over."""
    if m[transaction + REFUSED_BY] == DEADLOCK:
        return DEADLOCK_DETECTED
    if m[transaction + REFUSED_BY] == SERIALIZATION:
        return SERIALIZATION_FAILURE
    return m[transaction + FAILURE]


@kernel
def _fails_in(m: Memory, task: int, transaction: int) -> int:
    m[task + OUTCOME] = failure_of(m, transaction)
    return FAILS


@kernel
def outage(m: Memory, task: int, database: int) -> int:
    """A statement begins in an outage: its transaction fails."""
    transaction = m[task + OPEN_TRANSACTION]
    m[task + OUTCOME] = m[database + DATABASE_ERROR]
    m[transaction + FAILURE] = m[task + OUTCOME]
    rollback(m, transaction)
    return FAILS


@kernel
def lock_row(m: Memory, task: int, index: int, shared: int, deadlock_ns: int) -> int:
    """``LOCK_ROW``: ask for a row; ``LOCKED_ROW`` has to follow."""
    lock = m[LOCKS] + index * LOCK_SIZE
    number = 0
    if m[lock + LOCK_PICK] >= 0:
        drawn_number = drawn(m, m[lock + LOCK_PICK], 0, 0, m[task + REQUEST])
        if drawn_number == MISSING:
            return STARVES
        number = drawn_number % m[lock + LOCK_KEYS]
    transaction = m[task + OPEN_TRANSACTION]
    m[task + PENDING] = 0
    m[task + ERROR] = NO_ERROR
    if m[transaction + ENDED] != 0:
        return _fails_in(m, task, transaction)
    database = m[transaction + TRANSACTION_DATABASE]
    if is_out(m, database):
        return outage(m, task, database)
    row = m[lock + LOCK_ROWS] + number * ROW_SIZE
    if is_held_by(m, row, transaction, shared):
        return GO
    visit = queue(m, task, m[lock + LOCK_STATION])
    timeout = m[database + DEADLOCK_TIMEOUT] if database != 0 else deadlock_ns
    waiter = acquire_lock(m, row, transaction, shared, task, visit, timeout)
    if waiter != 0:
        m[task + PENDING] = 1
        return GO
    book(m, task, m[lock + LOCK_CAUSE])
    if m[transaction + ENDED] == 0:
        granted(m, task, visit, number)
        _took(m, task, transaction, row, shared, visit)
    else:
        released(m, task, visit)
        m[task + ERROR] = 1
    return GO


@kernel
def _took(m: Memory, task: int, transaction: int, row: int, shared: int, visit: int) -> None:
    """A lock was granted; its visit lasts to the end of the transaction."""
    if m[transaction + ENDED] != 0 or is_taken(m, transaction, row, shared):
        released(m, task, visit)
        return
    note_taken(m, transaction, row, shared, visit)
    owner = m[transaction + OWNER]
    if task != owner:
        take_visit(m, task, visit)
        open_visit(m, owner, visit)
        m[visit + VISIT_WAITED] = m[owner + WAITED] + m[task + WAITED]


@kernel
def lock_settled(m: Memory, waiter: int) -> int:
    """At the instant itself, before the task goes on; the task."""
    task, transaction = m[waiter + WAITER_TASK], m[waiter + WAITER_TRANSACTION]
    row, visit = m[waiter + WAITER_ROW], m[waiter + WAITER_VISIT]
    lock = m[row + ROW_LOCK]
    book(m, task, m[lock + LOCK_CAUSE])
    if m[waiter + WAITER_GRANTED] != 0:
        granted(m, task, visit, (row - m[lock + LOCK_ROWS]) // ROW_SIZE)
        _took(m, task, transaction, row, m[waiter + WAITER_SHARED], visit)
    else:
        released(m, task, visit)
        m[task + ERROR] = 1
    free(m, LOCK_WAITER, waiter)
    forget_transaction(m, transaction)
    return task


@kernel
def locked_row(m: Memory, task: int, cause: int, frees: int) -> int:
    """``LOCKED_ROW``: wait for the row, if need be."""
    how = wait_for(m, task, cause, frees, 0, 0)
    if how != GO:
        return how
    transaction = m[task + OPEN_TRANSACTION]
    if m[task + ERROR] != NO_ERROR or m[transaction + ENDED] != 0:
        return _fails_in(m, task, transaction)
    return GO
