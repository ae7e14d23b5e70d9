"""An event loop: callbacks run one at a time, in turns (``models.event_loop``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    ADVANCE,
    LOOP_WAKES,
    PHASE_TIMER,
    RESUME,
    at,
    is_settled,
    soon,
)
from simulator.engines.compiled.draws import decide
from simulator.engines.compiled.gil import acquire_gil, release_gil
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NOW, SERVER, Memory
from simulator.engines.compiled.process import (
    COLD,
    DROP_ASKED,
    GIL_WAITED_FROM,
    GIL_WAITED_TO,
    HAS_GIL,
    IDLE_FROM,
    LOOP_BUSY,
    LOOP_TASK,
    LOOP_WAKE,
    LOST_PPM,
    POLLED_FIRST,
    POLLED_LAST,
    QUERY_WAKE,
    RELEASE_COLUMN,
    SOON_FIRST,
    SOON_LAST,
    THEN,
    TURN_BEGAN,
    TURN_FIRST,
    TURN_LAST,
    WAITERS_N,
    WAKE_COLUMN,
    WRITES_RELEASE,
)
from simulator.engines.compiled.task import READS, key
from simulator.engines.costs import COLD_AFTER_NS, COLD_LEAST, COLD_OPTIONS

TURN, READ, WRITE = range(3)
"""Where a loop with work to do lets go of the GIL for a moment."""


@kernel
def _append(m: Memory, first: int, last: int, task: int) -> None:
    m[task] = 0
    if m[first] == 0:
        m[first] = task
    else:
        m[m[last]] = task
    m[last] = task


@kernel
def enter_loop(m: Memory, process: int, task: int, soon_ready: bool, reads: bool) -> bool:
    """Whether it is the task's turn now; otherwise it goes on when it is.

    ``soon_ready``: made ready by a callback of this loop. ``reads``: it reads a request.
    """
    has_gil = m[process + HAS_GIL] != 0
    m[task + READS] = 1 if has_gil and reads else 0
    if m[process + LOOP_BUSY] == 0:
        m[process + LOOP_BUSY] = 1
        pause = min(m[NOW] - m[process + IDLE_FROM], COLD_AFTER_NS)
        wake = m[m[SERVER] + LOOP_WAKE] * pause // COLD_AFTER_NS
        driver = m[m[SERVER] + QUERY_WAKE] * pause // COLD_AFTER_NS
        if wake != 0 or driver != 0:
            drawn = decide(m, m[process + WAKE_COLUMN], COLD_OPTIONS)
            wake = wake * (COLD_LEAST + drawn) // 1000
            m[process + COLD] = max(m[process + COLD], driver * (COLD_LEAST + drawn) // 1000)
        if not has_gil and wake == 0:
            return True
        _append(m, process + TURN_FIRST, process + TURN_LAST, task)
        if wake != 0:
            order = key(m, m[process + LOOP_TASK], PHASE_TIMER)
            at(m, m[NOW] + wake, order, LOOP_WAKES, process)
        else:
            loop_wakes(m, process)
    elif soon_ready:
        _append(m, process + SOON_FIRST, process + SOON_LAST, task)
    else:
        _append(m, process + POLLED_FIRST, process + POLLED_LAST, task)
    return False


@kernel
def loop_wakes(m: Memory, process: int) -> None:
    """Run the first callback after a pause."""
    if m[process + HAS_GIL] != 0:
        _take_then_next(m, process)
    else:
        _next(m, process)


@kernel
def leave_loop(m: Memory, process: int) -> None:
    """End a callback; the next one comes after all that this one has caused."""
    if is_settled(m):
        advance(m, process)
    else:
        soon(m, ADVANCE, process)


@kernel
def advance(m: Memory, process: int) -> None:
    """Run the next callback of the turn, or begin the next turn."""
    if m[process + TURN_FIRST] != 0:
        _next(m, process)
        return
    if m[process + SOON_FIRST] == 0 and m[process + POLLED_FIRST] == 0:
        if m[process + HAS_GIL] != 0:
            release_gil(m, process)
        m[process + LOOP_BUSY] = 0
        m[process + IDLE_FROM] = m[NOW]
        return
    if m[process + SOON_FIRST] == 0:
        m[process + TURN_FIRST] = m[process + POLLED_FIRST]
        m[process + TURN_LAST] = m[process + POLLED_LAST]
    else:
        m[process + TURN_FIRST] = m[process + SOON_FIRST]
        m[process + TURN_LAST] = m[process + SOON_LAST]
        if m[process + POLLED_FIRST] != 0:
            m[m[process + TURN_LAST]] = m[process + POLLED_FIRST]
            m[process + TURN_LAST] = m[process + POLLED_LAST]
    m[process + SOON_FIRST] = 0
    m[process + POLLED_FIRST] = 0
    if loses(m, process, TURN):
        release_gil(m, process)
        _take_then_next(m, process)
    else:
        _next(m, process)


@kernel
def loses(m: Memory, process: int, release: int) -> bool:
    """Whether a waiter gets the GIL that the loop lets go of for a moment."""
    if m[process + HAS_GIL] == 0 or m[process + WAITERS_N] == 0:
        return False
    if m[process + DROP_ASKED] != 0:
        return True
    drawn = decide(m, m[process + RELEASE_COLUMN], 1_000_000)
    return drawn < m[m[SERVER] + LOST_PPM + release]


@kernel
def _next(m: Memory, process: int) -> None:
    task = m[process + TURN_FIRST]
    m[process + TURN_FIRST] = m[task]
    if m[task + READS] != 0:
        m[task + READS] = 0
        if loses(m, process, READ):
            retake_for(m, process, task)
            return
    soon(m, RESUME, task)


@kernel
def _take_then_next(m: Memory, process: int) -> None:
    m[process + TURN_BEGAN] = m[NOW]
    m[process + THEN] = 0
    if acquire_gil(m, process, m[process + LOOP_TASK]):
        _has_waited(m, process)
        _next(m, process)


@kernel
def retake_for(m: Memory, process: int, task: int) -> None:
    """Queue for the GIL again; then this task goes on."""
    release_gil(m, process)
    m[process + TURN_BEGAN] = m[NOW]
    m[process + THEN] = task
    if acquire_gil(m, process, m[process + LOOP_TASK]):
        _has_waited(m, process)
        soon(m, RESUME, task)


@kernel
def _has_waited(m: Memory, process: int) -> None:
    m[process + GIL_WAITED_FROM] = m[process + TURN_BEGAN]
    m[process + GIL_WAITED_TO] = m[NOW]


@kernel
def loop_has_gil(m: Memory, process: int) -> None:
    """The loop has waited for the GIL and has it."""
    _has_waited(m, process)
    if m[process + THEN] != 0:
        soon(m, RESUME, m[process + THEN])
    else:
        _next(m, process)


@kernel
def loses_as_it_writes(m: Memory, process: int) -> bool:
    """Whether writing an answer costs the loop the GIL."""
    return m[m[SERVER] + WRITES_RELEASE] != 0 and loses(m, process, WRITE)
