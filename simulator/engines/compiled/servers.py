"""What a server does with a request (``simulator.engines.servers``, ``models.workers``)."""

from __future__ import annotations

from simulator.engines.compiled.accepting import (
    be_in,
    finish_now,
    instance_of,
    place,
)
from simulator.engines.compiled.clock import (
    JOB_ENDED,
    PHASE_END,
    PHASE_TIMER,
    WORKER_TIMER,
    at,
    resume_at,
    soon,
)
from simulator.engines.compiled.code import (
    ENDS,
    FAILS,
    GO,
    JUMPED,
    SWITCHES_TASK,
    WAITS,
)
from simulator.engines.compiled.cores import take_off
from simulator.engines.compiled.gathers import new_branch
from simulator.engines.compiled.gil import release_gil
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    BACKGROUND,
    NEVER,
    NEXT,
    NOW,
    SERVER,
    Memory,
)
from simulator.engines.compiled.process import (
    BUSY_TASK,
    BUSY_VISIT,
    CONNECTIONS,
    HAS_GIL,
    KEPT_N,
    LIMIT_CONCURRENCY,
    LINGER,
    THREADS,
    THREADS_STATION,
    TIMEOUT,
    UNACCEPTED,
    WATCHED,
    WORKERS,
    WORKERS_N,
    WORKERS_STATION,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.slots import acquire_slot, release_slot
from simulator.engines.compiled.steps import enter, has_gil, has_turn, leave, next_turn, take_gil
from simulator.engines.compiled.task import (
    DOING,
    GRANTED,
    HANDLER,
    HOME_VISIT,
    INSTANCE,
    KILLED,
    LINGERS,
    MARK,
    ON_STAY,
    OPEN_VISIT,
    OUTCOME,
    PARENT,
    PC,
    PHASE,
    PROC,
    PROCESS,
    RESULT,
    VALUE,
    VISIT_SLOT,
    book,
    ended,
    granted,
    key,
    let_go,
    queue,
    spend_so_far,
    take_turn_of,
)
from simulator.engines.contract import (
    ACCEPT_QUEUE,
    WORKER_TIMEOUT,
)
from simulator.engines.contract import (
    LIMIT_CONCURRENCY as LIMITED,
)

# Sync workers.


@kernel
def worker(m: Memory, task: int) -> int:
    """``WORKER``: wait for a worker."""
    instance = instance_of(m, m[task + INSTANCE])
    if m[task + PHASE] == 0:
        m[task + OPEN_VISIT] = queue(m, task, m[instance + WORKERS_STATION])
        m[task + DOING] = ACCEPT_QUEUE
        if not acquire_slot(m, m[instance + WORKERS], task):
            m[task + PHASE] = 1
            return WAITS
    book(m, task, ACCEPT_QUEUE)
    granted(m, task, m[task + OPEN_VISIT], m[task + VALUE])
    be_in(m, task, m[task + INSTANCE] * m[m[SERVER] + WORKERS_N] + m[task + VALUE])
    m[task + HOME_VISIT] = m[task + OPEN_VISIT]
    if m[m[SERVER] + TIMEOUT] < NEVER:
        _watch(m, task, m[task + OPEN_VISIT])
    return GO


@kernel
def _watch(m: Memory, task: int, visit: int) -> None:
    process = m[task + PROC]
    m[process + BUSY_TASK] = task
    m[process + BUSY_VISIT] = visit
    if m[process + WATCHED] == 0:
        m[process + WATCHED] = 1
        _arm(m, task, visit)


@kernel
def _arm(m: Memory, task: int, visit: int) -> None:
    over = m[visit + GRANTED] + m[m[SERVER] + TIMEOUT]
    at(m, over, key(m, task, PHASE_TIMER), WORKER_TIMER, m[task + PROC])


@kernel
def look_at(m: Memory, process: int) -> None:
    """One timer per worker: it has moved on to another request since, or it is killed."""
    task, visit = m[process + BUSY_TASK], m[process + BUSY_VISIT]
    if task == 0:
        m[process + WATCHED] = 0
        return
    if m[NOW] < m[visit + GRANTED] + m[m[SERVER] + TIMEOUT]:
        _arm(m, task, visit)
        return
    m[process + WATCHED] = 0
    m[process + BUSY_TASK] = 0
    slot = m[visit + VISIT_SLOT]
    spend_so_far(m, task)
    m[task + MARK] = m[NOW]
    m[task + KILLED] = 1
    m[task + LINGERS] = 1
    if m[task + ON_STAY] != 0:
        take_off(m, task)
        soon(m, JOB_ENDED, task)
    finish_now(m, task, WORKER_TIMEOUT)
    released(m, task, visit)
    release_slot(m, m[instance_of(m, m[task + INSTANCE]) + WORKERS], slot)


@kernel
def check_killed(m: Memory, task: int) -> int:
    """``CHECK_KILLED``: no step comes after the worker was killed."""
    if m[task + KILLED] != 0:
        m[task + OUTCOME] = WORKER_TIMEOUT
        return FAILS
    return GO


@kernel
def worker_done(m: Memory, task: int) -> int:
    """``WORKER_DONE``: the handler has ended."""
    if m[task + KILLED] != 0:
        m[task + LINGERS] = 0
        return ENDS
    m[m[task + PROC] + BUSY_TASK] = 0
    finish_now(m, task, m[task + RESULT])
    return GO


@kernel
def lingers_on(m: Memory, task: int) -> int:
    """``LINGERS_ON``: the worker waits for the client to close."""
    if m[task + PHASE] == 0:
        m[task + LINGERS] = 1
        resume_at(m, m[m[SERVER] + LINGER], key(m, task, PHASE_END), task)
        m[task + PHASE] = 1
        return WAITS
    m[task + LINGERS] = 0
    return GO


@kernel
def worker_ends(m: Memory, task: int) -> int:
    """``WORKER_ENDS``: the worker is free."""
    visit = m[task + HOME_VISIT]
    slot = m[visit + VISIT_SLOT]
    released(m, task, visit)
    release_slot(m, m[instance_of(m, m[task + INSTANCE]) + WORKERS], slot)
    return ENDS


# Server threads.


@kernel
def server_thread(m: Memory, task: int) -> int:
    """``SERVER_THREAD``: wait for a thread of the process that has accepted, and its GIL."""
    phase = m[task + PHASE]
    if phase == 2:
        has_gil(m, task)
        return GO
    if phase == 0:
        if m[task + PROCESS] < 0:
            be_in(m, task, place(m, m[task + INSTANCE]))
        process = m[task + PROC]
        m[task + OPEN_VISIT] = queue(m, task, m[process + THREADS_STATION])
        m[task + HOME_VISIT] = m[task + OPEN_VISIT]
        m[task + DOING] = ACCEPT_QUEUE
        if not acquire_slot(m, m[process + THREADS], task):
            m[task + PHASE] = 1
            return WAITS
    book(m, task, ACCEPT_QUEUE)
    granted(m, task, m[task + OPEN_VISIT], m[task + VALUE])
    if m[m[task + PROC] + HAS_GIL] != 0 and not take_gil(m, task):
        m[task + PHASE] = 2
        return WAITS
    return GO


@kernel
def server_thread_ends(m: Memory, task: int) -> int:
    """``SERVER_THREAD_ENDS``: the thread is free."""
    process = m[task + PROC]
    if m[process + HAS_GIL] != 0:
        release_gil(m, process)
    visit = m[task + HOME_VISIT]
    slot = m[visit + VISIT_SLOT]
    released(m, task, visit)
    release_slot(m, m[process + THREADS], slot)
    return ENDS


# On a loop.


@kernel
def on_loop(m: Memory, task: int) -> int:
    """``ON_LOOP``: one callback reads the request; the handler is a task, a turn later."""
    instance = instance_of(m, m[task + INSTANCE])
    if m[task + PHASE] == 0:
        if m[task + PROCESS] < 0:
            be_in(m, task, place(m, m[task + INSTANCE]))
        m[instance + UNACCEPTED] += 1
        if not enter(m, task, False, True):
            m[task + PHASE] = 1
            return WAITS
    else:
        has_turn(m, task)
    m[instance + UNACCEPTED] -= 1
    if m[m[SERVER] + KEPT_N] == 0:
        m[m[task + PROC] + CONNECTIONS] += 1
    return GO


@kernel
def if_limited(m: Memory, task: int, away: int) -> int:
    """``IF_LIMITED``: a request is turned away if there are too many connections."""
    if m[m[task + PROC] + CONNECTIONS] < m[m[SERVER] + LIMIT_CONCURRENCY]:
        return GO
    m[task + PC] = away
    return JUMPED


@kernel
def read(m: Memory, task: int) -> int:
    """``READ``: the request is read; it goes on a turn later."""
    if m[task + PHASE] == 0:
        next_turn(m, task)
        m[task + PHASE] = 1
        return WAITS
    has_turn(m, task)
    return GO


@kernel
def turn_away(m: Memory, task: int, answered: int) -> int:
    """``TURN_AWAY``: the answer is 503."""
    m[task + RESULT] = LIMITED
    m[task + PC] = answered
    return JUMPED


@kernel
def handled(m: Memory, task: int) -> int:
    """``HANDLED``: the answer is sent from the loop."""
    if m[m[SERVER] + KEPT_N] == 0:
        m[m[task + PROC] + CONNECTIONS] -= 1
    finish_now(m, task, m[task + RESULT])
    return GO


@kernel
def leave_for_good(m: Memory, task: int) -> int:
    """``LEAVE``: the loop goes on with others."""
    leave(m, task)
    return ENDS


# Background work.


@kernel
def afterwards(m: Memory, task: int, begins: int, handler: int) -> int:
    """``AFTERWARDS``: run background tasks where the answer was sent."""
    if m[task + PHASE] == 1:
        return GO
    background = new_branch(m, task, m[BACKGROUND])
    m[task + LINGERS] = 1
    take_turn_of(m, background, task)
    m[background + PARENT] = task
    m[background + PC] = begins
    m[background + HANDLER] = handler
    m[task + PHASE] = 1
    m[NEXT] = background
    return SWITCHES_TASK


@kernel
def afterwards_done(m: Memory, background: int) -> int:
    """``AFTERWARDS_DONE``: whether it failed or not, nobody hears of it."""
    task = m[background + PARENT]
    take_turn_of(m, task, background)
    ended(m, background)
    let_go(m, background)
    m[task + LINGERS] = 0
    m[NEXT] = task
    return SWITCHES_TASK
