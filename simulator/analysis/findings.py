"""Findings that only a run can make: the waits it saw, the samples it has."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import numpy as np

from simulator.analysis.bounds import largest_bound
from simulator.analysis.exact import exact_sum, nearest_rank
from simulator.analysis.redone import redone
from simulator.analysis.resources import select, waited_ns
from simulator.analysis.summary import Summary
from simulator.analysis.warmup import ALL_COUNT, Warmup
from simulator.distributions import Constant
from simulator.engines.contract import BACKLOG, CLIENT_TIMEOUT, DEADLINE, WORKER_TIMEOUT
from simulator.plan import NEVER, LoadKind, Plan
from simulator.record import dataclass
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


def run_findings(
    plan: Plan, trace: Trace, summary: Summary, warmup: Warmup = ALL_COUNT
) -> tuple[RunFinding, ...]:
    """What this run shows about its scenario, in order of code."""
    return (
        *_waits_over_timeout(plan, trace),
        *_too_few_samples(plan, summary),
        *_left_behind(plan, trace),
        *_done_again(plan, trace),
        *_backlog_full(plan, trace),
        *_workers_killed(plan, trace),
        *_warmup_not_over(trace, warmup),
    )


def is_random(plan: Plan) -> bool:
    """Whether another seed would give other latencies."""
    if plan.server.overheads.loop_wake_ns or plan.server.overheads.query_wake_ns:
        return True
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
        used = [trace.used[i] for i in indices if i in trace.used]
        waited = np.concatenate([waited, *(one.all_waits_ns for one in used)])
        path = f"pools.{pool.label}.acquire_timeout"
        timeout = format.duration(pool.acquire_timeout_ns)
        failed = int(gave_up.sum()) + sum(one.timed_out for one in used)
        p95_ns = nearest_rank(np.sort(waited), 95) or 0
        if failed:
            message = (
                f"{failed} of {len(waited)} acquisitions of pool {pool.label} waited "
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


def _left_behind(plan: Plan, trace: Trace) -> Iterator[RunFinding]:
    gave_up = np.isin(trace.outcome, (CLIENT_TIMEOUT, DEADLINE))
    bound = largest_bound(plan, trace)
    if bound is None or not gave_up.any():
        return
    station = trace.stations[bound.station]
    rows = np.asarray([s.label == station.label for s in trace.stations])[trace.visits.station]
    granted = (trace.visits.granted_ns != NOT_GRANTED) & (trace.visits.request >= 0)
    visits = select(trace.visits, rows & granted)
    # Of a request that was sent again only what its last attempt left behind is known.
    finish_ns = np.where(gave_up, trace.finish_ns, NEVER)[visits.request]
    late_ns = visits.released_ns - np.maximum(visits.granted_ns, finish_ns)
    dead = exact_sum(np.minimum(np.maximum(late_ns, 0), visits.work_ns))
    share = Fraction(dead, max(exact_sum(visits.work_ns), 1))
    if share * 20 < 1:
        return
    timed_out = bool((trace.outcome == CLIENT_TIMEOUT).any())
    route = plan.routes[int(trace.route[gave_up][0])].name
    at_least = "at least " if len(trace.attempts) > len(trace) else ""
    message = (
        f"{int(gave_up.sum())} of {len(trace)} clients gave up, and "
        f"{at_least}{format.percent(share)} of the work of {station.label} was for some who "
        "had left: a timeout shorter than the queue ends the waiting, not the work"
    )
    path = "client.timeout" if timed_out else f"routes.{route}.deadline"
    yield RunFinding("SIM116", message, path)


def _done_again(plan: Plan, trace: Trace) -> Iterator[RunFinding]:
    found = redone(plan, trace)
    if found is not None:
        message = (
            f"{found.requests} serializable transactions came {found.tries} times to "
            f"{found.label}: all but the first to write a row begin again"
        )
        yield RunFinding("SIM121", message, f"locks.{found.label.removeprefix('lock ')}")


def _backlog_full(plan: Plan, trace: Trace) -> Iterator[RunFinding]:
    dropped = int((trace.spent_ns[:, BACKLOG] > 0).sum())
    if dropped:
        longest = format.duration(int(trace.spent_ns[:, BACKLOG].max()))
        message = (
            f"{dropped} of {len(trace)} requests found the backlog of {plan.server.backlog} full: "
            f"their SYN was sent again, which took up to {longest}"
        )
        yield RunFinding("SIM123", message, "server.backlog")


def _workers_killed(plan: Plan, trace: Trace) -> Iterator[RunFinding]:
    outcome = trace.attempts.outcome if len(trace.attempts) else trace.outcome
    killed = int((outcome == WORKER_TIMEOUT).sum())
    if killed:
        timeout = format.duration(plan.server.timeout_ns)
        message = f"{format.count(killed, 'request')} lost: gunicorn killed the worker, busy for "
        yield RunFinding("SIM124", f"{message}longer than {timeout}", "server.timeout")


def _warmup_not_over(trace: Trace, warmup: Warmup) -> Iterator[RunFinding]:
    if not warmup.over:
        left = "none of them counts" if warmup.until_ns else "all of them count"
        message = f"the warm-up is not over within the run's {format.count(len(trace), 'request')}"
        yield RunFinding("SIM126", f"{message}, and {left}", "load")
