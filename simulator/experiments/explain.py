"""Why a run is as it is: what a little more of each resource changes, and what limits next.

All runs are paired: each has the arrivals and service times of the first (common random
numbers), so that what differs is the effect of the one change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from simulator.analysis.bands import Band, Story, bands, slowest
from simulator.analysis.bounds import station_bound
from simulator.analysis.known import Known, known
from simulator.analysis.limits import offered, peak_demand
from simulator.answer import Answer, simulate
from simulator.engine import Engine, Tell, events_of
from simulator.engines.contract import REQUESTS_MAX
from simulator.experiments.measures import Measured, measured
from simulator.experiments.sensitivity import Change, runs_of, sensitivity, waited_for
from simulator.experiments.variants import Variants, at, path_of
from simulator.experiments.work import settled
from simulator.plan import UNLIMITED, Accept
from simulator.record import dataclass
from simulator.scenario import Scenario, loads

RUNS_EXPECTED = 20
"""About how many runs an explanation takes."""
NEXT_MAX = 3
"""Bottlenecks that are looked for, each with those before it out of the way."""
WORKERS_MAX = 64
"""Workers up to which an event loop or a GIL is put out of the way."""


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
    engine: Engine = Engine.AUTO,
    progress: Callable[[str, int, int], None] = lambda what, done, of: None,
    arrived: Callable[[Scenario], Callable[[int], None]] = lambda scenario: lambda count: None,
    tell: Tell = lambda sentence: None,
) -> Explanation:
    """Run the scenario, and then as many variants as it takes.

    Parameters
    ----------
    progress, arrived, tell : callable
        Called before each run with what it changes, how many are done and of about how many;
        with its scenario for what is called with how many requests have arrived; with a sentence
        where the compiled engine takes long to load, or can't be had.

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
    chosen = settled(engine, events_of(scenario.plan) * RUNS_EXPECTED, tell)
    answer = simulate(scenario, seed=seed, engine=chosen, progress=arrived(scenario))
    runs = Variants(path, text, tuple(overrides), seed, chosen, progress, arrived)
    changes, chain = tuple[Change, ...](), list[Next]()
    interrupted = answer.trace.ended == "interrupted"
    waited, unwaited = waited_for(answer)
    runs.expected = NEXT_MAX + runs_of(answer, waited)
    try:
        if not interrupted:
            chain.extend(_chain(runs, answer))
            for known_so_far in sensitivity(runs, answer, waited):
                changes = known_so_far
    except KeyboardInterrupt:
        interrupted = True
    return Explanation(
        scenario=scenario,
        answer=answer,
        seed=scenario.seed if seed is None else seed,
        bands=bands(answer.trace),
        laws=tuple(sorted(_laws(answer), key=lambda law: law.most_per_s)),
        formula=known(scenario.plan),
        changes=changes,
        unwaited=unwaited,
        chain=tuple(chain),
        story=slowest(answer.trace),
        interrupted=interrupted,
    )


def _chain(runs: Variants, first: Answer) -> Iterator[Next]:
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
    path = path_of(label)
    if label.startswith("lock "):
        name = label.removeprefix("lock ")
        yield (f"locks.{name}.keys=100000", f"locks.{name}.pick=uniform")
        return
    if label.startswith("rate limit "):
        yield from _without_limit(document, label.removeprefix("rate limit "))
        return
    if path is None:
        return
    key, now = scenario.key(path), at(document, path)
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
