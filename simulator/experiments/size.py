"""The smallest value that meets its goals, or the highest load that keeps them.

Every trial has the same arrivals and service times (common random numbers), so that the
trials differ by the key alone, and the same question always has the same answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from simulator.answer import Answer, simulate
from simulator.arrays import BoolArray, IntArray
from simulator.engine import Tell, events_of
from simulator.engines.contract import LimitError
from simulator.experiments.axes import AxisError, positions
from simulator.experiments.constraints import Constraint
from simulator.experiments.executors import Executor, Local, first_problem
from simulator.experiments.measures import Measured, measured
from simulator.experiments.replications import LOOKS, Case, replicate
from simulator.experiments.search import Point, Search, within
from simulator.experiments.size_question import Question
from simulator.experiments.work import settled
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.scenario.code_lines import code_line
from simulator.thresholds import Threshold
from simulator.thresholds import parse as parse_threshold

TRIALS_MAX = 60
"""Runs of one search; a single key of up to 10,000 values never needs more than 15."""

TRIALS_EXPECTED = 12
"""About how many there are."""

ERRORS_GOAL = ("errors", "rate<1%")
"""What is asked of failures where no goal is about them: percentiles are of ok requests
alone, so that without it a server that refuses nearly everybody would be fast enough."""

_GOLDEN = (5**0.5 - 1) / 2


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


class _Runs:
    """Trials by point: each point is run once."""

    def __init__(
        self,
        asked: Question,
        executor: Executor,
        progress: Callable[[Trial, int], None],
        ran: Callable[[int, int], None],
        arrived: Callable[[Scenario], Callable[[int], None]],
    ) -> None:
        self.asked = asked
        self.engine = asked.engine
        self._executor = executor
        self.trials: dict[Point, Trial] = {}
        self.assumed: tuple[str, ...] = ()
        self.goals: tuple[Threshold, ...] = ()
        self._progress, self._ran, self._arrived = progress, ran, arrived

    def settle(self, scenario: Scenario, tell: Tell) -> None:
        """Decide which engine runs all trials, by the work of one of them."""
        events = events_of(scenario.plan) * TRIALS_EXPECTED * (self.asked.number or LOOKS[0])
        self.engine = settled(self.asked.engine, events, tell)

    def values(self, point: Point) -> tuple[str, ...]:
        """The values of a point; of load and work the least is the most generous."""
        axes = self.asked.axes
        if self.asked.harder:
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
            arrived = self._arrived(scenario)
            answer = simulate(scenario, seed=self.asked.seed, engine=self.engine, progress=arrived)
            found = measured(answer) if self.asked.number == 1 else self._several(answer, values)
        except ScenarioError as error:
            return Trial(values, None, first_problem(error), False)
        except LimitError as error:
            return Trial(values, None, str(error), False)
        if answer.trace.ended == "interrupted":
            raise KeyboardInterrupt
        # A queue that grows without an end meets its goals for as long as the run is short.
        passed = all(result.ok for result in found.thresholds) and not found.trust.not_stable
        return Trial(values, found, "", passed and found.ended != "deadlock")

    def _several(self, first: Answer, values: tuple[str, ...]) -> Measured:
        """The means over the replications of a trial."""
        goals: dict[str, list[str]] = {}
        for goal in self.goals:
            metric, _, expression = goal.text.rpartition(" ")
            goals.setdefault(metric, []).append(expression)
        overrides = (*self.asked.overrides(values), f"thresholds={json.dumps(goals)}")
        case = Case(
            self.asked.path, self.asked.text, overrides, self.asked.seed, engine=self.engine
        )
        found = replicate(first, case, self.asked.number, self._executor, progress=self._ran)
        if found.interrupted:
            raise KeyboardInterrupt
        return found.together


def search(
    asked: Question,
    *,
    executor: Executor | None = None,
    progress: Callable[[Trial, int], None] = lambda trial, left: None,
    ran: Callable[[int, int], None] = lambda done, of: None,
    arrived: Callable[[Scenario], Callable[[int], None]] = lambda scenario: lambda count: None,
    tell: Tell = lambda sentence: None,
) -> Found:
    """Run as few trials as it takes.

    Parameters
    ----------
    executor : Executor, optional
        Computes the replications of a trial; default: this process.
    progress, ran, arrived, tell : callable
        Called after each trial with how many points are undecided; after each run of a trial;
        with a scenario for what is called with arrivals; with what takes long.

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
    runs = _Runs(asked, executor or Local(1, 1), progress, ran, arrived)
    rank = _rank(asked)
    most = tuple(n - 1 for n in rank.shape)
    scenario, forbidden = runs.scenario(most), runs.broken(most)
    runs.settle(scenario, tell)
    allowed = within(rank.shape, runs.allowed) if forbidden else np.ones(rank.shape, np.bool_)
    state, interrupted = Search(rank, allowed), False
    try:
        state = _begun(state, runs, rank, allowed)
        while len(runs.trials) < TRIALS_MAX and (point := state.next()) is not None:
            _tell(state, point, runs)
    except KeyboardInterrupt:
        interrupted = True
    best, proof, scenario = state.best, state.proof(), runs.scenario(state.best or most)
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
        at = None if asked.harder else positions(axis.values)
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
