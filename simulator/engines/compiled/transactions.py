"""Connections and transactions (``simulator.engines.transactions``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import RESUME, soon
from simulator.engines.compiled.code import GO, JUMPED, STARVES, WAITS
from simulator.engines.compiled.connection_pool import (
    BACKEND,
    DATABASE_CORES,
    DATABASE_ERROR,
    DATABASE_REFUSED,
    POOL_DATABASE,
    POOL_OUTCOME,
    acquire_connection,
    closed,
    closes_on_return,
    connect,
    is_out,
    opened,
    release_connection,
    take_connection,
)
from simulator.engines.compiled.cores import RUNNING
from simulator.engines.compiled.draws import REDONE, draw
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.lock import (
    commit,
    rollback,
)
from simulator.engines.compiled.memory import (
    MISSING,
    NOW,
    SERVER,
    Memory,
)
from simulator.engines.compiled.process import (
    CLOSE,
    COLD,
    CONNECT,
    CONNECT_DELAY,
    CONNECT_REFUSED,
    LOCK_HOLD,
    POOLS_OF,
    POOLS_STATION,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.steps import has_turn, hold, next_turn
from simulator.engines.compiled.task import (
    ERROR,
    NO_ERROR,
    NS,
    OPEN_FRAME,
    OPEN_TRANSACTION,
    OPEN_VISIT,
    PC,
    PHASE,
    PROC,
    TAKES_LATER,
    TOLD,
    VALUE,
    queue,
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
    HELD_FIRST,
    OUTER,
    forget_transaction,
    new_transaction,
)
from simulator.engines.contract import (
    IN_FLIGHT,
    OK,
    SERIALIZATION_FAILURE,
)


@kernel
def pool_of(m: Memory, task: int, index: int) -> int:
    """The record of a pool in the task's process."""
    return m[m[m[task + PROC] + POOLS_OF] + index]


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
def connected(m: Memory, task: int, index: int, uses: int) -> int:
    """``CONNECTED``: there is a connection or a slot for one, or none in time."""
    frame = m[task + OPEN_FRAME]
    if m[task + ERROR] != NO_ERROR:
        m[frame + FAILED] = m[pool_of(m, task, index) + POOL_OUTCOME]
        return pop_frame(m, task)
    m[frame + FRAME_CONNECTION] = m[task + VALUE]
    if m[m[task + VALUE] + BACKEND] >= 0:
        m[task + PC] = uses
        return JUMPED
    return GO


@kernel
def opens(m: Memory, task: int, index: int, refused: int, closes: int) -> int:
    """``OPENS``: open the connection of the slot, unless it is refused or the database out."""
    pool = pool_of(m, task, index)
    frame = m[task + OPEN_FRAME]
    connection, database = m[frame + FRAME_CONNECTION], m[pool + POOL_DATABASE]
    cores = m[database + DATABASE_CORES] if database != 0 else 0
    m[frame + FRAME_DELAY] = 0
    if m[m[SERVER] + CONNECT_DELAY] >= 0 and (cores == 0 or m[cores + RUNNING] == 0):
        m[frame + FRAME_DELAY] = draw(m, task, m[m[SERVER] + CONNECT_DELAY], index)
        if m[frame + FRAME_DELAY] == MISSING:
            return STARVES
    m[frame + FRAME_CLOSES] = 1
    m[task + NS] = m[m[SERVER] + CONNECT_REFUSED]
    if not connect(m, pool, connection):
        m[frame + FAILED] = m[database + DATABASE_REFUSED]
        m[task + PC] = refused
        return JUMPED
    opened(m, pool, connection, task)
    if is_out(m, database):
        m[frame + FAILED] = m[database + DATABASE_ERROR]
        m[task + PC] = closes
        return JUMPED
    m[frame + FRAME_CLOSES] = 0
    m[task + NS] = m[m[SERVER] + CONNECT]
    return GO


@kernel
def delayed_hold(m: Memory, task: int, cause: int, frees: int) -> int:
    """``DELAYED_HOLD``: what opening the connection is delayed by, 0 if it was open."""
    m[task + NS] = m[m[task + OPEN_FRAME] + FRAME_DELAY]
    return hold(m, task, cause, frees)


@kernel
def ends_ns(m: Memory, task: int, ns: int) -> int:
    """``ENDS_NS``: CPU of a driver on a loop before its connection goes back, if cold more."""
    process = m[task + PROC]
    m[task + NS] = ns + m[process + COLD]
    m[process + COLD] = 0
    return GO


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


@kernel
def leave_transaction(m: Memory, task: int) -> None:
    """The task is in the transaction around its innermost one again."""
    # Its own knowledge of the inner one ends with ``forget_transaction``; that one knows
    # the outer, which stays known to whoever began it.
    m[task + OPEN_TRANSACTION] = m[m[task + OPEN_TRANSACTION] + OUTER]
