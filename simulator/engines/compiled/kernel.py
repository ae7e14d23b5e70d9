"""The loop: the next event, what it causes, the tasks that go on.

The long functions of this file are switches: what is to happen, and who does it.
"""

from __future__ import annotations

from simulator.engines.compiled import code
from simulator.engines.compiled.accepting import open_kept
from simulator.engines.compiled.batches import (
    item_done,
    item_started,
    item_token,
)
from simulator.engines.compiled.clients import (
    arrival_key,
    arrive,
    gives_up,
    travel_back,
    travelled,
)
from simulator.engines.compiled.clock import (
    ADVANCE,
    ANSWERED,
    AT_SERVICE,
    BATCH_ENDS,
    CALL_EXPIRES,
    CLIENT_TIMER,
    CORES_NEXT,
    GIL_END,
    GIL_INTERVAL,
    GIVES_UP,
    ITEM_DONE,
    ITEM_STARTED,
    ITEM_TOKEN,
    JOB_ENDED,
    LOCK_SETTLED,
    LOOK_FOR_CYCLE,
    LOOP_HAS_GIL,
    LOOP_WAKES,
    POOL_TIMEOUT,
    REFILL,
    RESUME,
    SERVED,
    STEP_ENDS,
    TRAVELLED,
    WHAT_BITS,
    WHAT_MASK,
    WINDOW_ENDS,
    WORKER_TIMER,
    at,
    drop_first,
)
from simulator.engines.compiled.connection_pool import pool_times_out
from simulator.engines.compiled.cores import NEXT_SERIAL, job_ends
from simulator.engines.compiled.event_loop import advance, loop_has_gil, loop_wakes
from simulator.engines.compiled.exchange import at_service, call_expires, served
from simulator.engines.compiled.gil import interval_over, stop_computing
from simulator.engines.compiled.gpu_batch import batch_ends, start_batches, step_ends
from simulator.engines.compiled.instructions import execute
from simulator.engines.compiled.jit import entry, kernel, pointer
from simulator.engines.compiled.lock import (
    WAITER_SERIAL,
    look_for_cycle,
)
from simulator.engines.compiled.memory import (
    ARRIVAL,
    ARRIVAL_AT,
    ARRIVAL_INDEX,
    ARRIVAL_MORE,
    ARRIVAL_N,
    BEYOND,
    BUDGET,
    CURRENT,
    EVENTS,
    EVENTS_N,
    FINISHED,
    INSTANT,
    INSTANT_MAX,
    INSTANT_N,
    KEPT_LEFT,
    LIVELOCK,
    MORE_ARRIVALS,
    NEXT,
    NOW,
    PAUSE,
    SOON,
    SOON_HEAD,
    SOON_MASK,
    SOON_TAIL,
    STATUS,
    STOP,
    USERS,
    USERS_N,
    Memory,
    give_up,
)
from simulator.engines.compiled.process import COMPUTING, COMPUTING_SERIAL
from simulator.engines.compiled.queries import database_job_ended
from simulator.engines.compiled.rate_limit import refill
from simulator.engines.compiled.rows import lock_settled
from simulator.engines.compiled.servers import (
    look_at,
)
from simulator.engines.compiled.service import CALL_SERIAL, client_time_is_up
from simulator.engines.compiled.steps import (
    JOB_FREE,
    JOB_UNDER_GIL,
)
from simulator.engines.compiled.task import (
    GIL_SERIAL,
    HANDLER,
    JOB_MODE,
    NS,
    OPEN_FRAME,
    OUTCOME,
    PC,
    PHASE,
    PROC,
    REQUEST,
    RESULT,
    WAIT_SERIAL,
    let_go,
)
from simulator.engines.compiled.threads import (
    FAILED,
    FRAME_HANDLER,
)


@kernel
def go_on(m: Memory, task: int) -> None:
    """Let a task go on until it has to wait, or is over."""
    while True:
        if m[STATUS] != 0:
            m[CURRENT] = task
            return
        pc = m[task + PC]
        how = execute(m, task, pc)
        if how == code.GO:
            m[task + PC] = pc + code.WORDS
            m[task + PHASE] = 0
        elif how == code.WAITS:
            return
        elif how == code.JUMPED:
            m[task + PHASE] = 0
        elif how == code.FAILS:
            m[task + PHASE] = 0
            frame = m[task + OPEN_FRAME]
            if frame != 0:
                m[frame + FAILED] = m[task + OUTCOME]
                m[task + PC] = m[frame + FRAME_HANDLER]
            else:
                m[task + RESULT] = m[task + OUTCOME]
                m[task + PC] = m[task + HANDLER]
        elif how == code.SWITCHES_TASK:
            task = m[NEXT]
        elif how == code.ENDS:
            let_go(m, task)
            return


