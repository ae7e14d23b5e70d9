"""What is kept of a run beside its arrays: numbers, causes, resources, bottleneck, thresholds.

A run's arrays stay in the process that made them; only these few numbers travel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from fractions import Fraction
from typing import Any

from simulator.analysis.confidence import Interval
from simulator.analysis.summary import SECOND_NS, Group, Latency
from simulator.analysis.trust import PERCENTILES, Trust
from simulator.analysis.verdicts import ThresholdResult
from simulator.answer import Answer
from simulator.plan import NEVER
from simulator.record import dataclass
from simulator.report import format
from simulator.thresholds import Threshold

_COUNTS = ("ok", "errors", "in_flight")
_AGGREGATES = ("mean", "p50", "p90", "p95", "p99", "max")
_METRIC = re.compile(r"([a-z_0-9]+)(?:\{\s*route\s*:\s*([^{}\s]+)\s*\})?(?:\.([a-z0-9]+))?")
BOTH = "simpy and compiled"
"""Of runs of which the compiled engine could not do all."""
METRICS = "latency.p95 (mean p50 p90 p95 p99 max), throughput, last, ok, errors, in_flight"
"""The known metrics, for messages; each may be of a route: latency{route:read}.p95."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """The numbers of a group of requests, in ns; None where there is none.

    Counts are whole in one run; the mean of several may be a fraction.
    """

    requests: int | Fraction
    ok: int | Fraction
    errors: int | Fraction
    in_flight: int | Fraction
    last_ns: int | None
    throughput: Fraction | None
    mean_ns: int | None
    percentiles_ns: tuple[int | None, ...]  # of PERCENTILES
    reliable_ns: tuple[int | None, ...]  # the same, None where the samples are too few
    max_ns: int | None
    first_byte_ns: tuple[int | None, ...] = ()  # of PERCENTILES; empty where nothing is streamed

    def percentile_ns(self, percentile: int) -> int | None:
        """A percentile of PERCENTILES; None where it would rest on too few samples."""
        return self.reliable_ns[PERCENTILES.index(percentile)]

    def as_json(self) -> dict[str, Any]:
        """As under `metrics` in the JSON of a run."""
        pairs = zip(PERCENTILES, self.percentiles_ns, strict=True)
        return {
            **{name: plain(getattr(self, name)) for name in ("requests", *_COUNTS)},
            "last_s": _seconds(self.last_ns),
            "throughput_per_s": None if self.throughput is None else float(self.throughput),
            "latency_mean_s": _seconds(self.mean_ns),
            **{f"latency_p{p}_s": _seconds(value) for p, value in pairs},
            "latency_max_s": _seconds(self.max_ns),
            **{
                f"first_byte_p{p}_s": _seconds(value)
                for p, value in zip(PERCENTILES, self.first_byte_ns, strict=False)
            },
        }


@dataclass(frozen=True, slots=True)
class CauseNumbers:
    """What finished requests spent on a cause."""

    kind: str  # "wait" or "hold"
    cause: str
    mean_ns: int
    p95_ns: int
    share: float  # of the latency of all of them
    ok_mean_ns: int  # what ok requests spent on it


@dataclass(frozen=True, slots=True)
class ResourceNumbers:
    """What a resource did; times are None where no request came, or one never got away."""

    label: str
    busy: float | None
    queue_max: int | Fraction
    wait_mean_ns: int | None
    wait_p95_ns: int | None
    wait_max_ns: int | None


@dataclass(frozen=True, slots=True)
class Measured:
    """What is kept of one run, or of several: then the means over them."""

    total: Numbers
    routes: tuple[tuple[str, Numbers], ...]  # by the name of the route
    limited_by: str  # "pool db", "nothing", "deadlock"
    sentence: str  # of the bottleneck
    thresholds: tuple[ThresholdResult, ...]
    ended: str
    failures: tuple[tuple[str, int | Fraction], ...]
    causes: tuple[CauseNumbers, ...]  # largest share first
    resources: tuple[ResourceNumbers, ...]
    trust: Trust
    engine: str  # which one ran it: "simpy", "compiled", or of several runs BOTH

    def group(self, route: str | None) -> Numbers | None:
        """The numbers of a route, or of all; None if there is no such route."""
        return self.total if route is None else dict(self.routes).get(route)


def plain(value: int | Fraction) -> int | float:
    """A count, which the mean of several may not be whole, as a plain number."""
    return int(value) if value == int(value) else float(value)


def measured(answer: Answer) -> Measured:
    """What is kept of a run."""
    found = answer.bottleneck
    causes = (
        CauseNumbers(row.kind, row.cause, row.mean_ns, row.p95_ns, row.share, row.ok_mean_ns)
        for row in answer.summary.breakdown
    )
    resources = (
        ResourceNumbers(
            row.label,
            row.busy,
            row.queue_max,
            *(_ends(ns) for ns in (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns)),
        )
        for row in answer.summary.resources
    )
    return Measured(
        total=numbers_of(answer.summary.total),
        routes=tuple((group.name, numbers_of(group)) for group in answer.summary.routes),
        limited_by=found.kind if found.kind == "deadlock" else found.resource or found.kind,
        sentence=found.sentence,
        thresholds=answer.thresholds,
        ended=answer.trace.ended,
        failures=answer.summary.failures,
        causes=tuple(causes),
        resources=tuple(resources),
        trust=answer.trust,
        engine=answer.engine.value,
    )


def numbers_of(group: Group) -> Numbers:
    """The numbers of a group of one run."""
    latency = group.latency
    return Numbers(
        requests=group.requests,
        ok=group.ok,
        errors=group.errors,
        in_flight=group.in_flight,
        last_ns=group.last_ns,
        throughput=group.throughput,
        mean_ns=latency.mean_ns,
        percentiles_ns=tuple(latency.percentile_ns(p) for p in PERCENTILES),
        reliable_ns=tuple(group.reliable_percentile_ns(p) for p in PERCENTILES),
        max_ns=latency.max_ns,
        first_byte_ns=_percentiles(group.first_byte),
    )


def engines(names: Iterable[str]) -> str | None:
    """What ran several runs, in a word; None where nothing ran."""
    distinct = set(names)
    return BOTH if len(distinct) > 1 else next(iter(distinct), None)


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a run, by name: `latency.p95`, `latency{route:read}.max`, `throughput`."""

    name: str
    route: str | None = None
    aggregate: str = ""  # of latency

    @property
    def words(self) -> str:
        """As a title says it: "p95", "p95 of read", "throughput"."""
        word = {"in_flight": "requests in flight", "errors": "errors", "ok": "ok requests"}
        what = self.aggregate or word.get(self.name, self.name)
        return what if self.route is None else f"{what} of {self.route}"

    @property
    def lower_is_better(self) -> bool:
        return self.name not in ("throughput", "ok")

    @property
    def is_time(self) -> bool:
        """Whether its values are nanoseconds."""
        return self.name in ("latency", "last")

    def of(self, point: Measured | None) -> Fraction | None:
        """Its value at a point: ns, per second or a count; None where there is none."""
        group = None if point is None else point.group(self.route)
        if group is None:
            return None
        value: int | Fraction | None
        if self.name in _COUNTS:
            value = getattr(group, self.name)
        elif self.name == "throughput":
            value = group.throughput
        elif self.name == "last":
            value = group.last_ns
        elif self.aggregate == "mean":
            value = group.mean_ns
        elif self.aggregate == "max":
            value = group.max_ns
        else:
            value = group.percentile_ns(int(self.aggregate[1:]))
        return None if value is None else Fraction(value)

    def text(self, value: Fraction | None) -> str:
        """A value of it, with its unit."""
        if value is None:
            return format.NONE
        if self.is_time:
            return format.duration(int(value + Fraction(1, 2)))
        return format.rate(value) if self.name == "throughput" else format.mean_count(value)

    def interval(self, point: Measured | None) -> Interval | None:
        """Where its true value lies at a point; None where that is not known."""
        if point is None or self.of(point) is None:
            return None
        what = self.aggregate if self.name == "latency" else self.name
        return point.trust.of(self.route or "", what)


