"""A request, an attempt or a branch while it runs: its ledger, its visits, its place in code."""

from __future__ import annotations

from simulator.engines.compiled.clock import PHASE_STEP
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    ATTEMPT_SHIFT,
    BRANCH_SHIFT,
    CAUSES,
    FIRST_REQUEST,
    GROW,
    IS_WAIT,
    LAST,
    LIVE_N,
    NONE,
    NOW,
    OWNER_SHIFT,
    SCRATCH,
    SERIAL,
    SOON_MASK,
    STATUS,
    TASK,
    TASK_SIZE,
    TASKS_FIRST,
    VISIT,
    Memory,
    free,
    new,
)
from simulator.engines.contract import NETWORK

# With many in flight each line of memory is far away: what every event needs stands first.
(
    _LINK,  # in the queue it waits in
    BACK,  # the one before it there
    PC,
    PHASE,
    PROC,  # the record of its process
    REQUEST,
    KEY,
    NUMBER,
    NS,
    MARK,
    DOING,
    WAITED,
    LOOP_QUEUED,
    LOOP_GRANTED,
    LOOP_WAITED,
    READS,  # whether what it waits to do on the loop is to read a request
    PENDING,  # whether it has to wait for what it asked for
    VALUE,
    ERROR,
    KILLED,
    OPEN_FRAME,
    BEFORE,
    BEGAN,
    LOAD,
    ROUTE,
    PROCESS,
    INSTANCE,
    ARRIVED_NS,
    FIRST_BYTE,
    LIVE,
    REFS,
    DONE,  # the user who waits for its end
    ANSWER,  # whether a client waits for this attempt
    RESULT,
    ALL_NEXT,
    ALL_PREVIOUS,
    WAIT_SERIAL,
    TAKES_LATER,  # a connection: one of those below
    GIL_SERIAL,
    IS_REQUEST,
    HANDLER,  # where it goes on if it fails outside of all frames
    OPEN_FIRST,
    OPEN_LAST,
    OPEN_VISIT,
    KEPT_ON,  # its client's connection, where these are kept
    HOME_VISIT,  # that to its worker or server thread
    BRANCH,
    ATTEMPT,
    ABANDONED,
    LINGERS,
    LIVE_SERIAL,
    OPEN_TRANSACTION,
    OUTCOME,  # what it fails with
    WAIT_CAUSE,
    GIL_SWITCHES,
    JOB_LEFT,
    JOB_AT,
    JOB_ORDER,
    JOB_ENTRY,
    JOB_ON,
    JOB_MODE,
    JOB_NEXT,
    JOB_PREVIOUS,
    ON_STAY,
    SLOT,
    PARENT,
    OPEN_JOIN,  # of the gather under way
    HOME_JOIN,  # of the gather that it is a branch of
    BRANCHES,
    SIBLING,
    ANSWERED_WITH,
    OVER,
    NETWORK_NS,
    RETRY,
    OPEN_CALL,
    OPEN_ITEM,
    CHUNK,
    CHUNKS,
    EVERY,
    DEADLINE,
    SPENT,
) = range(81)

USER_SIZE = ROUTE
"""A user, who only waits and asks, is a task without the rest."""

(
    _VISIT_LINK,
    VISIT_BACK,
    STATION,
    QUEUED,
    GRANTED,
    VISIT_SLOT,
    VISIT_WAITED,
    VISIT_SIZE,
) = range(8)

# Errors that a wait can end with.
NO_ERROR, POOL_TIMED_OUT, LOCK_REFUSED = range(3)
HANDED_OVER, TAKES_ON_LOOP, TAKES_IN_THREAD, TOLD, TOLD_LATE, LOST, LOST_LATE = range(7)
"""Who waits for a connection gets it, or is told of it and takes it when its code goes on: it
may be another's by then, and the timeout have passed. The first three are those of ``Runs``."""

FIRST_OF_ATTEMPT = 1 << 20
SOON_OF_TASK = 4
"""What one instant can cause for a task: it starts, has its first token, is done, goes on."""


@kernel
def base_key(m: Memory, owner: int, branch: int, attempt: int) -> int:
    """What all keys of an owner's part begin with."""
    return (owner << m[OWNER_SHIFT]) + (branch << m[BRANCH_SHIFT]) + (attempt << m[ATTEMPT_SHIFT])


@kernel
def key(m: Memory, task: int, phase: int) -> int:
    """The key of this task's next event in that phase."""
    m[task + NUMBER] += 1
    return phase * PHASE_STEP + m[task + KEY] + m[task + NUMBER]


@kernel
def new_task(m: Memory, request: int, route: int, branch: int, attempt: int) -> int:
    """A task that is live from now on."""
    task = new(m, TASK, m[TASK_SIZE])
    for i in range(m[TASK_SIZE]):
        m[task + i] = 0
    now = m[NOW]
    m[task + REQUEST] = request
    m[task + ROUTE] = route
    m[task + BRANCH] = branch
    m[task + ATTEMPT] = attempt
    m[task + KEY] = base_key(m, m[FIRST_REQUEST] + request, branch, attempt)
    m[task + PROCESS] = NONE
    m[task + INSTANCE] = NONE
    m[task + ARRIVED_NS] = now
    m[task + MARK] = now
    m[task + FIRST_BYTE] = NONE
    m[task + IS_REQUEST] = branch == 0 and attempt == 0
    m[task + LOOP_QUEUED] = NONE
    m[task + LOOP_GRANTED] = NONE
    m[task + REFS] = 1
    m[task + LIVE] = 1
    m[SERIAL] += 1
    m[task + LIVE_SERIAL] = m[SERIAL]
    m[LIVE_N] += 1
    if SOON_OF_TASK * m[LIVE_N] > m[SOON_MASK]:
        m[STATUS] |= GROW
    first = m[TASKS_FIRST]
    m[task + ALL_NEXT] = first
    if first != 0:
        m[first + ALL_PREVIOUS] = task
    m[TASKS_FIRST] = task
    return task


