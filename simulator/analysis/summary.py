"""The numbers of a run: counts, latencies, where the time went, what each resource did."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.analysis.exact import exact_sum, nearest_rank, rounded
from simulator.analysis.memory import Memory, measure_memory
from simulator.analysis.resources import Resource, last_answer_ns, measure_resources
from simulator.analysis.routes import streams
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT, OK
from simulator.plan import Plan
from simulator.record import dataclass
from simulator.trace import Trace

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Latency:
    """Latencies of the ok requests of a group; every figure is None if there are none."""

    ordered_ns: IntArray  # ascending

    @property
    def count(self) -> int:
        return len(self.ordered_ns)

    @property
    def mean_exact_ns(self) -> Fraction | None:
        return Fraction(exact_sum(self.ordered_ns), self.count) if self.count else None

    @property
    def mean_ns(self) -> int | None:
        mean = self.mean_exact_ns
        return None if mean is None else rounded(mean)

    @property
    def min_ns(self) -> int | None:
        return int(self.ordered_ns[0]) if self.count else None

    @property
    def max_ns(self) -> int | None:
        return int(self.ordered_ns[-1]) if self.count else None

    def percentile_ns(self, percentile: int | Fraction) -> int | None:
        """The nearest-rank percentile, 0 … 100."""
        return nearest_rank(self.ordered_ns, percentile)


@dataclass(frozen=True, slots=True)
class Group:
    """What happened to the requests of one route, or to all of them."""

    label: str  # "GET /user"; "total"
    name: str  # the route's key; "" for all
    requests: int
    ok: int
    errors: int
    in_flight: int
    last_ns: int | None  # finish of the last request, from the run's first arrival
    run_ns: int  # of the whole run, also for a route
    latency: Latency
    first_byte: Latency | None = None  # until the first chunk; None where nothing is streamed

    @property
    def throughput(self) -> Fraction | None:
        """Requests served per second of the run; None if the run took no time."""
        return Fraction(self.ok * SECOND_NS, self.run_ns) if self.run_ns else None

    @property
    def finished(self) -> int:
        return self.requests - self.in_flight

    def reliable_percentile_ns(self, percentile: int) -> int | None:
        """The percentile as people see it: the one place where text and pictures hide it."""
        return self.reliable(self.latency, percentile)

    def reliable(self, times: Latency, percentile: int) -> int | None:
        """The same for any times of the group's ok requests.

        None where under half of the requests are ok (those in flight are not), and where
        fewer than 1 / (1 - p) are: it would rest on less than one sample beyond it.
        """
        if self.ok * 2 < self.requests or times.count * (100 - percentile) < 100:
            return None
        return times.percentile_ns(percentile)


@dataclass(frozen=True, slots=True)
class Spent:
    """What finished requests spent on one cause."""

    kind: str  # "wait" or "hold"
    cause: str
    mean_ns: int
    p95_ns: int
    share: float  # of the latency of all finished requests
    ok_mean_ns: int  # what ok requests spent on it


@dataclass(frozen=True, slots=True)
class Summary:
    """All the numbers of one run."""

    total: Group
    routes: tuple[Group, ...]
    failures: tuple[tuple[str, int], ...]  # reason and count, most frequent first
    breakdown: tuple[Spent, ...]  # largest share first, causes without any time omitted
    resources: tuple[Resource, ...]  # in plan order, those that were visited
    run_ns: int  # first arrival that counts to last finish, or to the end if requests are in flight
    ended: str
    memory: Memory | None = None  # None where it is little


def summarize(plan: Plan, trace: Trace, *, since_ns: int = 0) -> Summary:
    """The summary of a run; times in ns, means from integer sums, ranks nearest.

    Requests that arrived before ``since_ns``, in the warm-up, do not count.
    """
    counted = trace.arrival_ns >= since_ns
    start_ns = int(trace.arrival_ns[counted].min()) if counted.any() else 0
    finished = trace.outcome != IN_FLIGHT
    run_ns = max(last_answer_ns(trace) - start_ns, 0)
    total = _group(plan, trace, counted, ("total", ""), start_ns, run_ns)
    if len(plan.routes) == 1:
        routes: tuple[Group, ...] = (
            replace(total, label=plan.routes[0].label, name=plan.routes[0].name),
        )
    else:
        routes = tuple(
            _group(plan, trace, counted & (trace.route == i), (r.label, r.name), start_ns, run_ns)
            for i, r in enumerate(plan.routes)
        )
    return Summary(
        total=total,
        routes=routes,
        failures=_failures(trace, counted),
        breakdown=_breakdown(trace, finished & counted, counted & (trace.outcome == OK)),
        resources=measure_resources(plan, trace, start_ns, start_ns + run_ns),
        run_ns=run_ns,
        ended=trace.ended,
        memory=measure_memory(plan, trace),
    )


def _group(
    plan: Plan, trace: Trace, rows: np.ndarray, names: tuple[str, str], start_ns: int, run_ns: int
) -> Group:
    label, name = names
    outcome = trace.outcome[rows]
    finish = trace.finish_ns[rows][outcome != IN_FLIGHT]
    ok = outcome == OK
    in_flight = int((outcome == IN_FLIGHT).sum())
    return Group(
        label=label,
        name=name,
        requests=len(outcome),
        ok=int(ok.sum()),
        errors=len(outcome) - int(ok.sum()) - in_flight,
        in_flight=in_flight,
        last_ns=int(finish.max()) - start_ns if len(finish) else None,
        run_ns=run_ns,
        latency=Latency(np.sort(trace.latency_ns[rows][ok])),
        first_byte=_first_byte(plan, trace, rows & (trace.outcome == OK)),
    )


def _first_byte(plan: Plan, trace: Trace, ok: np.ndarray) -> Latency | None:
    """How long those of these ok requests that are streamed waited for their first chunk."""
    routes = [i for i, route in enumerate(plan.routes) if streams(route)]
    streamed = ok & np.isin(trace.route, routes)
    if not streamed.any():
        return None
    return Latency(np.sort((trace.first_byte_ns - trace.arrival_ns)[streamed]))


def _failures(trace: Trace, counted: np.ndarray) -> tuple[tuple[str, int], ...]:
    counts = np.bincount(trace.outcome[counted], minlength=len(trace.outcomes))
    failed = [
        (name, int(counts[i]))
        for i, name in enumerate(trace.outcomes)
        if i not in (OK, IN_FLIGHT) and counts[i]
    ]
    return tuple(sorted(failed, key=lambda row: -row[1]))


def _breakdown(trace: Trace, finished: np.ndarray, ok: np.ndarray) -> tuple[Spent, ...]:
    total_ns = exact_sum(trace.latency_ns[finished])
    rows: list[tuple[int, Spent]] = []
    for i, cause in enumerate(trace.causes):
        if not trace.spent_ns[:, i].any():
            continue
        spent = trace.spent_ns[:, i][finished]
        sum_ns = exact_sum(spent)
        if sum_ns:
            mean_ns = rounded(Fraction(sum_ns, len(spent)))
            p95_ns = nearest_rank(np.sort(spent), 95) or 0
            share = float(Fraction(sum_ns, total_ns)) if total_ns else 0.0
            ok_ns = rounded(Fraction(exact_sum(trace.spent_ns[:, i][ok]), max(int(ok.sum()), 1)))
            rows.append((sum_ns, Spent(cause.kind, cause.name, mean_ns, p95_ns, share, ok_ns)))
    return tuple(row for _, row in sorted(rows, key=lambda pair: -pair[0]))
