"""The global interpreter lock of one process (``models.gil``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    GIL_END,
    GIL_INTERVAL,
    LOOP_HAS_GIL,
    PHASE_END,
    PHASE_TIMER,
    RESUME,
    WHAT_BITS,
    at,
    soon,
)
from simulator.engines.compiled.draws import decide
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NOW, SERVER, Memory, serial
from simulator.engines.compiled.process import (
    COMPUTING,
    COMPUTING_SERIAL,
    DROP_ASKED,
    GIL_COLUMN,
    GIL_FIFO,
    LOCKED,
    LOOP_TASK,
    SWITCH_INTERVAL,
    SWITCHES,
    WAITERS_FIRST,
    WAITERS_LAST,
    WAITERS_N,
)
from simulator.engines.compiled.task import GIL_SERIAL, GIL_SWITCHES, PROC, key


@kernel
def acquire_gil(m: Memory, process: int, task: int) -> bool:
    """Whether the task (or the loop's) holds the lock now; otherwise it waits."""
    if m[process + LOCKED] == 0:
        m[process + LOCKED] = 1
        return True
    m[task] = 0
    if m[process + WAITERS_FIRST] == 0:
        m[process + WAITERS_FIRST] = task
    else:
        m[m[process + WAITERS_LAST]] = task
    m[process + WAITERS_LAST] = task
    m[process + WAITERS_N] += 1
    m[task + GIL_SERIAL] = serial(m)
    wait_an_interval(m, process, task)
    return False


@kernel
def release_gil(m: Memory, process: int) -> None:
    """Let go; a waiter gets it."""
    m[process + DROP_ASKED] = 0
    m[process + SWITCHES] += 1
    waiting = m[process + WAITERS_N]
    if waiting == 0:
        m[process + LOCKED] = 0
        return
    chosen = 0
    if waiting > 1 and m[m[SERVER] + GIL_FIFO] == 0:
        chosen = decide(m, m[process + GIL_COLUMN], waiting)
    before, task = 0, m[process + WAITERS_FIRST]
    for _ in range(chosen):
        before, task = task, m[task]
    if before == 0:
        m[process + WAITERS_FIRST] = m[task]
    else:
        m[before] = m[task]
    if m[process + WAITERS_LAST] == task:
        m[process + WAITERS_LAST] = before
    m[process + WAITERS_N] -= 1
    m[task + GIL_SERIAL] = 0
    if task == m[process + LOOP_TASK]:
        soon(m, LOOP_HAS_GIL, process)
    else:
        soon(m, RESUME, task)


@kernel
def wait_an_interval(m: Memory, process: int, task: int) -> None:
    """A waiter asks for the lock after a switch interval without a switch."""
    m[task + GIL_SWITCHES] = m[process + SWITCHES]
    when = m[NOW] + m[m[SERVER] + SWITCH_INTERVAL]
    what = m[task + GIL_SERIAL] << WHAT_BITS | GIL_INTERVAL
    at(m, when, key(m, task, PHASE_TIMER), what, task)


@kernel
def interval_over(m: Memory, task: int) -> None:
    """The waiter still waits: does the holder have to let go?"""
    process = m[task + PROC]
    if m[task + GIL_SWITCHES] == m[process + SWITCHES]:
        m[process + DROP_ASKED] = 1
        stop_computing(m, process)
    wait_an_interval(m, process, task)


@kernel
def begin_computing(m: Memory, process: int, task: int) -> int:
    """A computation that a waiter can stop; the number that its end must bear."""
    m[process + COMPUTING] = task
    m[process + COMPUTING_SERIAL] = serial(m)
    return m[process + COMPUTING_SERIAL]


@kernel
def compute_under_gil(m: Memory, process: int, task: int, work: int) -> None:
    """Compute for so long, or until asked to drop."""
    order = key(m, task, PHASE_END)
    number = begin_computing(m, process, task)
    at(m, m[NOW] + work, order, number << WHAT_BITS | GIL_END, task)


@kernel
def stop_computing(m: Memory, process: int) -> None:
    """The computation is over, or made to stop: its task goes on."""
    if m[process + COMPUTING] != 0:
        soon(m, RESUME, m[process + COMPUTING])
        m[process + COMPUTING] = 0
        m[process + COMPUTING_SERIAL] = 0
