"""Who sends requests (``simulator.engines.clients``): attempts, the network, users."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    GIVES_UP,
    PHASE_ARRIVAL,
    PHASE_STEP,
    PHASE_TIMER,
    RESUME,
    TRAVELLED,
    WHAT_BITS,
    at,
    resume_at,
    soon,
)
from simulator.engines.compiled.code import ENDS, GO, STARVES, SWITCHES_TASK, WAITS, WORDS
from simulator.engines.compiled.draws import drawn, weighted
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    ARRIVED,
    ASKS_FOREVER,
    FIRST_REQUEST,
    MISSING,
    NEVER,
    NEXT,
    NOW,
    OWNERS_MAX,
    ROUTES,
    SERVER,
    TOO_LARGE,
    TOO_MANY_REQUESTS,
    Memory,
    give_up,
    serial,
)
from simulator.engines.compiled.process import (
    CLIENT,
    CLIENT_RETRIES,
    CLIENT_RETRIES_N,
    CLIENT_TIMEOUT,
    LATENCY,
    LOAD_COLUMN,
    LOAD_COUNT,
    LOAD_EDGES,
    LOAD_ROUTES,
    LOAD_ROUTES_N,
    LOAD_SENT,
    LOAD_STEP,
    LOAD_THINK,
    LOAD_UNTIL,
    ROUTE_DEADLINE,
    ROUTE_HANDLER,
    ROUTE_SIZE,
    STEPS,
)
from simulator.engines.compiled.recorder import attempted, finish
from simulator.engines.compiled.task import (
    ABANDONED,
    ANSWER,
    ANSWERED_WITH,
    ARRIVED_NS,
    BEFORE,
    BEGAN,
    BRANCHES,
    DEADLINE,
    DOING,
    DONE,
    FIRST_BYTE,
    FIRST_OF_ATTEMPT,
    HANDLER,
    IS_REQUEST,
    LOAD,
    NETWORK_NS,
    NUMBER,
    OVER,
    PC,
    PHASE,
    PROCESS,
    REFS,
    REQUEST,
    RETRY,
    ROUTE,
    VALUE,
    WAIT_SERIAL,
    absorb,
    base_key,
    book,
    ended,
    key,
    let_go,
    new_task,
)
from simulator.engines.contract import ASKED_PER_INSTANT_MAX, BACKOFF, NETWORK, OK, REQUESTS_MAX
from simulator.engines.contract import CLIENT_TIMEOUT as CLIENT_TIMED_OUT
from simulator.engines.contract import DEADLINE as DEADLINE_PASSED
from simulator.plan import UNLIMITED

_OUT, _BACK = range(2)
_NO_ANSWER = -1


@kernel
def arrival_key(m: Memory, request: int) -> int:
    """The key of a request's arrival, its owner's first event."""
    return PHASE_ARRIVAL * PHASE_STEP + base_key(m, m[FIRST_REQUEST] + request, 0, 0) + 1


@kernel
def arrive(m: Memory, request: int, route: int) -> int:
    """A new task for a request that arrives now."""
    task = new_task(m, request, route, 0, 0)
    m[task + NUMBER] = 1
    m[ARRIVED] += 1
    record = m[ROUTES] + route * ROUTE_SIZE
    m[task + PC] = m[record + CLIENT]
    m[task + HANDLER] = m[record + ROUTE_HANDLER]
    return task


# A request and its attempts.

(_SENDS, _WAITS, _BACKS_OFF) = range(3)


@kernel
def attempt(m: Memory, root: int) -> int:
    """``ATTEMPT_OP``: send a request until it is answered, given up or out of retries."""
    phase = m[root + PHASE]
    server = m[SERVER]
    if phase == _WAITS:
        _is_over(m, root)
        outcome, retry = m[root + VALUE], m[root + RETRY]
        final = outcome in (OK, DEADLINE_PASSED)
        if final or retry == m[server + CLIENT_RETRIES_N]:
            return _finishes(m, root, outcome)
        m[root + PHASE] = _BACKS_OFF
        phase = _BACKS_OFF
        m[root + WAIT_SERIAL] = 0
    if phase == _BACKS_OFF:
        if m[root + WAIT_SERIAL] == 0:
            stream = m[m[server + CLIENT_RETRIES] + m[root + RETRY]]
            wait = drawn(m, stream, 0, 0, m[root + REQUEST])
            if wait == MISSING:
                return STARVES
            until = min(m[NOW] + wait, m[root + DEADLINE])
            m[root + DOING] = BACKOFF
            if until > m[NOW]:
                m[root + WAIT_SERIAL] = serial(m)
                resume_at(m, until - m[NOW], key(m, root, PHASE_TIMER), root)
                return WAITS
        else:
            book(m, root, BACKOFF)
        if m[NOW] == m[root + DEADLINE]:
            return _finishes(m, root, DEADLINE_PASSED)
        m[root + RETRY] += 1
        m[root + PHASE] = _SENDS
    return _send(m, root)


@kernel
def _finishes(m: Memory, root: int, outcome: int) -> int:
    finish(m, root, outcome)
    return ENDS


@kernel
def _send(m: Memory, root: int) -> int:
    """Send it once."""
    server = m[SERVER]
    number = m[root + RETRY]
    out, back = 0, 0
    if m[server + LATENCY] >= 0:
        out = drawn(m, m[server + LATENCY], number, _OUT, m[root + REQUEST])
        if out == MISSING:
            return STARVES
        back = drawn(m, m[server + LATENCY], number, _BACK, m[root + REQUEST])
        if back == MISSING:
            return STARVES
    route = m[ROUTES] + m[root + ROUTE] * ROUTE_SIZE
    if number == 0:
        m[root + DEADLINE] = m[root + ARRIVED_NS] + m[route + ROUTE_DEADLINE]
    task = new_task(m, m[root + REQUEST], m[root + ROUTE], 0, number)
    m[task + NUMBER] = FIRST_OF_ATTEMPT
    m[task + IS_REQUEST] = 0
    m[task + REFS] = 3  # its client, its way through the network, its place in the server
    m[task + ANSWER] = root
    m[task + VALUE] = out
    m[task + NETWORK_NS] = back
    m[task + PC] = m[route + STEPS]
    m[task + HANDLER] = m[route + ROUTE_HANDLER]
    m[root + BRANCHES] = task
    m[root + VALUE] = _NO_ANSWER
    m[root + WAIT_SERIAL] = serial(m)
    gives_up = min(m[NOW] + m[server + CLIENT_TIMEOUT], m[root + DEADLINE])
    if gives_up < NEVER:
        what = m[root + WAIT_SERIAL] << WHAT_BITS | GIVES_UP
        at(m, gives_up, key(m, root, PHASE_TIMER), what, root)
    m[root + PHASE] = _WAITS
    m[NEXT] = task
    return SWITCHES_TASK


@kernel
def gives_up(m: Memory, root: int) -> None:
    """The client does not wait for this attempt any longer."""
    if m[m[root + BRANCHES] + OVER] == 0:
        m[m[root + BRANCHES] + OVER] = 1
        soon(m, RESUME, root)


@kernel
def _is_over(m: Memory, root: int) -> None:
    """The attempt is over for its client: answered, or given up."""
    task = m[root + BRANCHES]
    m[root + WAIT_SERIAL] = 0
    if m[root + VALUE] == _NO_ANSWER:
        m[task + ABANDONED] = 1
        m[root + VALUE] = CLIENT_TIMED_OUT
        if m[NOW] == m[root + DEADLINE]:
            m[root + VALUE] = DEADLINE_PASSED
    m[root + BRANCHES] = 0
    absorb(m, root, task)
    m[root + PROCESS] = m[task + PROCESS]
    m[root + FIRST_BYTE] = m[task + FIRST_BYTE]
    attempted(m, task, m[root + VALUE])
    let_go(m, task)


@kernel
def travel(m: Memory, task: int) -> int:
    """``TRAVEL``: over the network to the server."""
    if m[task + PHASE] == 0:
        ns = m[task + VALUE]
        if ns != 0:
            m[task + DOING] = NETWORK
            resume_at(m, ns, key(m, task, PHASE_ARRIVAL), task)
            m[task + PHASE] = 1
            return WAITS
        return GO
    book(m, task, NETWORK)
    return GO


@kernel
def travel_back(m: Memory, task: int) -> None:
    """The server has answered: over the network to the client."""
    ns = m[task + NETWORK_NS]
    if ns == 0:
        _arrives(m, task)
        return
    m[task + DOING] = NETWORK
    at(m, m[NOW] + ns, key(m, task, PHASE_ARRIVAL), TRAVELLED, task)


@kernel
def travelled(m: Memory, task: int) -> None:
    """The answer is at the client."""
    book(m, task, NETWORK)
    _arrives(m, task)


@kernel
def _arrives(m: Memory, task: int) -> None:
    if m[task + OVER] == 0:
        m[task + OVER] = 1
        root = m[task + ANSWER]
        m[root + VALUE] = m[task + ANSWERED_WITH]
        soon(m, RESUME, root)
    ended(m, task)
    let_go(m, task)


# Users.


@kernel
def ask(m: Memory, user: int) -> int:
    """``ASK``: the user's next request, unless its load is over."""
    load = m[user + LOAD]
    if m[NOW] >= m[load + LOAD_UNTIL] or m[load + LOAD_SENT] == m[load + LOAD_COUNT]:
        return WAITS
    choice = 0
    if m[load + LOAD_ROUTES_N] > 1:
        value = drawn(m, m[load + LOAD_COLUMN], 0, 0, m[user + REQUEST])
        if value == MISSING:
            return STARVES
        choice = weighted(m, m[load + LOAD_EDGES], m[load + LOAD_ROUTES_N], value)
    if m[ARRIVED] + 1 > REQUESTS_MAX:
        give_up(m, TOO_MANY_REQUESTS)
        return WAITS
    m[load + LOAD_SENT] += 1
    m[user + BEFORE] = m[user + BEFORE] + 1 if m[NOW] == m[user + BEGAN] else 1
    m[user + BEGAN] = m[NOW]
    if m[load + LOAD_COUNT] == UNLIMITED and m[user + BEFORE] > ASKED_PER_INSTANT_MAX:
        give_up(m, ASKS_FOREVER)
        return WAITS
    task = arrive(m, m[user + REQUEST], m[m[load + LOAD_ROUTES] + choice])
    m[task + DONE] = user
    m[NEXT] = task
    m[user + PHASE] = 0
    m[user + PC] += WORDS
    return SWITCHES_TASK


@kernel
def think(m: Memory, user: int) -> int:
    """``THINK``: until the user's next request."""
    load = m[user + LOAD]
    index = m[user + REQUEST] + m[load + LOAD_STEP]
    ns = 0
    if m[load + LOAD_THINK] >= 0:
        ns = drawn(m, m[load + LOAD_THINK], 0, 0, index)
        if ns == MISSING:
            return STARVES
    if m[FIRST_REQUEST] + index >= m[OWNERS_MAX]:
        give_up(m, TOO_LARGE)
    m[user + REQUEST] = index
    at(m, m[NOW] + ns, arrival_key(m, index), RESUME, user)
    m[user + PC] -= WORDS
    m[user + PHASE] = 0
    return WAITS
