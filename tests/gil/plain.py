"""A plain simulation of CPython 3.11's GIL beside an event loop, written apart from the models.

``take_gil`` and ``drop_gil`` of ``Python/ceval_gil.h`` line by line, with what a real machine
adds: a woken thread gets there only ``wake`` µs after its signal. Times are µs.
"""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from typing import Any

Body = Generator[tuple[Any, ...], None, None]


@dataclass(eq=False)
class Thread:
    body: Body
    left: float = 0.0  # of its computation
    since: float = 0.0
    stint: int = 0  # number of its present stretch of computing
    wait: int = 0  # number of its present timed wait
    saved: int = 0  # gil->switch_number when that began


class Machine:
    """Threads of one process; a thread yields what it does next.

    ``("cpu", µs)`` under the GIL, ``("take",)``, ``("drop",)``, ``("sleep", µs)`` and
    ``("until", list)``: until something is in the list.
    """

    def __init__(
        self,
        interval: float,
        *,
        wake: Callable[[], float],
        fifo: bool = False,
        seed: int = 1,
    ) -> None:
        self.now = 0.0
        self.interval = interval
        self.wake = wake
        self.fifo = fifo
        self.random = random.Random(seed)
        self.heap: list[tuple[float, int, Callable[[], None]]] = []
        self.number = 0
        self.locked = False
        self.last_holder: Thread | None = None
        self.switch_number = 0
        self.drop_request = False
        self.on_cond: list[Thread] = []
        self.on_switch_cond: list[Thread] = []
        self.computing: Thread | None = None
        self.listening: dict[int, Thread] = {}

    def at(self, after: float, what: Callable[[], None]) -> None:
        self.number += 1
        heapq.heappush(self.heap, (self.now + after, self.number, what))

    def run(self, until: float) -> None:
        while self.heap and self.heap[0][0] <= until:
            self.now, _, what = heapq.heappop(self.heap)
            what()

    def start(self, body: Body) -> None:
        self.step(Thread(body))

    def step(self, thread: Thread) -> None:
        try:
            what, *args = next(thread.body)
        except StopIteration:
            return
        if what == "take":
            self.take(thread)
        elif what == "drop":
            self.drop(thread)
        elif what == "sleep":
            self.at(args[0], lambda: self.step(thread))
        elif what == "cpu":
            thread.left = args[0]
            self.compute(thread)
        elif args[0]:
            self.step(thread)
        else:
            self.listening[id(args[0])] = thread

    def put(self, inbox: list[Any], item: Any) -> None:
        inbox.append(item)
        thread = self.listening.pop(id(inbox), None)
        if thread is not None:
            self.at(self.wake(), lambda: self.step(thread))

    def compute(self, thread: Thread) -> None:
        if self.drop_request:
            self.drop(thread)
            return
        self.computing = thread
        thread.since = self.now
        thread.stint += 1
        stint = thread.stint
        self.at(thread.left, lambda: self.computed(thread, stint))

    def computed(self, thread: Thread, stint: int) -> None:
        if self.computing is thread and thread.stint == stint:
            self.computing = None
            thread.left = 0.0
            self.step(thread)

    def eval_breaker(self) -> None:
        thread = self.computing
        if thread is not None:
            thread.left -= self.now - thread.since
            self.computing = None
            self.drop(thread)

    def drop(self, thread: Thread) -> None:
        self.locked = False
        if self.on_cond:
            chosen = 0 if self.fifo else self.random.randrange(len(self.on_cond))
            woken = self.on_cond.pop(chosen)
            woken.wait += 1
            self.at(self.wake(), lambda: self.take(woken))
        if self.drop_request:
            self.drop_request = False
            self.on_switch_cond.append(thread)
        else:
            self.dropped(thread)

    def dropped(self, thread: Thread) -> None:
        """Out of drop_gil: back for more if the eval loop had dropped it."""
        if thread.left > 0:
            self.take(thread)
        else:
            self.step(thread)

    def take(self, thread: Thread) -> None:
        if self.locked:
            thread.saved = self.switch_number
            thread.wait += 1
            wait = thread.wait
            self.on_cond.append(thread)
            self.at(self.interval, lambda: self.timed_out(thread, wait))
            return
        self.locked = True
        if self.last_holder is not thread:
            self.last_holder = thread
            self.switch_number += 1
        for other in self.on_switch_cond:
            self.at(self.wake(), lambda other=other: self.dropped(other))
        self.on_switch_cond.clear()
        self.drop_request = False
        if thread.left > 0:
            self.compute(thread)
        else:
            self.step(thread)

    def timed_out(self, thread: Thread, wait: int) -> None:
        if thread.wait != wait:
            return
        self.on_cond.remove(thread)
        if self.locked and thread.saved == self.switch_number:
            self.drop_request = True
            self.take(thread)
            self.eval_breaker()
        else:
            self.take(thread)


