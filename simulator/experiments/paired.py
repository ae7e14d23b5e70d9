"""Paired differences: what changes from one scenario to another, and how sure that is.

Replication r of both has the same draws (common random numbers), so chance mostly cancels in
its difference, and replications differ from one another independently. The ratio of two means
is their quotient; its interval is that of the residuals b - ratio · a (Cochran, Sampling
Techniques, 1977, 6.3). One run of each, of a steady load, is cut into batches of the requests
that are the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.analysis import confidence
from simulator.analysis.confidence import Interval
from simulator.analysis.trust import BATCHES, DETERMINISTIC, PERCENTILES
from simulator.answer import Answer
from simulator.experiments.compare import paired_rows
from simulator.experiments.measures import Measured, Numbers
from simulator.record import dataclass

LATENCIES = ("mean", *(f"p{p}" for p in PERCENTILES), "max")

Key = tuple[str, str]
"""The name of a route, "" for all requests; and what of it: "mean", "p95", "throughput"."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The numbers of one replication: times in ns, throughput per second, errors as a share."""

    numbers: Mapping[Key, float]
    causes: Mapping[tuple[str, str], float]  # mean over ok requests by kind and cause
    limited_by: str


@dataclass(frozen=True, slots=True)
class Side:
    """One scenario of a comparison: a replication or more."""

    letter: str
    label: str  # as a command line has it
    short_label: str
    seed: int
    samples: tuple[Sample, ...]
    deterministic: bool
    sentence: str  # what limits its first replication
    engine: str = ""  # which one ran it

    def of(self, group: str, what: str) -> list[float] | None:
        """A number in each replication; None if one has none."""
        found = [sample.numbers.get((group, what)) for sample in self.samples]
        known = [value for value in found if value is not None]
        return known if known and len(known) == len(found) else None

    def mean(self, group: str, what: str) -> float | None:
        """A number, on average."""
        found = self.of(group, what)
        return None if found is None else float(np.mean(found))

    def interval(self, group: str, what: str) -> Interval | None:
        """The interval of a number; None of one replication."""
        found = self.of(group, what)
        return None if found is None else confidence.over_replications(found)


@dataclass(frozen=True, slots=True)
class Change:
    """A number in the baseline and in the other; ``ratio`` is other / baseline."""

    before: float
    after: float
    difference: float
    difference_interval: Interval | None
    ratio: float | None  # None where that has no meaning
    ratio_interval: Interval | None


def sample_of(run: Measured) -> Sample:
    """What a comparison keeps of a run."""
    groups = (("", run.total), *run.routes)
    numbers = {key: value for name, group in groups for key, value in _numbers(name, group)}
    causes = {(row.kind, row.cause): float(row.ok_mean_ns) for row in run.causes}
    return Sample(numbers, causes, run.limited_by)


def _numbers(name: str, group: Numbers) -> list[tuple[Key, float]]:
    found: dict[str, float | None] = {
        "requests": float(group.requests),
        "ok": float(group.ok),
        "errors": float(group.errors),
        "throughput": None if group.throughput is None else float(group.throughput),
        "mean": group.mean_ns,
        "max": group.max_ns,
    }
    found |= {f"p{p}": group.percentile_ns(p) for p in PERCENTILES}
    finished = group.requests - group.in_flight
    found["error_rate"] = float(group.errors / finished) if finished else None
    return [((name, what), float(value)) for what, value in found.items() if value is not None]


def padded(sides: Sequence[Side]) -> tuple[Side, ...]:
    """Sides of as many replications: a deterministic one is the same in each."""
    number = min((len(s.samples) for s in sides if not s.deterministic), default=1)
    return tuple(
        Side(
            side.letter,
            side.label,
            side.short_label,
            side.seed,
            side.samples[:1] * number if side.deterministic else side.samples[:number],
            side.deterministic,
            side.sentence,
            side.engine,
        )
        for side in sides
    )


def change(
    before: Side, after: Side, group: str, what: str, *, level: float = confidence.LEVEL
) -> Change | None:
    """How a number changes; None where one of the two has none."""
    a, b = before.of(group, what), after.of(group, what)
    return None if a is None or b is None else _change(a, b, level)


def causes(before: Side, after: Side) -> list[tuple[tuple[str, str], Change]]:
    """How the time by cause of ok requests changes, the largest change first."""
    keys = dict.fromkeys(
        key for side in (before, after) for sample in side.samples for key in sample.causes
    )
    found = []
    for key in keys:
        a = [sample.causes.get(key, 0.0) for sample in before.samples]
        b = [sample.causes.get(key, 0.0) for sample in after.samples]
        if any(a) or any(b):
            found.append((key, _change(a, b, confidence.LEVEL)))
    return sorted(found, key=lambda row: (-abs(row[1].difference), -row[1].before))


def _change(a: Sequence[float], b: Sequence[float], level: float) -> Change:
    x, y = np.asarray(a), np.asarray(b)
    before, after = float(x.mean()), float(y.mean())
    difference = confidence.over_replications((y - x).tolist(), level)
    if not before:
        return Change(before, after, after, difference, None, None)
    ratio = after / before
    residual = confidence.over_replications((y - ratio * x).tolist(), level)
    spread = _scaled(residual, ratio, before)
    return Change(before, after, after - before, difference, ratio, spread)


def within_one_run(before: Answer, after: Answer) -> Change | None:
    """How the mean changes between two runs with the same requests, with intervals by batches.

    None where the two have other requests, or one has no steady state.
    """
    if not _steady(before, after):
        return None
    routes = [[route.name for route in side.scenario.plan.routes] for side in (before, after)]
    rows = paired_rows(before.trace, after.trace, *routes)
    if rows is None or not len(rows[0]):
        return None
    since_ns = max(before.warmup.until_ns, after.warmup.until_ns)
    arrivals = before.trace.arrival_ns[rows[0]]
    order = np.argsort(arrivals, kind="stable")
    kept = order[arrivals[order] >= since_ns]
    x = before.trace.latency_ns[rows[0][kept]].astype(np.float64)
    y = after.trace.latency_ns[rows[1][kept]].astype(np.float64)
    mean = float(x.mean()) if len(x) else 0.0
    if not mean:
        return None
    ratio = float(y.mean()) / mean
    difference = confidence.of_mean(y - x)
    return Change(
        mean,
        float(y.mean()),
        float((y - x).mean()),
        difference,
        ratio,
        _scaled(confidence.of_mean(y - ratio * x), ratio, mean),
    )


def _steady(before: Answer, after: Answer) -> bool:
    methods = {before.trust.method, after.trust.method}
    return BATCHES in methods and methods <= {BATCHES, DETERMINISTIC}


def _scaled(residual: Interval | None, ratio: float, before: float) -> Interval | None:
    """The interval of a ratio from that of its residuals, which are 0 on average."""
    if residual is None:
        return None
    return Interval(ratio + residual.low / before, ratio + residual.high / before)
