"""Accelerators that serve many at a time: static batches, and continuous batching.

``Batcher`` imitates a dynamic batcher: Triton's ``dynamic_batching`` with
``max_queue_delay_microseconds``, TorchServe's ``batchSize`` and ``maxBatchDelay``. The window
opens with the arrival of the oldest; a batch starts, on a free device, when it is full or the
window ends. A device that frees takes as many as fit if the oldest has waited long enough.
With ``window_taken`` it imitates the usual loop over an ``asyncio.Queue``: get an item, then
more until the batch is full or ``wait`` has passed, run it, again. The window opens when an
idle device takes its first item; devices open theirs one after another.

``ContinuousBatcher`` imitates iteration-level batching (Orca, vLLM): up to so many
requests run on a device; each step takes all of them one token further; new ones join,
and finished ones leave, between two steps.

Modelled: windows, sizes, priorities, queue limit, several devices, a time for each batch
or step, devices that are out. Not modelled: the prompt's own (prefill) cost, memory of
the key-value cache and preemption, padding, several models on one device, preferred
batch sizes, a caller who gives up in a static batch.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, NamedTuple

import simpy

from models.clock import PHASE_END, PHASE_TIMER, Owner, after, grant, granted, refuse, refused

BatchTime = Callable[[int, int], "int | None"]
"""The time of a batch or a step by its number and its size; None where the device is out."""


class AcceleratorFull(Exception):
    """As many wait as may."""


class AcceleratorError(Exception):
    """The device was out when the batch, or the step, began."""


class Aborted(Exception):
    """The caller had gone; its request was taken off."""


class Place(NamedTuple):
    """Where an item is served."""

    device: int
    place: int  # within the batch, from 0


class Item:
    """Something to be served.

    ``started`` happens, with its ``Place``, when it is taken onto a device; it fails with
    ``AcceleratorFull`` if no more may wait. ``done`` happens when it is served; it fails
    with ``AcceleratorError`` if the device was out. With continuous batching
    ``first_token`` happens at the end of its first step, and either of the others fails
    with ``Aborted`` if the caller has gone.
    """

    __slots__ = (
        "_env", "_seen", "done", "first_token", "gone", "place", "queued", "size", "started"
    )  # fmt: skip

    def __init__(self, env: simpy.Environment, size: int) -> None:
        self._env = env
        self._seen = False  # by its caller: until then what happens has happened already
        self.size = size  # room in a batch; with continuous batching the tokens left
        self.queued: int = int(env.now)
        self.started = simpy.Event(env)
        self.done = simpy.Event(env)
        self.place = Place(-1, -1)
        self.first_token = simpy.Event(env)
        self.gone: Callable[[], bool] = _stays

    def _starts(self, place: Place) -> None:
        self.place = place
        self.started = self._happens(self.started, place)

    def _ends(self) -> None:
        self.done = self._happens(self.done, None)

    def _fails(self, error: Exception) -> None:
        if self._seen:
            refuse(self.done, error)
        else:
            self.done = refused(self._env, error)

    def _happens(self, event: simpy.Event, value: Any) -> simpy.Event:
        if not self._seen:
            return granted(self._env, value)
        grant(event, value)
        return event


def _stays() -> bool:
    return False


def _out() -> AcceleratorError:
    return AcceleratorError("the device is out")


class _Line:
    """Those who wait: the most urgent first, and among equals who came first."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Item]] = []
        self._by_arrival: dict[int, Item] = {}
        self._number = 0
        self.room = 0  # what all of them take

    def __len__(self) -> int:
        return len(self._heap)

    @property
    def oldest(self) -> Item:
        return next(iter(self._by_arrival.values()))

    @property
    def next_size(self) -> int:
        return self._heap[0][2].size

    def push(self, item: Item, priority: int) -> None:
        self._number += 1
        heappush(self._heap, (priority, self._number, item))
        self._by_arrival[self._number] = item
        self.room += item.size

    def pop(self) -> Item:
        _, number, item = heappop(self._heap)
        del self._by_arrival[number]
        self.room -= item.size
        return item


