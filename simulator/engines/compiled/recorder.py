"""What a run writes down while it happens: rows, attempts, visits; the host takes them away."""

from __future__ import annotations

from simulator.arrays import IntArray
from simulator.engines.compiled.clock import ANSWERED, RESUME, soon
from simulator.engines.compiled.jit import PLAIN, entry, kernel, pointer
from simulator.engines.compiled.memory import (
    ATTEMPTS,
    ATTEMPTS_N,
    ATTEMPTS_SOFT,
    CAUSES,
    FLUSH,
    LAST,
    NONE,
    NOW,
    RELEASED,
    ROWS,
    ROWS_N,
    ROWS_SOFT,
    STATUS,
    TASKS_FIRST,
    VISIT,
    VISITS,
    VISITS_N,
    VISITS_SOFT,
    Memory,
    free,
)
from simulator.engines.compiled.process import LOOP_STATION
from simulator.engines.compiled.task import (
    ALL_NEXT,
    ANSWER,
    ANSWERED_WITH,
    ARRIVED_NS,
    ATTEMPT,
    DONE,
    FIRST_BYTE,
    GRANTED,
    IS_REQUEST,
    LINGERS,
    LIVE,
    LOOP_GRANTED,
    LOOP_QUEUED,
    LOOP_WAITED,
    MARK,
    OPEN_FIRST,
    PROC,
    PROCESS,
    QUEUED,
    REQUEST,
    ROUTE,
    SPENT,
    STATION,
    VISIT_SLOT,
    VISIT_WAITED,
    WAITED,
    ended,
    take_visit,
)
from simulator.engines.contract import IN_FLIGHT

ROW = 7
VISIT_ROW = 7
ATTEMPT_ROW = 6
CHUNK = 1024 if PLAIN else 1 << 12
"""Rows that a kernel writes before the host takes them away: a cache holds them meanwhile."""
BEYOND_CHUNK = 2048 if PLAIN else 1 << 16
"""Rows that it may write beyond that before it looks."""
STRIDE = CHUNK + BEYOND_CHUNK
"""Words between two columns of the visits, and of the attempts."""


@kernel
def write_visit(
    m: Memory,
    station: int,
    request: int,
    slot: int,
    queued: int,
    granted: int,
    released: int,
    work: int,
) -> None:
    """A visit is over."""
    row = m[VISITS] + m[VISITS_N]
    m[row] = station
    m[row + STRIDE] = request
    m[row + 2 * STRIDE] = slot
    m[row + 3 * STRIDE] = queued
    m[row + 4 * STRIDE] = granted
    m[row + 5 * STRIDE] = released
    m[row + 6 * STRIDE] = work
    m[VISITS_N] += 1
    if m[VISITS_N] >= m[VISITS_SOFT]:
        m[STATUS] |= FLUSH


@kernel
def visited(
    m: Memory,
    station: int,
    task: int,
    slot: int,
    queued: int,
    granted: int,
    released: int,
    work: int,
) -> None:
    """A task's visit is over; the run ends with the last of them."""
    if released > m[RELEASED]:
        m[RELEASED] = released
    write_visit(m, station, m[task + REQUEST], slot, queued, granted, released, work)


@kernel
def released_at(m: Memory, task: int, visit: int, at: int) -> None:
    """The visit ends at that instant, or is given up if it was never granted."""
    take_visit(m, task, visit)
    work = 0
    if m[visit + GRANTED] != NONE:
        held = at - m[visit + GRANTED]
        work = min(max(0, held - (m[task + WAITED] - m[visit + VISIT_WAITED])), held)
    visited(
        m,
        m[visit + STATION],
        task,
        m[visit + VISIT_SLOT],
        m[visit + QUEUED],
        m[visit + GRANTED],
        at,
        work,
    )
    free(m, VISIT, visit)


@kernel
def released(m: Memory, task: int, visit: int) -> None:
    """The visit ends now."""
    released_at(m, task, visit, m[NOW])


@kernel
def overtaken(m: Memory, task: int, visit: int) -> None:
    """What the visit had is another's: its wait ended then, in vain, and another begins."""
    began, told = m[visit + QUEUED], m[visit + GRANTED]
    visited(m, m[visit + STATION], task, NONE, began, NONE, told, 0)
    m[visit + QUEUED] = m[NOW]
    m[visit + GRANTED] = NONE
    m[visit + VISIT_SLOT] = NONE


