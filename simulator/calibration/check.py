"""``sim check``: a scenario is served, measured and simulated, and the two are compared.

The simulated run and the measured ones have the same arrivals and the same service times,
request by request. What the machine adds to the scenario, its overheads, comes from probes
of other servers, never from the run that is predicted; computing is predicted with the
thread time that it took in the runs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from statistics import median

import numpy as np

from simulator.analysis.summary import Summary, summarize
from simulator.calibration.figures import Bound, Figure, bound, figures, values
from simulator.calibration.generator import (
    Budget,
    CouldNotKeepUp,
    GeneratorError,
    Live,
    drive,
)
from simulator.calibration.scaling import scaled
from simulator.calibration.served import NotServable, Running, ServeError, refusals, serve
from simulator.calibration.splits import split
from simulator.engines.reference import run
from simulator.plan import UNLIMITED, Accept, Cpu, LoadKind, Plan, ServerKind
from simulator.record import dataclass
from simulator.scenario import Scenario, dumps, load, loads
from simulator.trace import Trace
from simulator.units import exact_duration
from simulator.workload import Draw, Workload

RUNS = 3
REPLICATIONS = 20
"""Of a prediction in which chance decides."""
SPLITS = 40
"""Of a server with several workers: observed, and predicted with."""
TRIES = 3
"""Of a run that the generator could not keep up with."""
WARM = 50
"""Requests to each route before the first run, at once: threads start, queries are prepared."""
SPARE_NS = 15 * 10**9
"""How much longer than twice the prediction a run may take before it is cut."""

Say = Callable[[str], None]


class NotMeasured(Exception):
    """A scenario could not be measured; the message says why."""


@dataclass(frozen=True, slots=True)
class Options:
    """How to check."""

    overheads: str = "typical"  # a preset, or the file that `sim calibrate` wrote
    runs: int = RUNS
    tolerance: float | None = None  # instead of that of the run's bound
    scale: Fraction = Fraction(1)
    database: str = "embedded"
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    scenario: Scenario
    bound: Bound
    figures: tuple[Figure, ...]
    predicted: Summary
    measured: tuple[Summary, ...]
    lives: tuple[Live, ...]
    cpu: float | None  # measured thread time of the cpu steps / the scenario's; None: no such
    splits: tuple[tuple[int, ...], ...]  # observed before the runs; empty with one worker
    versions: dict[str, str]
    notes: tuple[str, ...]

    @property
    def answers_agree(self) -> bool:
        """Whether about as many requests were ok as predicted."""
        ok = median(summary.total.ok for summary in self.measured)
        tolerance = max(2.0, 0.1 * self.predicted.total.requests)
        return abs(ok - self.predicted.total.ok) <= tolerance

    @property
    def passed(self) -> bool:
        """Whether every figure that is judged agrees."""
        return self.answers_agree and all(f.agrees for f in self.figures if f.judged)


def prepared(file: str, overrides: Sequence[str], options: Options) -> Scenario:
    """The scenario as it is served and predicted: scaled, with overheads, on this machine.

    Raises
    ------
    ScenarioError
        The scenario or the file of overheads is wrong.
    NotMeasured
        It can't be served.
    """
    given = load(file, overrides)
    reasons = refusals(given, database=options.database)
    if reasons:
        raise NotMeasured(f"it can't be served: {'; '.join(reasons)}")
    text = dumps(scaled(given.document, options.scale))
    own = [f"server.overheads={options.overheads}"]
    cores = os.cpu_count() or 1
    if cores < given.plan.server.cores < UNLIMITED or given.plan.server.workers > 1:
        own.append(f"server.cores={cores}")
    scenario = loads(text, own, path=file)
    server = scenario.plan.server
    plain = server.kind is ServerKind.ASGI and server.limit_concurrency == UNLIMITED
    if plain and not given.is_written("client.connections"):
        # A connection for each request that may be under way, opened before: what a proxy or
        # a browser does, and what the overheads were measured with.
        own.append(f"client.connections={{kept: {_at_once(scenario.plan)}}}")
        scenario = loads(text, own, path=file)
    return scenario


def check(file: str, overrides: Sequence[str], options: Options, say: Say) -> Checked:
    """Serve, measure, simulate, compare.

    Raises
    ------
    ScenarioError, NotMeasured
    """
    scenario = prepared(file, overrides, options)
    plan = scenario.plan
    first = run(plan, Workload(plan))
    limit_ns = 2 * summarize(plan, first).run_ns + SPARE_NS
    if limit_ns - SPARE_NS > 2 * options.budget.time_ns:
        lasts = exact_duration((limit_ns - SPARE_NS) // 2)
        allowed = exact_duration(options.budget.time_ns)
        raise NotMeasured(
            f"a run takes {lasts}, the budget allows {allowed}; --scale 0.1 for a tenth of all "
            "times, or --budget"
        )
    lives: list[Live] = []
    try:
        with serve(scenario, database=options.database, progress=say) as running:
            splits = _splits(scenario, running, say)
            _warm_up(plan, running)
            for k in range(options.runs):
                say(f"run {k + 1} of {options.runs}")
                lives.append(_measured(scenario, running, options, limit_ns))
            versions = dict(running.versions) | {"database": running.database}
    except (NotServable, ServeError, GeneratorError, ConnectionError) as error:
        raise NotMeasured(str(error)) from error
    say("simulating")
    return _compared(scenario, options, first, lives, splits, versions)


def _at_once(plan: Plan) -> int:
    """The most requests that are under way at one instant, as simulated."""
    trace = run(plan, Workload(plan))
    ends = np.sort(trace.finish_ns[trace.finish_ns >= 0])
    begun = np.arange(1, len(trace) + 1)
    ended = np.searchsorted(ends, np.sort(trace.arrival_ns), "left")
    return max(1, int((begun - ended).max()))


def _splits(scenario: Scenario, running: Running, say: Say) -> tuple[tuple[int, ...], ...]:
    """How a server with several workers shares connections; empty where it has one."""
    plan = scenario.plan
    if plan.server.workers == 1 or plan.server.kind is not ServerKind.ASGI:
        return ()
    if not plan.client.kept_connections:
        return ()
    say(f"observing {SPLITS} splits of {plan.client.kept_connections} connections")
    return tuple(split(running.url, plan.client.kept_connections) for _ in range(SPLITS))


def _warm_up(plan: Plan, running: Running) -> None:
    """A burst to every route, not measured; not where it would use up a service's limit."""
    if any(service.limits for service in plan.services) or plan.faults:
        return
    open_loads = [load for load in plan.loads if load.kind is LoadKind.BURST]
    if not open_loads or plan.server.kind is not ServerKind.ASGI:
        return
    warm = replace(open_loads[0], count=min(WARM, open_loads[0].count))
    small = replace(plan, loads=(warm,))
    with contextlib.suppress(CouldNotKeepUp):  # nothing was measured
        drive(small, Workload(small), running.url)


