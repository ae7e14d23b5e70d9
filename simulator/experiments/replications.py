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

import math
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.trust import (
    DETERMINISTIC,
    NONE,
    PERCENTILES,
    REPLICATIONS,
    Key,
    Trust,
)
from simulator.analysis.verdicts import ThresholdResult
from simulator.answer import Answer
from simulator.engines.contract import LimitError
from simulator.experiments.executors import Executor, Outcome, Task
from simulator.experiments.measures import (
    CauseNumbers,
    Measured,
    Numbers,
    ResourceNumbers,
    measured,
)
from simulator.record import dataclass

AUTO = 0
"""The number of replications that is to be found out."""
LOOKS = (5, 7, 10, 14, 20, 28, 40, 56, 80, 112, 160, 200)
"""Numbers of replications at which `-n auto` may stop."""
TIGHT = 0.05
"""Half of an interval, as a share of its number, that is sure enough without thresholds."""
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

    def task(self, replication: int) -> Task:
        """One of its runs."""
        return Task(self.path, self.text, self.overrides, self.seed, replication)


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
                self._progress(self._done, max(self._expected(len(waiting)), self._done))
                if len(self._outcomes[index]) >= self._wanted[index]:
                    yield from self._looked(index)

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
        decided = all(result.verdict != "undecided" for result in found.thresholds)
        return decided and samples * (100 - highest) >= 100 * _BEYOND
    estimates = (("mean", found.total.mean_ns), ("p95", found.total.percentile_ns(95)))
    known = [(found.trust.of("", what), value) for what, value in estimates if value]
    tight = all(i is not None and i.half(value) <= TIGHT * value for i, value in known)
    return tight and samples * (100 - highest) >= 100 * _BEYOND


def combined(runs: Sequence[Measured], *, level: float = confidence.LEVEL) -> Measured:
    """Several replications as one: means over them, with their intervals.

    What has no number in one of them has none at all: the mean of the others would be of
    other runs than those that were made.
    """
    first = runs[0]
    if len(runs) == 1:
        return first
    intervals: dict[Key, Interval] = {}
    names = [name for name, _ in first.routes]
    total = _numbers("", [run.total for run in runs], intervals, level)
    routes = tuple(
        (name, _numbers(name, [run.routes[i][1] for run in runs], intervals, level))
        for i, name in enumerate(names)
    )
    causes = _causes(runs, intervals, level)
    resources = _resources(runs, intervals, level)
    limited_by = Counter(run.limited_by for run in runs).most_common(1)[0][0]
    ended = next((run.ended for run in runs if run.ended == "deadlock"), first.ended)
    not_stable = first.trust.not_stable
    note = f"not stable: {not_stable}" if not_stable else ""
    return Measured(
        total=total,
        routes=routes,
        limited_by=limited_by,
        sentence=next(run.sentence for run in runs if run.limited_by == limited_by),
        thresholds=tuple(
            _threshold([run.thresholds[i] for run in runs], runs, level)
            for i in range(len(first.thresholds))
        ),
        ended=ended,
        failures=_failures(runs),
        causes=causes,
        resources=resources,
        trust=Trust(
            NONE if not_stable else REPLICATIONS,
            note,
            not_stable,
            {} if not_stable else intervals,
            len(runs),
        ),
    )


def mean_of(values: Sequence[Fraction | int | float | None]) -> Fraction | None:
    """The mean, of whole numbers exactly; None where a value is missing."""
    known = [value for value in values if value is not None]
    if not known or len(known) < len(values):
        return None
    if all(isinstance(value, int) for value in known):
        return Fraction(sum(map(int, known)), len(known))
    # Exact fractions of many runs would have hundreds of digits; this sum is rounded once.
    return Fraction(math.fsum(map(float, known)) / len(known))


def _numbers(
    scope: str, groups: Sequence[Numbers], intervals: dict[Key, Interval], level: float
) -> Numbers:
    def estimate(what: str, values: Sequence[Fraction | int | None]) -> Fraction | None:
        return _estimate((scope, what), values, intervals, level)

    def time(what: str, values: Sequence[int | None]) -> int | None:
        return _whole(estimate(what, values))

    count = {
        name: _count(estimate(name, [getattr(group, name) for group in groups]))
        for name in ("requests", "ok", "errors", "in_flight")
    }
    reliable = tuple(
        time(f"p{p}", [group.reliable_ns[i] for group in groups]) for i, p in enumerate(PERCENTILES)
    )
    streamed = all(group.first_byte_ns for group in groups)
    return Numbers(
        **count,
        last_ns=time("last", [group.last_ns for group in groups]),
        throughput=estimate("throughput", [group.throughput for group in groups]),
        mean_ns=time("mean", [group.mean_ns for group in groups]),
        percentiles_ns=tuple(
            _whole(mean_of([group.percentiles_ns[i] for group in groups]))
            for i in range(len(PERCENTILES))
        ),
        reliable_ns=reliable,
        max_ns=time("max", [group.max_ns for group in groups]),
        first_byte_ns=tuple(
            time(f"first_byte_p{p}", [group.first_byte_ns[i] for group in groups])
            for i, p in enumerate(PERCENTILES if streamed else ())
        ),
    )