def parse_metric(text: str, routes: Collection[str] = ()) -> Metric:
    """The metric of this name; ``routes`` are those that it may be of.

    Raises
    ------
    ValueError
        With the known ones.
    """
    match = _METRIC.fullmatch(text.strip())
    name, route, aggregate = match.groups() if match else ("", None, None)
    if route is not None and route not in routes:
        known = ", ".join(routes) or "none"
        raise ValueError(f"unknown route '{route}' in '{text}', known routes: {known}")
    if name in _AGGREGATES and not aggregate:
        name, aggregate = "latency", name
    if name == "latency" and (aggregate or "p95") in _AGGREGATES:
        return Metric(name, route, aggregate or "p95")
    if name in (*_COUNTS, "throughput", "last") and not aggregate:
        return Metric(name, route)
    raise ValueError(f"unknown metric '{text}', known metrics: {METRICS}")


def metric_of(threshold: Threshold) -> Metric | None:
    """The metric that a threshold is about; None where a sweep keeps no such number."""
    words = {"avg": "mean", "med": "p50", "max": "max"}
    aggregate = words.get(threshold.aggregate, "")
    if threshold.aggregate == "p" and threshold.percentile in PERCENTILES:
        aggregate = f"p{threshold.percentile}"
    if threshold.metric == "latency":
        return Metric("latency", threshold.route, aggregate) if aggregate else None
    counted = threshold.metric in _COUNTS and threshold.aggregate == "count"
    if counted or threshold.metric in ("throughput", "last"):
        return Metric(threshold.metric, threshold.route)
    return None


def _percentiles(times: Latency | None) -> tuple[int | None, ...]:
    return () if times is None else tuple(times.percentile_ns(p) for p in PERCENTILES)


def _ends(ns: int | None) -> int | None:
    """None also for a wait without an end: it has no mean."""
    return None if ns is None or ns >= NEVER else ns


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / SECOND_NS
