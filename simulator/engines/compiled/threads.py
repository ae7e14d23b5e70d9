"""Steps in threads of the limiter (``StepRunner.in_thread``, ``models.threads``)."""

from __future__ import annotations

from simulator.engines.compiled.code import FAILS, GO, WAITS
from simulator.engines.compiled.gil import release_gil
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import FRAME, Memory, free, new
from simulator.engines.compiled.process import (
    HAS_GIL,
    THREADS,
    THREADS_STARTED,
    THREADS_STATION,
)
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.slots import acquire_slot, release_slot
from simulator.engines.compiled.steps import (
    enter,
    has_gil,
    has_turn,
    leave,
    next_turn,
    take_gil,
)
from simulator.engines.compiled.task import (
    ERROR,
    NO_ERROR,
    NS,
    OPEN_FRAME,
    OPEN_VISIT,
    OUTCOME,
    PENDING,
    PHASE,
    PROC,
    VISIT_SLOT,
    queue,
)
from simulator.engines.contract import OK

# A frame: what a task has to undo when its steps end, be it in failure.
(
    _LINK,
    FRAME_HANDLER,  # where it goes on then
    FAILED,  # the outcome that it failed with, or OK
    FRAME_VISIT,
    FRAME_CONNECTION,
    FRAME_CLOSES,
    FRAME_DELAY,  # of the opening of its connection
    FRAME_RETRY,
    FRAME_REDONE,
    FRAME_SIZE,
) = range(10)


@kernel
def push_frame(m: Memory, task: int, handler: int, visit: int) -> int:
    """A frame on top of the others of a task."""
    frame = new(m, FRAME, FRAME_SIZE)
    m[frame] = m[task + OPEN_FRAME]
    m[frame + FRAME_HANDLER] = handler
    m[frame + FAILED] = OK
    m[frame + FRAME_VISIT] = visit
    m[frame + FRAME_CONNECTION] = 0
    m[frame + FRAME_CLOSES] = 0
    m[frame + FRAME_RETRY] = 0
    m[frame + FRAME_REDONE] = 0
    m[task + OPEN_FRAME] = frame
    return frame


@kernel
def pop_frame(m: Memory, task: int) -> int:
    """Take the top frame off; FAILS if it has failed."""
    frame = m[task + OPEN_FRAME]
    m[task + OPEN_FRAME] = m[frame]
    failed = m[frame + FAILED]
    free(m, FRAME, frame)
    if failed != OK:
        m[task + OUTCOME] = failed
        return FAILS
    return GO


@kernel
def checkpoint(m: Memory, task: int, unless_waited: int) -> int:
    """``CHECKPOINT``: to the back of the loop's ready queue, as AnyIO before and with a token."""
    if m[task + PHASE] == 0:
        if unless_waited != 0 and m[task + PENDING] != 0:
            return GO
        next_turn(m, task)
        m[task + PHASE] = 1
        return WAITS
    has_turn(m, task)
    return GO


@kernel
def thread(m: Memory, task: int, handler: int) -> int:
    """``THREAD``: queue for a token of the limiter; ``WAIT`` has to follow."""
    process = m[task + PROC]
    m[task + OPEN_VISIT] = queue(m, task, m[process + THREADS_STATION])
    m[task + ERROR] = NO_ERROR
    acquire_slot(m, m[process + THREADS], task)
    push_frame(m, task, handler, m[task + OPEN_VISIT])
    return GO


@kernel
def start_ns(m: Memory, task: int, ns: int, start: int) -> int:
    """``START_NS``: what the hop costs, and the start of a thread that was not there yet."""
    process = m[task + PROC]
    slot = m[m[m[task + OPEN_FRAME] + FRAME_VISIT] + VISIT_SLOT]
    if slot >= m[process + THREADS_STARTED]:
        m[process + THREADS_STARTED] = slot + 1
        ns += start
    m[task + NS] = ns
    return GO


@kernel
def thread_begins(m: Memory, task: int) -> int:
    """``THREAD_BEGINS``: from the loop to the thread."""
    if m[task + PHASE] == 0:
        leave(m, task)
        if m[m[task + PROC] + HAS_GIL] != 0 and not take_gil(m, task):
            m[task + PHASE] = 1
            return WAITS
        return GO
    has_gil(m, task)
    return GO


@kernel
def thread_ends(m: Memory, task: int) -> int:
    """``THREAD_ENDS``: back to the loop, where the token is given back."""
    process = m[task + PROC]
    if m[task + PHASE] == 0:
        if m[process + HAS_GIL] != 0:
            release_gil(m, process)
        if not enter(m, task, False, False):
            m[task + PHASE] = 1
            return WAITS
    else:
        has_turn(m, task)
    visit = m[m[task + OPEN_FRAME] + FRAME_VISIT]
    slot = m[visit + VISIT_SLOT]
    released(m, task, visit)
    release_slot(m, m[process + THREADS], slot)
    return pop_frame(m, task)
