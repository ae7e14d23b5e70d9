"""Transactions that hold row locks to their end: their records, and who knows them."""

from __future__ import annotations

from simulator.engines.compiled.draws import REDONE
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    COMMITS,
    NODE,
    TRANSACTION,
    Memory,
    free,
    new,
)
from simulator.engines.compiled.slots import NODE_SIZE

# A transaction, one try of a block.
(
    _LINK,
    OUTER,  # the transaction of the block around it
    OWNER,  # the task whose block it is
    _REDONE,
    SNAPSHOT,
    SERIALIZABLE,
    ENDED,
    REFUSED_BY,  # the error that it was rolled back for
    FAILURE,  # the outcome of whoever goes on in it then
    TRANSACTION_DATABASE,  # its record, or 0
    HELD_FIRST,  # holdings, in the order in which they were taken
    HELD_LAST,
    WAITS_FIRST,  # its waiters, likewise
    WAITS_LAST,
    TAKEN,  # visits of its locks: first, last
    TAKEN_LAST,
    SEEN,
    TODO,
    TRANSACTION_REFS,
    TRANSACTION_SIZE,
) = range(20)
assert _REDONE == REDONE

# A visit that lasts to the end of its transaction.
(_TAKEN_LINK, TAKEN_ROW, TAKEN_SHARED, TAKEN_VISIT) = range(4)

NOT_REFUSED, DEADLOCK, SERIALIZATION = range(3)


@kernel
def new_transaction(
    m: Memory, task: int, outer: int, database: int, serializable: int, redone: int, failure: int
) -> int:
    """A transaction that begins now."""
    transaction = new(m, TRANSACTION, TRANSACTION_SIZE)
    for i in range(TRANSACTION_SIZE):
        m[transaction + i] = 0
    m[transaction + OUTER] = outer
    m[transaction + OWNER] = task
    m[transaction + REDONE] = redone
    m[transaction + SNAPSHOT] = m[COMMITS]
    m[transaction + SERIALIZABLE] = serializable
    m[transaction + FAILURE] = failure
    m[transaction + TRANSACTION_DATABASE] = database
    m[transaction + TRANSACTION_REFS] = 1
    know_transaction(m, outer)
    return transaction


@kernel
def know_transaction(m: Memory, transaction: int) -> None:
    """One more knows this transaction."""
    if transaction != 0:
        m[transaction + TRANSACTION_REFS] += 1


@kernel
def forget_transaction(m: Memory, transaction: int) -> None:
    """One who knew this transaction does no longer; the last one frees it."""
    while transaction != 0:
        m[transaction + TRANSACTION_REFS] -= 1
        if m[transaction + TRANSACTION_REFS] > 0:
            return
        outer = m[transaction + OUTER]
        free(m, TRANSACTION, transaction)
        transaction = outer


@kernel
def is_taken(m: Memory, transaction: int, row: int, shared: int) -> bool:
    """Whether a visit of this transaction stands for this lock already."""
    taken = m[transaction + TAKEN]
    while taken != 0:
        as_much = m[taken + TAKEN_SHARED] == 0 or m[taken + TAKEN_SHARED] == shared
        if m[taken + TAKEN_ROW] == row and as_much:
            return True
        taken = m[taken]
    return False


@kernel
def note_taken(m: Memory, transaction: int, row: int, shared: int, visit: int) -> None:
    """Let a visit last to the end of the transaction."""
    taken = new(m, NODE, TAKEN_VISIT + 1)
    m[taken] = 0
    m[taken + TAKEN_ROW] = row
    m[taken + TAKEN_SHARED] = shared
    m[taken + TAKEN_VISIT] = visit
    if m[transaction + TAKEN] == 0:
        m[transaction + TAKEN] = taken
    else:
        m[m[transaction + TAKEN_LAST]] = taken
    m[transaction + TAKEN_LAST] = taken


assert NODE_SIZE == TAKEN_VISIT + 1
