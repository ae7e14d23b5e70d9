"""What happens to a call far away: at the rate limit, in line, in a slot, left behind.

A call's record stands for one attempt; it goes on without its task.
"""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    PHASE_END,
    RESUME,
    SERVED,
    at,
    soon,
)
from simulator.engines.compiled.faults import struck
from simulator.engines.compiled.gathers import new_branch
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    CALL,
    NOW,
    SERVICES,
    Memory,
    free,
)
from simulator.engines.compiled.process import CLIENTS_OF
from simulator.engines.compiled.rate_limit import acquire_limit, leave_limit
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
    CALL_SLOT,
    CALL_STATE,
    CALL_VISIT,
    CALLED,
    CALLER,
    CLIENT_CAUSE,
    EXPIRED,
    HOLDS_FOR,
    LEAVES,
    LEFT_BEHIND,
    LIMIT_OF,
    LIMIT_STATION,
    SERVICE_FAULTS,
    SERVICE_SIZE,
    SERVICE_STATION,
    acquire_service,
    give_up_client,
    leave_service,
    release_service,
)
from simulator.engines.compiled.task import (
    BRANCH,
    DOING,
    IS_REQUEST,
    OPEN_TRANSACTION,
    PROC,
    VISIT_WAITED,
    WAITED,
    book,
    ended,
    granted,
    key,
    let_go,
    open_visit,
    queue,
    take_visit,
)
from simulator.engines.compiled.transaction import (
    forget_transaction,
)

# Reasons, in the order of the outcomes of a service; one more for none.
(CLIENT_POOL_TIMEOUT, RATE_LIMITED, SERVICE_FULL, CALL_TIMEOUT, SERVICE_ERROR) = range(5)
NO_REASON = -1

# What a call leaves when it expires.
(NOTHING, CLIENT_LINE, LIMIT_LINE, SERVICE_LINE, SLOT_OF_SERVICE) = range(5)

_AT_LIMIT, _AT_SERVICE = range(2)


@kernel
def forget_call(m: Memory, record: int) -> None:
    """One who knew this call does no longer; the last one frees it."""
    m[record + CALL_REFS] -= 1
    if m[record + CALL_REFS] == 0:
        m[record + CALL_SERIAL] = 0
        free(m, CALL, record)


@kernel
def call_is_over(m: Memory, record: int, reason: int) -> None:
    """The attempt is over: its task hears at this instant, if it waits for the answer."""
    m[record + CALL_OVER] = 1
    m[record + CALL_REASON] = reason
    if m[record + ANSWERS] != 0:
        soon(m, RESUME, m[record + CALLER])


@kernel
def call_expires(m: Memory, record: int) -> None:
    """The timeout of an attempt strikes on time, be the loop busy or not."""
    if m[record + CALL_OVER] != 0 or m[record + EXPIRED] != 0:
        return
    m[record + EXPIRED] = 1
    task, service = m[record + CALLER], m[record + CALLED]
    leaves = m[record + LEAVES]
    if leaves == CLIENT_LINE:
        # It is in the line if it waits: VALUE is then the client.
        give_up_waiting(m, task, record)
    elif leaves == LIMIT_LINE:
        leave_limit(m, m[service + LIMIT_OF], record)
        released(m, task, m[record + CALL_VISIT])
        m[record + CALL_REFS] -= 1
    elif leaves == SERVICE_LINE:
        leave_service(m, service, record)
        released(m, task, m[record + CALL_VISIT])
        m[record + CALL_REFS] -= 1
    elif leaves == SLOT_OF_SERVICE:
        _leave_behind(m, task, record)
    if m[record + ANSWERS] != 0:
        book(m, task, m[record + CALL_CAUSE])
        call_is_over(m, record, CALL_TIMEOUT)


@kernel
def give_up_waiting(m: Memory, task: int, record: int) -> None:
    """Leave the line of the client's connections, if the task is still in it."""
    service = m[record + CALLED]
    index = (service - m[SERVICES]) // SERVICE_SIZE
    give_up_client(m, m[m[m[task + PROC] + CLIENTS_OF] + index], task)


@kernel
def _leave_behind(m: Memory, task: int, record: int) -> None:
    """The caller has gone: the visit goes on as one of its own."""
    visit = m[record + CALL_VISIT]
    behind = new_branch(m, task, m[task + BRANCH])
    m[behind + IS_REQUEST] = 0
    m[behind + WAITED] = m[visit + VISIT_WAITED]
    take_visit(m, task, visit)
    open_visit(m, behind, visit)
    m[record + HOLDS_FOR] = behind
    m[record + LEFT_BEHIND] = 1


