"""Cores that runnable threads share equally (``models.cores``): exact in integers."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    CORES_NEXT,
    JOB_ENDED,
    PHASE_END,
    WHAT_BITS,
    at,
    soon,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    LARGEST,
    NOW,
    TOO_LARGE,
    Memory,
    give_up,
    serial,
)
from simulator.engines.compiled.task import (
    JOB_AT,
    JOB_ENTRY,
    JOB_LEFT,
    JOB_NEXT,
    JOB_ON,
    JOB_ORDER,
    JOB_PREVIOUS,
    key,
)

SHARE = 1024
"""Units of attained service in one ns."""
WORK_MAX = LARGEST // SHARE

(CORES_N, ATTAINED, SINCE, JOBS_FIRST, ENTRIES, RUNNING, NEXT_SERIAL, NEXT_JOB, CORES_SIZE) = range(
    9
)


@kernel
def set_job(m: Memory, task: int, work: int) -> None:
    """Give a task work to do."""
    if work > WORK_MAX:
        give_up(m, TOO_LARGE)
    m[task + JOB_LEFT] = work * SHARE
    m[task + JOB_ON] = 0


@kernel
def left_ns(m: Memory, task: int) -> int:
    """What is left of a task's work, in ns, rounded up."""
    return -(-m[task + JOB_LEFT] // SHARE)


@kernel
def begin_job(m: Memory, cores: int, task: int) -> None:
    """Put a task's work on the cores, for what is left of it, which is more than nothing."""
    _bring_up_to_date(m, cores)
    m[task + JOB_ON] = cores
    m[task + JOB_AT] = m[cores + ATTAINED] + m[task + JOB_LEFT]
    m[cores + ENTRIES] += 1
    m[task + JOB_ENTRY] = m[cores + ENTRIES]
    m[task + JOB_ORDER] = key(m, task, PHASE_END)
    first = m[cores + JOBS_FIRST]
    m[task + JOB_NEXT] = first
    m[task + JOB_PREVIOUS] = 0
    if first != 0:
        m[first + JOB_PREVIOUS] = task
    m[cores + JOBS_FIRST] = task
    m[cores + RUNNING] += 1
    _plan_next(m, cores)


@kernel
def take_off(m: Memory, task: int) -> None:
    """Take a task's work off before its end, if it is on."""
    cores = m[task + JOB_ON]
    if cores == 0:
        return
    _bring_up_to_date(m, cores)
    m[task + JOB_LEFT] = max(0, m[task + JOB_AT] - m[cores + ATTAINED])
    _remove(m, cores, task)


@kernel
def job_ends(m: Memory, cores: int) -> None:
    """The work that was to end next has ended."""
    task = m[cores + NEXT_JOB]
    _bring_up_to_date(m, cores)
    m[task + JOB_LEFT] = 0
    _remove(m, cores, task)
    soon(m, JOB_ENDED, task)


@kernel
def _bring_up_to_date(m: Memory, cores: int) -> None:
    if m[cores + RUNNING] > 0:
        m[cores + ATTAINED] += _gain(m, cores, m[NOW] - m[cores + SINCE])
    m[cores + SINCE] = m[NOW]


@kernel
def _gain(m: Memory, cores: int, time: int) -> int:
    if m[cores + RUNNING] <= m[cores + CORES_N]:
        return time * SHARE
    if time > LARGEST // (SHARE * m[cores + CORES_N]):
        give_up(m, TOO_LARGE)
    return time * SHARE * m[cores + CORES_N] // m[cores + RUNNING]


@kernel
def _remove(m: Memory, cores: int, task: int) -> None:
    after, before = m[task + JOB_NEXT], m[task + JOB_PREVIOUS]
    if after != 0:
        m[after + JOB_PREVIOUS] = before
    if before != 0:
        m[before + JOB_NEXT] = after
    else:
        m[cores + JOBS_FIRST] = after
    m[task + JOB_ON] = 0
    m[cores + RUNNING] -= 1
    _plan_next(m, cores)


@kernel
def _plan_next(m: Memory, cores: int) -> None:
    m[cores + NEXT_SERIAL] = 0
    first = m[cores + JOBS_FIRST]
    if first == 0:
        m[cores + ATTAINED] = 0
        return
    soonest = m[first + JOB_AT]
    job = m[first + JOB_NEXT]
    while job != 0:
        soonest = min(soonest, m[job + JOB_AT])
        job = m[job + JOB_NEXT]
    missing = max(0, soonest - m[cores + ATTAINED])
    shares, jobs = SHARE, 1
    if m[cores + RUNNING] > m[cores + CORES_N]:
        shares, jobs = SHARE * m[cores + CORES_N], m[cores + RUNNING]
        if missing > LARGEST // jobs:
            give_up(m, TOO_LARGE)
    delay = -(-missing * jobs // shares)
    task = _first_of(m, cores, m[cores + ATTAINED] + _gain(m, cores, delay))
    m[cores + NEXT_JOB] = task
    m[cores + NEXT_SERIAL] = serial(m)
    what = m[cores + NEXT_SERIAL] << WHAT_BITS | CORES_NEXT
    at(m, m[NOW] + delay, key(m, task, PHASE_END), what, cores)


@kernel
def _first_of(m: Memory, cores: int, attained: int) -> int:
    """Of those that have ended when V is this much, the one with the lowest owner."""
    best = 0
    job = m[cores + JOBS_FIRST]
    while job != 0:
        if m[job + JOB_AT] <= attained and (
            best == 0
            or m[job + JOB_ORDER] < m[best + JOB_ORDER]
            or (
                m[job + JOB_ORDER] == m[best + JOB_ORDER]
                and m[job + JOB_ENTRY] < m[best + JOB_ENTRY]
            )
        ):
            best = job
        job = m[job + JOB_NEXT]
    return best
