"""What limits a run, with its bound in numbers, and what to try next."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.analysis.advice import overrides
from simulator.analysis.bounds import Bound, largest_bound
from simulator.analysis.ceiling import Ceiling, ceiling
from simulator.analysis.closed import ClosedBound, closed_bound
from simulator.analysis.devices import accelerator_of
from simulator.analysis.exact import exact_sum
from simulator.analysis.faults import fault_words, slowing
from simulator.analysis.insight import Case, insight
from simulator.analysis.keys import Keys
from simulator.analysis.limits import (
    SHORT,
    asked_in,
    is_burst,
    offered,
    patience_ns,
    processes,
    timely,
)
from simulator.analysis.mishaps import fault_lines, mishap
from simulator.analysis.resources import held_ns, select
from simulator.analysis.shedding import LABEL as LIMIT
from simulator.analysis.shedding import shed, shed_words, wider
from simulator.analysis.summary import Summary
from simulator.engines.contract import IN_FLIGHT, NOT_STARTED
from simulator.plan import NEVER, Plan
from simulator.record import dataclass
from simulator.report import format
from simulator.trace import Trace

_STUCK_SHOWN = 4
_REFUSALS = ("pool_timeout:", "too_many_connections:", "not_started")
_MORE = {"event loop": "loops", "pool": "connections", "gil": "processes", "service": "slots"}


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
    override_with: str | None  # a second one, where one alone would not help
    details: tuple[str, ...]  # who holds what in a deadlock; a wait elsewhere that it causes


def bottleneck(plan: Plan, trace: Trace, summary: Summary, keys: Keys | None = None) -> Bottleneck:
    """The bottleneck of a run: a deadlock, else what most failed on, else the largest bound.

    Parameters
    ----------
    keys : Keys, optional
        How the scenario spells what the override changes; default: as the resolved one.
    """
    case = Case(plan, trace, summary, "nothing", "", None, keys=keys or Keys())
    if trace.stuck:
        return _deadlock(case)
    found = mishap(case)
    if found is not None:
        return _conclude(*found, _failed_line(case, found[1]))
    if summary.total.errors * 2 > summary.total.finished:
        return _failing(case)
    bound = _largest(plan, trace, summary)
    if bound is not None and not _nothing_limits(case, bound):
        return _limited(case, bound)
    if shed(case):
        return _turned_away(case)
    # Who gave up at once, or was refused, waited for nothing and was short of it all the same.
    refused = bool(summary.failures) and summary.failures[0][0].startswith(_REFUSALS)
    return _failing(case) if refused else _nothing(case, bound)


def _largest(plan: Plan, trace: Trace, summary: Summary) -> Bound | None:
    """The largest bound; where that is not short, the one for which most wait."""
    # In a burst a slot for which nobody waited has not held up anyone.
    bound = largest_bound(plan, trace, waited_for=is_burst(trace))
    asked = offered(trace, bound) if bound else None
    if bound is None or asked is None or asked >= SHORT:
        return bound
    waits = [row for row in summary.breakdown if row.kind == "wait" and row.share >= 0.1]
    cause = next((i for i, c in enumerate(trace.causes) if waits and c.name == waits[0].cause), -1)
    station = next((s for s in trace.stations if s.cause == cause), None)
    # Threads and connections are held while their holders wait for something else.
    if station is None or station.kind in ("workers", "threads", "pool"):
        return bound
    return largest_bound(plan, trace, station.label) or bound


def _turned_away(case: Case) -> Bottleneck:
    """Where nothing is short of what is let in."""
    sentence = f"{shed_words(case)}; those let in are short of nothing."
    found = _conclude(replace(case, kind="limit", label=LIMIT), sentence)
    return replace(found, size=case.plan.server.limit_concurrency, override=wider(case))


def _limited(case: Case, bound: Bound) -> Bottleneck:
    station = case.trace.stations[bound.station]
    case = replace(case, kind=station.kind, label=station.label, bound=bound)
    sentence = f"{_place(case.plan, station.label, bound.size)}: {_reason(case, bound)}"
    if shed(case):
        sentence = f"{shed_words(case)}; those let in, {sentence}"
    details = (*_failed_line(case, sentence), *_shadow(case.trace, case.summary, bound))
    return _conclude(case, sentence, details)


def _failed_line(case: Case, sentence: str) -> tuple[str, ...]:
    """A line with the most frequent failure, where the sentence has not said it."""
    failures = case.summary.failures
    if not failures or f"{failures[0][1]} of {case.summary.total.requests} " in sentence:
        return ()
    return (_failed_words(case, *failures[0]),)


def _failed_words(case: Case, reason: str, count: int) -> str:
    words = reason.replace("_", " ").replace(":", " ", 1)
    return f"{count} of {case.summary.total.requests} failed: {words}."


def _reason(case: Case, bound: Bound) -> str:
    """The bound where the run was as long; else how busy it was and what waiting adds."""
    run_ns = case.summary.run_ns
    closed = closed_bound(case.plan, case.summary, bound)
    if closed is not None:
        return _closed_reason(case, closed)
    asked = offered(case.trace, bound)
    for fault in slowing(case.plan, case.trace, case.label):
        meanwhile = asked_in(case.trace, bound, fault.start_ns, fault.end_ns)
        if asked is not None and (meanwhile or 0) > max(asked, SHORT):
            return (
                f"{format.percent(asked)} busy while requests arrive, asked for "
                f"{format.percent(meanwhile)} while {fault_words(case.plan, fault)}; "
                f"{_waits(case.summary)}."
            )
    spec = accelerator_of(case.plan, case.label)
    if spec is not None and spec.continuous:
        busy = format.percent(min(Fraction(bound.bound_ns, max(run_ns, 1)), Fraction(1)))
        return f"its devices work for {busy} of the run; {_waits(case.summary)}."
    if spec is not None and asked is not None and asked < 1 and bound.least_ns < bound.bound_ns:
        return _with_room(case, bound, asked)
    if asked is None and bound.bound_ns < 0.5 * run_ns:
        return (
            f"{_product(bound, case.kind)} = {format.duration(bound.bound_ns)} is all its work, "
            f"the run took {format.duration(run_ns)}: its holders waited for something else."
        )
    if asked is None or asked >= 1 or bound.bound_ns >= 0.9 * run_ns:
        return (
            f"{_product(bound, case.kind)} = {format.duration(bound.bound_ns)} is the bound, "
            f"the run took {format.duration(run_ns)}."
        )
    return f"{format.percent(asked)} busy while requests arrive; {_waits(case.summary)}."


def _with_room(case: Case, bound: Bound, asked: Fraction) -> str:
    """Devices that work most of the time, on batches that are not full."""
    busy = min(Fraction(bound.bound_ns, max(case.summary.run_ns, 1)), Fraction(1))
    mean = format.significant(Fraction(bound.served, bound.visits))
    return (
        f"its devices work for {format.percent(busy)} of the run on batches of {mean} on average, "
        f"in full ones it would be {format.percent(asked)}; {_waits(case.summary)}."
    )


def _closed_reason(case: Case, closed: ClosedBound) -> str:
    """What the resource serves, and what the users could ask for."""
    return (
        f"it serves {_rate(closed.served)} at most, {_users(closed)} could ask for "
        f"{_rate(closed.asked)}; {_rate(case.summary.total.throughput)} were ok, "
        f"{_waits(case.summary)}."
    )


def _users(closed: ClosedBound) -> str:
    think, own = (format.duration(round(ns)) for ns in (closed.think_ns, closed.own_ns))
    thinking = f"{think} of thinking and " if closed.think_ns else ""
    return f"{format.count(closed.users, 'user')} with {thinking}{own} each"


def _rate(rate: Fraction | None) -> str:
    return f"{format.significant(rate or Fraction(0), digits=3)}/s"


def _waits(summary: Summary) -> str:
    """What waiting adds to the mean: "waits add 0.4ms of 19.9ms"."""
    waits = sum(row.mean_ns for row in summary.breakdown if row.kind == "wait")
    every = sum(row.mean_ns for row in summary.breakdown)
    if not waits:
        return f"nobody waits, the mean is {format.duration(every)}"
    # The table above has the mean of those that are ok.
    of_all = " of all finished, failed ones included" if summary.total.errors else ""
    return f"waits add {format.duration(waits)} to a mean of {format.duration(every)}{of_all}"


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
    used = [one for i, one in trace.used.items() if rows[i]]
    held = exact_sum(held_ns(visits, 0, trace.end_ns)) + sum(one.held_ns for one in used)
    if held < 2 * (exact_sum(visits.work_ns) + sum(one.work_ns for one in used)):
        return ()
    return (f"most waiting is for {station.label}, whose holders wait for {limiting.label}.",)


def _conclude(case: Case, sentence: str, details: tuple[str, ...] = ()) -> Bottleneck:
    bound, beside = case.bound, ceiling(case)
    tried, also, *_ = (*overrides(case, beside), None, None)
    details += _beside(case, beside) + _room(case, tried)
    details += fault_lines(case) if case.kind != "fault" else ()
    return Bottleneck(
        kind=case.kind,
        resource=case.label or None,
        size=bound.size if bound else None,
        bound_ns=bound.bound_ns if bound else None,
        run_ns=case.summary.run_ns,
        sentence=sentence,
        insight=insight(case),
        override=tried,
        override_with=also,
        details=details,
    )


def _beside(case: Case, found: Ceiling | None) -> tuple[str, ...]:
    """A line with what keeps more of this resource alone from helping."""
    if found is None:
        return ()
    more = _MORE.get(case.kind, case.kind)
    if found.bound is None:
        if found.kind == "gil":
            return ("it computes all the time: more threads would take turns at the GIL.",)
        return (f"its holders wait for {found.label}: more {more} would wait there, too.",)
    needs, it = ("need", "them") if found.label == "cores" else ("needs", "it")
    length = format.duration(found.bound.bound_ns)
    return (f"{found.label} {needs} {length} as well: more {more} alone would wait for {it}.",)


def _room(case: Case, tried: str | None) -> tuple[str, ...]:
    """What the override comes to, where its value alone could mislead."""
    key, _, value = (tried or "").partition("=")
    if key.endswith("limit_concurrency") and case.bound:
        most = timely(case.plan, case.bound, case.label)
        timeout = patience_ns(case.plan, case.label)
        whose = "clients'" if timeout == case.plan.client.timeout_ns else "calls'"
        each = " in each worker" if processes(case.plan) > 1 else ""
        return (
            f"no more than {most} at once{each} can be answered within the {whose} "
            f"{format.duration(timeout)}; the rest is work that nobody waits for.",
        )
    pool = case.pool
    if pool is None or not pool.overflow or not key.endswith(".size"):
        return ()
    wanted = int(value) + pool.overflow
    return (f"a size of {value} and the overflow of {pool.overflow} are {wanted} connections.",)


def _place(plan: Plan, label: str, size: int) -> str:
    shared = ("workers", "cores", "lock ", "database ", "service ", "accelerator ")
    keys = next((lock.keys for lock in plan.locks if label == f"lock {lock.label}"), 1)
    if keys > 1:
        return f"{label}, the busiest of {keys} rows"
    if processes(plan) > 1 and not label.startswith(shared):
        return f"{label}, {size} in each of {processes(plan)} workers"
    return label


def _product(bound: Bound, kind: str) -> str:
    """The bound as arithmetic: "1000 × 5s / 50"."""
    mean = "" if bound.constant else " on average"
    noun = " batches" if kind == "accelerator" else ""
    product = f"{bound.visits}{noun} × {format.duration(bound.work_mean_ns)}{mean}"
    return f"{product} / {bound.size}" if bound.size > 1 else product


def _nothing_limits(case: Case, bound: Bound) -> bool:
    trace, summary = case.trace, case.summary
    closed = closed_bound(case.plan, summary, bound)
    waited = sum(row.share for row in summary.breakdown if row.kind == "wait")
    if closed is not None and summary.total.throughput is not None:
        return not waited or summary.total.throughput >= closed.asked * Fraction(95, 100)
    asked = offered(trace, bound)
    spec = accelerator_of(case.plan, trace.stations[bound.station].label)
    if spec is not None and spec.continuous and asked is not None:
        return waited < 0.1  # a device is busy with a single one, and takes more
    # In a burst a slot is busy as long as its request lasts, however many slots there are.
    if asked is None:
        return waited < 0.01
    below = asked < SHORT or (asked < 1 and not waited)
    return waited < 0.1 and below and bound.least_ns <= 0.9 * summary.run_ns


def _nothing(case: Case, bound: Bound | None) -> Bottleneck:
    summary = case.summary
    latency = summary.total.latency
    if not len(case.trace):
        sentence = "nothing: no request arrived."
    elif not latency.count:
        sentence = "nothing: no request has finished."
    elif latency.min_ns == latency.max_ns:
        sentence = f"nothing: each request takes its own {format.duration(latency.max_ns)}."
    elif (closed := closed_bound(case.plan, summary, bound)) is not None:
        sentence = (
            f"nothing is short: {_users(closed)} ask for {_rate(closed.asked)}, "
            f"{_rate(summary.total.throughput)} were ok; {_waits(summary)}."
        )
        case = replace(case, bound=bound, special="nothing, closed")
    elif bound is not None and not is_burst(case.trace):
        label = _place(case.plan, case.trace.stations[bound.station].label, bound.size)
        busy = format.percent(offered(case.trace, bound))
        sentence = f"nothing is short: the busiest, {label}, is {busy} busy; {_waits(summary)}."
    elif any(row.kind == "wait" and row.share >= 0.1 for row in summary.breakdown):
        sentence = f"no resource of limited size; {_waits(summary)}."
    else:
        mean = format.duration(latency.mean_ns)
        sentence = f"nothing: each request takes its own time, {mean} on average."
    return _conclude(case, sentence, _failed_line(case, sentence))


def _failing(case: Case) -> Bottleneck:
    plan, trace = case.plan, case.trace
    reason, count = case.summary.failures[0]
    total = case.summary.total.requests
    if reason == trace.outcomes[NOT_STARTED]:
        return _not_started(case, count)
    kind, _, name = reason.partition(":")
    if kind == "pool_timeout":
        pool = next(pool for pool in plan.pools if pool.label == name)
        timeout = format.duration(min(pool.acquire_timeout_ns, NEVER))
        slots = pool.size + pool.overflow
        place = _place(plan, f"pool {name}", slots)
        place = place if "," in place else f"{place} ({slots})"
        sentence = f"{place} and its {timeout} timeout: {count} of {total} gave up."
        bound = largest_bound(plan, trace, f"pool {name}")
        timed_out = replace(case, kind="pool", label=f"pool {name}", bound=bound, timed_out=True)
        return _conclude(timed_out, sentence)
    if kind == "too_many_connections":
        database = next(database for database in plan.databases if database.label == name)
        sentence = (
            f"database {name}: {database.connections} connections for applications; "
            f"{count} of {total} refused."
        )
        found = _conclude(replace(case, kind="database", label=f"database {name}"), sentence)
        return replace(found, size=database.connections)
    return _failing_otherwise(case, reason, count)


def _failing_otherwise(case: Case, reason: str, count: int) -> Bottleneck:
    bound = largest_bound(case.plan, case.trace)
    if shed(case) and (bound is None or _nothing_limits(case, bound)):
        return _turned_away(case)
    if bound is None or _nothing_limits(case, bound):
        return _conclude(replace(case, kind="errors"), _failed_words(case, reason, count))
    return _limited(case, bound)


def _not_started(case: Case, count: int) -> Bottleneck:
    plan = case.plan
    wanted = [0] * len(plan.databases)
    for pool in plan.pools:
        if pool.database >= 0:
            wanted[pool.database] += pool.min * processes(plan)
    over = [w - d.connections for w, d in zip(wanted, plan.databases, strict=True)]
    i = over.index(max(over))
    label = f"database {plan.databases[i].label}"
    sentence = (
        f"{label}: the workers open {wanted[i]} connections at their start, "
        f"it has {plan.databases[i].connections}; {count} of {case.summary.total.requests} "
        "met a service that did not start."
    )
    return _conclude(replace(case, kind="database", label=label), sentence)


def _deadlock(case: Case) -> Bottleneck:
    trace = case.trace
    labels = [station.label for station in trace.stations]
    # Who holds nothing is in no cycle; he waits for those who are.
    holders = [row for row in trace.stuck if row.holds] or trace.stuck
    wanted = np.bincount([row.waits_for for row in holders], minlength=len(labels))
    label = labels[int(wanted.argmax())]
    # Branches and attempts of a request have a row each, and can be stuck in one way.
    stuck = list(dict.fromkeys(sorted(trace.stuck, key=lambda row: not row.holds)))
    lines = []
    for row in stuck[:_STUCK_SHOWN]:
        held = ", ".join(labels[i] for i in row.holds) or "nothing"
        lines.append(f"request {row.request} holds {held} and waits for {labels[row.waits_for]}")
    if len(stuck) > _STUCK_SHOWN:
        lines.append(f"and {len(stuck) - _STUCK_SHOWN} more")
    # Clients that have left are in flight no more, their work is still there.
    left = max(int((trace.outcome == IN_FLIGHT).sum()), len({row.request for row in stuck}))
    sentence = f"deadlock: {format.count(left, 'request')} can never go on, for want of {label}."
    return _conclude(replace(case, kind="deadlock", label=label), sentence, tuple(lines))
