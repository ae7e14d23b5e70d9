"""Sleeping on a loop to the tenth of a millisecond.

A loop's own timers count whole milliseconds (uvloop rounds, asyncio rounds up), which is what
``await asyncio.sleep`` in a handler shall do; a service of 1.4 ms needs a finer one. Linux
has it as a file descriptor; elsewhere the loop's is used.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import sys
import time
from heapq import heappop, heappush

_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK, _TFD_CLOEXEC = os.O_NONBLOCK, getattr(os, "O_CLOEXEC", 0)
_ABSOLUTE = 1


class _Spec(ctypes.Structure):
    _fields_ = [(name, ctypes.c_long) for name in ("every_s", "every_ns", "at_s", "at_ns")]


class Timer:
    """Sleeps of one loop."""

    def __init__(self) -> None:
        self._line: list[tuple[int, int, asyncio.Future[None]]] = []
        self._count = 0
        self._descriptor = -1
        if sys.platform == "linux":
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._descriptor = self._libc.timerfd_create(
                _CLOCK_MONOTONIC, _TFD_NONBLOCK | _TFD_CLOEXEC
            )
        self._reads = False

    async def sleep(self, ns: int) -> None:
        """Come back after so many nanoseconds."""
        if ns <= 0:
            return
        if self._descriptor < 0:
            await asyncio.sleep(ns / 1e9)
            return
        loop = asyncio.get_running_loop()
        if not self._reads:
            loop.add_reader(self._descriptor, self._rings)
            self._reads = True
        future: asyncio.Future[None] = loop.create_future()
        at = time.monotonic_ns() + ns
        self._count += 1
        heappush(self._line, (at, self._count, future))
        if self._line[0][2] is future:
            self._set(at)
        await future

    def _set(self, at: int) -> None:
        spec = _Spec(0, 0, *divmod(at, 10**9))
        self._libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(spec), None)

    def _rings(self) -> None:
        os.read(self._descriptor, 8)
        now = time.monotonic_ns()
        while self._line and self._line[0][0] <= now:
            future = heappop(self._line)[2]
            if not future.done():
                future.set_result(None)
        if self._line:
            self._set(self._line[0][0])