@kernel
def happens(m: Memory, what: int, which: int) -> None:
    """Something of this instant happens; of what was overtaken, nothing."""
    number = what >> WHAT_BITS
    what &= WHAT_MASK
    if what == RESUME:
        go_on(m, which)
    elif what == ADVANCE:
        advance(m, which)
    elif what == LOOP_HAS_GIL:
        loop_has_gil(m, which)
    elif what == LOOP_WAKES:
        loop_wakes(m, which)
    elif what == GIL_INTERVAL:
        if m[which + GIL_SERIAL] == number:
            interval_over(m, which)
    elif what == GIL_END:
        if m[m[which + PROC] + COMPUTING_SERIAL] == number:
            stop_computing(m, m[which + PROC])
    elif what == CORES_NEXT:
        if m[which + NEXT_SERIAL] == number:
            job_ends(m, which)
    elif what == JOB_ENDED:
        _job_ended(m, which)
    elif what == POOL_TIMEOUT:
        if m[which + WAIT_SERIAL] == number:
            pool_times_out(m, which)
    elif what == WORKER_TIMER:
        look_at(m, which)
    elif what == GIVES_UP:
        if m[which + WAIT_SERIAL] == number:
            gives_up(m, which)
    elif what == ANSWERED:
        travel_back(m, which)
    elif what == TRAVELLED:
        travelled(m, which)
    else:
        _happens_outside(m, what, which, number)


@kernel
def _happens_outside(m: Memory, what: int, which: int, number: int) -> None:
    if what == REFILL:
        refill(m, which)
    elif what == CLIENT_TIMER:
        if m[which + WAIT_SERIAL] == number:
            client_time_is_up(m, which)
    elif what == CALL_EXPIRES:
        if m[which + CALL_SERIAL] == number:
            call_expires(m, which)
    elif what == AT_SERVICE:
        at_service(m, which)
    elif what == SERVED:
        served(m, which)
    elif what == LOCK_SETTLED:
        go_on(m, lock_settled(m, which))
    elif what == LOOK_FOR_CYCLE:
        if m[which + WAITER_SERIAL] == number:
            look_for_cycle(m, which)
    elif what == WINDOW_ENDS:
        start_batches(m, which)
    elif what == BATCH_ENDS:
        batch_ends(m, which)
    elif what == STEP_ENDS:
        step_ends(m, which)
    elif what == ITEM_STARTED:
        item_started(m, which)
    elif what == ITEM_DONE:
        item_done(m, which)
    elif what == ITEM_TOKEN:
        item_token(m, which)


@kernel
def _job_ended(m: Memory, task: int) -> None:
    if m[task + JOB_MODE] == JOB_UNDER_GIL:
        if m[m[task + PROC] + COMPUTING] == task:
            stop_computing(m, m[task + PROC])
        return
    if m[task + JOB_MODE] != JOB_FREE:
        database_job_ended(m, task)
    go_on(m, task)


@kernel
def _starts(m: Memory) -> None:
    """What is done before the first event."""
    while m[KEPT_LEFT] > 0 and m[STATUS] == 0:
        open_kept(m)
    while m[USERS_N] > 0 and m[KEPT_LEFT] == 0:
        m[USERS_N] -= 1
        user = m[m[USERS] + m[USERS_N]]
        at(m, m[user + NS], arrival_key(m, m[user + REQUEST]), RESUME, user)


@kernel
def _settle(m: Memory) -> None:
    """All that this instant has caused, and what that causes."""
    while m[SOON_HEAD] != m[SOON_TAIL] and m[STATUS] == 0:
        e = m[SOON] + (m[SOON_HEAD] & m[SOON_MASK]) * 2
        m[SOON_HEAD] += 1
        happens(m, m[e], m[e + 1])


@kernel
def _is_at(m: Memory, time: int) -> bool:
    """Go to the instant of the next event, unless the run ends before."""
    if time > m[STOP]:
        m[STATUS] |= BEYOND
        return False
    if time == m[INSTANT]:
        m[INSTANT_N] += 1
        if m[INSTANT_N] > m[INSTANT_MAX]:
            give_up(m, LIVELOCK)
    else:
        m[INSTANT] = time
        m[INSTANT_N] = 0
    m[NOW] = time
    m[BUDGET] -= 1
    if m[BUDGET] <= 0:
        m[STATUS] |= PAUSE
    return True


@entry
def run(memory: Memory) -> int:
    """Go on with the run until it is over, or the host has something to do."""
    return _run(pointer(memory))


@kernel
def _run(m: Memory) -> int:
    _starts(m)
    if m[CURRENT] != 0 and m[STATUS] == 0:
        task = m[CURRENT]
        m[CURRENT] = 0
        go_on(m, task)
    while True:
        _settle(m)
        if m[STATUS] != 0:
            return m[STATUS]
        if m[ARRIVAL_AT] == m[ARRIVAL_N] and m[ARRIVAL_MORE] != 0:
            m[STATUS] |= MORE_ARRIVALS
            return m[STATUS]
        first = m[EVENTS]
        arrives = False
        if m[ARRIVAL_AT] < m[ARRIVAL_N]:
            arrival = m[ARRIVAL] + 2 * m[ARRIVAL_AT]
            request = m[ARRIVAL_INDEX] + m[ARRIVAL_AT]
            arrives = (
                m[EVENTS_N] == 0
                or m[arrival] < m[first]
                or (m[arrival] == m[first] and arrival_key(m, request) < m[first + 1])
            )
            if arrives and _is_at(m, m[arrival]):
                m[ARRIVAL_AT] += 1
                go_on(m, arrive(m, request, m[arrival + 1]))
        elif m[EVENTS_N] == 0:
            m[STATUS] |= FINISHED
        if not arrives and m[STATUS] == 0 and _is_at(m, m[first]):
            what, which = m[first + 2], m[first + 3]
            drop_first(m)
            happens(m, what, which)