@kernel
def write_row(m: Memory, task: int, finish: int, outcome: int) -> None:
    """A request has its row, with the ledger behind it."""
    row = m[ROWS] + m[ROWS_N] * (ROW + m[CAUSES])
    m[row] = m[task + REQUEST]
    m[row + 1] = m[task + ROUTE]
    m[row + 2] = m[task + PROCESS]
    m[row + 3] = m[task + ARRIVED_NS]
    m[row + 4] = finish
    m[row + 5] = outcome
    m[row + 6] = finish if m[task + FIRST_BYTE] == NONE else m[task + FIRST_BYTE]
    row += ROW
    for cause in range(m[CAUSES]):
        m[row + cause] = m[task + SPENT + cause]
    m[ROWS_N] += 1
    if m[ROWS_N] >= m[ROWS_SOFT]:
        m[STATUS] |= FLUSH


@entry
def place_rows(rows: IntArray, head: IntArray, spent: IntArray) -> int:
    """Put rows where a trace has them; gives back how many there were.

    Parameters
    ----------
    rows : ndarray of int64, shape (n, ROW + causes)
        As ``write_row`` wrote them, in any order; the first word is the place.
    head, spent : ndarray of int64, shapes (ROW, requests) and (causes, requests)
        What is filled, from zeros.
    """
    for i in range(rows.shape[0]):
        place = rows[i, 0]
        for column in range(ROW):
            head[column, place] = rows[i, column]
        for column in range(ROW, rows.shape[1]):
            if rows[i, column] != 0:
                spent[column - ROW, place] = rows[i, column]
    return int(rows.shape[0])


@kernel
def finish(m: Memory, task: int, outcome: int) -> None:
    """The request has its answer, or its failure; its user goes on."""
    ended(m, task)
    write_row(m, task, m[NOW], outcome)
    if m[task + DONE] != 0:
        soon(m, RESUME, m[task + DONE])


@kernel
def answered(m: Memory, task: int, outcome: int) -> None:
    """The server has answered a request, or an attempt of one."""
    if m[task + ANSWER] == 0:
        finish(m, task, outcome)
    else:
        m[task + ANSWERED_WITH] = outcome
        soon(m, ANSWERED, task)


@kernel
def attempted(m: Memory, attempt: int, outcome: int) -> None:
    """An attempt is over for its client."""
    row = m[ATTEMPTS] + m[ATTEMPTS_N]
    m[row] = m[attempt + REQUEST]
    m[row + STRIDE] = m[attempt + ATTEMPT]
    m[row + 2 * STRIDE] = m[attempt + PROCESS]
    m[row + 3 * STRIDE] = m[attempt + ARRIVED_NS]
    m[row + 4 * STRIDE] = m[NOW]
    m[row + 5 * STRIDE] = outcome
    m[ATTEMPTS_N] += 1
    if m[ATTEMPTS_N] >= m[ATTEMPTS_SOFT]:
        m[STATUS] |= FLUSH


@kernel
def close(m: Memory, task: int, end: int) -> None:
    """Close what a task has open at the end of the run."""
    visit = m[task + OPEN_FIRST]
    while visit != 0 and m[visit + GRANTED] != NONE:
        visit = m[visit]
    if visit != 0:
        m[task + WAITED] += max(0, end - m[task + MARK])
    while m[task + OPEN_FIRST] != 0:
        released_at(m, task, m[task + OPEN_FIRST], end)
    if m[task + LOOP_QUEUED] != NONE:
        granted = m[task + LOOP_GRANTED]
        work, slot = 0, NONE
        if granted != NONE:
            work = end - granted - (m[task + WAITED] - m[task + LOOP_WAITED])
            slot = 0
        station = m[m[task + PROC] + LOOP_STATION]
        visited(m, station, task, slot, m[task + LOOP_QUEUED], granted, end, work)
    if m[task + IS_REQUEST] != 0 and m[task + LIVE] != 0:
        write_row(m, task, NONE, IN_FLIGHT)


@entry
def close_all(memory: Memory, end: int) -> bool:
    """Close every task, as many as there is room for; True when all are closed."""
    m = pointer(memory)
    while m[TASKS_FIRST] != 0:
        if m[STATUS] & FLUSH:
            return False
        task = m[TASKS_FIRST]
        if m[task + LIVE] != 0 or m[task + LINGERS] != 0:
            close(m, task, end)
        m[TASKS_FIRST] = m[task + ALL_NEXT]
    return True


@entry
def last_moment(memory: Memory, deadlocked: bool) -> int:
    """The end of the run: of its last task, its last visit, or the last booking of a stuck one."""
    m = pointer(memory)
    last: int = max(m[LAST], m[RELEASED])
    task = m[TASKS_FIRST]
    while task != 0:
        if deadlocked and m[task + LIVE] != 0:
            last = max(last, m[task + MARK])
        if m[task + LINGERS] != 0:
            visit = m[task + OPEN_FIRST]
            while visit != 0:
                last = max(last, m[visit + QUEUED], m[visit + GRANTED])
                visit = m[visit]
        task = m[task + ALL_NEXT]
    return last
