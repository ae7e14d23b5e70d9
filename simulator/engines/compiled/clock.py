"""Events in the order of (time, phase, owner, part), and what an instant causes.

The rule is that of ``models.clock``: everything that an event causes at once happens
before the next event, in the order in which it was caused.
"""

from __future__ import annotations

from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    EVENTS,
    EVENTS_N,
    EVENTS_SOFT,
    GROW,
    NOW,
    SOON,
    SOON_HEAD,
    SOON_MASK,
    SOON_TAIL,
    STATUS,
    TOO_LARGE,
    Memory,
    give_up,
)

PHASE_END, PHASE_TIMER, PHASE_ARRIVAL = range(3)
PHASE_SHIFT = 60
PHASE_STEP = 1 << PHASE_SHIFT

# What happens: the low bits of an event's third word; above them a serial number.
(
    RESUME,
    ADVANCE,
    LOOP_HAS_GIL,
    GIL_INTERVAL,
    GIL_END,
    JOB_ENDED,
    CORES_NEXT,
    POOL_TIMEOUT,
    WORKER_TIMER,
    GIVES_UP,
    ANSWERED,
    TRAVELLED,
    REFILL,
    CLIENT_TIMER,
    CALL_EXPIRES,
    AT_SERVICE,
    SERVED,
    LOCK_SETTLED,
    LOOK_FOR_CYCLE,
    WINDOW_ENDS,
    BATCH_ENDS,
    STEP_ENDS,
    ITEM_STARTED,
    ITEM_DONE,
    ITEM_TOKEN,
    LOOP_WAKES,
) = range(26)
WHAT_BITS = 5
WHAT_MASK = 31

EVENT = 4  # words of an event: time, key, what, which


@kernel
def at(m: Memory, time: int, key: int, what: int, which: int) -> None:
    """Let something happen at an instant, in the place that its key gives."""
    base = m[EVENTS]
    place = m[EVENTS_N]
    m[EVENTS_N] = place + 1
    if place >= m[EVENTS_SOFT]:
        m[STATUS] |= GROW
    while place > 0:
        parent = (place - 1) >> 2
        p = base + parent * EVENT
        if m[p] < time or (m[p] == time and m[p + 1] < key):
            break
        e = base + place * EVENT
        m[e] = m[p]
        m[e + 1] = m[p + 1]
        m[e + 2] = m[p + 2]
        m[e + 3] = m[p + 3]
        place = parent
    e = base + place * EVENT
    m[e] = time
    m[e + 1] = key
    m[e + 2] = what
    m[e + 3] = which


@kernel
def drop_first(m: Memory) -> None:
    """Take the first event off the heap."""
    base = m[EVENTS]
    count = m[EVENTS_N] - 1
    m[EVENTS_N] = count
    if count == 0:
        return
    last = base + count * EVENT
    time, key, what, which = m[last], m[last + 1], m[last + 2], m[last + 3]
    place = 0
    while True:
        child = place * 4 + 1
        if child >= count:
            break
        best = base + child * EVENT
        best_time, best_key, best_place = m[best], m[best + 1], child
        end = min(child + 4, count)
        for other in range(child + 1, end):
            o = base + other * EVENT
            if m[o] < best_time or (m[o] == best_time and m[o + 1] < best_key):
                best_time, best_key, best_place = m[o], m[o + 1], other
        if time < best_time or (time == best_time and key < best_key):
            break
        best = base + best_place * EVENT
        e = base + place * EVENT
        m[e] = best_time
        m[e + 1] = best_key
        m[e + 2] = m[best + 2]
        m[e + 3] = m[best + 3]
        place = best_place
    e = base + place * EVENT
    m[e] = time
    m[e + 1] = key
    m[e + 2] = what
    m[e + 3] = which


@kernel
def soon(m: Memory, what: int, which: int) -> None:
    """Let something happen at this instant, after what runs and what was caused before."""
    tail = m[SOON_TAIL]
    e = m[SOON] + (tail & m[SOON_MASK]) * 2
    m[e] = what
    m[e + 1] = which
    m[SOON_TAIL] = tail + 1
    if tail - m[SOON_HEAD] >= m[SOON_MASK]:
        give_up(m, TOO_LARGE)


@kernel
def is_settled(m: Memory) -> bool:
    """Whether nothing that this instant caused is left."""
    return m[SOON_HEAD] == m[SOON_TAIL]


@kernel
def resume_at(m: Memory, delay: int, key: int, task: int) -> None:
    """Let a task go on after a time."""
    at(m, m[NOW] + delay, key, RESUME, task)
