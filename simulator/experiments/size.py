"""The smallest value that meets its goals, or the highest load that keeps them.

Every trial has the same arrivals and service times (common random numbers), so that the
trials differ by the key alone, and the same question always has the same answer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.answer import Answer, simulate
from simulator.arrays import BoolArray, IntArray
from simulator.engines.contract import LimitError
from simulator.experiments.axes import Axis, AxisError, parse, points, positions
from simulator.experiments.constraints import Constraint
from simulator.experiments.finding import LOAD_KEY
from simulator.experiments.measures import Measured, measured
from simulator.experiments.search import Point, Search, within
from simulator.experiments.sweep import first_problem, read
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.scenario.code_lines import code_line
from simulator.thresholds import AGGREGATES, Threshold
from simulator.thresholds import parse as parse_threshold

TRIALS_MAX = 60
"""Runs of one search; a single key of up to 10,000 values never needs more than 15."""

ERRORS_GOAL = ("errors", "rate<1%")
"""What is asked of failures where no goal is about them: percentiles are of ok requests
alone, so that without it a server that refuses nearly everybody would be fast enough."""

_GOAL = re.compile(rf"\s*((?:{'|'.join(AGGREGATES)})\b\s*(?:\{{[^{{}}]*\}})?)\s*:?\s*(.*)")
_GOLDEN = (5**0.5 - 1) / 2


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched: a scenario's text, the keys and their values, the goals."""

    path: str
    text: str
    words: tuple[str, ...]  # as they were asked for, without the file: what repeats the search
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]  # KEY=VALUE, the same in every trial
    goals: tuple[tuple[str, str], ...]  # metric, expression; beside the file's thresholds
    constraints: tuple[Constraint, ...]
    prices: tuple[Fraction, ...]  # of one more of each key
    seed: int | None

    @property
    def of_load(self) -> bool:
        """Whether the one key is how much load comes: then the highest value is wanted."""
        return len(self.axes) == 1 and bool(LOAD_KEY.search(self.axes[0].key))

    def overrides(self, values: Sequence[str]) -> list[str]:
        """What stands after the file to run one trial alone."""
        swept = [f"{axis.key}={v}" for axis, v in zip(self.axes, values, strict=True)]
        return [*self.fixed, *swept]


@dataclass(frozen=True, slots=True)
class Trial:
    """One point: what came of its run, or why it was not run (``measured`` is None then)."""

    values: tuple[str, ...]
    measured: Measured | None
    refused: str  # why it was not run
    passed: bool


@dataclass(frozen=True, slots=True)
class Found:
    """What a search found: ``best`` is None where no point meets the goals."""

    question: Question
    scenario: Scenario  # of the best trial, else of the most generous
    goals: tuple[Threshold, ...]
    assumed: tuple[str, ...]  # goals and limits that nobody wrote
    trials: tuple[Trial, ...]  # in the order in which they were run
    best: Trial | None
    proof: Trial | None  # the nearest with less that fails; None where the best is the least
    forbidden: str  # by what the most generous point is not allowed; "" if it is
    undecided: int  # points that an interrupted search has left open
    interrupted: bool
    code: tuple[tuple[str, str], ...]  # by key: the line of code that makes it as the best has it
    worse: Trial | None  # one that fails with more of everything than one that passes

    @property
    def never_hurts(self) -> bool:
        """Whether more of everything made nothing worse in any trial: then the best is proven."""
        return self.worse is None


def question(
    file: str,
    arguments: Sequence[str],
    *,
    slo: Sequence[str] = (),
    limits: Sequence[str] = (),
    prices: Sequence[str] = (),
    seed: int | None = None,
) -> Question:
    """The search that a command line asks for.

    Parameters
    ----------
    arguments : sequence of str
        ``KEY=LO..HI`` (or a list, from the least to the most) of what is searched, and
        ``KEY=VALUE`` of what is fixed.
    slo : sequence of str
        Goals: ``p(95)<200ms`` (of latency), ``errors rate<1%``, ``latency{route:a} p(99)<1s``.
    limits : sequence of str
        ``connections<=97``, see ``constraints``.
    prices : sequence of str
        ``KEY=PRICE`` of one more; 1 where it is not given.

    Raises
    ------
    ScenarioError
        If the file can't be read.
    AxisError
        If values, limits or prices are malformed, or there is nothing to search.
    """
    given = [parse(argument) for argument in arguments]
    axes = tuple(axis for axis in given if len(axis.values) > 1)
    if not axes:
        raise AxisError("nothing to search, expected KEY=LO..HI such as pools.db.size=1..100")
    keys = [axis.key for axis in axes]
    if len({axis.key for axis in given}) < len(given):
        raise AxisError("a key is given twice, expected each key once")
    loads_among = [key for key in keys if LOAD_KEY.search(key)]
    if loads_among and len(keys) > 1:
        raise AxisError(f"{loads_among[0]} is a load, expected it alone: the highest is searched")
    points(axes)
    priced = _prices(prices, keys)
    return Question(
        path=file,
        text=read(file),
        words=(
            *arguments,
            *(word for goal in slo for word in ("--slo", goal)),
            *(word for limit in limits for word in ("--max", limit)),
            *(word for price in prices for word in ("--cost", price)),
            *(("--seed", str(seed)) if seed is not None else ()),
        ),
        axes=tuple(_from_least(axis) for axis in axes),
        fixed=tuple(f"{axis.key}={axis.values[0]}" for axis in given if len(axis.values) == 1),
        goals=tuple(_goal(text) for text in slo),
        constraints=tuple(Constraint.parse(text) for text in limits),
        prices=tuple(priced.get(key, Fraction(1)) for key in keys),
        seed=seed,
    )


