"""Independent replications of scenarios: how many, what they say together, how sure that is.

Replication r draws other numbers than the others, and the same as replication r of any other
scenario with this seed (common random numbers). Each is a whole run, from an empty service on,
so that their numbers are independent and Student's t gives the interval of their mean.

`-n auto` looks at the results after certain numbers of runs, and only then, so that it stops
at the same one however many processes there are. Who looks often is wrong often: a threshold
counts as decided by intervals so wide that all looks together are wrong in 5 % of cases
(Bonferroni).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from simulator.analysis import confidence
from simulator.analysis.trust import (
    DETERMINISTIC,
)
from simulator.analysis.verdicts import ThresholdResult
from simulator.answer import Answer
from simulator.engine import Engine
from simulator.engines.contract import LimitError
from simulator.experiments.combining import combined
from simulator.experiments.executors import Executor, Keep, Outcome, Task
from simulator.experiments.measures import Measured, measured
from simulator.record import dataclass

AUTO = 0
"""The number of replications that is to be found out."""
LOOKS = (5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 200)
"""Numbers of replications at which `-n auto` may stop."""
TIGHT = 0.05
"""Half of an interval, as a share of its number, that is sure enough without thresholds."""
NEAR = 0.01
"""The same, as a share of a threshold's limit: what is as near to it stays undecided."""
REPLICATIONS_MAX = 10_000
"""Replications of one scenario."""

_BEYOND = 10  # samples that a percentile wants beyond it
_WEIGHED = 95  # the percentile that is to rest on enough samples where no threshold names one


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario that is to be replicated, with what may be known of it already."""

    path: str
    text: str
    overrides: tuple[str, ...]
    seed: int | None
    known: tuple[Measured, ...] = ()  # its first replications, where they are done already
    engine: Engine = Engine.AUTO
    keep: Keep | None = None

    def task(self, replication: int) -> Task:
        """One of its runs."""
        return Task(
            self.path,
            self.text,
            self.overrides,
            self.seed,
            replication,
            self.engine,
            self.keep,
        )


class Replicating:
    """The replications of some cases; iterate over it to have them computed.

    Gives the index of a case and its runs, or why it is invalid, as each is done.

    Parameters
    ----------
    number : int
        Replications of each case, or ``AUTO``. A case in which nothing is left to chance
        gets one.
    progress : callable
        Called after each run with how many are done, and of how many known so far.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        number: int,
        executor: Executor,
        *,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        self._cases = cases
        self._number = number
        self._executor = executor
        self._progress = progress
        self._outcomes: dict[int, dict[int, Outcome]] = {}
        self._wanted: dict[int, int] = {}
        self._todo: deque[tuple[int, int]] = deque()
        self._under_way = 0
        self._done = 0
        self._total = 0

    def __iter__(self) -> Iterator[tuple[int, tuple[Measured, ...] | str]]:
        waiting = deque(range(len(self._cases)))
        while waiting or self._todo or self._under_way:
            while self._under_way < self._executor.room and (self._todo or waiting):
                if not self._todo:
                    index = waiting.popleft()
                    self._outcomes[index] = dict(enumerate(self._cases[index].known))
                    self._wanted[index] = 0
                    yield from self._looked(index)
                    continue
                index, replication = self._todo.popleft()
                task = self._cases[index].task(replication)
                self._executor.submit((index, replication), task)
                self._under_way += 1
            if self._under_way:
                (index, replication), outcome = self._executor.next()
                self._under_way -= 1
                self._done += 1
                self._outcomes[index][replication] = outcome
                self._total = max(self._expected(len(waiting)), self._done)
                self._progress(self._done, self._total)
                if len(self._outcomes[index]) >= self._wanted[index]:
                    yield from self._looked(index)

    @property
    def count(self) -> tuple[int, int]:
        """Runs that are done, and how many are known to be wanted."""
        return self._done, max(self._total, self._done)

    def partial(self, index: int) -> tuple[Measured, ...]:
        """The first replications of a case that are done, after an interruption."""
        found = self._outcomes.get(index, {})
        runs: list[Measured] = []
        while isinstance(run := found.get(len(runs)), Measured):
            runs.append(run)
        return tuple(runs)

    def _looked(self, index: int) -> Iterator[tuple[int, tuple[Measured, ...] | str]]:
        """The case if it is done; else its next replications are to be computed."""
        found = self._outcomes[index]
        ordered = [found[replication] for replication in sorted(found)]
        wrong = next((outcome for outcome in ordered if isinstance(outcome, str)), None)
        runs = tuple(outcome for outcome in ordered if isinstance(outcome, Measured))
        wanted = None if wrong else next_look(runs, self._number)
        if wanted is not None:
            missing = range(len(ordered), wanted)
            self._todo.extendleft((index, replication) for replication in reversed(missing))
            self._wanted[index] = wanted
            return
        del self._outcomes[index], self._wanted[index]
        yield index, wrong or runs

    def _expected(self, waiting: int) -> int:
        each = self._number or LOOKS[0]
        known = sum(
            max(wanted, each) - len(self._outcomes[i]) for i, wanted in self._wanted.items()
        )
        return self._done + known + waiting * each


