"""Why a run is as it is: what a little more of each resource changes, and what limits next.

All runs are paired: each has the arrivals and service times of the first (common random
numbers), so that what differs is the effect of the one change.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from simulator.analysis.bands import Band, Story, bands, slowest
from simulator.analysis.bounds import station_bound
from simulator.analysis.known import Known, known
from simulator.analysis.limits import offered, peak_demand
from simulator.answer import Answer, simulate
from simulator.engines.contract import REQUESTS_MAX, LimitError
from simulator.experiments.measures import Measured, measured
from simulator.plan import UNLIMITED, Accept
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.units import UnitError, exact_duration, parse_duration

NEXT_MAX = 3
"""Bottlenecks that are looked for, each with those before it out of the way."""
WORKERS_MAX = 64
"""Workers up to which an event loop or a GIL is put out of the way."""
_TENTH = Fraction(1, 10)
_THINKING = re.compile(r"\.load\[\d+\]\.think$")
"""The users' own time, which nobody who runs a service can change."""


@dataclass(frozen=True, slots=True)
class Change:
    """One thing changed, all else and all randomness equal."""

    what: str  # "pool db 50 → 51", "time of routes.a.steps[0] 5s → 4.5s"
    override: str  # KEY=VALUE
    unit: bool  # one more of it; else a tenth more, or a tenth less time
    measured: Measured


@dataclass(frozen=True, slots=True)
class Next:
    """What limits once the bottlenecks before it are out of the way."""

    overrides: tuple[str, ...]  # what puts those before it out of the way
    kind: str
    resource: str  # "pool db"; "nothing"
    sentence: str
    measured: Measured


@dataclass(frozen=True, slots=True)
class Law:
    """What a resource does, by the utilisation law, and what it could do at most."""

    label: str
    slots: int  # of all processes
    demand_ns: int  # work of a finished request
    most_per_s: Fraction  # finished requests per second that it can serve: its bound
    asked: Fraction | None  # utilisation that the load asks for; None for a burst


@dataclass(frozen=True, slots=True)
class Explanation:
    """All that is known of why."""

    scenario: Scenario
    answer: Answer
    seed: int
    bands: tuple[Band, ...]
    laws: tuple[Law, ...]  # the tightest first
    formula: Known | str
    changes: tuple[Change, ...]  # the one that helps most first
    unwaited: tuple[str, ...]  # resources that nobody waited for: more of them changes nothing
    chain: tuple[Next, ...]  # what limits now, then, then
    story: Story | None
    interrupted: bool


def explain(
    path: str,
    text: str,
    overrides: Sequence[str] = (),
    *,
    seed: int | None = None,
    progress: Callable[[str], None] = lambda what: None,
    arrived: Callable[[int], None] = lambda count: None,
) -> Explanation:
    """Run the scenario, and then as many variants as it takes.

    Parameters
    ----------
    progress, arrived : callable
        Called before each run with what it changes; within it with how many have arrived.

    Returns
    -------
    Explanation
        After Ctrl-C with what was found until then, ``interrupted`` being true.

    Raises
    ------
    ScenarioError
        If the scenario is invalid.
    LimitError
        If its first run reaches a named limit.
    """
    scenario = loads(text, overrides, path=path)
    progress("as it is")
    answer = simulate(scenario, seed=seed, progress=arrived)
    runs = _Runs(path, text, tuple(overrides), seed, progress, arrived)
    changes: list[Change] = []
    chain: list[Next] = []
    interrupted = answer.trace.ended == "interrupted"
    waited, unwaited = _waited_for(answer)
    try:
        if not interrupted:
            for following in _chain(runs, answer):
                chain.append(following)
            for what, override, unit in _more(scenario, waited):
                result = runs.run((override,), what)
                if result is not None:
                    changes.append(Change(what, override, unit, measured(result)))
    except KeyboardInterrupt:
        interrupted = True
    before = measured(answer)
    return Explanation(
        scenario=scenario,
        answer=answer,
        seed=scenario.seed if seed is None else seed,
        bands=bands(answer.trace),
        laws=tuple(sorted(_laws(answer), key=lambda law: law.most_per_s)),
        formula=known(scenario.plan),
        changes=tuple(sorted(changes, key=lambda change: _order(before, change.measured))),
        unwaited=unwaited,
        chain=tuple(chain),
        story=slowest(answer.trace),
        interrupted=interrupted,
    )


class _Runs:
    """Runs of the scenario with more overrides."""

    def __init__(
        self,
        path: str,
        text: str,
        fixed: tuple[str, ...],
        seed: int | None,
        progress: Callable[[str], None],
        arrived: Callable[[int], None],
    ) -> None:
        self.path, self.text, self.fixed = path, text, fixed
        self.seed, self.progress, self.arrived = seed, progress, arrived

    def run(self, overrides: Sequence[str], what: str) -> Answer | None:
        """The answer; None where that is no valid scenario, or reaches a limit.

        Raises
        ------
        KeyboardInterrupt
            If it was interrupted.
        """
        self.progress(what)
        try:
            scenario = loads(self.text, (*self.fixed, *overrides), path=self.path)
            answer = simulate(scenario, seed=self.seed, progress=self.arrived)
        except (ScenarioError, LimitError):
            return None
        if answer.trace.ended == "interrupted":
            raise KeyboardInterrupt
        return answer


def _order(before: Measured, after: Measured) -> tuple[int | Fraction, float]:
    """Fewer without an answer first, failed or stuck, then a lower mean."""
    mean = after.total.mean_ns
    return unanswered(after) - unanswered(before), float("inf") if mean is None else mean


def unanswered(found: Measured) -> int | Fraction:
    """Requests that failed, or for which the run ended too early: in a deadlock they never end."""
    return found.total.requests - found.total.ok


