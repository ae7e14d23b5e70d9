"""Slots of one kind and the FIFO queue of those who wait for one.

The mechanics shared by workers, threads, limiters and locks. A slot given back is
handed straight to the longest waiter; otherwise the slot used last is used next.
"""

from __future__ import annotations

from collections import deque

import simpy

from models.clock import grant, granted


class Slots:
    """So many equal slots, first come, first served.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    size : int
        How many there are.
    """

    def __init__(self, env: simpy.Environment, size: int) -> None:
        self._env = env
        self._size = size
        self._idle: list[int] = []
        self._made = 0  # slots are numbered as they are first used: 0, 1, 2, …
        self._waiting: deque[simpy.Event] = deque()

    @property
    def size(self) -> int:
        return self._size

    @property
    def in_use(self) -> int:
        return self._made - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def acquire(self) -> simpy.Event:
        """An event whose value is the slot, once there is one."""
        if self._idle:
            return granted(self._env, self._idle.pop())
        if self._made < self._size:
            self._made += 1
            return granted(self._env, self._made - 1)
        event = simpy.Event(self._env)
        self._waiting.append(event)
        return event

    def release(self, slot: int) -> None:
        """Give a slot back."""
        if self._waiting:
            grant(self._waiting.popleft(), slot)
        else:
            self._idle.append(slot)
