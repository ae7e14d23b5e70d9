"""What limits a run, with its bound in numbers, and what to try next."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from simulator.analysis.advice import Case, insight, override
from simulator.analysis.bounds import Bound, largest_bound
from simulator.analysis.exact import exact_sum
from simulator.analysis.resources import held_ns, select
from simulator.analysis.summary import Summary
from simulator.engines.contract import IN_FLIGHT, NOT_STARTED
from simulator.plan import NEVER, Plan
from simulator.report import format
from simulator.trace import Trace

_STUCK_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What limits, why, and one change to try."""

    kind: str  # a station's kind, "nothing" or "deadlock"
    resource: str | None  # the station's label
    size: int | None  # its slots in one process
    bound_ns: int | None  # no run of these requests can be shorter
    run_ns: int
    sentence: str
    insight: str
    override: str | None  # "pools.db.size=100"; None where no key of the file helps
    details: tuple[str, ...]  # who holds what in a deadlock; a wait elsewhere that it causes


def bottleneck(plan: Plan, trace: Trace, summary: Summary) -> Bottleneck:
    """The bottleneck of a run: a deadlock, else what most failed on, else the largest bound."""
    if trace.stuck:
        return _deadlock(plan, trace, summary)
    if summary.total.errors * 2 > summary.total.finished:
        return _failing(plan, trace, summary)
    bound = largest_bound(trace)
    if bound is None or _nothing_limits(trace, summary, bound):
        return _nothing(plan, trace, summary)
    station = trace.stations[bound.station]
    sentence = (
        f"{_place(plan, station.label, bound.size)}: {_product(bound)} = "
        f"{format.duration(bound.bound_ns)} is the bound, "
        f"the run took {format.duration(summary.run_ns)}."
    )
    case = Case(plan, trace, summary, station.kind, station.label, bound)
    return _conclude(case, sentence, _shadow(trace, summary, bound))


def _shadow(trace: Trace, summary: Summary, bound: Bound) -> tuple[str, ...]:
    """A line where most waiting is for another resource, whose holders wait for this one."""
    limiting = trace.stations[bound.station]
    waits = [row.cause for row in summary.breakdown if row.kind == "wait"]
    station = next(
        (s for s in trace.stations if waits and trace.causes[s.cause].name == waits[0]), None
    )
    if station is None or station.label == limiting.label or station.kind == "database":
        return ()
    rows = np.asarray([s.label == station.label for s in trace.stations])
    visits = select(trace.visits, rows[trace.visits.station])
    held = exact_sum(held_ns(visits, 0, trace.end_ns))
    if held < 2 * exact_sum(visits.work_ns):
        return ()
    return (f"most waiting is for {station.label}, whose holders wait for {limiting.label}.",)


def _conclude(case: Case, sentence: str, details: tuple[str, ...] = ()) -> Bottleneck:
    bound = case.bound
    return Bottleneck(
        kind=case.kind,
        resource=case.label or None,
        size=bound.size if bound else None,
        bound_ns=bound.bound_ns if bound else None,
        run_ns=case.summary.run_ns,
        sentence=sentence,
        insight=insight(case),
        override=override(case),
        details=details,
    )


def _place(plan: Plan, label: str, size: int) -> str:
    if plan.server.workers > 1 and label != "workers" and not label.startswith("lock "):
        return f"{label}, {size} in each of {plan.server.workers} workers"
    return label


def _product(bound: Bound) -> str:
    """The bound as arithmetic: "1000 × 5s / 50"."""
    mean = "" if bound.constant else " on average"
    product = f"{bound.visits} × {format.duration(bound.work_mean_ns)}{mean}"
    return f"{product} / {bound.size}" if bound.size > 1 else product


def _nothing_limits(trace: Trace, summary: Summary, bound: Bound) -> bool:
    waited = sum(row.share for row in summary.breakdown if row.kind == "wait")
    if waited >= 0.01:
        return False
    # In a burst a slot is busy as long as its request lasts, however many slots there are.
    if int(trace.arrival_ns.min()) == int(trace.arrival_ns.max()):
        return True
    return bound.bound_ns <= 0.8 * summary.run_ns


def _nothing(plan: Plan, trace: Trace, summary: Summary) -> Bottleneck:
    latency = summary.total.latency
    if not len(trace):
        sentence = "nothing: no request arrived."
    elif not latency.count:
        sentence = "nothing: no request has finished."
    elif latency.min_ns == latency.max_ns:
        sentence = f"nothing: each request takes its own {format.duration(latency.max_ns)}."
    else:
        mean = format.duration(latency.mean_ns)
        sentence = f"nothing: each request takes its own time, {mean} on average."
    return _conclude(Case(plan, trace, summary, "nothing", "", None), sentence)


def _failing(plan: Plan, trace: Trace, summary: Summary) -> Bottleneck:
    reason, count = summary.failures[0]
    total = summary.total.requests
    if reason == trace.outcomes[NOT_STARTED]:
        return _not_started(plan, trace, summary, count)
    kind, _, name = reason.partition(":")
    if kind == "pool_timeout":
        pool = next(pool for pool in plan.pools if pool.label == name)
        timeout = format.duration(min(pool.acquire_timeout_ns, NEVER))
        slots = pool.size + pool.overflow
        place = _place(plan, f"pool {name}", slots)
        place = place if "," in place else f"{place} ({slots})"
        sentence = f"{place} and its {timeout} timeout: {count} of {total} gave up."
        bound = largest_bound(trace, f"pool {name}")
        case = Case(plan, trace, summary, "pool", f"pool {name}", bound, timed_out=True)
        return _conclude(case, sentence)
    database = next(database for database in plan.databases if database.label == name)
    sentence = (
        f"database {name}: {database.connections} connections for applications; "
        f"{count} of {total} refused."
    )
    found = _conclude(Case(plan, trace, summary, "database", f"database {name}", None), sentence)
    return replace(found, size=database.connections)


def _not_started(plan: Plan, trace: Trace, summary: Summary, count: int) -> Bottleneck:
    wanted = [0] * len(plan.databases)
    for pool in plan.pools:
        if pool.database >= 0:
            wanted[pool.database] += pool.min * plan.server.workers
    over = [w - d.connections for w, d in zip(wanted, plan.databases, strict=True)]
    i = over.index(max(over))
    label = f"database {plan.databases[i].label}"
    sentence = (
        f"{label}: the workers open {wanted[i]} connections at their start, "
        f"it has {plan.databases[i].connections}; {count} of {summary.total.requests} "
        "met a service that did not start."
    )
    return _conclude(Case(plan, trace, summary, "database", label, None), sentence)


def _deadlock(plan: Plan, trace: Trace, summary: Summary) -> Bottleneck:
    labels = [station.label for station in trace.stations]
    wanted = np.bincount([row.waits_for for row in trace.stuck], minlength=len(labels))
    label = labels[int(wanted.argmax())]
    lines = []
    for row in trace.stuck[:_STUCK_SHOWN]:
        held = ", ".join(labels[i] for i in row.holds) or "nothing"
        lines.append(f"request {row.request} holds {held} and waits for {labels[row.waits_for]}")
    if len(trace.stuck) > _STUCK_SHOWN:
        lines.append(f"and {len(trace.stuck) - _STUCK_SHOWN} more")
    left = int((trace.outcome == IN_FLIGHT).sum())
    sentence = f"deadlock: {format.count(left, 'request')} can never go on, for want of {label}."
    case = Case(plan, trace, summary, "deadlock", label, None)
    return _conclude(case, sentence, tuple(lines))
