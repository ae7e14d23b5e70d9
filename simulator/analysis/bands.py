"""Where the time goes by band of latency: what the slow ones wait for is not what most do."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise

import numpy as np

from simulator.analysis.exact import exact_sum, rounded
from simulator.engines.contract import IN_FLIGHT
from simulator.record import dataclass
from simulator.trace import Trace

EDGES = (0, 50, 95, 99, 100)
"""Percentiles of the latency between which the bands lie."""


@dataclass(frozen=True, slots=True)
class Band:
    """The finished requests between two percentiles of the latency."""

    words: str  # "all", "fastest 50%", "50 to 95%", "slowest 1%"
    requests: int
    latency_ns: int  # mean
    spent_ns: tuple[int, ...]  # mean by cause, as in Trace.causes


def bands(trace: Trace) -> tuple[Band, ...]:
    """All finished requests, then each band that has some, from the fastest."""
    finished = np.flatnonzero(trace.outcome != IN_FLIGHT)
    if not len(finished):
        return ()
    order = finished[np.argsort(trace.latency_ns[finished], kind="stable")]
    out = [_band(trace, "all", order)]
    for low, high in pairwise(EDGES):
        first = math.ceil(Fraction(low * len(order), 100))
        last = math.ceil(Fraction(high * len(order), 100))
        if last > first:
            out.append(_band(trace, _words(low, high), order[first:last]))
    return tuple(out)


def _words(low: int, high: int) -> str:
    if low == 0:
        return f"fastest {high}%"
    return f"slowest {100 - low}%" if high == 100 else f"{low} to {high}%"


def _band(trace: Trace, words: str, rows: np.ndarray) -> Band:
    count = len(rows)
    spent = trace.spent_ns[rows]
    means = (rounded(Fraction(exact_sum(spent[:, i]), count)) for i in range(spent.shape[1]))
    latency = rounded(Fraction(exact_sum(trace.latency_ns[rows]), count))
    return Band(words, count, latency, tuple(means))


@dataclass(frozen=True, slots=True)
class Span:
    """A part of one request's life: it waits for a station, or holds a slot of it."""

    begin_ns: int  # from its arrival
    end_ns: int
    kind: str  # "wait" or "hold"
    label: str


@dataclass(frozen=True, slots=True)
class Story:
    """The life of one request: what it queued for and held, in order."""

    request: int  # its index
    route: int
    arrival_ns: int  # from the first arrival
    latency_ns: int
    outcome: int
    spans: tuple[Span, ...]
    spent_ns: tuple[int, ...]  # by cause, as in Trace.causes


SPANS_MAX = 40
"""Spans of a story; a request of more is told by its longest ones."""


def slowest(trace: Trace) -> Story | None:
    """The story of the request that took longest; None if none has finished."""
    finished = np.flatnonzero(trace.outcome != IN_FLIGHT)
    if not len(finished):
        return None
    row = int(finished[np.argmax(trace.latency_ns[finished])])
    arrival = int(trace.arrival_ns[row])
    spans: list[Span] = []
    visits = trace.visits
    for i in np.flatnonzero(visits.request == row):
        label = trace.stations[int(visits.station[i])].label
        queued, granted, released = (
            int(column[i]) - arrival
            for column in (visits.queued_ns, visits.granted_ns, visits.released_ns)
        )
        got = int(visits.granted_ns[i]) >= 0
        if (granted if got else released) > queued:
            spans.append(Span(queued, granted if got else released, "wait", label))
        if got and released > granted:
            spans.append(Span(granted, released, "hold", label))
    longest = sorted(spans, key=lambda span: span.begin_ns - span.end_ns)[:SPANS_MAX]
    return Story(
        request=int(trace.index[row]),
        route=int(trace.route[row]),
        arrival_ns=arrival - int(trace.arrival_ns.min()),
        latency_ns=int(trace.latency_ns[row]),
        outcome=int(trace.outcome[row]),
        spans=tuple(sorted(longest, key=lambda s: (s.begin_ns, -s.end_ns, s.kind, s.label))),
        spent_ns=tuple(trace.spent_ns[row].tolist()),
    )