def _causes(
    runs: Sequence[Measured], intervals: dict[Key, Interval], level: float
) -> tuple[CauseNumbers, ...]:
    """A cause that a run has not is 0 in it."""
    found = [{(row.kind, row.cause): row for row in run.causes} for run in runs]
    rows = []
    for kind, cause in dict.fromkeys(key for causes in found for key in causes):
        each = [causes.get((kind, cause)) for causes in found]
        scope = f"cause:{kind} {cause}"
        mean = _estimate((scope, "mean"), [r.mean_ns if r else 0 for r in each], intervals, level)
        p95 = mean_of([r.p95_ns if r else 0 for r in each])
        share = mean_of([r.share if r else 0 for r in each])
        ok = _whole(mean_of([r.ok_mean_ns if r else 0 for r in each]))
        rows.append(
            CauseNumbers(
                kind, cause, _whole(mean) or 0, _whole(p95) or 0, float(share or 0), ok or 0
            )
        )
    return tuple(sorted(rows, key=lambda row: -row.share))


def _resources(
    runs: Sequence[Measured], intervals: dict[Key, Interval], level: float
) -> tuple[ResourceNumbers, ...]:
    """Those that were visited in every run."""
    found = [{row.label: row for row in run.resources} for run in runs]
    rows = []
    for label in found[0]:
        each = [resources[label] for resources in found if label in resources]
        if len(each) < len(found):
            continue

        def estimate(what: str, each: Sequence[ResourceNumbers] = each) -> Fraction | None:
            values = [getattr(row, what) for row in each]
            return _estimate((f"resource:{each[0].label}", what), values, intervals, level)

        busy = estimate("busy")
        rows.append(
            ResourceNumbers(
                label,
                None if busy is None else float(busy),
                _count(estimate("queue_max")),
                *(_whole(estimate(f"wait_{what}_ns")) for what in ("mean", "p95", "max")),
            )
        )
    return tuple(rows)


def _failures(runs: Sequence[Measured]) -> tuple[tuple[str, int | Fraction], ...]:
    found = [dict(run.failures) for run in runs]
    reasons = dict.fromkeys(reason for failures in found for reason in failures)
    rows = [(r, _count(mean_of([failures.get(r, 0) for failures in found]))) for r in reasons]
    return tuple(sorted(rows, key=lambda row: -row[1]))


def _threshold(
    results: Sequence[ThresholdResult], runs: Sequence[Measured], level: float
) -> ThresholdResult:
    """The threshold held against the mean over the runs; without samples in one it fails."""
    threshold = results[0].threshold
    observed = mean_of([result.observed for result in results])
    if observed is None:
        return ThresholdResult(threshold, False, None)
    interval = confidence.over_replications(
        [float(result.observed) for result in results if result.observed is not None], level
    )
    shared = threshold.metric in ("ok", "errors") and threshold.aggregate == "rate"
    if shared and observed in (0, 1):
        # No spread is no certainty: what was never seen in n requests may be in 3 / n of them.
        groups = [run.group(threshold.route) for run in runs]
        finished = sum(g.requests - g.in_flight for g in groups if g is not None)
        interval = confidence.exact_share(int(observed * finished), int(finished), level)
    return replace(results[0], ok=threshold.holds(observed), observed=observed, interval=interval)


def _estimate(
    key: Key,
    values: Sequence[Fraction | int | float | None],
    intervals: dict[Key, Interval],
    level: float,
) -> Fraction | None:
    """The mean of the values; their interval is noted."""
    mean = mean_of(values)
    if mean is not None:
        known = [float(value) for value in values if value is not None]
        interval = confidence.over_replications(known, level)
        if interval is not None:
            intervals[key] = interval
    return mean


def _whole(mean: Fraction | None) -> int | None:
    return None if mean is None else int(mean + Fraction(1, 2))


def _count(mean: Fraction | None) -> int | Fraction:
    """A count that is whole where it is the same in all runs."""
    mean = mean or Fraction(0)
    return int(mean) if mean.denominator == 1 else mean