def _goal(text: str) -> tuple[str, str]:
    match = _GOAL.fullmatch(text)
    return (match[1].strip(), match[2]) if match else ("latency", text)


def _prices(texts: Sequence[str], keys: Sequence[str]) -> dict[str, Fraction]:
    out = {}
    for text in texts:
        key, _, price = text.partition("=")
        if key not in keys:
            known = ", ".join(keys)
            raise AxisError(f"--cost {text}: {key} is not searched, expected one of: {known}")
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", price):
            raise AxisError(f"--cost {text}: expected KEY=PRICE of one more, such as {key}=2.5")
        out[key] = Fraction(price)
    return out


def _from_least(axis: Axis) -> Axis:
    at = positions(axis.values)
    if at is None:
        return axis  # words such as handlers: in the order given
    return replace(axis, values=tuple(v for _, v in sorted(zip(at, axis.values, strict=True))))


class _Runs:
    """Trials by point: each point is run once."""

    def __init__(self, asked: Question, progress: Callable[[Trial, int], None]) -> None:
        self.asked = asked
        self.trials: dict[Point, Trial] = {}
        self.answers: dict[Point, Answer] = {}
        self.assumed: tuple[str, ...] = ()
        self.goals: tuple[Threshold, ...] = ()
        self._progress = progress

    def values(self, point: Point) -> tuple[str, ...]:
        """The values of a point; of a load the least is the most generous."""
        axes = self.asked.axes
        if self.asked.of_load:
            return (axes[0].values[len(axes[0].values) - 1 - point[0]],)
        return tuple(axis.values[i] for axis, i in zip(axes, point, strict=True))

    def scenario(self, point: Point) -> Scenario:
        """The scenario of a point, its thresholds being all goals.

        Raises
        ------
        ScenarioError
            It is invalid.
        ValueError
            A goal names what it has not.
        """
        asked = self.asked
        scenario = loads(asked.text, asked.overrides(self.values(point)), path=asked.path)
        routes = tuple(scenario.document["routes"])
        own = scenario.thresholds
        goals = (*own, *(parse_threshold(metric, text, routes) for metric, text in asked.goals))
        if not goals:
            raise AxisError(
                f"{asked.path} has no thresholds, expected some, or a goal: --slo 'p(95)<200ms'"
            )
        self.assumed = ()
        if not any(goal.metric in ("errors", "ok") for goal in goals):
            goals = (*goals, parse_threshold(*ERRORS_GOAL, routes))
            self.assumed = (goals[-1].text,)
        self.goals = goals
        return replace(scenario, thresholds=goals)

    def broken(self, point: Point) -> str:
        """By which constraint a point is not allowed; "" if it is."""
        plan = self.scenario(point).plan
        limits = (*self.asked.constraints, *Constraint.of_databases(plan))
        return next((limit.broken(plan) for limit in limits if not limit.holds(plan)), "")

    def allowed(self, point: Point) -> bool:
        """Whether a point may be tried; one that is invalid says so when it is."""
        try:
            return not self.broken(point)
        except ScenarioError:
            return True

    def run(self, point: Point, left: int) -> Trial:
        """The trial of a point; ``left``: how many points are undecided."""
        if point not in self.trials:
            self.trials[point] = trial = self._run(point)
            self._progress(trial, left)
        return self.trials[point]

    def _run(self, point: Point) -> Trial:
        values = self.values(point)
        try:
            scenario = self.scenario(point)
        except ScenarioError as error:
            return Trial(values, None, first_problem(error), False)
        try:
            answer = simulate(scenario, seed=self.asked.seed)
        except LimitError as error:
            return Trial(values, None, str(error), False)
        if answer.trace.ended == "interrupted":
            raise KeyboardInterrupt
        passed = answer.passed and answer.trace.ended != "deadlock"
        return Trial(values, measured(answer), "", passed)


