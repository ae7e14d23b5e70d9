"""Findings that only a run can make: the waits it saw, the samples it has."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from simulator.analysis.exact import nearest_rank
from simulator.analysis.resources import select, waited_ns
from simulator.analysis.summary import Summary
from simulator.distributions import Constant
from simulator.plan import NEVER, LoadKind, Plan
from simulator.report import format
from simulator.trace import NOT_GRANTED, Trace

# A percentile p rests on n · (1 - p) samples above it; fewer than ten say little.
_SAMPLES_WANTED = ((99, 1000), (95, 200), (90, 100), (50, 20))


@dataclass(frozen=True, slots=True)
class RunFinding:
    """A finding, its code (see ``sim explain --rule``) and where in the file it belongs."""

    code: str
    message: str
    path: str  # the dotted path: "pools.db.acquire_timeout"


def run_findings(plan: Plan, trace: Trace, summary: Summary) -> tuple[RunFinding, ...]:
    """What this run shows about its scenario, in order of code."""
    return (*_waits_over_timeout(plan, trace), *_too_few_samples(plan, summary))


def is_random(plan: Plan) -> bool:
    """Whether another seed would give other latencies."""
    return any(load.kind is LoadKind.POISSON for load in plan.loads) or any(
        not isinstance(stream.distribution, Constant) for stream in plan.streams
    )


def _waits_over_timeout(plan: Plan, trace: Trace) -> Iterator[RunFinding]:
    for pool in plan.pools:
        if pool.acquire_timeout_ns >= NEVER:
            continue
        indices = [i for i, s in enumerate(trace.stations) if s.label == f"pool {pool.label}"]
        visits = select(trace.visits, np.isin(trace.visits.station, indices))
        waited = waited_ns(visits)
        gave_up = (visits.granted_ns == NOT_GRANTED) & (waited >= pool.acquire_timeout_ns)
        path = f"pools.{pool.label}.acquire_timeout"
        timeout = format.duration(pool.acquire_timeout_ns)
        failed = int(gave_up.sum())
        p95_ns = nearest_rank(np.sort(waited), 95) or 0
        if failed:
            message = (
                f"{failed} of {len(visits)} acquisitions of pool {pool.label} waited "
                f"its whole timeout of {timeout} and gave up"
            )
            yield RunFinding("SIM106", message, path)
        elif p95_ns * 5 >= pool.acquire_timeout_ns * 4:
            message = (
                f"waits for pool {pool.label} come near its timeout of {timeout}: "
                f"p95 is {format.duration(p95_ns)}"
            )
            yield RunFinding("SIM106", message, path)


def _too_few_samples(plan: Plan, summary: Summary) -> Iterator[RunFinding]:
    if not is_random(plan):
        return
    for group in summary.routes:
        wanting = [(p, wanted) for p, wanted in _SAMPLES_WANTED if group.ok < wanted]
        if wanting and group.requests:
            names = " and ".join(f"p{p}" for p, _ in reversed(wanting))
            percentile, wanted = wanting[0]
            message = (
                f"{names} of {group.label} {'rests' if len(wanting) == 1 else 'rest'} on "
                f"{format.count(group.ok, 'ok request')}: p{percentile} wants {wanted}, "
                "ten of them beyond it"
            )
            yield RunFinding("SIM111", message, f"routes.{group.name}")
