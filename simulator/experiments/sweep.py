"""A sweep: one scenario at every combination of values, all with the same draws.

Draws are addressed and never consumed in order, so replication r of every point sees the same
arrivals and service times (common random numbers), and a point is the same whichever process
or machine computes it and when.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from simulator.engine import Engine, Tell
from simulator.experiments.axes import Axis, AxisError, parse, points, written
from simulator.experiments.combining import combined
from simulator.experiments.executors import ALONE_S, Executor, Local
from simulator.experiments.measures import Measured
from simulator.experiments.replications import LOOKS, Case, Replicating
from simulator.experiments.work import events_of_points, settled
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.scenario.problem import Problems
from simulator.scenario.source import read_text


@dataclass(frozen=True, slots=True)
class Sweep:
    """The question: a scenario's text, what varies, what is fixed, how often each point runs."""

    path: str
    text: str
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...] = ()  # KEY=VALUE, the same at every point
    zipped: bool = False
    seed: int | None = None  # instead of the scenario's
    replications: int = 1  # of each point, or AUTO
    engine: Engine = Engine.AUTO  # AUTO looks at the work of all points together

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
    """One point of a sweep: its values and what came of it, all its replications together."""

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
    asked: int  # points that were to be computed: fewer than the sweep's in a shard

    @property
    def failed(self) -> bool:
        """Whether a point was invalid."""
        return any(row.error is not None for row in self.rows)


Shard = tuple[int, int]
"""The i-th of n equal parts of a sweep, from 1: every n-th point."""


def question(
    file: str,
    arguments: Sequence[str],
    *,
    zipped: bool = False,
    seed: int | None = None,
    replications: int = 1,
    engine: Engine = Engine.AUTO,
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
    asked = Sweep(file, text, axes, fixed, zipped, seed, replications, engine)
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


def numbers_of(sweep: Sweep, shard: Shard | None = None) -> list[int]:
    """The places of the points of a sweep, or of its shard."""
    part, parts = shard or (1, 1)
    return list(range(part - 1, len(sweep.points), parts))


def run(
    sweep: Sweep,
    *,
    jobs: int = 1,
    alone_s: float | None = None,
    executor: Executor | None = None,
    shard: Shard | None = None,
    known: Mapping[int, Row] | None = None,
    done: Callable[[int, Row], None] = lambda number, row: None,
    progress: Callable[[int, int, float], None] = lambda done, of, share: None,
    tell: Tell = lambda sentence: None,
) -> Result:
    """Every point of a sweep; after Ctrl-C those that were done, ``interrupted`` being true.

    Parameters
    ----------
    jobs, alone_s : int, float
        Of ``Local``; the result is the same for any.
    executor : Executor, optional
        Where runs are computed, instead of local processes.
    shard : Shard, optional
    known : mapping of int to Row, optional
        Points that were computed before, by their place.
    done, progress, tell : callable
        Called with the place of each point and its row as soon as it is computed; with points
        done, their number, and the share of runs done; with what takes long or can't be had.

    Raises
    ------
    ScenarioError
        If the scenario is invalid at every point.
    AxisError
        Too many points, or axes to zip of unequal length.
    """
    every, numbers = sweep.points, numbers_of(sweep, shard)
    scenario, engine = first_valid(sweep), settled(sweep.engine, expected_events(sweep), tell)
    rows = {number: known[number] for number in numbers if known and number in known}
    todo = [number for number in numbers if number not in rows]
    cases = [_case(sweep, every[number], engine) for number in todo]
    runs_expected, interrupted = len(todo) * (sweep.replications or LOOKS[0]), False

    def told(runs: int, of: int) -> None:
        progress(len(rows), len(numbers), runs / max(of, 1))

    try:
        alone = ALONE_S[engine] if alone_s is None else alone_s
        if todo:
            told(0, 1)
        with executor or Local(jobs, runs_expected, alone) as used:
            replicating = Replicating(cases, sweep.replications, used, progress=told)
            for index, found in replicating:
                number = todo[index]
                rows[number] = _row(every[number], found)
                done(number, rows[number])
                told(*replicating.count)
    except KeyboardInterrupt:
        interrupted = True
    ordered = tuple(rows[number] for number in sorted(rows))
    seed = scenario.seed if sweep.seed is None else sweep.seed
    return Result(sweep, scenario.name, seed, ordered, interrupted, len(numbers))


def expected_events(sweep: Sweep) -> float:
    """About how many events all runs of all points take, whatever is to be done here."""
    if sweep.engine is not Engine.AUTO:
        return 0.0
    points = [sweep.overrides(values) for values in sweep.points]
    return events_of_points(sweep.path, sweep.text, points) * (sweep.replications or LOOKS[0])


def _case(sweep: Sweep, values: Sequence[str], engine: Engine) -> Case:
    overrides = tuple(sweep.overrides(values))
    return Case(sweep.path, sweep.text, overrides, sweep.seed, engine=engine)


def _row(values: tuple[str, ...], found: tuple[Measured, ...] | str) -> Row:
    if isinstance(found, str):
        return Row(values, None, found)
    return Row(values, combined(found), None)


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
