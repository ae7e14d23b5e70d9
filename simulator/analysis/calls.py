"""Verdicts about calls: timeouts that none can meet, rate limits that refuse or hold back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.analysis.insight import Case
from simulator.analysis.limits import is_burst
from simulator.analysis.resources import select
from simulator.distributions import Constant
from simulator.engines.contract import OK
from simulator.plan import (
    Call,
    Gather,
    Plan,
    RateLimit,
    RateLimitKind,
    Service,
    Step,
    ToThread,
    With,
)
from simulator.record import dataclass
from simulator.report import format
from simulator.trace import NOT_GRANTED, Trace, Visits

Verdict = tuple[Case, str]
"""A case with its kind, and the sentence about it."""


@dataclass(frozen=True, slots=True)
class HopelessCall:
    """A call that takes longer than its timeout, always."""

    path: str  # of its step: "routes.a.steps[0]"
    service: Service
    takes_ns: int
    timeout_ns: int


def hopeless_calls(plan: Plan) -> Iterator[HopelessCall]:
    """Calls of a service of constant time whose timeout is below it."""
    for route in plan.routes:
        for path, call in _calls(route.steps, f"routes.{route.name}.steps"):
            service = plan.services[call.service]
            time = plan.streams[service.time].distribution
            if isinstance(time, Constant) and call.timeout_ns < time.value_ns:
                yield HopelessCall(path, service, time.value_ns, call.timeout_ns)


def _calls(steps: tuple[Step, ...], path: str) -> Iterator[tuple[str, Call]]:
    for i, step in enumerate(steps):
        at = f"{path}[{i}]"
        if isinstance(step, Call):
            yield at, step
        elif isinstance(step, With):
            yield from _calls(step.steps, f"{at}.do")
        elif isinstance(step, ToThread):
            yield from _calls(step.steps, f"{at}.to_thread")
        elif isinstance(step, Gather):
            for j, branch in enumerate(step.branches):
                yield from _calls(branch.steps, f"{at}.gather[{j}]")


def hopeless(case: Case) -> Verdict | None:
    """A call that can never succeed, if most failures are its timeouts."""
    failures = dict(case.summary.failures)
    for call in hopeless_calls(case.plan):
        count = failures.get(f"call_timeout:{call.service.label}", 0)
        if count and 2 * count >= sum(failures.values()):
            takes, timeout = format.duration(call.takes_ns), format.duration(call.timeout_ns)
            sentence = (
                f"{call.service.label} takes {takes}, its timeout is {timeout}: no call can "
                f"succeed; {count} of {case.summary.total.requests} failed."
            )
            label = f"service {call.service.label}"
            return replace(case, kind="call timeout", label=label), sentence
    return None


def rate_limited(case: Case) -> Verdict | None:
    """A rate limit, if it refuses most of what fails or has most of the waiting."""
    name = _limiting(case)
    if name is None:
        return None
    limit = next(service for service in case.plan.services if service.label == name).limits[0]
    came = _came(case.trace, name)
    asked = _asked_words(case.trace, came)
    label = f"rate limit {name}"
    admitted = int((came.granted_ns != NOT_GRANTED).sum())
    if limit.waits:
        late = _late(case.trace, came)
        sentence = f"{label} lets through {limit_words(limit)}{asked}; {late or _waits(case)}."
        special = "rate limit, too late" if late else ""
        return replace(case, kind="rate limit", label=label, special=special), sentence
    rejected = dict(case.summary.failures).get(f"rate_limited:{name}", 0)
    sentence = f"{label} admits {limit_words(limit)}{asked}; "
    if rejected:
        sentence += f"{rejected} of {case.summary.total.requests} rejected."
    else:
        sentence += f"{admitted} of {len(came)} attempts admitted, in the end all requests."
    return replace(case, kind="rate limit", label=label, special="rate limit, rejecting"), sentence


def limited_service(plan: Plan, label: str) -> Service | None:
    """The service of a rate limit's label, "rate limit pay"."""
    limited = (service for service in plan.services if service.limits)
    return next((s for s in limited if label == f"rate limit {s.label}"), None)


def limit_words(limit: RateLimit) -> str:
    """What a limit admits: "10/s", "100 in 1s"."""
    if limit.kind in (RateLimitKind.FIXED_WINDOW, RateLimitKind.SLIDING_WINDOW):
        return f"{limit.limit} in {format.duration(limit.window_ns)}"
    return format.rate_words(Fraction(*limit.rate))


def _limiting(case: Case) -> str | None:
    failures = case.summary.failures
    kind, _, name = (failures[0][0] if failures else "").partition(":")
    if kind == "rate_limited":
        return name
    waits = [row for row in case.summary.breakdown if row.kind == "wait" and row.share >= 0.1]
    if not waits:
        return None
    kind, _, name = waits[0].cause.partition(":")
    if kind == "rate limit":
        return name
    if kind == "backoff":
        return _refusing(case)
    return None


def _refusing(case: Case) -> str | None:
    """The limit whose refusals are backed off from: none had another reason to."""
    for service in case.plan.services:
        came = _came(case.trace, service.label) if service.limits else None
        refused = came is not None and bool((came.granted_ns == NOT_GRANTED).any())
        if refused and not service.limits[0].waits:
            return service.label
    return None


def _came(trace: Trace, name: str) -> Visits:
    labels = np.asarray([station.label == f"rate limit {name}" for station in trace.stations])
    return select(trace.visits, labels[trace.visits.station])


def _asked_words(trace: Trace, came: Visits) -> str:
    """How many ask: ", 30/s ask (with retries 70/s)"."""
    who = len(np.unique(came.request))
    if is_burst(trace) or who < 2:
        return f", {who} ask at once" if who else ""
    span_ns = int(trace.arrival_ns.max()) - int(trace.arrival_ns.min())
    rate = Fraction((who - 1) * 10**9, span_ns)
    words = f", {_about(rate)} ask"
    if len(came) * 20 > who * 21:
        words += f" (with retries {_about(rate * len(came) / who)})"
    return words


def _about(rate: Fraction) -> str:
    return f"{format.significant(rate, digits=3)}/s"


def _late(trace: Trace, came: Visits) -> str | None:
    """How many of those that it let through had their answer; None where all had."""
    admitted = np.unique(came.request[came.granted_ns != NOT_GRANTED])
    good = int((trace.outcome[admitted] == OK).sum())
    if good == len(admitted):
        return None
    return f"{len(admitted)} admitted, {good} in time: the wait uses up the timeout"


def _waits(case: Case) -> str:
    waits = sum(row.mean_ns for row in case.summary.breakdown if row.kind == "wait")
    every = sum(row.mean_ns for row in case.summary.breakdown)
    return f"waits add {format.duration(waits)} to a mean of {format.duration(every)}"
