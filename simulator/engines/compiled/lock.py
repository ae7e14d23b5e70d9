"""Row locks, shared and exclusive, and the transactions that hold them (``models.lock``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    LOCK_SETTLED,
    LOOK_FOR_CYCLE,
    PHASE_TIMER,
    WHAT_BITS,
    at,
    soon,
)
from simulator.engines.compiled.draws import decide
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    COMMITS,
    HOLDING,
    LOCK_WAITER,
    NODE,
    NOW,
    SEARCHES,
    Memory,
    free,
    new,
    serial,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.task import key
from simulator.engines.compiled.transaction import (
    DEADLOCK,
    ENDED,
    HELD_FIRST,
    HELD_LAST,
    NOT_REFUSED,
    OWNER,
    REFUSED_BY,
    SEEN,
    SERIALIZABLE,
    SERIALIZATION,
    SNAPSHOT,
    TAKEN,
    TAKEN_VISIT,
    TODO,
    WAITS_FIRST,
    WAITS_LAST,
    know_transaction,
)

# A row.
(WRITTEN, ROW_FIRST, ROW_LAST, ROW_WAITING, HOLDERS, ROW_LOCK, ROW_SIZE) = range(7)

# A lock of the plan: its rows.
(LOCK_ROWS, LOCK_KEYS, LOCK_PICK, LOCK_RANDOM, LOCK_COLUMN, LOCK_STATION, LOCK_CAUSE,
 LOCK_SIZE) = range(8)  # fmt: skip

# A holding: one transaction on one row.
(_HOLDING_LINK, HELD_ROW, HELD_BY, HELD_SHARED, NEXT_HOLDER, HOLDING_SIZE) = range(6)

# One who waits for a row.
(
    _WAITER_LINK,
    WAITER_BACK,
    WAITER_TASK,
    WAITER_TRANSACTION,
    WAITER_ROW,
    WAITER_SHARED,
    WAITER_VISIT,
    WAITER_GRANTED,
    WAITER_SERIAL,
    WAITER_NEXT,  # of its transaction's
    WAITER_PREVIOUS,
    LOCK_WAITER_SIZE,
) = range(12)


@kernel
def holding_of(m: Memory, row: int, transaction: int) -> int:
    """What a transaction holds of a row; 0 if nothing."""
    holding = m[row + HOLDERS]
    while holding != 0 and m[holding + HELD_BY] != transaction:
        holding = m[holding + NEXT_HOLDER]
    return holding


@kernel
def is_held_by(m: Memory, row: int, transaction: int, shared: int) -> bool:
    """Whether it has this lock already, or a stronger one."""
    holding = holding_of(m, row, transaction)
    return holding != 0 and (m[holding + HELD_SHARED] == 0 or shared != 0)


@kernel
def sees(m: Memory, transaction: int, commit: int) -> bool:
    """Whether a row that this commit wrote may be updated on top of the snapshot."""
    return m[transaction + SERIALIZABLE] == 0 or commit <= m[transaction + SNAPSHOT]


@kernel
def _admits(m: Memory, row: int, transaction: int, shared: int) -> bool:
    holding = m[row + HOLDERS]
    while holding != 0:
        if m[holding + HELD_BY] != transaction and not (
            m[holding + HELD_SHARED] != 0 and shared != 0
        ):
            return False
        holding = m[holding + NEXT_HOLDER]
    return True


@kernel
def _hold(m: Memory, row: int, transaction: int, shared: int) -> None:
    holding = holding_of(m, row, transaction)
    if holding != 0:
        if shared == 0:
            m[holding + HELD_SHARED] = 0
        return
    holding = new(m, HOLDING, HOLDING_SIZE)
    m[holding] = 0
    m[holding + HELD_ROW] = row
    m[holding + HELD_BY] = transaction
    m[holding + HELD_SHARED] = shared
    m[holding + NEXT_HOLDER] = m[row + HOLDERS]
    m[row + HOLDERS] = holding
    if m[transaction + HELD_FIRST] == 0:
        m[transaction + HELD_FIRST] = holding
    else:
        m[m[transaction + HELD_LAST]] = holding
    m[transaction + HELD_LAST] = holding


@kernel
def acquire_lock(
    m: Memory, row: int, transaction: int, shared: int, task: int, visit: int, timeout: int
) -> int:
    """The one who waits now; 0 if it was granted, or if its transaction was rolled back."""
    if not sees(m, transaction, m[row + WRITTEN]):
        _rollback(m, transaction, SERIALIZATION)
        return 0
    upgrade = holding_of(m, row, transaction) != 0
    if _admits(m, row, transaction, shared) and (upgrade or m[row + ROW_WAITING] == 0):
        _hold(m, row, transaction, shared)
        return 0
    waiter = new(m, LOCK_WAITER, LOCK_WAITER_SIZE)
    m[waiter + WAITER_TASK] = task
    m[waiter + WAITER_TRANSACTION] = transaction
    know_transaction(m, transaction)
    m[waiter + WAITER_ROW] = row
    m[waiter + WAITER_SHARED] = shared
    m[waiter + WAITER_VISIT] = visit
    m[waiter + WAITER_GRANTED] = 0
    m[waiter + WAITER_SERIAL] = serial(m)
    _line_up(m, row, waiter, upgrade)
    m[waiter + WAITER_NEXT] = 0
    last = m[transaction + WAITS_LAST]
    m[waiter + WAITER_PREVIOUS] = last
    if last != 0:
        m[last + WAITER_NEXT] = waiter
    else:
        m[transaction + WAITS_FIRST] = waiter
    m[transaction + WAITS_LAST] = waiter
    if timeout >= 0:
        what = m[waiter + WAITER_SERIAL] << WHAT_BITS | LOOK_FOR_CYCLE
        at(m, m[NOW] + timeout, key(m, task, PHASE_TIMER), what, waiter)
    return waiter


@kernel
def _line_up(m: Memory, row: int, waiter: int, upgrade: bool) -> None:
    """At the end of the line; one who holds the row already, behind the others who do."""
    before = m[row + ROW_LAST]
    if upgrade:
        ahead = 0
        other = m[row + ROW_FIRST]
        while other != 0:
            if holding_of(m, row, m[other + WAITER_TRANSACTION]) != 0:
                ahead += 1
            other = m[other]
        before, other = 0, m[row + ROW_FIRST]
        for _ in range(ahead):
            before, other = other, m[other]
    after = m[row + ROW_FIRST] if before == 0 else m[before]
    m[waiter] = after
    m[waiter + WAITER_BACK] = before
    if before != 0:
        m[before] = waiter
    else:
        m[row + ROW_FIRST] = waiter
    if after != 0:
        m[after + WAITER_BACK] = waiter
    else:
        m[row + ROW_LAST] = waiter
    m[row + ROW_WAITING] += 1


@kernel
def _leave(m: Memory, waiter: int, granted: int) -> None:
    """A waiter waits no longer; its task hears at this instant."""
    row, transaction = m[waiter + WAITER_ROW], m[waiter + WAITER_TRANSACTION]
    after, before = m[waiter], m[waiter + WAITER_BACK]
    if after != 0:
        m[after + WAITER_BACK] = before
    else:
        m[row + ROW_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[row + ROW_FIRST] = after
    m[row + ROW_WAITING] -= 1
    after, before = m[waiter + WAITER_NEXT], m[waiter + WAITER_PREVIOUS]
    if after != 0:
        m[after + WAITER_PREVIOUS] = before
    else:
        m[transaction + WAITS_LAST] = before
    if before != 0:
        m[before + WAITER_NEXT] = after
    else:
        m[transaction + WAITS_FIRST] = after
    m[waiter + WAITER_GRANTED] = granted
    m[waiter + WAITER_SERIAL] = 0
    soon(m, LOCK_SETTLED, waiter)


@kernel
def _grant_next(m: Memory, row: int) -> None:
    while m[row + ROW_FIRST] != 0:
        first = m[row + ROW_FIRST]
        lock = m[row + ROW_LOCK]
        if m[row + HOLDERS] == 0 and m[lock + LOCK_RANDOM] != 0 and m[row + ROW_WAITING] > 1:
            for _ in range(decide(m, m[lock + LOCK_COLUMN], m[row + ROW_WAITING])):
                first = m[first]
        transaction = m[first + WAITER_TRANSACTION]
        if not _admits(m, row, transaction, m[first + WAITER_SHARED]):
            return
        _hold(m, row, transaction, m[first + WAITER_SHARED])
        # What the same transaction asked for in another branch, it has now too.
        waiter = m[row + ROW_FIRST]
        while waiter != 0:
            following = m[waiter]
            if m[waiter + WAITER_TRANSACTION] == transaction and is_held_by(
                m, row, transaction, m[waiter + WAITER_SHARED]
            ):
                _leave(m, waiter, 1)
            waiter = following


@kernel
def commit(m: Memory, transaction: int) -> None:
    """End it; what it has locked exclusively is now written."""
    if m[transaction + ENDED] != 0:
        return
    m[COMMITS] += 1
    number = m[COMMITS]
    _withdraw(m, transaction)
    while m[transaction + HELD_FIRST] != 0:
        holding = m[transaction + HELD_FIRST]
        row, shared = m[holding + HELD_ROW], m[holding + HELD_SHARED]
        _drop(m, transaction)
        if shared == 0:
            m[row + WRITTEN] = number
            _fail_outdated(m, row, number)
        _grant_next(m, row)


@kernel
def _fail_outdated(m: Memory, row: int, number: int) -> None:
    """First updater wins: all who wait and don't see this commit fail."""
    again = True
    while again:
        again = False
        waiter = m[row + ROW_FIRST]
        while waiter != 0 and not again:
            if sees(m, m[waiter + WAITER_TRANSACTION], number):
                waiter = m[waiter]
            else:
                transaction = m[waiter + WAITER_TRANSACTION]
                _leave(m, waiter, 0)
                _rollback(m, transaction, SERIALIZATION)
                again = True


