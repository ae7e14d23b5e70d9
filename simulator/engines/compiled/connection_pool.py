"""A connection pool of one process, and the database that may refuse it a connection.

The rules are those of ``models.connection_pool`` and ``models.database``.
"""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    PHASE_TIMER,
    POOL_TIMEOUT,
    RESUME,
    WHAT_BITS,
    at,
    soon,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    CONNECTION,
    NEVER,
    NONE,
    NOW,
    Memory,
    new,
    serial,
)
from simulator.engines.compiled.recorder import write_visit
from simulator.engines.compiled.slots import IDLE, MADE, SIZE, pop_number, push_number
from simulator.engines.compiled.task import (
    BACK,
    ERROR,
    NO_ERROR,
    PENDING,
    POOL_TIMED_OUT,
    REQUEST,
    TAKES_LATER,
    TOO_MANY_CONNECTIONS,
    VALUE,
    WAIT_SERIAL,
    key,
)

(
    _LINK,
    POOL_SIZE,
    POOL_LIMIT,
    ACQUIRE_TIMEOUT,
    POOL_DATABASE,  # its record; 0: one that never refuses
    DATABASE_INDEX,
    LIFO,
    IDLE_FIRST,
    IDLE_LAST,
    IDLE_N,
    SPARE,  # connections that are not open, used before
    POOL_MADE,
    POOL_FIRST,  # those who wait
    POOL_LAST,
    ALL_CONNECTIONS,
    POOL_OUTCOME,  # of one whose wait took too long
    POOL_UNTAKEN,  # connections whose waiters have not run since they were handed over
    POOL_TELLS,  # whether who waits is told of a slot that has closed
    POOL_RECORD,
) = range(19)

(_CONNECTION_LINK, CONNECTION_SLOT, BACKEND, FRESH, OPENED_BY, OPENED_AT, NEXT_OF_POOL, UNTAKEN,
 CONNECTION_SIZE) = range(9)  # fmt: skip

# A database begins like slots: so many connections, each a number.
(_SIZE, _IDLE, _MADE, _FIRST, _LAST, _N, DATABASE_STATION, DATABASE_CORES, CORES_CAUSE,
 DATABASE_CORES_STATION, DATABASE_ERROR, DATABASE_REFUSED, DEADLOCK_TIMEOUT, DATABASE_FAULTS,
 QUERY_CORES, DATABASE_RECORD) = range(16)  # fmt: skip

NOT_OPENED = -2


@kernel
def connect(m: Memory, pool: int, connection: int) -> bool:
    """Open a connection; False if the database refuses."""
    database = m[pool + POOL_DATABASE]
    if database == 0:
        m[connection + BACKEND] = m[connection + CONNECTION_SLOT]
        return True
    if m[database + IDLE] != 0:
        m[connection + BACKEND] = pop_number(m, database + IDLE)
    elif m[database + MADE] < m[database + SIZE]:
        m[connection + BACKEND] = m[database + MADE]
        m[database + MADE] += 1
    else:
        return False
    return True


@kernel
def new_connection(m: Memory, pool: int) -> int:
    """A slot of the pool that was not used before."""
    connection = new(m, CONNECTION, CONNECTION_SIZE)
    m[connection + CONNECTION_SLOT] = m[pool + POOL_MADE]
    m[connection + BACKEND] = NONE
    m[connection + FRESH] = 0
    m[connection + UNTAKEN] = 0
    m[connection + OPENED_BY] = NOT_OPENED
    m[connection + NEXT_OF_POOL] = m[pool + ALL_CONNECTIONS]
    m[pool + ALL_CONNECTIONS] = connection
    m[pool + POOL_MADE] += 1
    return connection


@kernel
def put_idle(m: Memory, pool: int, connection: int) -> None:
    """Put a connection where the next one who asks finds it first, or last."""
    first = m[pool + IDLE_FIRST]
    m[pool + IDLE_N] += 1
    if m[pool + LIFO] != 0 or first == 0:
        m[connection] = first
        m[pool + IDLE_FIRST] = connection
        if first == 0:
            m[pool + IDLE_LAST] = connection
    else:
        m[connection] = 0
        m[m[pool + IDLE_LAST]] = connection
        m[pool + IDLE_LAST] = connection


@kernel
def _has_room(m: Memory, pool: int) -> bool:
    return m[pool + SPARE] != 0 or m[pool + POOL_MADE] < m[pool + POOL_LIMIT]


@kernel
def _open_another(m: Memory, pool: int, task: int) -> None:
    """Open a connection for a task, or note that the database has refused it."""
    connection = m[pool + SPARE]
    if connection != 0:
        m[pool + SPARE] = m[connection]
    else:
        connection = new_connection(m, pool)
    if connect(m, pool, connection):
        m[connection + FRESH] = 1
        m[task + VALUE] = connection
    else:
        m[connection] = m[pool + SPARE]
        m[pool + SPARE] = connection
        m[task + ERROR] = TOO_MANY_CONNECTIONS