@dataclass(frozen=True, slots=True)
class Replicated:
    """The first run of a scenario, whole, and what was kept of all of them."""

    first: Answer
    runs: tuple[Measured, ...]  # the first included
    together: Measured  # of all runs
    asked: int  # how many were wanted, or AUTO
    interrupted: bool = False

    @property
    def passed(self) -> bool:
        """True if every threshold holds for the means over the runs."""
        return all(result.ok for result in self.together.thresholds)


def replicate(
    first: Answer,
    case: Case,
    number: int,
    executor: Executor,
    *,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Replicated:
    """The first run and as many more as are wanted; after Ctrl-C those that were done.

    Raises
    ------
    LimitError
        If one of them reached a named limit.
    """
    known = (measured(first),)
    if case.keep is not None:
        case.keep(first, 0)
    replicating = Replicating([replace(case, known=known)], number, executor, progress=progress)
    try:
        (_, runs), *_ = replicating
    except KeyboardInterrupt:
        runs = replicating.partial(0)
        return Replicated(first, runs, combined(runs), number, interrupted=True)
    if isinstance(runs, str):
        raise LimitError(runs)
    return Replicated(first, runs, combined(runs), number)


def next_look(runs: Sequence[Measured], number: int) -> int | None:
    """How many replications there are to be before the next look; None if these are enough."""
    if not runs:
        return 1
    if runs[0].trust.method == DETERMINISTIC:
        return None
    if number:
        return number if len(runs) < number else None
    if len(runs) < LOOKS[0]:
        return LOOKS[0]
    more = next((look for look in LOOKS if look > len(runs)), None)
    return None if enough(runs) else more


def enough(runs: Sequence[Measured]) -> bool:
    """Whether every threshold is decided; without any, whether the intervals are tight."""
    found = combined(runs, level=1 - (1 - confidence.LEVEL) / len(LOOKS))
    asked = [result.threshold.percentile for result in found.thresholds]
    highest = max([p for p in asked if p is not None and p < 100], default=Fraction(_WEIGHED))
    samples = sum(run.total.ok for run in runs)
    if found.thresholds:
        decided = all(map(_settled, found.thresholds))
        return decided and samples * (100 - highest) >= 100 * _BEYOND
    estimates = (("mean", found.total.mean_ns), ("p95", found.total.percentile_ns(95)))
    known = [(found.trust.of("", what), value) for what, value in estimates if value]
    tight = all(i is not None and i.half(value) <= TIGHT * value for i, value in known)
    return tight and samples * (100 - highest) >= 100 * _BEYOND


def _settled(result: ThresholdResult) -> bool:
    """Whether a threshold is decided, or so near to its limit that more runs hardly help."""
    if result.verdict != "undecided":
        return True
    if result.interval is None or result.observed is None:
        return False
    return result.interval.half(float(result.observed)) <= NEAR * float(result.threshold.value)
