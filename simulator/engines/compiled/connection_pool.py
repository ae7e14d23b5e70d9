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
from simulator.engines.compiled.faults import struck
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
from simulator.engines.compiled.recorder import overtaken, released, write_visit
from simulator.engines.compiled.slots import IDLE, MADE, SIZE, pop_number, push_number
from simulator.engines.compiled.task import (
    BACK,
    DOING,
    ERROR,
    HANDED_OVER,
    LOST,
    LOST_LATE,
    NO_ERROR,
    OPEN_VISIT,
    PENDING,
    POOL_TIMED_OUT,
    QUEUED,
    REQUEST,
    TAKES_LATER,
    TAKES_ON_LOOP,
    TOLD,
    TOLD_LATE,
    VALUE,
    WAIT_SERIAL,
    book,
    granted,
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
    UNTAKEN_N,  # connections whose waiters' loops have not come to them since they were told
    UNTAKEN_LAST,  # those of threads, too
    POOL_TELLS,  # whether who waits is told of a slot that has closed
    POOL_RECORD,
) = range(20)

(_CONNECTION_LINK, CONNECTION_SLOT, BACKEND, OPENED_BY, OPENED_AT, NEXT_OF_POOL,
 TOLD_TASK,  # who was told of it and has not run since
 UNTAKEN_NEXT, ON_LOOP,
 CONNECTION_SIZE) = range(10)  # fmt: skip

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
def _queued(m: Memory, pool: int) -> int:
    """A connection that is idle or not taken yet; 0 if there is none."""
    connection = m[pool + IDLE_FIRST]
    if connection != 0:
        m[pool + IDLE_FIRST] = m[connection]
        m[pool + IDLE_N] -= 1
        return connection
    connection = m[pool + UNTAKEN_LAST]
    if connection != 0:
        # Whoever was told last, and runs last, is left without.
        task = m[connection + TOLD_TASK]
        _no_longer_untaken(m, pool, connection)
        m[task + TAKES_LATER] += LOST - TOLD
        overtaken(m, task, m[task + OPEN_VISIT])
    return connection


@kernel
def _no_longer_untaken(m: Memory, pool: int, connection: int) -> None:
    before, after = m[connection], m[connection + UNTAKEN_NEXT]
    if before != 0:
        m[before + UNTAKEN_NEXT] = after
    if after != 0:
        m[after] = before
    else:
        m[pool + UNTAKEN_LAST] = before
    m[pool + UNTAKEN_N] -= m[connection + ON_LOOP]


@kernel
def _room(m: Memory, pool: int) -> int:
    """A slot for a connection; 0 if there is none."""
    connection = m[pool + SPARE]
    if connection != 0:
        m[pool + SPARE] = m[connection]
    elif m[pool + POOL_MADE] < m[pool + POOL_LIMIT]:
        connection = new_connection(m, pool)
    return connection


@kernel
def _free(m: Memory, pool: int) -> int:
    connection = _queued(m, pool)
    return connection if connection != 0 else _room(m, pool)


@kernel
def _tell(m: Memory, task: int, connection: int) -> None:
    """Its visit has this connection."""
    m[task + VALUE] = connection
    granted(m, task, m[task + OPEN_VISIT], m[connection + CONNECTION_SLOT])


@kernel
def acquire_connection(m: Memory, pool: int, task: int) -> None:
    """Ask for a connection, or a slot for one; if there is none the task is PENDING."""
    m[task + PENDING] = 0
    m[task + ERROR] = NO_ERROR
    connection = _free(m, pool)
    if connection != 0:
        m[task + TAKES_LATER] = HANDED_OVER
        _tell(m, task, connection)
        return
    _queue(m, pool, task)
    m[task + WAIT_SERIAL] = serial(m)
    timeout = m[pool + ACQUIRE_TIMEOUT]
    if timeout != NEVER:
        what = m[task + WAIT_SERIAL] << WHAT_BITS | POOL_TIMEOUT
        at(m, m[NOW] + timeout, key(m, task, PHASE_TIMER), what, task)


