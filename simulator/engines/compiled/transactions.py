"""Steps on a database (``simulator.engines.transactions``): connections and row locks."""

from __future__ import annotations

from simulator.engines.compiled.clock import RESUME, soon
from simulator.engines.compiled.code import FAILS, GO, JUMPED, STARVES, WAITS
from simulator.engines.compiled.connection_pool import (
    BACKEND,
    DATABASE_CORES,
    DATABASE_ERROR,
    DATABASE_FAULTS,
    DATABASE_REFUSED,
    DEADLOCK_TIMEOUT,
    POOL_DATABASE,
    POOL_OUTCOME,
    acquire_connection,
    closed,
    closes_on_return,
    connect,
    opened,
    release_connection,
    take_connection,
)
from simulator.engines.compiled.cores import RUNNING
from simulator.engines.compiled.draws import REDONE, draw, drawn
from simulator.engines.compiled.faults import struck
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
    commit,
    is_held_by,
    rollback,
)
from simulator.engines.compiled.memory import (
    LOCK_WAITER,
    LOCKS,
    MISSING,
    NONE,
    NOW,
    SERVER,
    Memory,
    free,
)
from simulator.engines.compiled.process import (
    CLOSE,
    CONNECT,
    CONNECT_DELAY,
    CONNECT_REFUSED,
    LOCK_HOLD,
    POOLS_OF,
    POOLS_STATION,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.steps import has_turn, hold, next_turn, wait_for
from simulator.engines.compiled.task import (
    ERROR,
    NO_ERROR,
    NS,
    OPEN_FRAME,
    OPEN_TRANSACTION,
    OPEN_VISIT,
    OUTCOME,
    PC,
    PENDING,
    PHASE,
    PROC,
    REQUEST,
    TAKES_LATER,
    TOLD,
    VALUE,
    VISIT_WAITED,
    WAITED,
    book,
    granted,
    open_visit,
    queue,
    take_visit,
)
from simulator.engines.compiled.threads import (
    FAILED,
    FRAME_CLOSES,
    FRAME_CONNECTION,
    FRAME_DELAY,
    FRAME_HANDLER,
    FRAME_REDONE,
    FRAME_RETRY,
    FRAME_VISIT,
    pop_frame,
    push_frame,
)
from simulator.engines.compiled.transaction import (
    DEADLOCK,
    ENDED,
    FAILURE,
    HELD_FIRST,
    OUTER,
    OWNER,
    REFUSED_BY,
    SERIALIZATION,
    TRANSACTION_DATABASE,
    forget_transaction,
    is_taken,
    new_transaction,
    note_taken,
)
from simulator.engines.contract import (
    DEADLOCK_DETECTED,
    IN_FLIGHT,
    OK,
    SERIALIZATION_FAILURE,
)


@kernel
def pool_of(m: Memory, task: int, index: int) -> int:
    """The record of a pool in the task's process."""
    return m[m[m[task + PROC] + POOLS_OF] + index]


@kernel
def is_out(m: Memory, database: int) -> bool:
    """Whether a database is in an outage."""
    return database != 0 and struck(m, m[database + DATABASE_FAULTS], m[NOW], 0) == NONE


# Connections.


@kernel
def with_(m: Memory, task: int, index: int, handler: int, runs: int) -> int:
    """``WITH``: ask for a connection; ``WAIT`` has to follow."""
    visit = queue(m, task, m[m[task + PROC] + POOLS_STATION] + index)
    m[task + OPEN_VISIT] = visit
    push_frame(m, task, handler, visit)
    m[task + TAKES_LATER] = runs
    acquire_connection(m, pool_of(m, task, index), task)
    return GO


@kernel
def take(m: Memory, task: int, index: int, again: int, runs: int) -> int:
    """``TAKE``: who was told of a connection takes it, or waits again."""
    if m[task + TAKES_LATER] < TOLD or take_connection(m, pool_of(m, task, index), task, runs):
        return GO
    m[task + PC] = again
    return JUMPED


@kernel
def connected(m: Memory, task: int, index: int, refused: int, closes: int) -> int:
    """``CONNECTED``: there is a connection or a slot for one, or none in time."""
    pool = pool_of(m, task, index)
    frame = m[task + OPEN_FRAME]
    if m[task + ERROR] != NO_ERROR:
        m[frame + FAILED] = m[pool + POOL_OUTCOME]
        return pop_frame(m, task)
    connection = m[task + VALUE]
    m[frame + FRAME_CONNECTION] = connection
    m[frame + FRAME_DELAY] = 0
    m[task + NS] = 0
    if m[connection + BACKEND] < 0:
        database = m[pool + POOL_DATABASE]
        cores = m[database + DATABASE_CORES] if database != 0 else 0
        if m[m[SERVER] + CONNECT_DELAY] >= 0 and (cores == 0 or m[cores + RUNNING] == 0):
            m[frame + FRAME_DELAY] = draw(m, task, m[m[SERVER] + CONNECT_DELAY], index)
            if m[frame + FRAME_DELAY] == MISSING:
                return STARVES
        if not connect(m, pool, connection):
            m[frame + FAILED] = m[database + DATABASE_REFUSED]
            m[frame + FRAME_CLOSES] = 1
            m[task + NS] = m[m[SERVER] + CONNECT_REFUSED]
            m[task + PC] = refused
            return JUMPED
        opened(m, pool, connection, task)
        if is_out(m, database):
            m[frame + FAILED] = m[database + DATABASE_ERROR]
            m[frame + FRAME_CLOSES] = 1
            m[task + PC] = closes
            return JUMPED
        m[task + NS] = m[m[SERVER] + CONNECT]
    return GO


@kernel
def delayed_hold(m: Memory, task: int, cause: int, frees: int) -> int:
    """``DELAYED_HOLD``: what opening the connection is delayed by, 0 if it was open."""
    m[task + NS] = m[m[task + OPEN_FRAME] + FRAME_DELAY]
    return hold(m, task, cause, frees)


@kernel
def with_closes(m: Memory, task: int, index: int) -> int:
    """``WITH_CLOSES``: is the connection closed, and how long does it take?"""
    m[task + NS] = 0
    if closes_on_return(m, pool_of(m, task, index)):
        m[m[task + OPEN_FRAME] + FRAME_CLOSES] = 1
        m[task + NS] = m[m[SERVER] + CLOSE]
    return GO


@kernel
def with_ends(m: Memory, task: int, index: int, in_task: int) -> int:
    """``WITH_ENDS``: give the connection back; go on behind whom that has woken, if ``in_task``."""
    if m[task + PHASE] == 1:  # by now that one is in the queue of the loop
        next_turn(m, task)
        m[task + PHASE] = 2
        return WAITS
    if m[task + PHASE] == 2:
        has_turn(m, task)
        return pop_frame(m, task)
    pool = pool_of(m, task, index)
    frame = m[task + OPEN_FRAME]
    connection = m[frame + FRAME_CONNECTION]
    closes = m[frame + FRAME_CLOSES] != 0
    if closes:
        closed(m, pool, connection, m[NOW])
    released(m, task, m[frame + FRAME_VISIT])
    told = release_connection(m, pool, connection, closes)
    if told and in_task != 0:
        soon(m, RESUME, task)
        m[task + PHASE] = 1
        return WAITS
    return pop_frame(m, task)


# Transactions.


@kernel
def begin(m: Memory, task: int, database: int, serializable: int, handler: int) -> int:
    """``BEGIN``: a try of a block."""
    frame = m[task + OPEN_FRAME]
    outer = m[task + OPEN_TRANSACTION]
    if m[frame + FRAME_RETRY] == 0:
        m[frame + FRAME_REDONE] = m[outer + REDONE] if outer != 0 else 0
    redone = m[frame + FRAME_REDONE] + m[frame + FRAME_RETRY]
    m[frame + FRAME_HANDLER] = handler
    m[frame + FAILED] = OK
    m[task + OPEN_TRANSACTION] = new_transaction(
        m, task, outer, database, serializable, redone, IN_FLIGHT
    )
    return GO


@kernel
def rows_held(m: Memory, task: int) -> int:
    """``ROWS_HELD``: what its rows are held for beyond their use, if it has any to commit."""
    holds = m[m[task + OPEN_TRANSACTION] + HELD_FIRST] != 0
    done = m[m[task + OPEN_FRAME] + FAILED] == OK
    m[task + NS] = m[m[SERVER] + LOCK_HOLD] if holds and done else 0
    return GO


@kernel
def commits(m: Memory, task: int, retries: int, goes_on: int) -> int:
    """``COMMIT``: commit, or roll back and perhaps run the block again."""
    frame = m[task + OPEN_FRAME]
    transaction = m[task + OPEN_TRANSACTION]
    leave_transaction(m, task)
    failed = m[frame + FAILED]
    if failed == OK:
        commit(m, transaction)
    else:
        rollback(m, transaction)
    forget_transaction(m, transaction)
    if failed == SERIALIZATION_FAILURE and m[frame + FRAME_RETRY] < retries:
        m[frame + FRAME_RETRY] += 1
        return GO
    m[task + PC] = goes_on
    return JUMPED


@kernel
def back_off(m: Memory, task: int, streams: int) -> int:
    """``BACK_OFF``: how long to wait before the next try of a block."""
    retry = m[m[task + OPEN_FRAME] + FRAME_RETRY]
    ns = draw(m, task, m[streams + retry - 1], 0)
    if ns == MISSING:
        return STARVES
    m[task + NS] = ns
    return GO


# Row locks.


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


@kernel
def leave_transaction(m: Memory, task: int) -> None:
    """The task is in the transaction around its innermost one again."""
    # Its own knowledge of the inner one ends with ``forget_transaction``; that one knows
    # the outer, which stays known to whoever began it.
    m[task + OPEN_TRANSACTION] = m[m[task + OPEN_TRANSACTION] + OUTER]
