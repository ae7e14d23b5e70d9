"""Steps that call a service (``simulator.engines.calls``).

A call's record stands for one attempt. What happens far away goes on with it, without its
task: in the line of the rate limit, in that of the service, in a slot.
"""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    CALL_EXPIRES,
    PHASE_TIMER,
    WHAT_BITS,
    at,
    resume_at,
)
from simulator.engines.compiled.code import FAILS, GO, JUMPED, STARVES
from simulator.engines.compiled.draws import drawn, tries
from simulator.engines.compiled.exchange import (
    CALL_TIMEOUT,
    CLIENT_LINE,
    CLIENT_POOL_TIMEOUT,
    NO_REASON,
    NOTHING,
    call_is_over,
    forget_call,
    reaches,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    CALL,
    MISSING,
    NEVER,
    NOW,
    ROUTES,
    SERVICES,
    Memory,
    new,
    serial,
)
from simulator.engines.compiled.process import CLIENTS_OF, PRIORITY, ROUTE_SIZE
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.service import (
    ANSWERS,
    CALL_CAUSE,
    CALL_FAILS,
    CALL_NS,
    CALL_OVER,
    CALL_REASON,
    CALL_REFS,
    CALL_SERIAL,
    CALL_SIZE,
    CALLED,
    CALLER,
    CALLS_N,
    CLIENT_CAUSE,
    CLIENT_CONNECTION,
    CLIENT_STATION,
    CLIENT_VISIT,
    EXPIRED,
    FIRST_OUTCOME,
    IN_USE,
    IS_OPEN,
    LEAVES,
    OPEN_N,
    OPENS,
    SERVICE_ERRORS,
    SERVICE_SIZE,
    SERVICE_TIME,
    SLOTS_MADE,
    URGENCY,
    acquire_client,
    release_client,
)
from simulator.engines.compiled.task import (
    ERROR,
    KILLED,
    NO_ERROR,
    NS,
    OPEN_CALL,
    OPEN_VISIT,
    OUTCOME,
    PC,
    PENDING,
    PROC,
    REQUEST,
    RETRY,
    ROUTE,
    VALUE,
    WAIT_CAUSE,
    key,
    queue,
)

RETRY_BITS = 16


@kernel
def call(m: Memory, task: int) -> int:
    """``CALL_OP``: the first attempt."""
    m[task + RETRY] = 0
    return GO


@kernel
def call_try(m: Memory, task: int, index: int, number: int, timeout: int) -> int:
    """``CALL_TRY``: an attempt, and its timeout."""
    service = m[SERVICES] + index * SERVICE_SIZE
    attempt = tries(m, task) << RETRY_BITS | m[task + RETRY]
    ns = drawn(m, m[service + SERVICE_TIME], attempt, number, m[task + REQUEST])
    if ns == MISSING:
        return STARVES
    fails = 0
    if m[service + SERVICE_ERRORS] >= 0:
        fails = drawn(m, m[service + SERVICE_ERRORS], attempt, number, m[task + REQUEST])
        if fails == MISSING:
            return STARVES
    record = new(m, CALL, CALL_SIZE)
    for i in range(CALL_SIZE):
        m[record + i] = 0
    m[record + CALLER] = task
    m[record + CALLED] = service
    m[record + CALL_REASON] = NO_REASON
    m[record + CALL_CAUSE] = m[service + CLIENT_CAUSE]
    m[record + CALL_NS] = ns
    m[record + CALL_FAILS] = fails
    m[record + URGENCY] = m[m[ROUTES] + m[task + ROUTE] * ROUTE_SIZE + PRIORITY]
    m[record + CALL_REFS] = 1
    m[record + CALL_SERIAL] = serial(m)
    m[task + OPEN_CALL] = record
    if timeout < NEVER:
        what = m[record + CALL_SERIAL] << WHAT_BITS | CALL_EXPIRES
        at(m, m[NOW] + timeout, key(m, task, PHASE_TIMER), what, record)
    return GO


@kernel
def _is_lost(m: Memory, task: int) -> bool:
    """Whether it has timed out, or its process was killed, before it has sent anything."""
    return m[m[task + OPEN_CALL] + EXPIRED] != 0 or m[task + KILLED] != 0


@kernel
def if_lost(m: Memory, task: int, elsewhere: int) -> int:
    """``IF_LOST``: who has timed out computes nothing."""
    if _is_lost(m, task):
        m[task + PC] = elsewhere
        return JUMPED
    return GO