# What happens at the service.


@kernel
def _is_in(m: Memory, record: int, cause: int, leaves: int) -> None:
    m[record + CALL_CAUSE] = cause
    m[m[record + CALLER] + DOING] = cause
    m[record + LEAVES] = leaves


@kernel
def reaches(m: Memory, record: int) -> None:
    """A call is at its service: first at its rate limit, if it has one."""
    task, service = m[record + CALLER], m[record + CALLED]
    limit = m[service + LIMIT_OF]
    if limit == 0:
        _queues(m, record)
        return
    m[record + CALL_STATE] = _AT_LIMIT
    m[record + CALL_VISIT] = queue(m, task, m[service + LIMIT_STATION])
    passes = acquire_limit(m, limit, record)
    _is_in(m, record, m[service + CLIENT_CAUSE] + 1, LIMIT_LINE)
    if passes > 0:
        _passes(m, record)
    elif passes < 0:
        released(m, task, m[record + CALL_VISIT])
        call_is_over(m, record, RATE_LIMITED)
    else:
        m[record + CALL_REFS] += 1


@kernel
def _passes(m: Memory, record: int) -> None:
    task = m[record + CALLER]
    book(m, task, m[m[record + CALLED] + CLIENT_CAUSE] + 1)
    granted(m, task, m[record + CALL_VISIT], 0)
    released(m, task, m[record + CALL_VISIT])
    _queues(m, record)


@kernel
def _queues(m: Memory, record: int) -> None:
    task, service = m[record + CALLER], m[record + CALLED]
    m[record + CALL_STATE] = _AT_SERVICE
    m[record + CALL_VISIT] = queue(m, task, m[service + SERVICE_STATION])
    has_slot = acquire_service(m, service, record)
    _is_in(m, record, m[service + CLIENT_CAUSE] + 2, SERVICE_LINE)
    if has_slot > 0:
        _serves(m, record)
    elif has_slot < 0:
        released(m, task, m[record + CALL_VISIT])
        call_is_over(m, record, SERVICE_FULL)
    else:
        m[record + CALL_REFS] += 1


@kernel
def at_service(m: Memory, record: int) -> None:
    """Its turn has come: at the rate limit, or at the service."""
    # What knew it while it waited does no longer; its task does, which still waits.
    m[record + CALL_REFS] -= 1
    if m[record + CALL_STATE] == _AT_LIMIT:
        _passes(m, record)
    else:
        _serves(m, record)


@kernel
def _serves(m: Memory, record: int) -> None:
    task, service = m[record + CALLER], m[record + CALLED]
    book(m, task, m[service + CLIENT_CAUSE] + 2)
    visit = m[record + CALL_VISIT]
    granted(m, task, visit, m[record + CALL_SLOT])
    ns = struck(m, m[service + SERVICE_FAULTS], m[NOW], m[record + CALL_NS])
    if ns > 0:
        m[record + HOLDS_FOR] = task
        m[record + CALL_REFS] += 1
        _is_in(m, record, m[service + CLIENT_CAUSE] + 3, SLOT_OF_SERVICE)
        at(m, m[NOW] + ns, key(m, task, PHASE_END), SERVED, record)
        return
    released(m, task, visit)
    release_service(m, service, m[record + CALL_SLOT])
    fails = ns < 0 or m[record + CALL_FAILS] != 0
    call_is_over(m, record, SERVICE_ERROR if fails else NO_REASON)


@kernel
def served(m: Memory, record: int) -> None:
    """The service has done its work, whoever still waits."""
    task, holder = m[record + CALLER], m[record + HOLDS_FOR]
    over = m[record + CALL_OVER] != 0
    if not over:
        book(m, task, m[record + CALL_CAUSE])
    released(m, holder, m[record + CALL_VISIT])
    if m[record + LEFT_BEHIND] != 0:
        ended(m, holder)
        forget_transaction(m, m[holder + OPEN_TRANSACTION])
        let_go(m, holder)
    release_service(m, m[record + CALLED], m[record + CALL_SLOT])
    if not over:
        call_is_over(m, record, SERVICE_ERROR if m[record + CALL_FAILS] != 0 else NO_REASON)
    forget_call(m, record)
