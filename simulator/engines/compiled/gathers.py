"""Branches that run at the same time (``simulator.engines.gathers``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import RESUME, soon
from simulator.engines.compiled.code import ENDS, FAILS, GO, WAITS
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import JOIN, Memory, free, new
from simulator.engines.compiled.steps import enter, has_turn, leave
from simulator.engines.compiled.task import (
    ATTEMPT,
    BRANCH,
    BRANCHES,
    HANDLER,
    HOME_JOIN,
    INSTANCE,
    MARK,
    OPEN_JOIN,
    OPEN_TRANSACTION,
    OUTCOME,
    PC,
    PHASE,
    PROC,
    PROCESS,
    REFS,
    REQUEST,
    RESULT,
    ROUTE,
    SIBLING,
    absorb,
    ended,
    let_go,
    new_task,
)
from simulator.engines.compiled.transaction import (
    forget_transaction,
    know_transaction,
)
from simulator.engines.contract import OK

# What a gather waits for: its last branch, or the first that fails.
(_LINK, RUNNING_N, JOIN_OUTCOME, LAST_BRANCH, JOINED, JOIN_PARENT, JOIN_REFS, JOIN_SIZE) = range(8)


@kernel
def new_branch(m: Memory, parent: int, branch: int) -> int:
    """A task for a branch of a gather, for background work, or for what is left behind."""
    request, route = m[parent + REQUEST], m[parent + ROUTE]
    child = new_task(m, request, route, branch, m[parent + ATTEMPT])
    m[child + PROCESS] = m[parent + PROCESS]
    m[child + PROC] = m[parent + PROC]
    m[child + INSTANCE] = m[parent + INSTANCE]
    m[child + OPEN_TRANSACTION] = m[parent + OPEN_TRANSACTION]
    know_transaction(m, m[child + OPEN_TRANSACTION])
    return child


@kernel
def gather(m: Memory, task: int, branches: int, programs: int) -> int:
    """``GATHER``: start the branches, wait for them, go on in a later turn of the loop.

    ``programs`` is the address of each branch's number, beginning and end.
    """
    phase = m[task + PHASE]
    if phase == 0:
        join = new(m, JOIN, JOIN_SIZE)
        m[join + RUNNING_N] = branches
        m[join + JOIN_OUTCOME] = OK
        m[join + LAST_BRANCH] = 0
        m[join + JOINED] = 0
        m[join + JOIN_PARENT] = task
        m[join + JOIN_REFS] = branches + 1
        m[task + OPEN_JOIN] = join
        last = 0
        for i in range(branches):
            program = programs + 3 * i
            child = new_branch(m, task, m[program])
            m[child + PC] = m[program + 1]
            m[child + HANDLER] = m[program + 2]
            m[child + HOME_JOIN] = join
            m[child + REFS] = 2
            if last == 0:
                m[task + BRANCHES] = child
            else:
                m[last + SIBLING] = child
            last = child
            enter(m, child, True, False)
        leave(m, task)
        m[task + PHASE] = 1
        return WAITS
    join = m[task + OPEN_JOIN]
    if phase == 1:
        child = m[task + BRANCHES]
        m[task + BRANCHES] = 0
        absorb(m, task, m[join + LAST_BRANCH])
        while child != 0:
            following = m[child + SIBLING]
            let_go(m, child)
            child = following
        if not enter(m, task, True, False):
            m[task + PHASE] = 2
            return WAITS
    else:
        has_turn(m, task)
    outcome = m[join + JOIN_OUTCOME]
    _forget_join(m, join)
    if outcome != OK:
        m[task + OUTCOME] = outcome
        return FAILS
    return GO


@kernel
def branch_begins(m: Memory, task: int) -> int:
    """``BRANCH_BEGINS``: a branch is on the loop for the first time."""
    has_turn(m, task)
    return GO


@kernel
def branch_ends(m: Memory, task: int) -> int:
    """``BRANCH_ENDS``: a branch has ended, be it in failure."""
    join = m[task + HOME_JOIN]
    outcome = m[task + RESULT]
    m[join + RUNNING_N] -= 1
    if m[join + JOINED] == 0:
        last = m[join + LAST_BRANCH]
        if last == 0 or m[task + MARK] > m[last + MARK] or m[task + BRANCH] < m[last + BRANCH]:
            m[join + LAST_BRANCH] = task
        if outcome != OK:
            m[join + JOIN_OUTCOME] = outcome
            m[join + LAST_BRANCH] = task
        if outcome != OK or m[join + RUNNING_N] == 0:
            m[join + JOINED] = 1
            soon(m, RESUME, m[join + JOIN_PARENT])
    _forget_join(m, join)
    ended(m, task)
    leave(m, task)
    forget_transaction(m, m[task + OPEN_TRANSACTION])
    return ENDS


@kernel
def _forget_join(m: Memory, join: int) -> None:
    m[join + JOIN_REFS] -= 1
    if m[join + JOIN_REFS] == 0:
        free(m, JOIN, join)
