"""The memory of a run: one flat array of 64-bit integers, and where things are in it.

A record is addressed by the index of its first word; 0 is no record. Records are taken
from free lists, one for each kind, or from the top of the memory; their first word links
them in whatever list they are in. A kernel never grows its memory: where little is left it
sets a bit of ``STATUS`` and, at the next step of a task or event, returns to the host.
"""

from __future__ import annotations

from simulator.engines.compiled.jit import kernel

Memory = list[int]
"""An array of int64 where the kernels are compiled, a list of int where they are not."""

(
    NOTHING,
    NOW,
    STATUS,
    CURRENT,  # the task that was to go on when the kernel returned to its host
    NEXT,  # the task that goes on in place of the one that ran
    TOP,  # the first word never used
    TOP_SOFT,
    EVENTS,  # the heap of events: its address, how many, how many may be
    EVENTS_N,
    EVENTS_SOFT,
    SOON,  # the ring of what this instant has caused
    SOON_MASK,
    SOON_HEAD,
    SOON_TAIL,
    ROWS,  # finished requests: address, how many, how many before the host takes them
    ROWS_N,
    ROWS_SOFT,
    VISITS,
    VISITS_N,
    VISITS_SOFT,
    ATTEMPTS,
    ATTEMPTS_N,
    ATTEMPTS_SOFT,
    LAST,  # the end of the last task so far
    RELEASED,  # the end of the last visit so far
    LIVE_N,
    ARRIVED,
    SERIAL,  # the last number given to something that a timer may outlive
    CAUSES,
    IS_WAIT,  # address: whether a cause is a wait
    TASK_SIZE,
    TASKS_FIRST,  # all task records in use
    ARRIVAL,  # instants and routes of the next arrivals: address, place, how many
    ARRIVAL_AT,
    ARRIVAL_N,
    ARRIVAL_INDEX,  # the index of the first of them
    ARRIVAL_MORE,
    STOP,
    INSTANT,
    INSTANT_N,
    INSTANT_MAX,
    BUDGET,  # events until the host wants to hear
    OWNER_SHIFT,
    BRANCH_SHIFT,
    ATTEMPT_SHIFT,
    OWNERS_MAX,
    FIRST_REQUEST,
    STREAMS,  # address of the streams' records
    HASH,  # the table of drawn blocks: address, mask
    HASH_MASK,
    MISS_STREAM,  # which draw is missing
    MISS_ATTEMPT,
    MISS_SUB,
    MISS_BLOCK,
    SERVER,
    PROCESSES,
    INSTANCES,
    POOLS,
    DATABASES,
    LOCKS,
    SERVICES,
    ACCELERATORS,
    ROUTES,
    COMMITS,
    SEARCHES,
    REASON,  # why the kernel gave up
    SCRATCH,  # a ledger that is added up
    BACKGROUND,  # the branch number of work after the answer
    USERS,  # their records, those that have not begun yet
    USERS_N,
    KEPT_LEFT,  # kept connections that are still to be opened
    FREE,  # the first of the free lists
) = range(72)

(
    TASK,
    VISIT,
    NODE,
    FRAME,
    JOIN,
    TRANSACTION,
    LOCK_WAITER,
    HOLDING,
    CALL,
    ITEM,
    BATCH,
    CONNECTION,
    KEPT_CONNECTION,
    FREE_LISTS,
) = range(14)
HEADER = FREE + FREE_LISTS

LINK = 0
"""The first word of every record: the next of its list."""

# Bits of STATUS.
GROW, FLUSH, COLUMNS, DRAW, MORE_ARRIVALS, PAUSE, GIVE_UP, FINISHED, BEYOND = (
    1, 2, 4, 8, 16, 32, 64, 128, 256,
)  # fmt: skip

# Reasons to give up.
(NO_REASON, LIVELOCK, TOO_LARGE, NO_DECISION, TOO_MANY_REQUESTS, ASKS_FOREVER) = range(6)

NEVER = 2**62
NONE = -1
"""No instant, no slot, no index."""
MISSING = -(2**63)
"""What a draw gives that the host has yet to make."""
BLOCK = 4096
BLOCK_BITS = 12
LARGEST = 2**62
"""No product may be larger."""


@kernel
def new(m: Memory, kind: int, size: int) -> int:
    """A record of this kind; its words hold whatever they held."""
    record = m[FREE + kind]
    if record != 0:
        m[FREE + kind] = m[record]
        return record
    record = m[TOP]
    m[TOP] = record + size
    if m[TOP] > m[TOP_SOFT]:
        m[STATUS] |= GROW
    return record


@kernel
def free(m: Memory, kind: int, record: int) -> None:
    """Give a record back."""
    m[record] = m[FREE + kind]
    m[FREE + kind] = record


@kernel
def give_up(m: Memory, reason: int) -> None:
    """Leave this run to the other engine, or to an error."""
    m[STATUS] |= GIVE_UP
    m[REASON] = reason


@kernel
def serial(m: Memory) -> int:
    """A number that no other thing of this run has."""
    m[SERIAL] += 1
    return m[SERIAL]
