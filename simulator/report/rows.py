"""The rows of a run's tables, or of several runs': the page and the report show the same."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from simulator.analysis.calls import limit_words
from simulator.analysis.resources import Resource
from simulator.analysis.summary import Spent, Summary
from simulator.analysis.trust import PERCENTILES, Trust
from simulator.experiments.measures import CauseNumbers, Numbers, numbers_of
from simulator.record import dataclass
from simulator.report import format
from simulator.report.spreads import (
    LABEL,
    of_cause,
    of_failure,
    of_first_byte,
    of_resource,
    spreads,
)
from simulator.report.text import short, spoken

SHOWN = (50, 95, 99)
"""Percentiles that are shown, where enough samples are there."""

Rows = tuple[list[str], list[list[str]]]
"""Heads of columns and texts of rows; a row of spreads stands below the one it belongs to."""


@dataclass(frozen=True, slots=True)
class Requests:
    """What became of the requests of a route, or of all; counts may be means over several runs."""

    label: str  # "GET /user"; "total"
    name: str  # the route's key; "" for all
    numbers: Numbers


@dataclass(frozen=True, slots=True)
class Time:
    """What finished requests spent on one cause."""

    kind: str  # "wait" or "hold"
    cause: str
    mean: str
    spread: str  # "" where nothing has one
    share_text: str
    share: float


@dataclass(frozen=True, slots=True)
class Use:
    """What a resource did."""

    label: str
    size: str
    busy: float | None
    queue: str
    queue_max: int | Fraction
    waits_ns: tuple[int | None, ...]  # mean, p95, max


def groups(summary: Summary) -> list[Requests]:
    """Of one run: its routes, and the total where there are several."""
    found = list(summary.routes)
    if len(found) > 1:
        found.append(summary.total)
    return [Requests(group.label, group.name, numbers_of(group)) for group in found]


def requests(found: Sequence[Requests], trust: Trust) -> Rows:
    """Counts, rate and times of each group."""
    counts = ["requests", "ok", "errors"]
    if any(group.numbers.in_flight for group in found):
        counts.append("in_flight")
    head = ["REQUESTS", "count", *(count.replace("_", " ") for count in counts[1:])]
    head += ["rate", "mean", *(f"p{p}" for p in SHOWN), "max"]
    rows = []
    for group in found:
        numbers = group.numbers
        times = (numbers.mean_ns, *(numbers.percentile_ns(p) for p in SHOWN))
        rows.append(
            [
                short(group.label),
                *(format.mean_count(getattr(numbers, count)) for count in counts),
                format.rate(numbers.throughput),
                *(format.duration(ns) for ns in (*times, numbers.max_ns)),
            ]
        )
        if trust.intervals:
            values = (numbers.throughput, *times, numbers.max_ns)
            rows.append(spreads(trust, group.name, values, len(counts)))
    return head, rows


def first_byte(found: Sequence[Requests], trust: Trust) -> Rows:
    """Times until the first chunk, of the routes that stream; hidden where too few samples are."""
    rows = []
    for group in found:
        numbers = group.numbers
        if not group.name or not numbers.first_byte_ns:
            continue
        every = dict(zip(PERCENTILES, numbers.first_byte_ns, strict=True))
        times = [every[p] if numbers.percentile_ns(p) is not None else None for p in SHOWN]
        rows.append([short(group.label), *(format.duration(ns) for ns in times)])
        if trust.intervals:
            rows.append(of_first_byte(trust, group.name, times))
    return ["FIRST BYTE", *(f"p{p}" for p in SHOWN)], rows


def failures(
    found: Sequence[tuple[str, int | Fraction]], requests: int | Fraction, trust: Trust
) -> Rows:
    """Reasons with their counts and shares of all requests."""
    rows = []
    for reason, number in found:
        words = short(reason.replace(":", " ", 1).replace("_", " "))
        share = number / requests
        rows.append([words, format.mean_count(number), format.percent(share)])
        if trust.intervals:
            rows.append(of_failure(trust, reason, float(share)))
    return ["FAILURES", "count", "share"], rows


def times(found: Sequence[Spent] | Sequence[CauseNumbers], trust: Trust) -> list[Time]:
    """Where the time goes."""
    return [
        Time(
            row.kind,
            short(spoken(row.cause)),
            format.duration(row.mean_ns),
            of_cause(trust, row.kind, row.cause, row.mean_ns) if trust.intervals else "",
            format.percent(row.share),
            row.share,
        )
        for row in found
    ]


def uses(summary: Summary) -> list[Use]:
    """What the resources of one run did."""
    return [
        Use(
            row.label,
            size_words(row),
            row.busy,
            queue_words(row.queue_max, row.processes),
            row.queue_max,
            (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns),
        )
        for row in summary.resources
    ]


def resources(found: Sequence[Use], trust: Trust) -> Rows:
    """How busy each was, who queued for it and how long."""
    rows = []
    for row in found:
        rows.append(
            [
                short(row.label),
                row.size,
                format.percent(row.busy),
                row.queue,
                *(format.duration(ns) for ns in row.waits_ns),
            ]
        )
        if trust.intervals:
            rows.append(of_resource(trust, row.label, row.busy, row.queue_max, row.waits_ns))
    return ["RESOURCES", "size", "busy", "queue max", "wait mean", "wait p95", "wait max"], rows


def spreads_shown(tables: Sequence[Rows], times: Sequence[Time]) -> str:
    """All cells with intervals, in one text: a – among them is to be explained."""
    below = [cell for _, rows in tables for row in rows if row[0] == LABEL for cell in row]
    return " ".join([*below, *(time.spread for time in times)])


def size_words(row: Resource) -> str:
    """How large a resource is: "50", "4 × 24", what a rate limit admits."""
    size = limit_words(row.admits) if row.admits else format.size(row.size_per_process)
    return f"{row.processes} × {size}" if row.processes > 1 else size


def queue_words(most: int | Fraction, processes: int) -> str:
    """The longest queue; of one process where there are several."""
    words = format.mean_count(most)
    return f"≤{words} each" if most and processes > 1 else words