def _measured(scenario: Scenario, running: Running, options: Options, limit_ns: int) -> Live:
    """One run; again where the generator could not keep up."""
    plan = scenario.plan
    for again in range(TRIES - 1, -1, -1):
        try:
            live = drive(
                plan, Workload(plan), running.url, budget=options.budget,
                time_max_ns=limit_ns, begins=running.begins,
            )  # fmt: skip
        except CouldNotKeepUp:
            if not again:
                raise
            continue
        if live.partial == "interrupted":
            raise KeyboardInterrupt
        why = running.failure() or live.partial
        if why:
            answered = sum(n for name, n in live.statuses.items() if name != "in_flight")
            raise NotMeasured(
                f"{why}; partial: {answered} of {len(live.trace)} requests that were sent have "
                f"ended: {_counts(live.statuses)}"
            )
        if not live.statuses.get("ok") and live.said:
            name, said = next(iter(live.said.items()))
            if name.startswith("http_"):
                raise NotMeasured(f"no request was ok: {_counts(live.statuses)}; {said!r}")
        return live
    raise AssertionError("unreachable")


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in statuses.items())


# The prediction.


class _Predicted(Workload):
    """The draws of the measured runs, with decisions of another replication.

    What the scenario's cpu steps take is what they took in the runs: ``cpu`` times theirs.
    """

    def __init__(self, plan: Plan, decisions: int, cpu: float, streams: frozenset[int]) -> None:
        super().__init__(plan)
        self._decided = Workload(plan, replication=decisions)
        self._cpu, self._streams = cpu, streams

    def decide(self, station: str, number: int, options: int) -> int:
        return self._decided.decide(station, number, options)

    def decide_by_weight(self, station: str, number: int, weights: Sequence[float]) -> int:
        if station.startswith("load["):  # who asks for what is no decision of the run
            return super().decide_by_weight(station, number, weights)
        return self._decided.decide_by_weight(station, number, weights)

    def time(self, stream: int, attempt: int = 0, sub: int = 0) -> Draw:
        draw = super().time(stream, attempt, sub)
        if stream not in self._streams:
            return draw
        return lambda index: round(draw(index) * self._cpu)


