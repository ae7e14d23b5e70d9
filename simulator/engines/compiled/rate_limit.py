"""Rate limits: who is let through when, in order of arrival (``models.rate_limit``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import AT_SERVICE, PHASE_TIMER, REFILL, at, soon
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import LARGEST, NOW, TOO_LARGE, Memory, give_up
from simulator.engines.compiled.task import key

(
    LIMIT_KIND,
    LIMIT_WAITS,
    LIMIT_OWNER,  # the task that owns the refills
    REFILL_PENDING,
    LINE_FIRST,
    LINE_LAST,
    SCALE,
    PERIOD,
    AHEAD,
    FULL,
    LIMIT,
    WINDOW_NS,
    WINDOW,
    USED,
    PASSED,  # address of the ring of admissions
    PASSED_N,
    LIMIT_SIZE,
) = range(17)

BUCKET, FIXED_WINDOW, SLIDING_WINDOW = range(3)

# Of a call's record, as ``service`` numbers it.
CALL_BACK = 1
CALL_ARRIVED = 2


@kernel
def acquire_limit(m: Memory, limit: int, call: int) -> int:
    """1 if the call is let through now, 0 if it waits, -1 if it is rejected."""
    now = m[NOW]
    if m[limit + LINE_FIRST] == 0 and _free_at(m, limit, now) <= now:
        _admit(m, limit, now)
        return 1
    if m[limit + LIMIT_WAITS] == 0:
        return -1
    last = m[limit + LINE_LAST]
    m[call] = 0
    m[call + CALL_BACK] = last
    m[call + CALL_ARRIVED] = now
    if last != 0:
        m[last] = call
    else:
        m[limit + LINE_FIRST] = call
    m[limit + LINE_LAST] = call
    _await_refill(m, limit)
    return 0


@kernel
def leave_limit(m: Memory, limit: int, call: int) -> None:
    """A waiter gives up; its admission goes to the next."""
    after, before = m[call], m[call + CALL_BACK]
    if after != 0:
        m[after + CALL_BACK] = before
    else:
        m[limit + LINE_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[limit + LINE_FIRST] = after


@kernel
def _await_refill(m: Memory, limit: int) -> None:
    if m[limit + REFILL_PENDING] == 0:
        m[limit + REFILL_PENDING] = 1
        order = key(m, m[limit + LIMIT_OWNER], PHASE_TIMER)
        at(m, _free_at(m, limit, m[NOW]), order, REFILL, limit)


@kernel
def refill(m: Memory, limit: int) -> None:
    """Let through who may be."""
    m[limit + REFILL_PENDING] = 0
    now = m[NOW]
    while m[limit + LINE_FIRST] != 0 and _free_at(m, limit, now) <= now:
        call = m[limit + LINE_FIRST]
        _admit(m, limit, m[call + CALL_ARRIVED])
        leave_limit(m, limit, call)
        soon(m, AT_SERVICE, call)
    if m[limit + LINE_FIRST] != 0:
        _await_refill(m, limit)


@kernel
def _free_at(m: Memory, limit: int, now: int) -> int:
    """The first instant from now on at which one may be let through."""
    if m[limit + LIMIT_KIND] == BUCKET:
        return max(now, -(-(m[limit + FULL] - m[limit + AHEAD]) // m[limit + SCALE]))
    if m[limit + LIMIT_KIND] == FIXED_WINDOW:
        window = now // m[limit + WINDOW_NS]
        used = m[limit + USED] if window == m[limit + WINDOW] else 0
        return now if used < m[limit + LIMIT] else (window + 1) * m[limit + WINDOW_NS]
    if m[limit + PASSED_N] < m[limit + LIMIT]:
        return now
    oldest = m[limit + PASSED] + m[limit + PASSED_N] % m[limit + LIMIT]
    return max(now, m[oldest] + m[limit + WINDOW_NS])


@kernel
def _admit(m: Memory, limit: int, arrived: int) -> None:
    """Let one through now that arrived then."""
    if m[limit + LIMIT_KIND] == BUCKET:
        if arrived > LARGEST // m[limit + SCALE]:
            give_up(m, TOO_LARGE)
        taken = max(arrived * m[limit + SCALE], m[limit + FULL] - m[limit + AHEAD])
        m[limit + FULL] = max(m[limit + FULL], taken) + m[limit + PERIOD]
    elif m[limit + LIMIT_KIND] == FIXED_WINDOW:
        window = m[NOW] // m[limit + WINDOW_NS]
        if window != m[limit + WINDOW]:
            m[limit + WINDOW] = window
            m[limit + USED] = 0
        m[limit + USED] += 1
    else:
        m[m[limit + PASSED] + m[limit + PASSED_N] % m[limit + LIMIT]] = m[NOW]
        m[limit + PASSED_N] += 1
