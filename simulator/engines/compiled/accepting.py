"""Which instance and process get a request, and the places in the backlog (``servers``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    PHASE_ARRIVAL,
    resume_at,
)
from simulator.engines.compiled.code import (
    ENDS,
    GO,
    WAITS,
)
from simulator.engines.compiled.draws import decide, next_of, weighted
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    INSTANCES,
    KEPT_CONNECTION,
    KEPT_LEFT,
    PROCESSES,
    SERVER,
    Memory,
    new,
)
from simulator.engines.compiled.process import (
    ACCEPT,
    ACCEPT_COLUMN,
    ACCEPTED,
    BACKLOG,
    BALANCED,
    BALANCER,
    BALANCER_COLUMN,
    CONNECTIONS,
    IN_FLIGHT,
    INSTANCE_SIZE,
    INSTANCES_N,
    KEPT,
    KEPT_IDLE,
    KEPT_N,
    KIND,
    PROCESS_SIZE,
    UNACCEPTED,
    WEIGHTS,
    WORKERS,
    WORKERS_N,
)
from simulator.engines.compiled.recorder import answered
from simulator.engines.compiled.slots import WAITING_N
from simulator.engines.compiled.task import (
    ABANDONED,
    DOING,
    INSTANCE,
    KEPT_ON,
    PHASE,
    PROC,
    PROCESS,
    REQUEST,
    RESULT,
    RETRY,
    book,
    key,
)
from simulator.engines.contract import BACKLOG as BACKLOG_CAUSE
from simulator.engines.contract import (
    CONNECT_TIMEOUT,
)
from simulator.plan import Accept, Balancer, ServerKind

# A connection that the client keeps.
(_LINK, _KEPT_BEFORE, _KEPT_AFTER, _KEPT_IS_IDLE, _KEPT_PROCESS, _KEPT_SIZE) = range(6)

SYNC = int(ServerKind.SYNC)
ROUND_ROBIN, RANDOM = int(Accept.ROUND_ROBIN), int(Accept.RANDOM)
BY_TURNS, AT_RANDOM, LEAST = (
    int(Balancer.ROUND_ROBIN),
    int(Balancer.RANDOM),
    int(Balancer.LEAST_CONNECTIONS),
)
SECOND_NS = 1_000_000_000
SYN_RETRIES = 6
"""A dropped SYN is sent again after 1, 2, … 32 s; 64 s later the connection fails."""


@kernel
def instance_of(m: Memory, index: int) -> int:
    """The record of an instance."""
    return m[INSTANCES] + index * INSTANCE_SIZE


@kernel
def process_of(m: Memory, index: int) -> int:
    """The record of a process."""
    return m[PROCESSES] + index * PROCESS_SIZE


@kernel
def balance(m: Memory) -> int:
    """The instance that gets the next request."""
    server = m[SERVER]
    number, instances = m[server + BALANCED], m[server + INSTANCES_N]
    m[server + BALANCED] += 1
    if instances == 1:
        return 0
    how = m[server + BALANCER]
    if how == BY_TURNS:
        return number % instances
    if how == AT_RANDOM:
        return decide(m, m[server + BALANCER_COLUMN], instances)
    if how == LEAST:
        best = 0
        for i in range(1, instances):
            if m[instance_of(m, i) + IN_FLIGHT] < m[instance_of(m, best) + IN_FLIGHT]:
                best = i
        return best
    first = decide(m, m[server + BALANCER_COLUMN], instances)
    second = decide(m, m[server + BALANCER_COLUMN], instances - 1)
    if second >= first:
        second += 1
    fewer = m[instance_of(m, second) + IN_FLIGHT] < m[instance_of(m, first) + IN_FLIGHT]
    return second if fewer else first


@kernel
def place(m: Memory, instance: int) -> int:
    """The process of an instance that accepts the next connection."""
    server, record = m[SERVER], instance_of(m, instance)
    number, workers = m[record + ACCEPTED], m[server + WORKERS_N]
    m[record + ACCEPTED] += 1
    chosen = 0
    if workers > 1:
        if m[server + ACCEPT] == ROUND_ROBIN:
            chosen = number % workers
        elif m[server + ACCEPT] == RANDOM:
            chosen = decide(m, m[record + ACCEPT_COLUMN], workers)
        else:
            value = next_of(m, m[record + ACCEPT_COLUMN])
            chosen = weighted(m, m[server + WEIGHTS], workers, value)
    return instance * workers + chosen


@kernel
def open_kept(m: Memory) -> None:
    """Open the next of the connections that are kept from before the first request."""
    connection = _open_connection(m)
    _put_idle(m, connection)
    m[m[m[SERVER] + KEPT] + m[m[SERVER] + KEPT_N] - m[KEPT_LEFT]] = connection
    m[KEPT_LEFT] -= 1


@kernel
def _open_connection(m: Memory) -> int:
    connection = new(m, KEPT_CONNECTION, _KEPT_SIZE)
    m[connection + _KEPT_PROCESS] = place(m, balance(m))
    m[connection + _KEPT_IS_IDLE] = 0
    m[process_of(m, m[connection + _KEPT_PROCESS]) + CONNECTIONS] += 1
    return connection


@kernel
def _put_idle(m: Memory, connection: int) -> None:
    last = m[m[SERVER] + KEPT_IDLE]
    m[connection + _KEPT_BEFORE] = last
    m[connection + _KEPT_AFTER] = 0
    m[connection + _KEPT_IS_IDLE] = 1
    if last != 0:
        m[last + _KEPT_AFTER] = connection
    m[m[SERVER] + KEPT_IDLE] = connection


@kernel
def _take_kept(m: Memory, task: int) -> int:
    """The request's own connection; if it is busy the one given back last; else another."""
    server = m[SERVER]
    connection = m[m[server + KEPT] + m[task + REQUEST] % m[server + KEPT_N]]
    if m[connection + _KEPT_IS_IDLE] == 0:
        connection = m[server + KEPT_IDLE]
        if connection == 0:
            return _open_connection(m)
    before, after = m[connection + _KEPT_BEFORE], m[connection + _KEPT_AFTER]
    if before != 0:
        m[before + _KEPT_AFTER] = after
    if after != 0:
        m[after + _KEPT_BEFORE] = before
    else:
        m[server + KEPT_IDLE] = before
    m[connection + _KEPT_IS_IDLE] = 0
    return connection