@kernel
def acquire_connection(m: Memory, pool: int, task: int) -> bool:
    """Whether the task has a connection, or an error, now; otherwise it waits."""
    m[task + PENDING] = 0
    m[task + ERROR] = NO_ERROR
    connection = m[pool + IDLE_FIRST]
    if connection != 0:
        m[pool + IDLE_FIRST] = m[connection]
        m[pool + IDLE_N] -= 1
        m[connection + FRESH] = 0
        m[task + VALUE] = connection
        return True
    if _has_room(m, pool):
        _open_another(m, pool, task)
        return True
    m[task + PENDING] = 1
    last = m[pool + POOL_LAST]
    m[task] = 0
    m[task + BACK] = last
    if last != 0:
        m[last] = task
    else:
        m[pool + POOL_FIRST] = task
    m[pool + POOL_LAST] = task
    m[task + WAIT_SERIAL] = serial(m)
    timeout = m[pool + ACQUIRE_TIMEOUT]
    if timeout != NEVER:
        # The pool is found again in VALUE, which is free until there is a connection.
        m[task + VALUE] = pool
        what = m[task + WAIT_SERIAL] << WHAT_BITS | POOL_TIMEOUT
        at(m, m[NOW] + timeout, key(m, task, PHASE_TIMER), what, task)
    return False


@kernel
def _unqueue(m: Memory, pool: int, task: int) -> None:
    after, before = m[task], m[task + BACK]
    if after != 0:
        m[after + BACK] = before
    else:
        m[pool + POOL_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[pool + POOL_FIRST] = after
    m[task + WAIT_SERIAL] = 0


@kernel
def pool_times_out(m: Memory, task: int) -> None:
    """The task has waited for as long as it may."""
    pool = m[task + VALUE]
    _unqueue(m, pool, task)
    m[task + ERROR] = NO_ERROR
    if _has_room(m, pool):
        _open_another(m, pool, task)
    else:
        m[task + ERROR] = POOL_TIMED_OUT
    soon(m, RESUME, task)


@kernel
def took_connection(m: Memory, pool: int, connection: int) -> None:
    """Who waited for this connection runs again."""
    m[pool + POOL_UNTAKEN] -= m[connection + UNTAKEN]
    m[connection + UNTAKEN] = 0


@kernel
def closes_on_return(m: Memory, pool: int) -> bool:
    """Whether a connection given back now is surplus: enough are idle or not taken yet."""
    return m[pool + IDLE_N] + m[pool + POOL_UNTAKEN] >= m[pool + POOL_SIZE]


@kernel
def release_connection(m: Memory, pool: int, connection: int, close: bool) -> None:
    """Give a connection back, or close it."""
    if close:
        if m[pool + POOL_DATABASE] != 0:
            push_number(m, m[pool + POOL_DATABASE] + IDLE, m[connection + BACKEND])
        m[connection + BACKEND] = NONE
    task = m[pool + POOL_FIRST]
    if task != 0 and (not close or m[pool + POOL_TELLS] != 0):
        _unqueue(m, pool, task)
        m[connection + UNTAKEN] = m[task + TAKES_LATER]
        m[pool + POOL_UNTAKEN] += m[task + TAKES_LATER]
        m[connection + FRESH] = m[connection + BACKEND] < 0
        if m[connection + FRESH] != 0:
            connect(m, pool, connection)
        m[task + VALUE] = connection
        m[task + ERROR] = NO_ERROR
        soon(m, RESUME, task)
    elif m[connection + BACKEND] >= 0:
        put_idle(m, pool, connection)
    else:
        m[connection] = m[pool + SPARE]
        m[pool + SPARE] = connection


@kernel
def opened(m: Memory, pool: int, connection: int, task: int) -> None:
    """Write down that a request (no task: the process) opened a database connection."""
    if m[pool + POOL_DATABASE] != 0:
        m[connection + OPENED_BY] = NONE if task == 0 else m[task + REQUEST]
        m[connection + OPENED_AT] = m[NOW]


@kernel
def closed(m: Memory, pool: int, connection: int, now: int) -> None:
    """Write down that a database connection was closed."""
    if m[pool + POOL_DATABASE] != 0 and m[connection + OPENED_BY] != NOT_OPENED:
        station = m[m[pool + POOL_DATABASE] + DATABASE_STATION]
        since = m[connection + OPENED_AT]
        backend = m[connection + BACKEND]
        write_visit(m, station, m[connection + OPENED_BY], backend, since, since, now, now - since)
        m[connection + OPENED_BY] = NOT_OPENED
