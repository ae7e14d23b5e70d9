"""One thread, one selector, one heap of timers: what the generator runs on.

asyncio's timers are as coarse as epoll's timeout, 1 ms, and so are uvloop's; a generator
that sends on time needs finer ones. ``select`` takes microseconds, and can wait for the
selector itself. It also costs less per request than either (``python -m tests.generator_cost``).
"""

from __future__ import annotations

import heapq
import select
import selectors
import time
from collections.abc import Callable
from typing import Any

now_ns = time.monotonic_ns

LONGEST_WAIT_NS = 500_000_000


class Loop:
    """Calls back when a socket is ready and when an instant has come; instants in ns."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.running = True
        self._timers: list[tuple[int, int, Callable[[Any], None], Any]] = []
        self._number = 0

    def at(self, when_ns: int, call: Callable[[Any], None], argument: Any = None) -> None:
        """Call ``call(argument)`` at an instant of ``time.monotonic_ns``, in order of asking."""
        self._number += 1
        heapq.heappush(self._timers, (when_ns, self._number, call, argument))

    def run(self) -> None:
        """Until ``running`` is false."""
        timers, pop = self._timers, heapq.heappop
        waits = [self.selector.fileno()]
        while self.running:
            now = now_ns()
            while timers and timers[0][0] <= now:
                _, _, call, argument = pop(timers)
                call(argument)
            if not self.running:
                break
            pause = timers[0][0] - now_ns() if timers else LONGEST_WAIT_NS
            pause = min(max(pause, 0), LONGEST_WAIT_NS)
            ready, _, _ = select.select(waits, (), (), pause / 1e9)
            if ready:
                for key, mask in self.selector.select(0):
                    key.data(mask)
