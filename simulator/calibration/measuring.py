"""Serves a scenario and measures it: as many runs as asked for, each of which can be believed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.analysis.routes import every_step
from simulator.analysis.summary import summarize
from simulator.calibration import machine_use
from simulator.calibration.figures import Bound, Values, values
from simulator.calibration.generator import (
    Budget,
    CouldNotKeepUp,
    GeneratorError,
    Live,
    drive,
)
from simulator.calibration.served import NotServable, Running, ServeError, serve
from simulator.calibration.splits import split
from simulator.plan import (
    NEVER,
    UNLIMITED,
    Cpu,
    HttpLibrary,
    LoadKind,
    Plan,
    ServerKind,
    Step,
)
from simulator.record import dataclass
from simulator.report import format
from simulator.scenario import Scenario
from simulator.workload import Workload

RUNS = 3
SPLITS, SPLITS_OF_RUN = 40, 4
"""Of a server with several workers: observed at least, and before each run, and predicted with."""
FRESH_SPLITS = 20
"""The same where each run has a server of its own: the first thousand connections of four workers
are shared as 295, 235, 235, 235 or 423, 235, 235, 107, later ones as 469, 345, 142, 44."""
TRIES = 3
"""Of a run that the generator could not keep up with, or that others disturbed."""
DELAYED_MAX = 0.10
"""How long the server may wait for a processor, relative to how long it runs, where
computing is what bounds a run of one process."""
WARM = 50
"""Requests to each route before the first run, at once: threads start, queries are prepared."""
SPARE_NS = 15 * 10**9
"""How much longer than twice the prediction a run may take before it is cut."""
SETTLES_S = 0.2
"""Before a split is observed, and before a run: workers that are still busy with closing the last
one's connections are awake and share the new ones more evenly than idle ones do."""
IDLE_S = 5.5
"""Longer than httpx keeps an idle connection (5 s). A run begins without, as the simulation does:
of calls that come at once all would be sent to the first of them, all but one in vain."""

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
class Run:
    """One measured run."""

    values: Values
    ok: int
    failures: dict[str, int]
    cpu_ns: int  # thread time that the cpu steps took
    cpu_said_ns: int  # what the scenario says that they take
    delayed: float  # the server's wait for a processor, relative to how long it ran
    late_ns: int  # of the latest send
    generator_share: float  # of a core
    generator_ns: int  # CPU of a request


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a scenario."""

    runs: tuple[Run, ...]
    splits: tuple[tuple[int, ...], ...]  # observed before each run; empty with one worker
    kept: int  # connections that the client opened before
    versions: dict[str, str]

    @property
    def cpu(self) -> float | None:
        """Thread time of the cpu steps relative to the scenario's; None where it has none."""
        said = sum(run.cpu_said_ns for run in self.runs)
        return sum(run.cpu_ns for run in self.runs) / said if said else None


def measure(scenario: Scenario, options: Options, kind: Bound, lasts_ns: int, say: Say) -> Measured:
    """Serve a scenario and send its load as often as asked for.

    ``lasts_ns``: how long one run is predicted to take.

    Raises
    ------
    NotMeasured
        It can't be served, or what was measured can't be believed.
    """
    plan, limit_ns = scenario.plan, 2 * lasts_ns + SPARE_NS
    remembers = _remembers(plan)
    shares = [1] * options.runs if remembers else [options.runs]
    runs: list[Run] = []
    splits: list[tuple[int, ...]] = []
    try:
        for share in shares:
            if remembers:
                splits += _fresh_splits(scenario, options, _due(FRESH_SPLITS, options, runs), say)
            with serve(scenario, database=options.database, progress=say) as running:
                _warm_up(plan, running)
                for _ in range(share):
                    if not remembers:
                        many = max(SPLITS, SPLITS_OF_RUN * options.runs)
                        due = _due(many, options, runs)
                        splits += observed_splits(plan, running.url, say, due)
                    left = format.duration((options.runs - len(runs)) * lasts_ns)
                    say(f"run {len(runs) + 1} of {options.runs}, about {left} left")
                    runs.append(_believed(scenario, running, options, limit_ns, kind))
                versions = dict(running.versions) | {"database": running.database}
    except (NotServable, ServeError, GeneratorError, ConnectionError) as error:
        raise NotMeasured(str(error)) from error
    return Measured(tuple(runs), tuple(splits), plan.client.kept_connections, versions)


def _rest_s(plan: Plan) -> float:
    """How long the server rests before a run, to be what the simulation begins with."""
    if any(s.client == HttpLibrary.HTTPX and s.connections < UNLIMITED for s in plan.services):
        return IDLE_S
    return SETTLES_S if _shares(plan) else 0


def _due(many: int, options: Options, runs: list[Run]) -> int:
    """How many of all splits are observed before the next run: a machine is not the same for long.

    Forty observed before twenty runs had shares of 293 to 513 of 1000, the runs 250 to 550.
    """
    done = len(runs)
    return many * (done + 1) // options.runs - many * done // options.runs


