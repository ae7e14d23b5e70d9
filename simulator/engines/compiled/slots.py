"""Slots of one kind and the FIFO queue of those who wait for one (``models.slots``)."""

from __future__ import annotations

from simulator.engines.compiled.clock import RESUME, soon
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import NODE, Memory, free, new
from simulator.engines.compiled.task import PENDING, VALUE

(SIZE, IDLE, MADE, WAITING_FIRST, WAITING_LAST, WAITING_N, SLOTS_SIZE) = range(7)

NODE_SIZE = 4  # the next one, a number; as large as all other nodes


@kernel
def push_number(m: Memory, stack: int, number: int) -> None:
    """Put a number on the stack whose top stands at an address."""
    node = new(m, NODE, NODE_SIZE)
    m[node] = m[stack]
    m[node + 1] = number
    m[stack] = node


@kernel
def pop_number(m: Memory, stack: int) -> int:
    """Take the number off that was put on last."""
    node = m[stack]
    m[stack] = m[node]
    free(m, NODE, node)
    return m[node + 1]


@kernel
def acquire_slot(m: Memory, slots: int, task: int) -> bool:
    """Whether the task has a slot now, in VALUE; otherwise it waits."""
    if m[slots + IDLE] != 0:
        m[task + VALUE] = pop_number(m, slots + IDLE)
    elif m[slots + MADE] < m[slots + SIZE]:
        m[task + VALUE] = m[slots + MADE]
        m[slots + MADE] += 1
    else:
        m[task] = 0
        if m[slots + WAITING_FIRST] == 0:
            m[slots + WAITING_FIRST] = task
        else:
            m[m[slots + WAITING_LAST]] = task
        m[slots + WAITING_LAST] = task
        m[slots + WAITING_N] += 1
        m[task + PENDING] = 1
        return False
    m[task + PENDING] = 0
    return True


@kernel
def release_slot(m: Memory, slots: int, slot: int) -> None:
    """Give a slot back: to the longest waiter, if there is one."""
    task = m[slots + WAITING_FIRST]
    if task == 0:
        push_number(m, slots + IDLE, slot)
        return
    m[slots + WAITING_FIRST] = m[task]
    m[slots + WAITING_N] -= 1
    m[task + VALUE] = slot
    soon(m, RESUME, task)