@kernel
def take_connection(m: Memory, pool: int, task: int, runs: int) -> bool:
    """Whether one who was told of a connection has one, or an error; otherwise it waits again."""
    connection = m[task + VALUE]
    late = m[task + TAKES_LATER] == TOLD_LATE or m[task + TAKES_LATER] == LOST_LATE
    if m[task + TAKES_LATER] <= TOLD_LATE:
        _no_longer_untaken(m, pool, connection)
    else:
        m[m[task + OPEN_VISIT] + QUEUED] = m[NOW]  # until now it was its code's turn
        connection = _queued(m, pool)
        if connection == 0 and (late or m[pool + POOL_TELLS] != 0):
            connection = _room(m, pool)
        if connection != 0:
            _tell(m, task, connection)
    if connection == 0 and not late:
        _queue(m, pool, task)
        m[task + TAKES_LATER] = runs
        return False
    m[task + TAKES_LATER] = HANDED_OVER
    m[task + WAIT_SERIAL] = 0
    if connection == 0:
        _gives_up(m, task)
    return True


@kernel
def _gives_up(m: Memory, task: int) -> None:
    m[task + ERROR] = POOL_TIMED_OUT
    released(m, task, m[task + OPEN_VISIT])


@kernel
def _queue(m: Memory, pool: int, task: int) -> None:
    m[task + PENDING] = 1
    # The pool is found again in VALUE, which is free until there is a connection.
    m[task + VALUE] = pool
    last = m[pool + POOL_LAST]
    m[task] = 0
    m[task + BACK] = last
    if last != 0:
        m[last] = task
    else:
        m[pool + POOL_FIRST] = task
    m[pool + POOL_LAST] = task


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


@kernel
def pool_times_out(m: Memory, task: int) -> None:
    """The task has waited for as long as it may."""
    if m[task + TAKES_LATER] >= TOLD:
        m[task + TAKES_LATER] += TOLD_LATE - TOLD
        return
    pool = m[task + VALUE]
    _unqueue(m, pool, task)
    connection = _room(m, pool)
    if connection != 0:
        _hand_over(m, task, connection, HANDED_OVER)
    else:
        m[task + TAKES_LATER] = HANDED_OVER
        m[task + WAIT_SERIAL] = 0
        book(m, task, m[task + DOING])
        _gives_up(m, task)
        soon(m, RESUME, task)


@kernel
def _hand_over(m: Memory, task: int, connection: int, how: int) -> None:
    m[task + TAKES_LATER] = how
    if how == HANDED_OVER:
        m[task + WAIT_SERIAL] = 0
    book(m, task, m[task + DOING])
    _tell(m, task, connection)
    soon(m, RESUME, task)


@kernel
def closes_on_return(m: Memory, pool: int) -> bool:
    """Whether a connection given back now is surplus: enough are idle or not taken yet."""
    return m[pool + IDLE_N] + m[pool + UNTAKEN_N] >= m[pool + POOL_SIZE]


@kernel
def release_connection(m: Memory, pool: int, connection: int, close: bool) -> bool:
    """Give a connection back, or close it; whether somebody was told who has yet to take it."""
    if close and m[connection + BACKEND] >= 0:
        if m[pool + POOL_DATABASE] != 0:
            push_number(m, m[pool + POOL_DATABASE] + IDLE, m[connection + BACKEND])
        m[connection + BACKEND] = NONE
    is_open = m[connection + BACKEND] >= 0
    task = m[pool + POOL_FIRST]
    if task != 0 and (is_open or m[pool + POOL_TELLS] != 0):
        _unqueue(m, pool, task)
        if m[task + TAKES_LATER] == HANDED_OVER:
            _hand_over(m, task, connection, HANDED_OVER)
        else:
            last = m[pool + UNTAKEN_LAST]
            m[connection] = last
            m[connection + UNTAKEN_NEXT] = 0
            m[connection + TOLD_TASK] = task
            if last != 0:
                m[last + UNTAKEN_NEXT] = connection
            m[pool + UNTAKEN_LAST] = connection
            m[connection + ON_LOOP] = m[task + TAKES_LATER] == TAKES_ON_LOOP
            m[pool + UNTAKEN_N] += m[connection + ON_LOOP]
            _hand_over(m, task, connection, TOLD)
            return True
    elif is_open:
        put_idle(m, pool, connection)
    else:
        m[connection] = m[pool + SPARE]
        m[pool + SPARE] = connection
    return False


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


@kernel
def is_out(m: Memory, database: int) -> bool:
    """Whether a database is in an outage."""
    return database != 0 and struck(m, m[database + DATABASE_FAULTS], m[NOW], 0) == NONE
