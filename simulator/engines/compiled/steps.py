"""What the steps of a handler do, on a loop and in a thread: wait, hold, compute.

The rules are those of ``simulator.engines.steps`` and ``processor``. Each function is an
instruction: it is called with the phase that its task is in, and says how it ended.
"""

from __future__ import annotations

from simulator.engines.compiled.clock import PHASE_END, resume_at
from simulator.engines.compiled.code import GO, STARVES, WAITS
from simulator.engines.compiled.cores import (
    SHARE,
    begin_job,
    left_ns,
    set_job,
    take_off,
)
from simulator.engines.compiled.draws import draw
from simulator.engines.compiled.event_loop import (
    enter_loop,
    leave_loop,
    loses_as_it_writes,
    retake_for,
)
from simulator.engines.compiled.gil import (
    acquire_gil,
    begin_computing,
    compute_under_gil,
    release_gil,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import MISSING, NONE, NOW, Memory
from simulator.engines.compiled.process import (
    CORES,
    CORES_STATION,
    DROP_ASKED,
    GIL_STATION,
    GIL_WAITED_FROM,
    GIL_WAITED_TO,
    HAS_GIL,
    HAS_SERVED,
    LOOP_STATION,
)
from simulator.engines.compiled.recorder import released, visited
from simulator.engines.compiled.task import (
    BEFORE,
    BEGAN,
    CHUNK,
    DOING,
    ERROR,
    JOB_LEFT,
    JOB_MODE,
    LOOP_GRANTED,
    LOOP_QUEUED,
    LOOP_WAITED,
    MARK,
    NO_ERROR,
    NS,
    ON_STAY,
    OPEN_VISIT,
    PENDING,
    PHASE,
    PROC,
    VALUE,
    WAIT_CAUSE,
    WAITED,
    book,
    book_until,
    granted,
    key,
)
from simulator.engines.contract import CORE, EVENT_LOOP, GIL

JOB_FREE, JOB_UNDER_GIL, JOB_OF_DATABASE = range(3)

# Being on the loop, having the GIL.


@kernel
def enter(m: Memory, task: int, soon: bool, reads: bool) -> bool:
    """Whether the task is on its loop; otherwise ``has_turn`` has to follow."""
    now_on = enter_loop(m, m[task + PROC], task, soon, reads)
    begin_turn(m, task)
    if now_on:
        has_turn(m, task)
    return now_on


@kernel
def begin_turn(m: Memory, task: int) -> None:
    """The wait for the loop begins."""
    m[task + LOOP_QUEUED] = m[NOW]
    m[task + DOING] = EVENT_LOOP


@kernel
def has_turn(m: Memory, task: int) -> None:
    """The wait for the loop is over."""
    now = m[NOW]
    if now > m[task + MARK]:
        process = m[task + PROC]
        began, ended = m[process + GIL_WAITED_FROM], m[process + GIL_WAITED_TO]
        if ended == now and now > began:
            book_until(m, task, max(began, m[task + MARK]), EVENT_LOOP)
            book(m, task, GIL)
        else:
            book(m, task, EVENT_LOOP)
    m[task + LOOP_GRANTED] = now
    m[task + LOOP_WAITED] = m[task + WAITED]


@kernel
def leaves(m: Memory, task: int) -> None:
    """Note the turn that ends."""
    now = m[NOW]
    if now > m[task + LOOP_QUEUED]:
        granted = m[task + LOOP_GRANTED]
        work = now - granted - (m[task + WAITED] - m[task + LOOP_WAITED])
        station = m[m[task + PROC] + LOOP_STATION]
        visited(m, station, task, 0, m[task + LOOP_QUEUED], granted, now, work)
    m[task + LOOP_QUEUED] = NONE
    m[task + LOOP_GRANTED] = NONE


@kernel
def leave(m: Memory, task: int) -> None:
    """Let the loop go on with others."""
    leaves(m, task)
    leave_loop(m, m[task + PROC])


@kernel
def next_turn(m: Memory, task: int) -> None:
    """Go to the back of the loop's ready queue; ``has_turn`` has to follow."""
    leaves(m, task)
    process = m[task + PROC]
    enter_loop(m, process, task, True, False)
    leave_loop(m, process)
    begin_turn(m, task)


@kernel
def take_gil(m: Memory, task: int) -> bool:
    """Whether the task has the GIL; otherwise ``has_gil`` has to follow."""
    m[task + DOING] = GIL
    m[task + BEFORE] = m[NOW]
    return acquire_gil(m, m[task + PROC], task)


@kernel
def has_gil(m: Memory, task: int) -> None:
    """The wait for the GIL is over."""
    now, queued = m[NOW], m[task + BEFORE]
    if now > queued:
        book(m, task, GIL)
        visited(m, m[m[task + PROC] + GIL_STATION], task, 0, queued, now, now, 0)


@kernel
def write(m: Memory, task: int) -> int:
    """``WRITE_ANSWER``: write an answer from the loop, which may cost it the GIL."""
    process = m[task + PROC]
    if m[task + PHASE] == 0:
        m[task + DOING] = GIL
        if not loses_as_it_writes(m, process):
            return GO
        m[task + BEFORE] = m[NOW]
        m[task + PHASE] = 1
        retake_for(m, process, task)
        return WAITS
    if m[NOW] > m[task + BEFORE]:
        book(m, task, GIL)
    return GO


# Waiting.


@kernel
def wait_for(m: Memory, task: int, cause: int, frees: int, soon: int, visits: int) -> int:
    """Wait, if PENDING, without what running code holds: the loop's turn, the GIL.

    ``visits``: whether what is waited for is a slot, in VALUE.
    """
    phase = m[task + PHASE]
    process = m[task + PROC]
    if phase == 0:
        m[task + DOING] = cause
        if m[task + PENDING] == 0:
            _has_waited(m, task, visits)
            return GO
        if frees != 0:
            leave(m, task)
        elif m[process + HAS_GIL] != 0:
            release_gil(m, process)
        m[task + PHASE] = 1
        return WAITS
    if phase == 1:
        book(m, task, cause)
        _has_waited(m, task, visits)
        if frees != 0:
            if not enter(m, task, soon != 0, False):
                m[task + PHASE] = 2
                return WAITS
        elif m[process + HAS_GIL] != 0 and not take_gil(m, task):
            m[task + PHASE] = 3
            return WAITS
        return GO
    if phase == 2:
        has_turn(m, task)
    else:
        has_gil(m, task)
    return GO


@kernel
def _has_waited(m: Memory, task: int, visits: int) -> None:
    if visits == 0:
        return
    visit = m[task + OPEN_VISIT]
    if m[task + ERROR] != NO_ERROR:
        released(m, task, visit)
    else:
        granted(m, task, visit, m[task + VALUE])


@kernel
def first_ns(m: Memory, task: int, ns: int, more: int) -> int:
    """``FIRST_NS``: what a request costs, the first of a process more."""
    process = m[task + PROC]
    m[task + NS] = ns if m[process + HAS_SERVED] != 0 else ns + more
    m[process + HAS_SERVED] = 1
    return GO


@kernel
def wait(m: Memory, task: int, cause: int, frees: int, soon: int, visits: int) -> int:
    """``WAIT``: for what the instruction before has asked for."""
    if cause < 0:
        cause = m[task + WAIT_CAUSE]
    return wait_for(m, task, cause, frees, soon, visits)


@kernel
def hold(m: Memory, task: int, cause: int, frees: int) -> int:
    """``HOLD``: let NS pass."""
    if m[task + PHASE] == 0:
        if m[task + NS] == 0:
            return GO
        resume_at(m, m[task + NS], key(m, task, PHASE_END), task)
        m[task + PENDING] = 1
    return wait_for(m, task, cause, frees, 0, 0)


@kernel
def sleep(m: Memory, task: int, cause: int, frees: int) -> int:
    """``SLEEP``: ``await asyncio.sleep``; of 0 it goes to the back of the loop's queue."""
    if m[task + NS] != 0:
        return hold(m, task, cause, frees)
    if m[task + PHASE] == 0:
        next_turn(m, task)
        m[task + PHASE] = 1
        return WAITS
    has_turn(m, task)
    return GO


@kernel
def draw_ns(m: Memory, task: int, stream: int, sub: int, overshoot: int) -> int:
    """``DRAW_NS``: the time of a stream, of the chunk under way if it is one's."""
    ns = draw(m, task, stream, m[task + CHUNK] if sub != 0 else 0)
    if ns == MISSING:
        return STARVES
    m[task + NS] = ns + overshoot
    return GO


# Computing.

(_BEGINS, _FREELY, _ON_CORES, _UNDER_GIL, _UNDER_GIL_ON_CORES, _TAKES_GIL, _TAKES_BACK) = range(7)


@kernel
def compute(m: Memory, task: int, cause: int, releases: int) -> int:
    """``COMPUTE`` for NS: under the GIL unless released, on the cores if they are limited."""
    process = m[task + PROC]
    phase = m[task + PHASE]
    if phase == _BEGINS:
        if m[process + HAS_GIL] != 0 and releases == 0:
            set_job(m, task, m[task + NS])
            return _go_on(m, process, task, cause)
        if m[task + NS] == 0:
            return GO
        if m[process + HAS_GIL] != 0:
            release_gil(m, process)
        return _compute_freely(m, process, task, cause)
    if _FREELY <= phase <= _ON_CORES:
        work = m[task + NS]
        if phase == _ON_CORES:
            m[task + ON_STAY] = 0
            take_off(m, task)
            work -= left_ns(m, task)
        _book(m, process, task, m[task + BEGAN], work, cause)
        if m[process + HAS_GIL] != 0 and not take_gil(m, task):
            m[task + PHASE] = _TAKES_BACK
            return WAITS
        return GO
    if phase == _TAKES_BACK:
        has_gil(m, task)
        return GO
    if phase == _TAKES_GIL:
        has_gil(m, task)
        return _go_on(m, process, task, cause)
    _has_computed(m, process, task, cause)
    if m[task + JOB_LEFT] > 0:
        release_gil(m, process)
        if not take_gil(m, task):
            m[task + PHASE] = _TAKES_GIL
            return WAITS
        has_gil(m, task)
    return _go_on(m, process, task, cause)


@kernel
def _compute_freely(m: Memory, process: int, task: int, cause: int) -> int:
    m[task + BEGAN] = m[NOW]
    m[task + DOING] = cause
    if m[process + CORES] == 0:
        resume_at(m, m[task + NS], key(m, task, PHASE_END), task)
        m[task + PHASE] = _FREELY
    else:
        set_job(m, task, m[task + NS])
        begin_job(m, m[process + CORES], task)
        m[task + JOB_MODE] = JOB_FREE
        m[task + ON_STAY] = 1
        m[task + PHASE] = _ON_CORES
    return WAITS


@kernel
def _go_on(m: Memory, process: int, task: int, cause: int) -> int:
    """Compute what is left, as long as nobody asks for the GIL."""
    while m[task + JOB_LEFT] > 0:
        if m[process + DROP_ASKED] == 0:
            m[task + BEGAN] = m[NOW]
            m[task + NS] = left_ns(m, task)
            m[task + DOING] = cause
            if m[process + CORES] == 0:
                compute_under_gil(m, process, task, m[task + NS])
                m[task + PHASE] = _UNDER_GIL
            else:
                begin_job(m, m[process + CORES], task)
                begin_computing(m, process, task)
                m[task + JOB_MODE] = JOB_UNDER_GIL
                m[task + ON_STAY] = 1
                m[task + PHASE] = _UNDER_GIL_ON_CORES
            return WAITS
        release_gil(m, process)
        if not take_gil(m, task):
            m[task + PHASE] = _TAKES_GIL
            return WAITS
        has_gil(m, task)
    return GO


@kernel
def _has_computed(m: Memory, process: int, task: int, cause: int) -> None:
    now, began = m[NOW], m[task + BEGAN]
    if m[task + PHASE] == _UNDER_GIL:
        m[task + JOB_LEFT] -= (now - began) * SHARE
    else:
        m[task + ON_STAY] = 0
        take_off(m, task)
    held = m[task + NS] - left_ns(m, task)
    _book(m, process, task, began, held, cause)
    visited(m, m[process + GIL_STATION], task, 0, began, began, now, held)


@kernel
def _book(m: Memory, process: int, task: int, began: int, held: int, cause: int) -> None:
    now = m[NOW]
    if m[process + CORES] != 0 and now > began:
        # Which moments of the stay were the wait can't be told: book them first.
        book_until(m, task, now - held, CORE)
        visited(m, m[process + CORES_STATION], task, NONE, began, began, now, held)
    book(m, task, cause)