def observed_splits(
    plan: Plan, url: str, say: Say, count: int = SPLITS
) -> tuple[tuple[int, ...], ...]:
    """How a server with several workers shares connections; empty where it has one."""
    if not _shares(plan):
        return ()
    say(f"observing {count} splits of {plan.client.kept_connections} connections")
    splits = []
    for _ in range(count):
        time.sleep(SETTLES_S)
        splits.append(split(url, plan.client.kept_connections))
    return tuple(splits)


def _shares(plan: Plan) -> bool:
    """Whether several workers share connections that are kept."""
    server = plan.server
    return (
        server.workers > 1 and server.kind is ServerKind.ASGI and plan.client.kept_connections > 0
    )


def _fresh_splits(
    scenario: Scenario, options: Options, count: int, say: Say
) -> tuple[tuple[int, ...], ...]:
    """One split of each of several servers, as it is when a run finds it."""
    splits: list[tuple[int, ...]] = []
    if not _shares(scenario.plan):
        return ()
    for n in range(count):
        with serve(scenario, database=options.database) as running:
            say(f"observing split {n + 1} of {count}, each of a new server")
            _warm_up(scenario.plan, running)
            time.sleep(SETTLES_S)
            splits.append(split(running.url, scenario.plan.client.kept_connections))
    return tuple(splits)


def _grows(plan: Plan) -> bool:
    """Whether a pool opens connections when they are asked for, and so has a first time."""
    return any(pool.min < pool.size for pool in plan.pools)


def _remembers(plan: Plan) -> bool:
    """Whether a server after a run is not what it was before: then each run has its own.

    A rate limit knows what was used of it, pools have grown, work that nobody waits for any
    more still holds threads and connections.
    """
    leaves = (plan.client.timeout_ns, plan.drain_ns, *(r.deadline_ns for r in plan.routes))
    limited = any(service.limits for service in plan.services)
    return limited or _grows(plan) or min(leaves) < NEVER


def _warm_up(plan: Plan, running: Running) -> None:
    """A burst, not measured; where the server remembers it, of requests for nothing.

    A server's first request imports what answering takes (``first_request``).
    """
    if plan.server.kind is ServerKind.ASGI and plan.server.limit_concurrency == UNLIMITED:
        split(running.url, WARM)
    if _remembers(plan) or plan.faults:
        return
    open_loads = [load for load in plan.loads if load.kind is LoadKind.BURST]
    if not open_loads or plan.server.kind is not ServerKind.ASGI:
        return
    warm = replace(open_loads[0], count=min(WARM, open_loads[0].count))
    small = replace(plan, loads=(warm,))
    with contextlib.suppress(CouldNotKeepUp):  # nothing was measured
        drive(small, Workload(small), running.url)


def _believed(
    scenario: Scenario, running: Running, options: Options, limit_ns: int, kind: Bound
) -> Run:
    """One run; again where it can't be believed."""
    plan = scenario.plan
    pids = [*running.processes.get("server", ()), *running.processes.get("workers", ())]
    for again in range(TRIES - 1, -1, -1):
        time.sleep(_rest_s(plan))
        before = machine_use.used(pids)
        try:
            live = drive(
                plan, Workload(plan), running.url, budget=options.budget,
                time_max_ns=limit_ns, begins=running.begins,
            )  # fmt: skip
        except CouldNotKeepUp:
            if not again:
                raise
            continue
        delayed = machine_use.delayed(before, machine_use.used(pids))
        _refuse_partial(live, running)
        # Those who wait for the GIL wake up all the time to ask for it: they wait, too.
        if delayed <= DELAYED_MAX or kind is not Bound.CPU:
            return _run_of(plan, live, delayed)
    raise NotMeasured(
        f"it is bound by {kind.value}, and in {TRIES} runs the server waited for a processor for "
        f"{delayed:.0%} of the time it ran ({DELAYED_MAX:.0%} allowed); close what else runs here"
    )


def _run_of(plan: Plan, live: Live, delayed: float) -> Run:
    summary = summarize(plan, live.trace)
    took, said = computed(plan, live)
    return Run(
        values(summary), summary.total.ok, dict(summary.failures), took, said, delayed,
        int(live.excess_ns.max()) if len(live.excess_ns) else 0, live.cpu_share,
        live.cpu_per_request_ns,
    )  # fmt: skip


def computed(plan: Plan, live: Live) -> tuple[int, int]:
    """Thread time that cpu steps took, and what they were to take, of ok requests that tell."""
    nominal, told = Workload(plan), live.times["cpu"]
    streams = [[step.time for step in cpu_steps(route.steps)] for route in plan.routes]
    took = said = 0
    for row in np.flatnonzero((told > 0) & (live.trace.outcome == 0)):
        index, route = int(live.trace.index[row]), int(live.trace.route[row])
        took += int(told[row])
        said += sum(nominal.time(stream)(index) for stream in streams[route])
    return took, said


def cpu_steps(steps: tuple[Step, ...]) -> Iterator[Cpu]:
    """The steps that compute."""
    return (step for step in every_step(steps) if isinstance(step, Cpu))


def _refuse_partial(live: Live, running: Running) -> None:
    """Raise unless everything was sent and answered by a server that works."""
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


def _counts(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in statuses.items())