@kernel
def be_in(m: Memory, task: int, process: int) -> None:
    """The task is served by this process."""
    m[task + PROCESS] = process
    m[task + PROC] = process_of(m, process)


@kernel
def _backlog(m: Memory, instance: int) -> int:
    """Connections that wait to be accepted: a threaded server's main thread takes all."""
    if m[m[SERVER] + KIND] == SYNC:
        return m[m[instance + WORKERS] + WAITING_N]
    return m[instance + UNACCEPTED]


@kernel
def serve(m: Memory, task: int) -> int:
    """``SERVE``: a request, or an attempt of it, reaches the balancer and the backlog."""
    server = m[SERVER]
    if m[task + PHASE] == 0:
        kept = m[server + KEPT_N]
        if kept > 0:
            m[task + KEPT_ON] = _take_kept(m, task)
            be_in(m, task, m[m[task + KEPT_ON] + _KEPT_PROCESS])
            m[task + INSTANCE] = m[task + PROCESS] // m[server + WORKERS_N]
        else:
            m[task + INSTANCE] = balance(m)
        m[instance_of(m, m[task + INSTANCE]) + IN_FLIGHT] += 1
        m[task + RETRY] = 0
        if kept > 0:
            return GO
    else:
        book(m, task, BACKLOG_CAUSE)
        m[task + RETRY] += 1
        if m[task + RETRY] > SYN_RETRIES:
            finish_now(m, task, CONNECT_TIMEOUT)
            return ENDS
    if _backlog(m, instance_of(m, m[task + INSTANCE])) < m[server + BACKLOG]:
        return GO
    m[task + DOING] = BACKLOG_CAUSE
    pause = SECOND_NS << m[task + RETRY]
    resume_at(m, pause, key(m, task, PHASE_ARRIVAL), task)
    m[task + PHASE] = 1
    return WAITS


@kernel
def finish_now(m: Memory, task: int, outcome: int) -> None:
    """The request has its answer; it is in flight no longer."""
    m[instance_of(m, m[task + INSTANCE]) + IN_FLIGHT] -= 1
    if m[m[SERVER] + KEPT_N] != 0:
        if m[task + ABANDONED] != 0:
            m[m[task + PROC] + CONNECTIONS] -= 1
        else:
            _put_idle(m, m[task + KEPT_ON])
    answered(m, task, outcome)


@kernel
def answer_now(m: Memory, task: int) -> int:
    """``ANSWER_NOW``: the answer is sent."""
    finish_now(m, task, m[task + RESULT])
    return GO
