"""Whether more of a resource would help: not where another is as short at the same time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from fractions import Fraction

from simulator.analysis.bounds import Bound, station_bound
from simulator.analysis.exact import exact_sum
from simulator.analysis.insight import Case, variant
from simulator.analysis.limits import is_burst, processes
from simulator.analysis.routes import every_step
from simulator.engines.contract import CPU
from simulator.plan import UNLIMITED, Cpu, ServerKind
from simulator.record import dataclass

NEARLY = Fraction(9, 10)
"""A bound of this share of the largest leaves little to gain from more of the first alone."""
_OF_A_PROCESS = ("threads", "gil", "event loop", "pool", "client")
_GROWN = ("workers", "threads", "event loop", "gil", "pool", "service")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """What stands beside a bottleneck, and would be the next one at once."""

    kind: str  # a station's kind; "gil" also where one thread has it alone
    label: str
    bound: Bound | None  # None for what has no slots: a rate limit, a GIL that is not shared


def ceiling(case: Case) -> Ceiling | None:
    """The resource that keeps more of this one from helping; None where more of it helps."""
    if case.kind not in _GROWN or case.bound is None:
        return None
    if case.kind == "threads" and _computes(case, case.bound):
        return Ceiling("gil", "gil", None)
    least = case.bound.bound_ns * NEARLY
    bound = max(_others(case), key=lambda bound: bound.bound_ns, default=None)
    if bound is not None and bound.bound_ns >= least:
        station = case.trace.stations[bound.station]
        return Ceiling(station.kind, station.label, bound)
    return _rate_limit(case, case.bound)


def _others(case: Case) -> Iterable[Bound]:
    """The bounds that more of this resource leaves as they are."""
    processes_grow = case.kind in ("workers", "gil") or (
        case.kind == "event loop" and variant(case) != "event loop, blocked"
    )
    for i, station in enumerate(case.trace.stations):
        outside = station.size >= UNLIMITED or station.kind == "database"
        holder = station.kind in ("workers", "threads") and case.kind != "threads"
        if outside or holder or station.label == case.label:
            continue
        if processes_grow and station.kind in _OF_A_PROCESS:
            continue
        # Who times out at a pool has waited for those who hold connections, and their locks.
        if case.timed_out and station.kind != "lock":
            continue
        bound = station_bound(case.plan, case.trace, i)
        if bound is not None:
            yield bound


def _computes(case: Case, bound: Bound) -> bool:
    """Whether what the only thread of a process does is computing under the GIL.

    A GIL that nobody shares is not among the stations.
    """
    cpu = [
        step
        for route in case.plan.routes
        for step in every_step(route.steps)
        if isinstance(step, Cpu)
    ]
    one = case.plan.server.kind is ServerKind.THREADS and case.plan.server.threads == 1
    if not one or any(step.releases_gil for step in cpu):
        return False
    computed = exact_sum(case.trace.spent_ns[:, CPU])
    bounds = [
        found
        for i, station in enumerate(case.trace.stations)
        if station.label == case.label
        and (found := station_bound(case.plan, case.trace, i)) is not None
    ]
    return computed >= NEARLY * sum(found.bound_ns for found in bounds)


def _rate_limit(case: Case, bound: Bound) -> Ceiling | None:
    """The rate limit that those who hold all slots wait for, for most of a burst."""
    if not is_burst(case.trace) or 2 * bound.bound_ns >= case.summary.run_ns:
        return None
    for row in case.summary.breakdown:
        kind, _, name = row.cause.partition(":")
        if row.kind == "wait" and kind == "rate limit":
            waited = row.mean_ns * case.summary.total.finished
            if 2 * waited >= case.summary.run_ns * bound.size * processes(case.plan):
                return Ceiling("rate limit", f"rate limit {name}", None)
    return None


def as_case(case: Case, found: Ceiling) -> Case:
    """The same run, seen from what stands beside its bottleneck."""
    return replace(case, kind=found.kind, label=found.label, bound=found.bound or case.bound)