@kernel
def client_scan(m: Memory, task: int, index: int, ns: int, scan_ns: int, arriving: int) -> int:
    """``CLIENT_SCAN``: NS is that much and the pairs of a connection and a call that waits."""
    client = m[m[m[task + PROC] + CLIENTS_OF] + index]
    halves = (m[client + IN_USE] + m[client + OPEN_N]) * (m[client + CALLS_N] + arriving)
    m[task + NS] = ns + scan_ns * halves // 2
    return GO


@kernel
def call_connect(m: Memory, task: int, index: int, lost: int) -> int:
    """``CALL_CONNECT``: ask for a connection of the client's; ``WAIT`` has to follow."""
    record = m[task + OPEN_CALL]
    if _is_lost(m, task):
        call_is_over(m, record, CALL_TIMEOUT)
        m[task + PC] = lost
        return JUMPED
    client = m[m[m[task + PROC] + CLIENTS_OF] + index]
    m[task + OPEN_VISIT] = queue(m, task, m[client + CLIENT_STATION])
    m[record + CLIENT_VISIT] = m[task + OPEN_VISIT]
    made = m[client + SLOTS_MADE]
    acquire_client(m, client, task)
    m[record + OPENS] = 1 if m[client + SLOTS_MADE] > made else 0
    m[record + LEAVES] = CLIENT_LINE
    return GO


@kernel
def call_connected(m: Memory, task: int, failed: int) -> int:
    """``CALL_CONNECTED``: there is a connection of the client's, or there is none in time."""
    record = m[task + OPEN_CALL]
    if m[task + ERROR] != NO_ERROR:
        late = m[record + EXPIRED] != 0
        call_is_over(m, record, CALL_TIMEOUT if late else CLIENT_POOL_TIMEOUT)
        m[task + PC] = failed
        return JUMPED
    m[record + LEAVES] = NOTHING
    m[record + CLIENT_CONNECTION] = m[task + VALUE]
    return GO


@kernel
def if_open(m: Memory, task: int, elsewhere: int) -> int:
    """``IF_OPEN``: who has a connection that is open does not open one."""
    if m[m[task + OPEN_CALL] + OPENS] != 0:
        return GO
    m[task + PC] = elsewhere
    return JUMPED


@kernel
def exchange(m: Memory, task: int, lost: int, index: int) -> int:
    """``EXCHANGE``: off to the service, with a client's connection unless the index is -1."""
    record = m[task + OPEN_CALL]
    if _is_lost(m, task):
        call_is_over(m, record, CALL_TIMEOUT)
        m[task + PC] = lost
        return JUMPED
    if index >= 0:
        m[record + IS_OPEN] = 1
        m[m[m[m[task + PROC] + CLIENTS_OF] + index] + OPEN_N] += 1
    m[task + ERROR] = NO_ERROR
    m[task + PENDING] = 0
    reaches(m, record)
    if m[record + CALL_OVER] == 0:
        m[record + ANSWERS] = 1
        m[task + PENDING] = 1
    m[task + WAIT_CAUSE] = m[record + CALL_CAUSE]
    return GO


@kernel
def call_releases(m: Memory, task: int, index: int) -> int:
    """``CALL_RELEASES``: the client's connection is given back."""
    record = m[task + OPEN_CALL]
    client = m[m[m[task + PROC] + CLIENTS_OF] + index]
    released(m, task, m[record + CLIENT_VISIT])
    m[client + OPEN_N] -= m[record + IS_OPEN]
    release_client(m, client, m[record + CLIENT_CONNECTION])
    return GO


@kernel
def call_ends(m: Memory, task: int, backoffs: int, retries: int, number: int, goes_on: int) -> int:
    """``CALL_ENDS``: an answer, a failure, or a pause of NS before the next attempt."""
    record = m[task + OPEN_CALL]
    reason = m[record + CALL_REASON]
    if reason != NO_REASON and m[task + KILLED] == 0:
        retry = m[task + RETRY]
        if retry >= retries:
            m[task + OUTCOME] = m[m[record + CALLED] + FIRST_OUTCOME] + reason
            forget_call(m, record)
            return FAILS
        ns = drawn(m, m[backoffs + retry], tries(m, task), number, m[task + REQUEST])
        if ns == MISSING:
            return STARVES
        forget_call(m, record)
        m[task + RETRY] = retry + 1
        m[task + NS] = ns
        return GO
    forget_call(m, record)
    m[task + PC] = goes_on
    return JUMPED


@kernel
def pause(m: Memory, task: int) -> int:
    """``PAUSE``: a timer of NS; ``WAIT`` has to follow."""
    m[task + PENDING] = 0
    if m[task + NS] != 0:
        resume_at(m, m[task + NS], key(m, task, PHASE_TIMER), task)
        m[task + PENDING] = 1
    return GO