class _Accelerator:
    """What both have in common: devices, a line with a limit, items."""

    def __init__(
        self,
        env: simpy.Environment,
        time: BatchTime,
        batch_max: int,
        devices: int,
        queue: int | None,
        owner: Owner | None,
    ) -> None:
        self._env = env
        self._time = time
        self._max = batch_max
        self._queue = queue
        self._owner = owner
        self._line = _Line()
        self._number = 0  # of the next batch, or the next step
        self._idle = list(range(devices))  # the lowest is used first

    @property
    def waiting(self) -> int:
        return len(self._line)

    def _next_time(self, size: int) -> int | None:
        number = self._number
        self._number += 1
        return self._time(number, size)

    def _refused(self, item: Item) -> Item:
        item.started = refused(self._env, AcceleratorFull(f"{self._queue} wait already"))
        return item

    def _after(self, delay: int, phase: int, callback: Callable[[simpy.Event], None]) -> None:
        event = after(self._env, delay, phase, self._owner)
        assert event.callbacks is not None
        event.callbacks.append(callback)


class Batcher(_Accelerator):
    """Devices that each serve one batch at a time.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    time : callable
        The time of a batch by its number (from 0) and its size; None fails all of it.
    batch_max : int
        The room in a batch.
    wait : int, default 0
        How long the oldest waits for others, in units of the clock. With 0 an idle device
        starts with the first that comes, also if others come at the same instant.
    window_taken : bool, default False
        Counted from when an idle device takes the oldest, not from its arrival.
    devices : int, default 1
    queue : int, optional
        How many may wait, those in an open window included; no limit if not given.
    owner : Owner, optional
        Who owns ends and windows on a ``Clock``.
    """

    def __init__(
        self,
        env: simpy.Environment,
        time: BatchTime,
        batch_max: int,
        *,
        wait: int = 0,
        window_taken: bool = False,
        devices: int = 1,
        queue: int | None = None,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, time, batch_max, devices, queue, owner)
        self._wait = wait
        self._window_taken = window_taken
        self._taken = -1  # when a device was idle for the oldest first; -1: not yet
        self._window_ends = -1  # the instant that a timer was set for last

    def submit(self, priority: int = 0, *, size: int = 1) -> Item:
        """An item in the line; the lowest ``priority`` is taken first.

        Raises
        ------
        ValueError
            If it is larger than a batch.
        """
        if size > self._max:
            raise ValueError(f"an item of {size} in batches of {self._max}")
        item = Item(self._env, size)
        if not self._may_wait(item):
            return self._refused(item)
        self._line.push(item, priority)
        self._start_batches()
        item._seen = True
        return item

    def _may_wait(self, item: Item) -> bool:
        if self._queue is None or len(self._line) < self._queue:
            return True
        # It need not wait if it makes a batch start.
        full = self._line.room + item.size >= self._max
        return bool(self._idle) and (self._wait == 0 or full)

    def _start_batches(self) -> None:
        now = int(self._env.now)
        while self._idle and len(self._line):
            self._taken = now if self._taken < 0 else self._taken
            ends = self._wait + (self._taken if self._window_taken else self._line.oldest.queued)
            if now < ends and self._line.room < self._max:
                if ends != self._window_ends:
                    self._window_ends = ends
                    self._after(ends - now, PHASE_TIMER, lambda _: self._start_batches())
                return
            self._start_batch(heappop(self._idle))

    def _start_batch(self, device: int) -> None:
        self._taken = -1
        batch: list[Item] = []
        room = self._max
        while len(self._line) and self._line.next_size <= room:
            item = self._line.pop()
            room -= item.size
            item._starts(Place(device, len(batch)))
            batch.append(item)
        time = self._next_time(self._max - room)
        if time:
            self._after(time, PHASE_END, lambda _: self._end_batch(device, batch))
            return
        heappush(self._idle, device)
        for item in batch:
            item._fails(_out()) if time is None else item._ends()

    def _end_batch(self, device: int, batch: list[Item]) -> None:
        # The device goes on with the next batch, then the answers are read.
        heappush(self._idle, device)
        self._start_batches()
        for item in batch:
            item._ends()


