"""Where runs are computed: in this process, in others on this machine, on a cluster.

A task is small and whole: a text, its overrides, a seed, a number. What comes of it depends on
nothing else, so that it is the same wherever and whenever it is computed.

Local processes are the standard library's: joblib's, tried here, start as slowly (each imports
NumPy and SimPy) and can't be given tasks one by one while others are under way, which `-n auto`
needs. Dask, an extra, is used through its own client for the same reason.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Hashable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import lru_cache
from types import TracebackType
from typing import Any, Protocol, Self

from simulator.answer import Answer, simulate
from simulator.engine import Engine
from simulator.engines.contract import LimitError
from simulator.experiments.measures import Measured, measured
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads

ALONE_S = {Engine.SIMPY: 1.0, Engine.COMPILED: 4.0}
"""Seconds: what promises to take no longer is computed without other processes.

To start one takes about half a second, with kernels two, so that a short sweep is faster alone.
"""
AHEAD = 4
"""Tasks that are given out for each process before the first is done."""


Keep = Callable[[Answer, int], None]
"""Takes the whole of a replication, in the process that made it, and its number."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run of one scenario."""

    path: str
    text: str
    overrides: tuple[str, ...]
    seed: int | None  # instead of the scenario's
    replication: int
    engine: Engine = Engine.AUTO
    keep: Keep | None = None


Outcome = Measured | str
"""What came of a task, or why it is invalid."""


class Executor(Protocol):
    """Computes tasks, in any order."""

    @property
    def room(self) -> int:
        """How many tasks it wants to have at a time."""
        ...

    def submit(self, key: Hashable, task: Task) -> None:
        """Give it a task."""
        ...

    def next(self) -> tuple[Any, Outcome]:
        """The key of a task that is done, and what came of it."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


def compute(task: Task) -> Outcome:
    """One run.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted: half a run is no result.
    """
    try:
        scenario = _scenario(task.path, task.text, task.overrides)
        answer = simulate(
            scenario, seed=task.seed, replication=task.replication, engine=task.engine
        )
    except ScenarioError as error:
        return first_problem(error)
    except LimitError as error:
        return str(error)
    if answer.trace.ended == "interrupted":
        raise KeyboardInterrupt
    if task.keep is not None:
        task.keep(answer, task.replication)
    return measured(answer)


def first_problem(error: ScenarioError) -> str:
    """The first problem in a line, and how many more there are."""
    problem = error.problems[0]
    text = f"{problem.message}, {problem.hint}" if problem.hint else problem.message
    more = len(error.problems) - 1
    return " ".join(text.split()) + (f" (and {more} more)" if more else "")


def available_cpus() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=4)
def _scenario(path: str, text: str, overrides: tuple[str, ...]) -> Scenario:
    # Replications of one point come together: to read it once for each would cost as much
    # as a short run.
    return loads(text, overrides, path=path)


class Local:
    """This process while that is quick enough, then ``jobs`` processes, of which it is one.

    It computes as well while others start and while nothing of theirs is done: results
    take it a few percent of its time, too little for a processor of its own.

    Parameters
    ----------
    jobs : int
        Processes at most, this one counted.
    expected : int
        About how many tasks there will be.
    alone_s : float
        Seconds within which all is computed in this process; 0 starts others at once.
    """

    def __init__(self, jobs: int, expected: int, alone_s: float = ALONE_S[Engine.SIMPY]) -> None:
        self._jobs = max(min(jobs, expected), 1)
        self._expected = expected
        self._alone_s = alone_s
        self._began = time.monotonic()
        self._done = 0
        self._queue: deque[tuple[Hashable, Task]] = deque()
        self._pool: ProcessPoolExecutor | None = None
        self._before: set[int | None] = set()
        self._futures: dict[Future[Outcome], Hashable] = {}

    @property
    def room(self) -> int:
        return AHEAD * self._jobs

    def submit(self, key: Hashable, task: Task) -> None:
        self._queue.append((key, task))

    def next(self) -> tuple[Any, Outcome]:
        if self._pool is None and not self._alone():
            self._start()
        if self._pool is not None:
            while self._queue and len(self._futures) < AHEAD * (self._jobs - 1):
                key, task = self._queue.popleft()
                self._futures[self._pool.submit(compute, task)] = key
            # Does not wait while there is something to do here.
            timeout = 0 if self._queue else None
            done, _ = wait(self._futures, timeout, return_when=FIRST_COMPLETED)
            if done:
                future = done.pop()
                return self._futures.pop(future), future.result()
        key, task = self._queue.popleft()
        self._done += 1
        return key, compute(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pool is None:
            return
        if kind is None and not self._futures:
            self._pool.shutdown()
            return
        self._pool.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child.pid not in self._before:
                child.terminate()

    def _alone(self) -> bool:
        """Whether all would be done in time, if the rest takes as long as what was done."""
        if self._jobs == 1:
            return True
        if not self._done:
            return self._alone_s > 0
        each_s = (time.monotonic() - self._began) / self._done
        return each_s * self._expected < self._alone_s

    def _start(self) -> None:
        # Spawned, not forked: NumPy may have threads by now, and forks are not portable.
        context = multiprocessing.get_context("spawn")
        self._before = {child.pid for child in multiprocessing.active_children()}
        others = self._jobs - 1
        self._pool = ProcessPoolExecutor(others, mp_context=context, initializer=_begin)


def _begin() -> None:
    """What a process does before its first task."""
    # A terminal sends Ctrl-C to every process: only the one that prints answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # Whoever is killed can't say goodbye, and its processes would wait for tasks for ever.
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