def _waited_for(answer: Answer) -> tuple[frozenset[str], tuple[str, ...]]:
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


_COUNTS = {
    "workers": "server.workers",
    "event loop": "server.workers",
    "gil": "server.workers",
    "threads": "server.threads",
    "cores": "server.cores",
    "pool": "pools.{}.size",
    "service": "services.{}.concurrency",
    "client": "services.{}.client.connections",
    "database": "databases.{}.max_connections",
    "database cores": "databases.{}.cores",
    "accelerator": "accelerators.{}.count",
}
"""By the words of a label: the path of the resolved document that says how many."""


def _path_of(label: str) -> str | None:
    for words in sorted(_COUNTS, key=len, reverse=True):
        if label == words or label.startswith(f"{words} "):
            return _COUNTS[words].format(label.removeprefix(words).strip())
    return None


def _at(document: dict[str, Any], path: str) -> Any:
    from simulator.scenario.node import parts

    value: Any = document
    for part in parts(path):
        if isinstance(part, str) and (not isinstance(value, dict) or part not in value):
            return None
        if isinstance(part, int) and (not isinstance(value, list) or part >= len(value)):
            return None
        value = value[part]
    return value


def _more(scenario: Scenario, waited: frozenset[str]) -> Iterator[tuple[str, str, bool]]:
    """What is changed a little: each resource that is waited for, the times, the load."""
    seen = set()
    for station in scenario.plan.stations:
        path = _path_of(station.label)
        if station.label not in waited or path is None or path in seen:
            continue
        seen.add(path)
        key, now = scenario.key(path), _at(scenario.document, path)
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
        spec = _at(scenario.document, stream.name)
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


def _chain(runs: _Runs, first: Answer) -> Iterator[Next]:
    """What limits, and what then: each bottleneck is put out of the way for the next."""
    answer = first
    overrides: tuple[str, ...] = ()
    labels: set[str] = set()
    for _ in range(NEXT_MAX):
        found = answer.bottleneck
        label = found.kind if found.resource is None else found.resource
        yield Next(overrides, found.kind, label, found.sentence, measured(answer))
        labels.add(label)
        if found.resource is None:
            return
        for more in _without(answer, label):
            wider = _merged(overrides, more)
            following = runs.run(wider, f"without the limit of {label}")
            if following is not None:
                answer, overrides = following, wider
                now = answer.bottleneck
                if (now.kind if now.resource is None else now.resource) not in labels:
                    break
        else:
            return


def _merged(before: Sequence[str], more: Sequence[str]) -> tuple[str, ...]:
    keys = {override.partition("=")[0] for override in more}
    return (*(o for o in before if o.partition("=")[0] not in keys), *more)


def _without(answer: Answer, label: str) -> Iterator[tuple[str, ...]]:
    """Overrides that put a bottleneck out of the way, one after another until one does."""
    scenario, document = answer.scenario, answer.scenario.document
    path = _path_of(label)
    if label.startswith("lock "):
        name = label.removeprefix("lock ")
        yield (f"locks.{name}.keys=100000", f"locks.{name}.pick=uniform")
        return
    if label.startswith("rate limit "):
        yield from _without_limit(document, label.removeprefix("rate limit "))
        return
    if path is None:
        return
    key, now = scenario.key(path), _at(document, path)
    if key is None or not isinstance(now, int):
        return
    if path == "server.workers":
        if scenario.plan.server.accept is Accept.WEIGHTS:
            return
        while now < WORKERS_MAX:
            now *= 2
            cores = [f"server.cores={now}"] if scenario.plan.server.cores < now else []
            yield (f"{key}={now}", *cores)
        return
    # In a deadlock each may want more of them at once than it has come to ask for.
    each = _most_visits(answer, label) if answer.trace.stuck else 1
    wanted = max(len(answer.trace) * each, peak_demand(answer.trace, label), 2 * now)
    if path.endswith("max_connections"):
        wanted += document["databases"][label.removeprefix("database ")]["reserved"]
    yield (f"{key}={min(wanted, REQUESTS_MAX)}",)


def _most_visits(answer: Answer, label: str) -> int:
    """Most visits that one request has paid to a resource; one more if it is stuck at it."""
    trace = answer.trace
    here = np.isin(
        trace.visits.station, [i for i, s in enumerate(trace.stations) if s.label == label]
    )
    requests = trace.visits.request[here]
    return 1 + int(np.bincount(requests[requests >= 0]).max(initial=0))


def _without_limit(document: dict[str, Any], service: str) -> Iterator[tuple[str, ...]]:
    limit = document["services"][service]["rate_limit"]
    path = f"services.{service}.rate_limit"
    if "limit" in limit:
        yield (f"{path}.limit={limit['limit'] * 1000}",)
    else:
        yield (f"{path}.rate=1000000/s",)


def _laws(answer: Answer) -> Iterator[Law]:
    """The utilisation law for each resource with slots: X ≤ slots / demand."""
    trace, plan = answer.trace, answer.scenario.plan
    finished = answer.summary.total.finished
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        if station.size < UNLIMITED and station.kind != "database":
            by_label.setdefault(station.label, []).append(i)
    for label, indices in by_label.items():
        found = [bound for i in indices if (bound := station_bound(plan, trace, i)) is not None]
        if not found or not finished or not max(bound.bound_ns for bound in found):
            continue
        slots = sum(bound.size for bound in found)
        work = sum(bound.bound_ns * bound.size for bound in found)
        largest = max(found, key=lambda bound: bound.bound_ns)
        yield Law(
            label=label,
            slots=slots,
            demand_ns=round(Fraction(work, finished)),
            most_per_s=Fraction(finished * 10**9, largest.bound_ns),
            asked=offered(trace, largest),
        )