def _compared(
    scenario: Scenario,
    options: Options,
    first: Trace,
    lives: list[Live],
    splits: tuple[tuple[int, ...], ...],
    versions: dict[str, str],
) -> Checked:
    plan = scenario.plan
    streams = frozenset(step.time for step in _steps(plan) if isinstance(step, Cpu))
    cpu = _cpu_ratio(plan, lives) if streams else None
    summaries = [
        summarize(chosen, run(chosen, _Predicted(chosen, k, cpu or 1.0, streams)))
        for k, chosen in enumerate(_plans(plan, splits, first))
    ]
    kind = bound(plan, first, summarize(plan, first))
    measured = tuple(summarize(plan, live.trace) for live in lives)
    notes = [f"overheads: {options.overheads}, not of this machine"] * (
        options.overheads in ("typical", "none")
    )
    return Checked(
        scenario=scenario,
        bound=kind,
        figures=figures(
            kind, [values(s) for s in measured], [values(s) for s in summaries], options.tolerance
        ),
        predicted=sorted(summaries, key=lambda s: s.run_ns)[len(summaries) // 2],
        measured=measured,
        lives=tuple(lives),
        cpu=cpu,
        splits=splits,
        versions=versions,
        notes=tuple(notes),
    )


def _plans(plan: Plan, splits: tuple[tuple[int, ...], ...], first: Trace) -> list[Plan]:
    """The plan of each replication: with an observed split each, or the same again."""
    if splits:
        workers = plan.server.workers
        return [
            replace(plan, server=replace(plan.server, accept=Accept.WEIGHTS, accept_weights=w))
            for shares in splits
            if (w := tuple(n / sum(shares) for n in _padded(shares, workers)))
        ]
    again = _Predicted(plan, 1, 1.0, frozenset())
    chance = not np.array_equal(run(plan, again).finish_ns, first.finish_ns)
    return [plan] * (REPLICATIONS if chance else 1)


def _padded(shares: tuple[int, ...], workers: int) -> tuple[int, ...]:
    return (shares + (0,) * workers)[:workers]


def _steps(plan: Plan) -> Iterator[object]:
    from simulator.analysis.routes import every_step

    for route in plan.routes:
        yield from every_step(route.steps)
        yield from every_step(route.after)


def _cpu_ratio(plan: Plan, lives: list[Live]) -> float:
    """Thread time that the cpu steps took, relative to what the scenario says; 1 if not told."""
    nominal = Workload(plan)
    streams = [
        [step.time for step in _of_route(plan, i) if isinstance(step, Cpu)]
        for i in range(len(plan.routes))
    ]
    took = said = 0
    for live in lives:
        told = live.times["cpu"]
        for row in np.flatnonzero((told > 0) & (live.trace.outcome == 0)):
            index, route = int(live.trace.index[row]), int(live.trace.route[row])
            took += int(told[row])
            said += sum(nominal.time(stream)(index) for stream in streams[route])
    return took / said if said else 1.0


def _of_route(plan: Plan, route: int) -> Iterator[object]:
    from simulator.analysis.routes import every_step

    return iter(every_step(plan.routes[route].steps))
