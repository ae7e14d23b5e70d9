"""Several replications as one: means, their intervals, thresholds held against them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.trust import NONE, PERCENTILES, REPLICATIONS, Key, Trust
from simulator.analysis.verdicts import ThresholdResult
from simulator.experiments.measures import (
    CauseNumbers,
    Measured,
    Numbers,
    ResourceNumbers,
    engines,
)


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
    failures = _failures(runs, intervals, level)
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
        failures=failures,
        causes=causes,
        resources=resources,
        trust=Trust(
            NONE if not_stable else REPLICATIONS,
            note,
            not_stable,
            {} if not_stable else intervals,
            len(runs),
        ),
        engine=engines(run.engine for run in runs) or first.engine,
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
        p95 = _estimate((scope, "p95"), [r.p95_ns if r else 0 for r in each], intervals, level)
        share = _estimate((scope, "share"), [r.share if r else 0 for r in each], intervals, level)
        ok = _whole(
            _estimate(
                (scope, "ok_mean"), [r.ok_mean_ns if r else 0 for r in each], intervals, level
            )
        )
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


def _failures(
    runs: Sequence[Measured], intervals: dict[Key, Interval], level: float
) -> tuple[tuple[str, int | Fraction], ...]:
    found = [dict(run.failures) for run in runs]
    rows = []
    for reason in dict.fromkeys(reason for failures in found for reason in failures):
        counts = [failures.get(reason, 0) for failures in found]
        shares = [
            Fraction(count) / run.total.requests for count, run in zip(counts, runs, strict=True)
        ]
        _estimate((f"failure:{reason}", "share"), shares, intervals, level)
        rows.append((reason, _count(mean_of(counts))))
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
