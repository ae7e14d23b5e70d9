"""Verdicts that are not about what is short: a cycle of waits, work done again, an outage."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np

from simulator.analysis.bounds import station_bound
from simulator.analysis.calls import Verdict, hopeless, rate_limited
from simulator.analysis.exact import exact_sum
from simulator.analysis.faults import arrived_in, fault_words, met, outage, target_label
from simulator.analysis.insight import Case
from simulator.analysis.redone import redone
from simulator.analysis.resources import select, steps_of, value_at
from simulator.analysis.routes import cycles
from simulator.plan import Fault
from simulator.report import format
from simulator.trace import NOT_GRANTED, Trace


def mishap(case: Case) -> Verdict | None:
    """The mishap that explains the run better than any resource would, if there is one."""
    return _cycle(case) or _redone(case) or _outage(case) or hopeless(case) or rate_limited(case)


def fault_lines(case: Case) -> tuple[str, ...]:
    """A line for each fault that the run met."""
    return tuple(f"{fault_words(case.plan, fault)}." for fault in met(case.plan, case.trace))


def _cycle(case: Case) -> Verdict | None:
    for a, b in cycles(case.plan):
        if case.summary.run_ns and (stuck_ns := stood_still_ns(case.trace, a, b)):
            if stuck_ns * 10 < case.summary.run_ns:
                continue
            ended = "" if case.trace.stuck else ", until a timeout broke it"
            sentence = (
                f"{a} and {b} waited for each other for {format.duration(stuck_ns)}: all that "
                f"held one wanted the other (SIM108){ended}."
            )
            label = a if a.startswith("pool ") else b
            return replace(case, kind="deadlock", label=label), sentence
    return None


def stood_still_ns(trace: Trace, a: str, b: str) -> int:
    """How long in one process every slot of each waited for a slot of the other."""
    longest = 0
    by_label = {
        (station.label, station.process): i
        for i, station in enumerate(trace.stations)
        if station.label in (a, b)
    }
    for (label, process), first in by_label.items():
        if label == a and (b, process) in by_label:
            second = by_label[b, process]
            lines = (_holding(trace, first, second), _holding(trace, second, first))
            sizes = [trace.stations[i].size for i in (first, second)]
            times = np.unique(np.concatenate([at for at, _ in lines]))
            if len(times):
                full = [value_at(times, *row) >= n for row, n in zip(lines, sizes, strict=True)]
                still = full[0] & full[1]
                longest = max(longest, exact_sum(np.diff(times)[still[:-1]]))
    return longest


def _holding(trace: Trace, held: int, wanted: int) -> tuple[np.ndarray, np.ndarray]:
    """How many hold a slot of one station while they queue for another, as a step line."""
    visits = trace.visits
    queues: dict[int, list[tuple[int, int]]] = defaultdict(list)
    waiting = select(visits, visits.station == wanted)
    end = np.where(waiting.granted_ns == NOT_GRANTED, waiting.released_ns, waiting.granted_ns)
    for who, start, stop in zip(waiting.request, waiting.queued_ns, end, strict=True):
        queues[int(who)].append((int(start), int(stop)))
    holds = select(visits, (visits.station == held) & (visits.granted_ns != NOT_GRANTED))
    begins, ends = [], []
    for who, start, stop in zip(holds.request, holds.granted_ns, holds.released_ns, strict=True):
        for queued, served in queues.get(int(who), ()):
            if max(queued, start) < min(served, stop):
                begins.append(max(queued, int(start)))
                ends.append(min(served, int(stop)))
    return steps_of(np.asarray(begins, dtype=np.int64), np.asarray(ends, dtype=np.int64))


def _redone(case: Case) -> Verdict | None:
    found = redone(case.plan, case.trace)
    if found is None or 2 * found.tries < 3 * found.requests:
        return None
    sentence = (
        f"{found.label}: {found.tries} tries of {format.count(found.requests, 'transaction')}, "
        f"because all but the first to write a row begin again; the run took "
        f"{format.duration(case.summary.run_ns)}."
    )
    bound = station_bound(case.plan, case.trace, found.station)
    case = replace(case, kind="lock", label=found.label, bound=bound, special="lock, redone")
    return case, sentence


def _outage(case: Case) -> Verdict | None:
    fault = outage(case.plan, case.trace)
    if fault is None or not _most_of_it(case, fault):
        return None
    failed = _failed_of(case, fault)
    sentence = (
        f"{fault_words(case.plan, fault)}: "
        f"{format.count(arrived_in(case.trace, fault), 'request')} arrived meanwhile, "
        f"{failed} of {case.summary.total.requests} failed of it."
    )
    return replace(case, kind="fault", label=target_label(case.plan, fault)), sentence


def _failed_of(case: Case, fault: Fault) -> int:
    kind, _, name = target_label(case.plan, fault).partition(" ")
    return dict(case.summary.failures).get(f"{kind}_error:{name}", 0)


def _most_of_it(case: Case, fault: Fault) -> bool:
    """Whether the outage has most of the failures, or the waits for it most of the time."""
    failures = dict(case.summary.failures)
    if failures:
        return 2 * _failed_of(case, fault) >= sum(failures.values())
    most = case.most
    return most is not None and most.cause == "backoff"
