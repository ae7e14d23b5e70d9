"""An event loop: callbacks run one at a time, in turns (``models.event_loop``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import ADVANCE, RESUME, is_settled, soon
from simulator.engines.compiled.gil import acquire_gil, release_gil
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NOW, SERVER, Memory
from simulator.engines.compiled.process import (
    GIL_TAKES,
    GIL_WAITED_FROM,
    GIL_WAITED_TO,
    HAS_GIL,
    LOOP_BUSY,
    LOOP_TASK,
    POLLED_FIRST,
    POLLED_LAST,
    SOON_FIRST,
    SOON_LAST,
    TAKES,
    TAKES_LEFT,
    TURN_BEGAN,
    TURN_FIRST,
    TURN_LAST,
)


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

    ``soon_ready``: made ready by a callback of this loop. ``reads``: a callback of the poll.
    """
    if not soon_ready:
        takes = m[m[SERVER] + GIL_TAKES] - (1 if reads else 0)
        m[process + TAKES] = max(m[process + TAKES], takes)
    if m[process + LOOP_BUSY] == 0:
        m[process + LOOP_BUSY] = 1
        if m[process + HAS_GIL] == 0:
            return True
        _append(m, process + TURN_FIRST, process + TURN_LAST, task)
        _begin_turn(m, process)
        return False
    if soon_ready:
        _append(m, process + SOON_FIRST, process + SOON_LAST, task)
    else:
        _append(m, process + POLLED_FIRST, process + POLLED_LAST, task)
    return False


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
        _grant_first(m, process)
        return
    if m[process + HAS_GIL] != 0:
        release_gil(m, process)
    if m[process + SOON_FIRST] == 0 and m[process + POLLED_FIRST] == 0:
        m[process + LOOP_BUSY] = 0
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
    _begin_turn(m, process)


@kernel
def _grant_first(m: Memory, process: int) -> None:
    task = m[process + TURN_FIRST]
    m[process + TURN_FIRST] = m[task]
    soon(m, RESUME, task)


@kernel
def _begin_turn(m: Memory, process: int) -> None:
    if m[process + HAS_GIL] == 0:
        _grant_first(m, process)
        return
    m[process + TURN_BEGAN] = m[NOW]
    m[process + TAKES_LEFT] = m[process + TAKES] - 1
    m[process + TAKES] = 1
    if acquire_gil(m, process, m[process + LOOP_TASK]):
        loop_has_gil(m, process)


@kernel
def loop_has_gil(m: Memory, process: int) -> None:
    """The turn has taken the GIL, be it for the last time or not."""
    while m[process + TAKES_LEFT] > 0:
        m[process + TAKES_LEFT] -= 1
        release_gil(m, process)
        if not acquire_gil(m, process, m[process + LOOP_TASK]):
            return
    m[process + GIL_WAITED_FROM] = m[process + TURN_BEGAN]
    m[process + GIL_WAITED_TO] = m[NOW]
    _grant_first(m, process)