@kernel
def rollback(m: Memory, transaction: int) -> None:
    """End it without a trace, for another reason than a lock."""
    _rollback(m, transaction, NOT_REFUSED)


@kernel
def _rollback(m: Memory, transaction: int, error: int) -> None:
    if m[transaction + ENDED] != 0:
        return
    m[transaction + REFUSED_BY] = error
    _withdraw(m, transaction)
    while m[transaction + HELD_FIRST] != 0:
        row = m[m[transaction + HELD_FIRST] + HELD_ROW]
        _drop(m, transaction)
        _grant_next(m, row)


@kernel
def _withdraw(m: Memory, transaction: int) -> None:
    """It is over: its visits end, and it waits no longer."""
    m[transaction + ENDED] = 1
    taken = m[transaction + TAKEN]
    while taken != 0:
        following = m[taken]
        released(m, m[transaction + OWNER], m[taken + TAKEN_VISIT])
        free(m, NODE, taken)
        taken = following
    m[transaction + TAKEN] = 0
    while m[transaction + WAITS_FIRST] != 0:
        row = m[m[transaction + WAITS_FIRST] + WAITER_ROW]
        waiter = m[row + ROW_FIRST]
        while waiter != 0:
            following = m[waiter]
            if m[waiter + WAITER_TRANSACTION] == transaction:
                _leave(m, waiter, 0)
            waiter = following
        _grant_next(m, row)