def search(
    asked: Question, *, progress: Callable[[Trial, int], None] = lambda trial, left: None
) -> Found:
    """Run as few trials as it takes.

    Parameters
    ----------
    progress : callable
        Called after each trial with it and the number of points still undecided.

    Returns
    -------
    Found
        After Ctrl-C with the trials that were done, ``interrupted`` being true.

    Raises
    ------
    ScenarioError
        If the scenario is invalid by itself, at its most generous point.
    ValueError
        If a goal names a metric or a route that is not there.
    """
    shape = tuple(len(axis.values) for axis in asked.axes)
    runs = _Runs(asked, progress)
    generous = tuple(n - 1 for n in shape)
    scenario = runs.scenario(generous)
    forbidden = runs.broken(generous)
    rank, allowed = _rank(asked), np.ones(shape, dtype=np.bool_)
    if forbidden:
        allowed = within(shape, runs.allowed)
    state, interrupted = Search(rank, allowed), False
    try:
        state = _begun(state, runs, rank, allowed)
        while len(runs.trials) < TRIALS_MAX and (point := state.next()) is not None:
            _tell(state, point, runs)
    except KeyboardInterrupt:
        interrupted = True
    best, proof = state.best, state.proof()
    if best is not None:
        scenario = runs.scenario(best)
    lines = {axis.key: code_line(scenario, axis.key) for axis in asked.axes if best is not None}
    return Found(
        question=asked,
        scenario=scenario,
        goals=runs.goals,
        assumed=(*runs.assumed, *(c.words for c in Constraint.of_databases(scenario.plan))),
        trials=tuple(runs.trials.values()),
        best=None if best is None else runs.trials[best],
        proof=None if proof is None else runs.trials[proof],
        forbidden=forbidden,
        undecided=state.undecided,
        interrupted=interrupted,
        code=tuple((key, line) for key, line in lines.items() if line is not None),
        worse=_worse(runs.trials),
    )


def _begun(state: Search, runs: _Runs, rank: IntArray, allowed: BoolArray) -> Search:
    """The search after its first trial: if even the most of everything fails, nothing less does.

    Unless, along one key, more made things worse: then it goes on below a value that passes.
    """
    if state.most is None or _tell(state, state.most, runs) or rank.ndim > 1:
        return state
    peak = _least_bad(runs, state.most[0], state)
    if peak is None:
        return state
    below = Search(rank[: peak + 1], allowed[: peak + 1])
    _tell(below, (peak,), runs)
    return below


def _tell(state: Search, point: Point, runs: _Runs) -> bool:
    trial = runs.run(point, state.undecided)
    if trial.passed:
        state.passed(point)
    else:
        state.failing(point)
    return trial.passed


def _worse(trials: Mapping[Point, Trial]) -> Trial | None:
    good = [point for point, trial in trials.items() if trial.passed]
    return next(
        (
            trial
            for point, trial in sorted(trials.items(), reverse=True)
            if not trial.passed
            and any(all(a <= b for a, b in zip(p, point, strict=True)) for p in good)
        ),
        None,
    )


def _rank(asked: Question) -> IntArray:
    """Each point's place by cost; of equal ones the first of the table comes first."""
    axes = asked.axes
    cost = np.zeros(tuple(len(axis.values) for axis in axes))
    for i, (axis, price) in enumerate(zip(axes, asked.prices, strict=True)):
        steps = np.arange(len(axis.values), dtype=np.float64)
        at = None if asked.of_load else positions(axis.values)
        along = steps if at is None else np.asarray(at)
        cost += (float(price) * along).reshape([-1 if j == i else 1 for j in range(len(axes))])
    rank = np.empty(cost.size, dtype=np.int64)
    rank[np.argsort(cost, axis=None, kind="stable")] = np.arange(cost.size)
    return rank.reshape(cost.shape)


def _least_bad(runs: _Runs, last: int, state: Search) -> int | None:
    """A value that passes though the last does not, by golden section of how far goals are missed.

    It finds one where the miss falls and then rises along the key, as with more connections
    than the database takes; None where it meets none.
    """
    low, high = 0, last
    while high - low > 1 and len(runs.trials) < TRIALS_MAX:
        step = max(round((high - low) * (1 - _GOLDEN)), 1)
        left, right = low + step, max(high - step, low + 1)
        if left >= right:
            left, right = low + (high - low) // 2, high
        misses = []
        for at in (left, right):
            trial = runs.run((at,), state.undecided)
            if trial.passed:
                return at
            misses.append(missed(trial))
        if misses[0] <= misses[1]:
            high = right if right < high else left
        else:
            low = left
    for at in (low, high):
        if len(runs.trials) < TRIALS_MAX and runs.run((at,), state.undecided).passed:
            return at
    return None


def missed(trial: Trial) -> float:
    """How far the worst goal is missed: observed over allowed, 1 where it is just met."""
    if trial.measured is None:
        return float("inf")
    worst = 0.0
    for result in trial.measured.thresholds:
        if result.observed is None:
            return float("inf")
        observed, allowed = float(result.observed), float(result.threshold.value)
        if result.threshold.operator.startswith(">"):
            observed, allowed = allowed, observed
        worst = max(worst, observed / allowed if allowed else observed + 1.0)
    return worst
