"""What a little more of each resource, and a little less of each time, changes: in paired runs.

All have the draws of the run that they are compared with (common random numbers). Where chance
has a part, a few replications of each say how sure the difference is (see ``paired``); where so
many would take long, the batches of the one run do, of the mean, if its load is steady.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

from simulator.analysis.confidence import Interval
from simulator.analysis.trust import DETERMINISTIC
from simulator.answer import Answer
from simulator.engine import events_of
from simulator.experiments import paired
from simulator.experiments.combining import combined
from simulator.experiments.measures import Measured, measured
from simulator.experiments.variants import Variants, at, path_of
from simulator.record import dataclass
from simulator.scenario import Scenario
from simulator.units import UnitError, exact_duration, parse_duration

REPLICATIONS = 5
"""Of each change, where they are quick."""
EVENTS_MAX = 1_000_000
"""Events of all of them together, up to which they are: a second or two, compiled."""
_TENTH = Fraction(1, 10)
_THINKING = re.compile(r"\.load\[\d+\]\.think$")
"""The users' own time, which nobody who runs a service can change."""


@dataclass(frozen=True, slots=True)
class Effect:
    """How a number changes, as a share of what it was: -0.1 for a tenth less."""

    after_ns: int | None
    share: float | None
    interval: Interval | None  # of the share; None where it is not known


@dataclass(frozen=True, slots=True)
class Change:
    """One thing changed, all else and all randomness equal."""

    what: str  # "pool db 50 → 51", "time of routes.a.steps[0] 5s → 4.5s"
    override: str  # KEY=VALUE
    unit: bool  # one more of it; else a tenth more, or a tenth less time
    measured: Measured  # of all its replications
    mean: Effect
    p95: Effect
    unanswered: int | Fraction  # more than before, on average


class _Pairs:
    """The runs before and after one change, by replication."""

    def __init__(self, what: str, override: str, unit: bool, first: Answer) -> None:
        self.what, self.override, self.unit = what, override, unit
        self.first = first
        self.runs = [measured(first)]

    def change(self, before: Answer, runs_before: Sequence[Measured]) -> Change:
        """What they say together."""
        old, new = combined(runs_before), combined(self.runs)
        mean, p95 = (self._effect(runs_before, what, new) for what in ("mean", "p95"))
        if len(self.runs) == 1:
            mean = _by_batches(before, self.first) or mean
        return Change(
            self.what,
            self.override,
            self.unit,
            new,
            mean,
            p95,
            unanswered(new) - unanswered(old),
        )

    def _effect(self, runs_before: Sequence[Measured], what: str, new: Measured) -> Effect:
        old, changed = [
            paired.Side("", "", "", 0, tuple(map(paired.sample_of, runs)), False, "")
            for runs in (runs_before, self.runs)
        ]
        found = paired.change(old, changed, "", what)
        after = new.total.mean_ns if what == "mean" else new.total.percentile_ns(95)
        if found is None:
            return Effect(after, None, None)
        if found.ratio is None:
            return Effect(after, float("inf") if found.after else 0.0, None)
        return Effect(after, found.ratio - 1, _less_one(found.ratio_interval))


def sensitivity(
    runs: Variants, answer: Answer, waited: frozenset[str]
) -> Iterator[tuple[Change, ...]]:
    """What each change does: one run of each after another, then as sure as can be.

    Gives all that is known so far, each time more of it, the one that helps most first.
    """
    before, pairs = [measured(answer)], list[_Pairs]()
    runs.expected = runs.done + runs_of(answer, waited)
    for what, override, unit in _more(answer.scenario, waited):
        result = runs.run((override,), what)
        if result is not None:
            pairs.append(_Pairs(what, override, unit, result))
            yield _ordered(answer, before, pairs)
    if not _repeated(answer, len(pairs)):
        return
    for replication in range(1, REPLICATIONS):
        words = f"replication {replication + 1} of {REPLICATIONS}"
        found = [runs.run((), f"as it is, {words}", replication)]
        found += [runs.run((p.override,), f"{p.what}, {words}", replication) for p in pairs]
        known = [measured(result) for result in found if result is not None]
        if len(known) < len(found):
            return
        before.append(known[0])
        for pair, one in zip(pairs, known[1:], strict=True):
            pair.runs.append(one)
    yield _ordered(answer, before, pairs)