@dataclass
class Service:
    """uvicorn on one loop, light requests and closed-loop burners in threads."""

    machine: Machine
    loop: str
    burn: float
    polled: list[Any] = field(default_factory=list)
    ready: deque[Any] = field(default_factory=deque)
    light: list[float] = field(default_factory=list)
    burns: int = 0

    READ, PARSE, STEP, SEND, SEND2, GAP = 15.0, 120.0, 250.0, 40.0, 8.0, 3.0

    def away(self, us: float) -> Iterator[tuple[Any, ...]]:
        yield ("drop",)
        yield ("sleep", us)
        yield ("take",)

    def run_loop(self) -> Body:
        uv = self.loop == "uvloop"
        while True:
            yield ("until", self.polled)
            yield ("take",)
            while self.polled or self.ready:
                events, self.polled[:] = list(self.polled), []
                for n, (kind, arg) in enumerate(events):
                    if uv:
                        if n:
                            yield from self.away(0.5)
                        yield ("cpu", 5.0)
                        if kind != "done":
                            yield from self.away(self.READ)
                        yield ("cpu", self.PARSE if kind != "done" else 5.0)
                    else:
                        yield ("cpu", 20.0)
                        yield from self.away(self.READ)
                        yield ("cpu", self.PARSE if kind != "done" else 5.0)
                    self.ready.append((kind, arg))
                yield from self.away(self.GAP)
                batch, self.ready = self.ready, deque()
                for kind, arg in batch:
                    yield from self.task_step(kind, arg, uv)
            yield ("drop",)

    def task_step(self, kind: str, arg: Any, uv: bool) -> Iterator[tuple[Any, ...]]:
        if kind == "hop":
            if arg:
                self.ready.append(("hop", arg - 1))
            else:
                self.machine.start(self.thread())
            return
        yield ("cpu", self.STEP)
        if kind == "burn":
            self.ready.append(("hop", 1))  # AnyIO lets others run twice before it starts a thread
            return
        if not uv:
            yield from self.away(self.SEND)
            yield ("cpu", 5.0)
        self.machine.at(0, lambda: self.answered(kind, arg))
        if not uv:
            yield from self.away(self.SEND2)

    def answered(self, kind: str, arg: Any) -> None:
        if kind == "light":
            self.light.append(self.machine.now - arg)
        else:
            self.burns += 1
            self.machine.at(300.0, lambda: self.machine.put(self.polled, ("burn", None)))

    def thread(self) -> Body:
        yield ("sleep", self.machine.wake())
        yield ("take",)
        yield ("cpu", self.burn)
        self.machine.put(self.polled, ("done", None))
        yield ("drop",)


def simulate(
    loop: str,
    k: int,
    burn_ms: float,
    interval_ms: float,
    *,
    wake_us: float,
    rate: float = 45.0,
    n: int = 400,
    seed: int = 1,
) -> list[float]:
    """Latencies of n light requests in ms, ascending; wake-ups are exponential."""
    rnd = random.Random(seed)
    wake = (lambda: rnd.expovariate(1 / wake_us)) if wake_us else (lambda: 0.0)
    # A timed wait is as late as a sleep (.1 ms).
    machine = Machine(interval_ms * 1e3 + 100.0, wake=wake, seed=seed)
    service = Service(machine, loop, burn_ms * 1e3)
    machine.start(service.run_loop())
    for _ in range(k):
        machine.put(service.polled, ("burn", None))
    at = 500_000.0
    for _ in range(n):
        at += rnd.gammavariate(1 / 0.09, 0.09e6 / rate)
        machine.at(at, lambda at=at: machine.put(service.polled, ("light", at)))
    machine.run(at + 3e6)
    return sorted(latency / 1e3 for latency in service.light)