@kernel
def _drop(m: Memory, transaction: int) -> None:
    """Let go of the row that was taken first."""
    holding = m[transaction + HELD_FIRST]
    m[transaction + HELD_FIRST] = m[holding]
    row = m[holding + HELD_ROW]
    before, other = 0, m[row + HOLDERS]
    while other != holding:
        before, other = other, m[other + NEXT_HOLDER]
    if before == 0:
        m[row + HOLDERS] = m[holding + NEXT_HOLDER]
    else:
        m[before + NEXT_HOLDER] = m[holding + NEXT_HOLDER]
    free(m, HOLDING, holding)


@kernel
def look_for_cycle(m: Memory, waiter: int) -> None:
    """Roll a waiter's transaction back if it is part of a circle of waits."""
    transaction = m[waiter + WAITER_TRANSACTION]
    if _is_deadlocked(m, transaction):
        _leave(m, waiter, 0)
        _rollback(m, transaction, DEADLOCK)


@kernel
def _is_deadlocked(m: Memory, transaction: int) -> bool:
    m[SEARCHES] += 1
    todo = transaction
    m[transaction + TODO] = 0
    while todo != 0:
        other = todo
        todo = m[other + TODO]
        waiter = m[other + WAITS_FIRST]
        while waiter != 0:
            holding = m[m[waiter + WAITER_ROW] + HOLDERS]
            while holding != 0:
                holder = m[holding + HELD_BY]
                if holder == transaction and other != transaction:
                    return True
                new_one = holder != other and holder != transaction
                if new_one and m[holder + SEEN] != m[SEARCHES]:
                    m[holder + SEEN] = m[SEARCHES]
                    m[holder + TODO] = todo
                    todo = holder
                holding = m[holding + NEXT_HOLDER]
            waiter = m[waiter + WAITER_NEXT]
    return False
