"""Something called over the network: its slots and their queue, and the caller's connections.

The rules are those of ``models.service``. A service's queue holds the records of calls, the
queue of a client's connections holds tasks.
"""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    AT_SERVICE,
    CLIENT_TIMER,
    PHASE_TIMER,
    RESUME,
    WHAT_BITS,
    at,
    soon,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NEVER, NONE, NOW, Memory, serial
from simulator.engines.compiled.slots import pop_number, push_number
from simulator.engines.compiled.task import (
    BACK,
    ERROR,
    NO_ERROR,
    PENDING,
    POOL_TIMED_OUT,
    VALUE,
    WAIT_SERIAL,
    key,
)

# What a service and a client begin with.
(CONCURRENCY, FREE_SLOTS, SLOTS_MADE, CALLS_FIRST, CALLS_LAST, CALLS_N) = range(6)

(
    CALL_QUEUE,  # how many may wait
    SERVICE_STATION,
    LIMIT_OF,  # its rate limit's record; 0: none
    LIMIT_STATION,
    SERVICE_TIME,
    SERVICE_ERRORS,  # stream, or -1
    SERVICE_FAULTS,
    CLIENT_CAUSE,  # the causes of limit, service and hold follow
    FIRST_OUTCOME,
    HAS_CLIENTS,
    SERVICE_SIZE,
) = range(6, 17)

(CONNECT_TIMEOUT, TIMEOUT_RESTARTS, FREED, CLIENT_STATION, IN_USE, OPEN_N, CLIENT_SIZE) = range(
    6, 13
)

# A call: one attempt of a task at a service.
(
    _CALL_LINK,
    _CALL_BACK,
    _CALL_ARRIVED,
    CALLER,
    CALLED,  # the service
    CALL_STATE,
    CALL_OVER,
    CALL_REASON,
    EXPIRED,
    CALL_CAUSE,  # of what it waits for now
    ANSWERS,  # whether its task waits for the answer
    LEAVES,  # what it leaves when it expires
    CALL_VISIT,
    CALL_SLOT,
    CALL_NS,
    CALL_FAILS,
    URGENCY,
    HOLDS_FOR,  # the task whose visit the hold is
    LEFT_BEHIND,
    CALL_SERIAL,
    CALL_REFS,
    CLIENT_VISIT,
    CLIENT_CONNECTION,
    OPENS,  # whether its connection is new
    IS_OPEN,  # whether its connection is open: something is sent on it
    CALL_SIZE,
) = range(26)


@kernel
def _has_slot(m: Memory, service: int) -> int:
    """A slot that is free, or NONE."""
    if m[service + FREE_SLOTS] != 0:
        return pop_number(m, service + FREE_SLOTS)
    if m[service + SLOTS_MADE] < m[service + CONCURRENCY]:
        m[service + SLOTS_MADE] += 1
        return m[service + SLOTS_MADE] - 1
    return NONE


@kernel
def acquire_service(m: Memory, service: int, call: int) -> int:
    """1 if the call has a slot now, 0 if it waits, -1 if no more may wait."""
    m[call + CALL_SLOT] = _has_slot(m, service)
    if m[call + CALL_SLOT] != NONE:
        return 1
    if m[service + CALLS_N] >= m[service + CALL_QUEUE]:
        return -1
    before = m[service + CALLS_LAST]
    while before != 0 and m[before + URGENCY] > m[call + URGENCY]:
        before = m[before + _CALL_BACK]
    after = m[service + CALLS_FIRST] if before == 0 else m[before]
    m[call] = after
    m[call + _CALL_BACK] = before
    if before != 0:
        m[before] = call
    else:
        m[service + CALLS_FIRST] = call
    if after != 0:
        m[after + _CALL_BACK] = call
    else:
        m[service + CALLS_LAST] = call
    m[service + CALLS_N] += 1
    return 0


@kernel
def leave_service(m: Memory, service: int, call: int) -> None:
    """One who waits gives up its place, in the queue of a service or of a client."""
    after, before = m[call], m[call + BACK]
    if after != 0:
        m[after + BACK] = before
    else:
        m[service + CALLS_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[service + CALLS_FIRST] = after
    m[service + CALLS_N] -= 1


@kernel
def release_service(m: Memory, service: int, slot: int) -> None:
    """Give a slot to the next in line."""
    call = m[service + CALLS_FIRST]
    if call == 0:
        push_number(m, service + FREE_SLOTS, slot)
        return
    leave_service(m, service, call)
    m[call + CALL_SLOT] = slot
    soon(m, AT_SERVICE, call)


@kernel
def acquire_client(m: Memory, client: int, task: int) -> None:
    """Ask for a connection: it is in VALUE, or the task waits."""
    m[task + ERROR] = NO_ERROR
    m[task + PENDING] = 0
    m[task + VALUE] = _has_slot(m, client)
    if m[task + VALUE] != NONE:
        m[client + IN_USE] += 1
        return
    m[task + PENDING] = 1
    last = m[client + CALLS_LAST]
    m[task] = 0
    m[task + BACK] = last
    if last != 0:
        m[last] = task
    else:
        m[client + CALLS_FIRST] = task
    m[client + CALLS_LAST] = task
    m[client + CALLS_N] += 1
    m[task + WAIT_SERIAL] = serial(m)
    if m[client + CONNECT_TIMEOUT] != NEVER:
        m[task + VALUE] = client
        _set_timer(m, task, m[NOW] + m[client + CONNECT_TIMEOUT])


@kernel
def _set_timer(m: Memory, task: int, until: int) -> None:
    what = m[task + WAIT_SERIAL] << WHAT_BITS | CLIENT_TIMER
    at(m, until, key(m, task, PHASE_TIMER), what, task)


@kernel
def client_time_is_up(m: Memory, task: int) -> None:
    """Give up, or begin anew if a connection has come free since and the client does that."""
    client = m[task + VALUE]
    anew = m[NOW]
    if m[client + TIMEOUT_RESTARTS] != 0 and m[client + FREED] != NONE:
        anew = max(anew, m[client + FREED] + m[client + CONNECT_TIMEOUT])
    if anew == m[NOW]:
        give_up_client(m, client, task)
    else:
        _set_timer(m, task, anew)


@kernel
def give_up_client(m: Memory, client: int, task: int) -> None:
    """A waiter leaves without a connection; nothing if it is served already."""
    if m[task + WAIT_SERIAL] != 0:
        leave_service(m, client, task)
        m[task + WAIT_SERIAL] = 0
        m[task + ERROR] = POOL_TIMED_OUT
        soon(m, RESUME, task)


@kernel
def release_client(m: Memory, client: int, connection: int) -> None:
    """Give a connection back."""
    m[client + FREED] = m[NOW]
    task = m[client + CALLS_FIRST]
    if task == 0:
        m[client + IN_USE] -= 1
        push_number(m, client + FREE_SLOTS, connection)
        return
    leave_service(m, client, task)
    m[task + WAIT_SERIAL] = 0
    m[task + VALUE] = connection
    m[task + ERROR] = NO_ERROR
    soon(m, RESUME, task)