def runs_of(answer: Answer, waited: frozenset[str]) -> int:
    """How many runs that takes, if all that is changed is valid."""
    changes = len(list(_more(answer.scenario, waited)))
    more = (REPLICATIONS - 1) * (1 + changes) if _repeated(answer, changes) else 0
    return changes + more


def _repeated(answer: Answer, changes: int) -> bool:
    """Whether so many changes are replicated: something is left to chance, and it is quick."""
    work = events_of(answer.scenario.plan) * (1 + changes) * REPLICATIONS
    return answer.trust.method != DETERMINISTIC and work <= EVENTS_MAX


def _ordered(
    answer: Answer, before: Sequence[Measured], pairs: Sequence[_Pairs]
) -> tuple[Change, ...]:
    changes = [pair.change(answer, before) for pair in pairs]
    return tuple(sorted(changes, key=lambda change: _order(change)))


def _order(change: Change) -> tuple[int | Fraction, float]:
    """Fewer without an answer first, failed or stuck, then a lower mean."""
    mean = change.measured.total.mean_ns
    return change.unanswered, float("inf") if mean is None else mean


def _by_batches(before: Answer, after: Answer) -> Effect | None:
    """The change of the mean by the batches of one run of each; None where that says nothing."""
    found = paired.within_one_run(before, after)
    if found is None or found.ratio is None or found.ratio_interval is None:
        return None
    mean = after.summary.total.latency.mean_ns
    return Effect(mean, found.ratio - 1, _less_one(found.ratio_interval))


def _less_one(interval: Interval | None) -> Interval | None:
    return None if interval is None else Interval(interval.low - 1, interval.high - 1)


def unanswered(found: Measured) -> int | Fraction:
    """Requests that failed, or for which the run ended too early: in a deadlock they never end."""
    return found.total.requests - found.total.ok


def waited_for(answer: Answer) -> tuple[frozenset[str], tuple[str, ...]]:
    """Labels of the resources that somebody waited for, or failed on, and of the others."""
    failures = " ".join(name for name, _ in answer.summary.failures)
    waited, others = set(), []
    for row in answer.summary.resources:
        name = row.label.partition(" ")[2]
        if row.wait_max_ns or row.queue_max or (name and name in failures):
            waited.add(row.label)
        elif row.size is not None:
            others.append(row.label)
    return frozenset(waited), tuple(others)


def _more(scenario: Scenario, waited: frozenset[str]) -> Iterator[tuple[str, str, bool]]:
    """What is changed a little: each resource that is waited for, the times, the load."""
    seen = set()
    for station in scenario.plan.stations:
        path = path_of(station.label)
        if station.label not in waited or path is None or path in seen:
            continue
        seen.add(path)
        key, now = scenario.key(path), at(scenario.document, path)
        if key is None or not isinstance(now, int):
            continue
        word = path.rpartition(".")[2] if path.startswith("server.") else station.label
        yield f"{word} {now} → {now + 1}", f"{key}={now + 1}", True
        tenth = max(round(now * _TENTH), 1)
        if tenth > 1:
            yield f"{word} {now} → {now + tenth}", f"{key}={now + tenth}", False
    yield from _faster(scenario)


def _faster(scenario: Scenario) -> Iterator[tuple[str, str, bool]]:
    """Each time of a step or a service, a tenth shorter."""
    for stream in scenario.plan.streams:
        if not stream.name.startswith(("routes.", "services.")) or _THINKING.search(stream.name):
            continue
        spec = at(scenario.document, stream.name)
        key, less = scenario.key(stream.name), _scaled(spec, 1 - _TENTH)
        if key is not None and less is not None and less != spec:
            value = less if isinstance(less, str) else json.dumps(less)
            yield f"{stream.name}: a tenth less", f"{key}={value}", False


def _scaled(spec: Any, factor: Fraction) -> Any:
    """A time of the language with all its durations scaled; None where it has none."""
    if isinstance(spec, str):
        try:
            ns = parse_duration(spec)
        except UnitError:
            return None
        return exact_duration(round(ns * factor)) if ns else None
    if isinstance(spec, dict):
        if "empirical" in spec:
            return None
        scaled = {key: _scaled(value, factor) for key, value in spec.items()}
        if all(value is None for value in scaled.values()):
            return None
        return {key: spec[key] if value is None else value for key, value in scaled.items()}
    if isinstance(spec, list):
        return [item if (new := _scaled(item, factor)) is None else new for item in spec]
    return None
