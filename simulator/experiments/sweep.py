"""A sweep: one scenario at every combination of values, all with the same seed.

Draws are addressed and never consumed in order, so every point sees the same arrivals
and service times (common random numbers), and a point is the same whichever process
computes it and when.

Not modelled: replications and confidence bands, sweeps shared among machines, going on
where an earlier sweep stopped.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from simulator.answer import simulate
from simulator.engines.contract import LimitError
from simulator.experiments.axes import Axis, AxisError, parse, points, written
from simulator.experiments.measures import Measured, measured
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.scenario.problem import Problems
from simulator.scenario.source import read_text

ALONE_S = 1.0
"""Seconds: a sweep that promises to take no longer is computed without other processes.

To start one takes about half a second, so that a short sweep is faster alone.
"""


@dataclass(frozen=True, slots=True)
class Sweep:
    """The question: a scenario's text, what varies, what is fixed."""

    path: str
    text: str
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...] = ()  # KEY=VALUE, the same at every point
    zipped: bool = False
    seed: int | None = None  # instead of the scenario's

    @property
    def points(self) -> tuple[tuple[str, ...], ...]:
        """The values at each point, in the order of the table."""
        return points(self.axes, zipped=self.zipped)

    def overrides(self, values: Sequence[str]) -> list[str]:
        """What stands after the file to run one point alone."""
        swept = [f"{axis.key}={v}" for axis, v in zip(self.axes, values, strict=True)]
        return [*self.fixed, *swept]


@dataclass(frozen=True, slots=True)
class Row:
    """One point of a sweep: its values and what came of it."""

    values: tuple[str, ...]
    measured: Measured | None  # None if the point is invalid
    error: str | None  # why it is


@dataclass(frozen=True, slots=True)
class Result:
    """The rows of the points that were computed, in the order of the sweep's points."""

    sweep: Sweep
    name: str  # of the scenario
    seed: int
    rows: tuple[Row, ...]
    interrupted: bool

    @property
    def failed(self) -> bool:
        """Whether a point was invalid."""
        return any(row.error is not None for row in self.rows)


def question(
    file: str, arguments: Sequence[str], *, zipped: bool = False, seed: int | None = None
) -> Sweep:
    """The sweep that a command line asks for: a file, then `KEY=VALUES` or `KEY=VALUE`.

    Keys with several values are varied, those with one are fixed. If all are fixed the
    scenario's own `sweep:` is taken, less what is fixed.

    Raises
    ------
    ScenarioError
        If the file can't be read or, where its `sweep:` is needed, is invalid.
    AxisError
        If values are malformed, too many, or none at all.
    """
    given = [parse(argument) for argument in arguments]
    axes = tuple(axis for axis in given if len(axis.values) > 1)
    twice = [a.key for i, a in enumerate(given) if a.key in [b.key for b in given[:i]]]
    if twice:
        raise AxisError(f"{twice[0]} is given twice, expected each key once")
    fixed = tuple(f"{axis.key}={axis.values[0]}" for axis in given if len(axis.values) == 1)
    text = read(file)
    if not axes:
        own = loads(text, fixed, path=file).sweep
        keys = [axis.key for axis in given]
        axes = tuple(written(key, values) for key, values in own.items() if key not in keys)
    if not axes:
        raise AxisError(
            f"nothing to sweep: {file} has no `sweep:`, expected KEY=VALUES such as "
            "pools.db.size=10,20,50 or pools.db.size=10..100..10"
        )
    asked = Sweep(file, text, axes, fixed, zipped, seed)
    points(axes, zipped=zipped)
    return asked


def read(path: str | Path) -> str:
    """The text of a scenario.

    Raises
    ------
    ScenarioError
        If it can't be read.
    """
    problems = Problems()
    text = read_text(Path(path), str(path), problems)
    problems.raise_if_any()
    assert text is not None
    return text


