"""``sim check``: a scenario is served, measured and simulated, and the two are compared.

The simulated run and the measured ones have the same arrivals and the same service times,
request by request. What the machine adds to the scenario, its overheads, comes from probes
of other servers, never from the run that is predicted; computing is predicted with the
thread time that it took in the runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from simulator.analysis.routes import every_step
from simulator.analysis.summary import Summary, summarize
from simulator.calibration.figures import Bound, Figure, bound, figures, values
from simulator.calibration.machinery import backends
from simulator.calibration.measuring import Measured, NotMeasured, Options, Say, measure
from simulator.calibration.predicting import predict
from simulator.calibration.scaling import scaled
from simulator.calibration.served import refusals
from simulator.calibration.served.refusals import CONNECTIONS_MAX as DATABASE_MAX
from simulator.engines.reference import run
from simulator.plan import NO_DATABASE, UNLIMITED, Call, Plan, ServerKind
from simulator.record import dataclass
from simulator.scenario import Scenario, dumps, load, loads
from simulator.scenario.overheads_file import SUFFIXES, round_trip_ns
from simulator.units import exact_duration
from simulator.workload import Workload

__all__ = ["Checked", "NotMeasured", "Options", "check", "compared", "prepared"]

CONNECTIONS_MAX = 20_000
"""Of a client without a limit: more than requests that a check may send."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found."""

    scenario: Scenario
    bound: Bound
    figures: tuple[Figure, ...]
    predicted: Summary
    measured: Measured
    notes: tuple[str, ...]

    @property
    def ok(self) -> float:
        """Requests that were ok, in the median of all runs."""
        return median(run.ok for run in self.measured.runs)

    @property
    def answers_agree(self) -> bool:
        """Whether about as many requests were ok as predicted."""
        tolerance = max(2.0, 0.1 * self.predicted.total.requests)
        return abs(self.ok - self.predicted.total.ok) <= tolerance

    @property
    def passed(self) -> bool:
        """Whether every figure that is judged agrees."""
        return self.answers_agree and all(f.agrees for f in self.figures if f.judged)


def prepared(
    file: str, overrides: Sequence[str], options: Options, kept: int | None = None
) -> Scenario:
    """The scenario as it is served and predicted: scaled, with overheads, on this machine.

    ``kept``: the connections that the client opens before, where that is known already.

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
    document = scaled(given.document, options.scale)
    if options.database == "embedded":
        document = _with_backends(document, given.plan)
    text = dumps(document)
    own = [f"server.overheads={options.overheads}", *_clients(given.plan)]
    if given.plan.server.workers > 1 and given.plan.server.cores == UNLIMITED:
        own.append(f"server.cores={os.cpu_count() or 1}")
    scenario = loads(text, own, path=file)
    server = scenario.plan.server
    plain = server.kind is ServerKind.ASGI and server.limit_concurrency == UNLIMITED
    if plain and not given.is_written("client.connections"):
        # A connection for each request that may be under way, opened before: what a proxy or
        # a browser does, and what the overheads were measured with.
        own.append(f"client.connections={{kept: {kept or _at_once(scenario.plan)}}}")
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
    summary = summarize(plan, first)
    if summary.run_ns > options.budget.time_ns:
        lasts, allowed = (exact_duration(ns) for ns in (summary.run_ns, options.budget.time_ns))
        raise NotMeasured(
            f"a run takes {lasts}, the budget allows {allowed}; --scale 0.1 for a tenth of all "
            "times, or --budget"
        )
    measured = measure(scenario, options, bound(plan, first, summary), summary.run_ns, say)
    say("simulating")
    return compared(scenario, measured, options)


def compared(scenario: Scenario, measured: Measured, options: Options) -> Checked:
    """What was measured, beside what is predicted of it."""
    plan = _as_seen(scenario, options.overheads).plan
    first = run(plan, Workload(plan))
    kind = bound(plan, first, summarize(plan, first))
    predicted = predict(plan, measured, first)
    ours, theirs = [one.values for one in measured.runs], [values(one) for one in predicted]
    strange = options.overheads in ("typical", "none")
    return Checked(
        scenario=scenario,
        bound=kind,
        figures=figures(kind, ours, theirs, options.tolerance),
        predicted=sorted(predicted, key=lambda summary: summary.run_ns)[len(predicted) // 2],
        measured=measured,
        notes=(f"overheads: {options.overheads}, not of this machine",) if strange else (),
    )


def _as_seen(scenario: Scenario, overheads: str) -> Scenario:
    """As its client on this machine sees it: half of the round trip there, half of it back.

    A network that the scenario has, the generator imitates; this is what it meets itself.
    """
    ns = round_trip_ns(Path(overheads)) if overheads.endswith(SUFFIXES) else 0
    document = scenario.document
    if not ns or document["client"]["latency"] != "0s":
        return scenario
    client = document["client"] | {"latency": f"{ns // 2}ns"}
    return loads(dumps(document | {"client": client}), path=scenario.path)


def _clients(plan: Plan) -> Iterator[str]:
    """What calls a service that has no ``client``: aiohttp, which costs CPU (``aiohttp_call``)."""
    for index, spec in enumerate(plan.services):
        steps = (s for r in plan.routes for s in every_step((*r.steps, *r.after)))
        calls = [s for s in steps if isinstance(s, Call) and s.service == index]
        if spec.connections == UNLIMITED and calls and all(call.frees_loop for call in calls):
            client = f"{{preset: aiohttp, connections: {CONNECTIONS_MAX}, pool_timeout: none}}"
            yield f"services.{spec.label}.client={client}"


def _with_backends(document: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """Databases whose connections are opened meanwhile."""
    growing = [pool for pool in plan.pools if pool.min < pool.size + pool.overflow]
    databases, pools = dict(document["databases"]), dict(document["pools"])
    for i, database in enumerate(plan.databases):
        if database.cores == UNLIMITED and any(pool.database == i for pool in growing):
            databases[database.label] = databases[database.label] | backends()
    free = [pool.label for pool in plan.pools if pool.database == NO_DATABASE]
    if any(pool.label in free for pool in growing):
        name = max(("postgres", *(f"{label}_" for label in databases)), key=len)
        databases[name] = {"max_connections": DATABASE_MAX} | backends()
        pools |= {label: pools[label] | {"database": name} for label in free}
    return document | {"databases": databases, "pools": pools}


def _at_once(plan: Plan) -> int:
    """The most requests that are under way at one instant, as simulated."""
    trace = run(plan, Workload(plan))
    ends = np.sort(trace.finish_ns[trace.finish_ns >= 0])
    begun = np.arange(1, len(trace) + 1)
    ended = np.searchsorted(ends, np.sort(trace.arrival_ns), "left")
    return max(1, int((begun - ended).max()))