class ContinuousBatcher(_Accelerator):
    """Devices that take all that run on them one token further in each step.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    time : callable
        The time of a step by its number (from 0, over all devices) and by how many run;
        None fails all of them.
    running_max : int
        How many run on a device at the same time.
    devices : int, default 1
        A request goes to the idle device with the lowest number, or else to the first
        that ends a step with room.
    queue : int, optional
        How many may wait; no limit if not given.
    owner : Owner, optional
        Who owns the steps' ends on a ``Clock``.
    """

    def __init__(
        self,
        env: simpy.Environment,
        time: BatchTime,
        running_max: int,
        *,
        devices: int = 1,
        queue: int | None = None,
        owner: Owner | None = None,
    ) -> None:
        super().__init__(env, time, running_max, devices, queue, owner)
        # Of each device: what runs, by place; the places that are free, lowest first.
        self._running: list[dict[int, Item]] = [{} for _ in range(devices)]
        self._free: list[list[int]] = [[] for _ in range(devices)]

    def submit(self, tokens: int, priority: int = 0, *, gone: Callable[[], bool] = _stays) -> Item:
        """A request in the line for so many tokens; the lowest ``priority`` joins first.

        ``gone`` is asked between two steps: who has gone is taken off (vLLM aborts the
        request of a client that disconnects), or passed over in the line.

        Raises
        ------
        ValueError
            If it asks for less than one token.
        """
        if tokens < 1:
            raise ValueError(f"a request for {tokens} tokens")
        item = Item(self._env, tokens)
        item.gone = gone
        if not self._idle and self._queue is not None and len(self._line) >= self._queue:
            return self._refused(item)
        self._line.push(item, priority)
        if self._idle:
            self._step(heappop(self._idle))
        item._seen = True
        return item

    def _step(self, device: int) -> None:
        """Let join who may, and take all that run one token further."""
        running = self._running[device]
        while True:
            self._join(device)
            if not running:
                heappush(self._idle, device)
                return
            time = self._next_time(len(running))
            if time:
                self._after(time, PHASE_END, lambda _: self._step_ends(device))
                return
            if time is None:
                self._all_fail(device)
            else:
                for item in self._advance(device):
                    item._ends()

    def _join(self, device: int) -> None:
        running, free = self._running[device], self._free[device]
        while len(running) < self._max and len(self._line):
            item = self._line.pop()
            if item._seen and item.gone():
                refuse(item.started, Aborted("the caller has gone"))
                continue
            # Places are numbered as they are first used; all below are taken or free.
            place = heappop(free) if free else len(running)
            running[place] = item
            item._starts(Place(device, place))

    def _step_ends(self, device: int) -> None:
        finished = self._advance(device)
        self._step(device)
        for item in finished:
            item._ends()

    def _advance(self, device: int) -> list[Item]:
        """Those that have all their tokens now; they leave, as do those whose caller has."""
        finished = []
        for place, item in tuple(self._running[device].items()):
            item.size -= 1
            if not item.first_token.triggered:
                item.first_token = item._happens(item.first_token, None)
            if item.size == 0:
                self._leaves(device, place)
                finished.append(item)
            elif item.gone():
                self._leaves(device, place)
                item._fails(Aborted("the caller has gone"))
        return finished

    def _leaves(self, device: int, place: int) -> None:
        del self._running[device][place]
        heappush(self._free[device], place)

    def _all_fail(self, device: int) -> None:
        for place, item in tuple(self._running[device].items()):
            self._leaves(device, place)
            item._fails(_out())
