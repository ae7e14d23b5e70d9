"""A real micro-batcher in front of a real numpy model, and one that batches continuously.

Each device is a thread: it runs the model's forward pass over the batch (numpy, which
releases the GIL) and then sleeps until the time is up that the scenario gives for a batch of
this size, as a host thread waits for its GPU.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any

from simulator.calibration.served.failures import Failed
from simulator.plan import NO_STREAM, UNLIMITED, Accelerator, Target

if TYPE_CHECKING:
    from simulator.calibration.served.process import Process

WIDTH = 64
"""Of the model's layers: a forward pass of some microseconds."""


class Model:
    """Two layers of numpy with fixed weights."""

    def __init__(self) -> None:
        import numpy as np

        self._inputs = np.linspace(-1, 1, WIDTH, dtype=np.float32)
        grid = np.outer(np.arange(WIDTH), np.arange(WIDTH))
        self._weights = np.cos(grid).astype(np.float32)

    def forward(self, size: int) -> Any:
        """The outputs for a batch of this size, shape (size, WIDTH)."""
        import numpy as np

        batch = np.broadcast_to(self._inputs, (size, WIDTH))
        return np.maximum(batch @ self._weights, 0) @ self._weights


class Item:
    """A request at an accelerator."""

    __slots__ = ("came", "done", "left", "token")

    def __init__(self, done: asyncio.Future[None], tokens: int, token: Callable[[], None]) -> None:
        self.done = done
        self.left = tokens
        self.token = token
        self.came = time.monotonic_ns()


class Devices:
    """The devices of an accelerator and the line before them; lives on one loop."""

    def __init__(self, process: Process, index: int) -> None:
        self.spec: Accelerator = process.plan.accelerators[index]
        self._strikes = process.strikes(Target.ACCELERATOR, index)
        self._draw = None
        if self.spec.time != NO_STREAM:
            self._draw = process.spec.workload.time(self.spec.time)
        self._line: list[tuple[int, int, Item]] = []
        self._came = 0
        self._number = 0  # of the next batch, or step
        self._idle = self.spec.count
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = ThreadPoolExecutor(self.spec.count, f"device-{self.spec.label}")
        self._model = Model()
        self._full = Failed(f"accelerator_full:{self.spec.label}")
        self._error = Failed(f"accelerator_error:{self.spec.label}")

    async def submit(self, priority: int, tokens: int = 0) -> None:
        """Come back when served.

        Raises
        ------
        Failed
            If no more may wait, or the device was out.
        """
        await self.begin(priority, tokens).done

    def begin(
        self, priority: int, tokens: int = 0, token: Callable[[], None] = lambda: None
    ) -> Item:
        """A request in the line; ``token`` is called for each token of a generation.

        Raises
        ------
        Failed
            If no more may wait.
        """
        loop = self._loop = asyncio.get_running_loop()
        item = Item(loop.create_future(), tokens, token)
        if self.spec.queue < UNLIMITED and len(self._line) >= self.spec.queue and not self._room():
            raise self._full
        self._came += 1
        heappush(self._line, (priority, self._came, item))
        self._look()
        return item

    def _room(self) -> bool:
        """Whether one more starts at once."""
        full = len(self._line) + 1 >= self.spec.batch_max
        return self._idle > 0 and (self.spec.wait_ns == 0 or self.spec.continuous or full)

    def _look(self) -> None:
        raise NotImplementedError

    def _time_of(self, size: int) -> int | None:
        """The time of the batch or step that begins now; None if the device is out."""
        spec, number = self.spec, self._number
        self._number += 1
        if spec.table_ns:
            ns = spec.table_ns[size - 1]
        elif self._draw is not None:
            ns = self._draw(number)
        else:
            ns = spec.base_ns + spec.per_item_ns * size
        return ns if self._strikes is None else self._strikes(ns)

    def _on_device(self, size: int, ns: int) -> asyncio.Future[None]:
        """Run the model on a device's own thread for this time."""
        began = time.monotonic_ns()

        def work() -> None:
            self._model.forward(size)
            left = began + ns - time.monotonic_ns()
            if left > 0:
                time.sleep(left / 1e9)

        assert self._loop is not None
        return self._loop.run_in_executor(self._threads, work)


class Batcher(Devices):
    """Static batches: a window, a size at most, one batch in flight per device."""

    def __init__(self, process: Process, index: int) -> None:
        super().__init__(process, index)
        self._taken = 0  # when an idle device took the oldest; 0: not yet
        self._timer: asyncio.TimerHandle | None = None
        self._running: set[asyncio.Task[None]] = set()

    def _look(self) -> None:
        while self._idle and self._line:
            now = time.monotonic_ns()
            self._taken = self._taken or now
            oldest = min(item.came for _, _, item in self._line)
            ends = self.spec.wait_ns + (self._taken if self.spec.window_taken else oldest)
            if now < ends and len(self._line) < self.spec.batch_max:
                if self._timer is not None:
                    self._timer.cancel()
                assert self._loop is not None
                self._timer = self._loop.call_later((ends - now) / 1e9, self._window_ends)
                return
            self._start()

    def _window_ends(self) -> None:
        self._timer = None
        self._look()

    def _start(self) -> None:
        size = min(len(self._line), self.spec.batch_max)
        batch = [heappop(self._line)[2] for _ in range(size)]
        self._taken = 0
        self._idle -= 1
        task = asyncio.ensure_future(self._serve(batch))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _serve(self, batch: list[Item]) -> None:
        ns = self._time_of(len(batch))
        if ns is not None:
            await self._on_device(len(batch), ns)
        self._idle += 1
        for item in batch:
            _ends(item, self._error if ns is None else None)
        self._look()


class ContinuousBatcher(Devices):
    """All that run on a device get a token at each step; others join between two."""

    def __init__(self, process: Process, index: int) -> None:
        super().__init__(process, index)
        self._running: set[asyncio.Task[None]] = set()

    def _look(self) -> None:
        if self._idle and self._line:
            self._idle -= 1
            task = asyncio.ensure_future(self._steps())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _steps(self) -> None:
        running: list[Item] = []
        while True:
            while len(running) < self.spec.batch_max and self._line:
                item = heappop(self._line)[2]
                if not item.done.done():
                    running.append(item)
            if not running:
                self._idle += 1
                return
            ns = self._time_of(len(running))
            if ns is None:
                for item in running:
                    _ends(item, self._error)
                running = []
                continue
            await self._on_device(len(running), ns)
            running = [item for item in running if not _has_token(item)]


def _has_token(item: Item) -> bool:
    """Give an item its token; whether it has left the device."""
    if item.done.done():
        return True  # its caller has gone
    item.left -= 1
    item.token()
    if item.left <= 0:
        item.done.set_result(None)
    return item.left <= 0


def _ends(item: Item, error: Failed | None) -> None:
    if item.done.done():
        return
    if error is None:
        item.done.set_result(None)
    else:
        item.done.set_exception(error)


class Batches:
    """The accelerators of a plan that this process runs."""

    def __init__(self, process: Process) -> None:
        self.devices: list[Devices] = [
            (ContinuousBatcher if spec.continuous else Batcher)(process, i)
            for i, spec in enumerate(process.plan.accelerators)
        ]