def run(
    sweep: Sweep,
    *,
    jobs: int = 1,
    alone_s: float = ALONE_S,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Result:
    """Every point of a sweep.

    Parameters
    ----------
    jobs : int
        Processes at most. The result is the same for any number.
    alone_s : float
        Seconds within which a sweep is computed in this process; 0 starts others at once.
    progress : callable
        Called after each point with how many are done, and of how many.

    Returns
    -------
    Result
        After Ctrl-C with the points that were done, ``interrupted`` being true.

    Raises
    ------
    ScenarioError
        If the scenario is invalid by itself, and so at every point.
    AxisError
        If there are too many points, or axes to zip of unequal length.
    """
    todo = list(enumerate(sweep.points))
    rows: dict[int, Row] = {}
    interrupted = False
    scenario = first_valid(sweep)
    seed = scenario.seed if sweep.seed is None else sweep.seed
    try:
        for index, row in _rows(sweep, todo, jobs, alone_s):
            rows[index] = row
            progress(len(rows), len(todo))
    except KeyboardInterrupt:
        interrupted = True
    ordered = tuple(rows[index] for index in sorted(rows))
    return Result(sweep, scenario.name, seed, ordered, interrupted)


def available_cpus() -> int:
    """The processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def first_valid(sweep: Sweep) -> Scenario:
    """The scenario of the first point that is valid.

    Raises
    ------
    ScenarioError
        Of the first point, if none is.
    """
    first: ScenarioError | None = None
    for values in sweep.points:
        try:
            return loads(sweep.text, sweep.overrides(values), path=sweep.path)
        except ScenarioError as error:
            first = first or error
    assert first is not None
    raise first


def _rows(
    sweep: Sweep, todo: list[tuple[int, tuple[str, ...]]], jobs: int, alone_s: float
) -> Iterator[tuple[int, Row]]:
    left = list(todo)
    began = time.monotonic()
    while left and (jobs == 1 or len(left) == 1 or _soon_over(began, todo, left, alone_s)):
        index, values = left.pop(0)
        yield index, compute(sweep, values)
    if left:
        yield from _in_processes(sweep, left, min(jobs, len(left)))


def _soon_over(
    began: float, todo: Sequence[object], left: Sequence[object], alone_s: float
) -> bool:
    """Whether all points would be done in time, if the rest take as long as those before."""
    elapsed = time.monotonic() - began
    done = len(todo) - len(left)
    return alone_s > 0 if not done else elapsed / done * len(todo) < alone_s


def _in_processes(
    sweep: Sweep, todo: list[tuple[int, tuple[str, ...]]], jobs: int
) -> Iterator[tuple[int, Row]]:
    # Spawned, not forked: NumPy may have threads by now, and forks are not portable.
    context = multiprocessing.get_context("spawn")
    before = {child.pid for child in multiprocessing.active_children()}
    executor = ProcessPoolExecutor(jobs, mp_context=context, initializer=_ignore_ctrl_c)
    work = partial(compute, sweep)
    try:
        futures = {executor.submit(work, values): index for index, values in todo}
        for future in as_completed(futures):
            yield futures[future], future.result()
    except BaseException:
        executor.shutdown(wait=False, cancel_futures=True)
        for child in multiprocessing.active_children():
            if child.pid not in before:
                child.terminate()
        raise
    executor.shutdown()


def _ignore_ctrl_c() -> None:
    # A terminal sends it to every process: only the one that prints answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def compute(sweep: Sweep, values: tuple[str, ...]) -> Row:
    """One point.

    Raises
    ------
    KeyboardInterrupt
        If it was interrupted: half a run is no point of a curve.
    """
    try:
        scenario = loads(sweep.text, sweep.overrides(values), path=sweep.path)
        answer = simulate(scenario, seed=sweep.seed)
    except ScenarioError as error:
        return Row(values, None, first_problem(error))
    except LimitError as error:
        return Row(values, None, str(error))
    if answer.trace.ended == "interrupted":
        raise KeyboardInterrupt
    return Row(values, measured(answer), None)


def first_problem(error: ScenarioError) -> str:
    """The first problem in a line, and how many more there are."""
    problem = error.problems[0]
    text = f"{problem.message}, {problem.hint}" if problem.hint else problem.message
    more = len(error.problems) - 1
    return " ".join(text.split()) + (f" (and {more} more)" if more else "")