@kernel
def let_go(m: Memory, task: int) -> None:
    """One who knew this task does no longer; the last one frees it."""
    m[task + REFS] -= 1
    if m[task + REFS] > 0:
        return
    after, before = m[task + ALL_NEXT], m[task + ALL_PREVIOUS]
    if after != 0:
        m[after + ALL_PREVIOUS] = before
    if before != 0:
        m[before + ALL_NEXT] = after
    else:
        m[TASKS_FIRST] = after
    m[task + WAIT_SERIAL] = 0
    m[task + GIL_SERIAL] = 0
    free(m, TASK, task)


@kernel
def ended(m: Memory, task: int) -> None:
    """The task is over."""
    m[task + LIVE] = 0
    m[LIVE_N] -= 1
    m[LAST] = m[NOW]


@kernel
def book_until(m: Memory, task: int, until: int, cause: int) -> None:
    """Book the time since the last booking up to an instant to a cause."""
    if m[task + KILLED] != 0 and cause != NETWORK:
        return
    span = until - m[task + MARK]
    m[task + SPENT + cause] += span
    m[task + MARK] = until
    if m[m[IS_WAIT] + cause] != 0:
        m[task + WAITED] += span


@kernel
def book(m: Memory, task: int, cause: int) -> None:
    """Book all time since the last booking to a cause."""
    if m[NOW] != m[task + MARK]:
        book_until(m, task, m[NOW], cause)


@kernel
def add_so_far(m: Memory, task: int, ledger: int) -> None:
    """Add to a ledger what this task has spent up to now."""
    other = task
    while True:
        for cause in range(m[CAUSES]):
            m[ledger + cause] += m[other + SPENT + cause]
        branch = m[other + BRANCHES]
        if branch == 0:
            break
        while m[branch + LIVE] == 0:
            branch = m[branch + SIBLING]
        other = branch
    doing = NETWORK if m[other + KILLED] != 0 else m[other + DOING]
    m[ledger + doing] += m[NOW] - m[other + MARK]


@kernel
def absorb(m: Memory, task: int, other: int) -> None:
    """Take over the ledger of the branch, or the attempt, that was waited for until now."""
    add_so_far(m, other, task + SPENT)
    m[task + WAITED] += m[other + WAITED]
    m[task + MARK] = m[NOW]


@kernel
def spend_so_far(m: Memory, task: int) -> None:
    """Book the span under way to what the task is doing."""
    scratch = m[SCRATCH]
    for cause in range(m[CAUSES]):
        m[scratch + cause] = 0
    add_so_far(m, task, scratch)
    for cause in range(m[CAUSES]):
        m[task + SPENT + cause] = m[scratch + cause]


@kernel
def take_turn_of(m: Memory, task: int, other: int) -> None:
    """Go on in the turn of the loop that another task has had so far."""
    m[task + LOOP_QUEUED] = m[other + LOOP_QUEUED]
    m[task + LOOP_GRANTED] = m[other + LOOP_GRANTED]
    m[task + LOOP_WAITED] = m[task + WAITED] - (m[other + WAITED] - m[other + LOOP_WAITED])
    m[other + LOOP_QUEUED] = NONE
    m[other + LOOP_GRANTED] = NONE


@kernel
def open_visit(m: Memory, task: int, visit: int) -> None:
    """Put a visit behind the others of a task."""
    last = m[task + OPEN_LAST]
    m[visit] = 0
    m[visit + VISIT_BACK] = last
    if last != 0:
        m[last] = visit
    else:
        m[task + OPEN_FIRST] = visit
    m[task + OPEN_LAST] = visit


@kernel
def take_visit(m: Memory, task: int, visit: int) -> None:
    """Take a visit out of those of a task."""
    after, before = m[visit], m[visit + VISIT_BACK]
    if after != 0:
        m[after + VISIT_BACK] = before
    else:
        m[task + OPEN_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[task + OPEN_FIRST] = after


@kernel
def queue(m: Memory, task: int, station: int) -> int:
    """Begin a visit."""
    visit = new(m, VISIT, VISIT_SIZE)
    m[visit + STATION] = station
    m[visit + QUEUED] = m[NOW]
    m[visit + GRANTED] = NONE
    m[visit + VISIT_SLOT] = NONE
    m[visit + VISIT_WAITED] = 0
    open_visit(m, task, visit)
    return visit


@kernel
def granted(m: Memory, task: int, visit: int, slot: int) -> None:
    """The visit has its slot."""
    m[visit + VISIT_SLOT] = slot
    m[visit + GRANTED] = m[NOW]
    m[visit + VISIT_WAITED] = m[task + WAITED]
