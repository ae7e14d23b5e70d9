"""What the pictures show, as arrays: lanes of holds, lines over time, counts per bin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from simulator.analysis.bounds import largest_bound
from simulator.analysis.resources import select, steps_of, waiting
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT, OK
from simulator.plan import UNLIMITED
from simulator.trace import NOT_GRANTED, Trace, Visits

LANES_MAX = 200
"""More slots than this are not drawn one by one."""
BARS_MAX = 4000
ROWS_MAX = 1000
"""With more requests than this only the first ``ROWS_SHOWN`` are drawn."""
ROWS_SHOWN = 200
POINTS_MAX = 2000
_PANELS_MAX = 6
_BINS_MAX = 60
_AVERAGES = 400


@dataclass(frozen=True, slots=True)
class Bars:
    """Holds as bars: one lane per slot, or one row per request with its wait before it."""

    by: Literal["slot", "request"]
    lane: IntArray
    wait_ns: IntArray  # where the wait began
    begin_ns: IntArray
    end_ns: IntArray
    wave: IntArray  # how many came before it on the same slot
    lanes: int
    of: int  # bars there are; more than drawn where the picture is cut short


@dataclass(frozen=True, slots=True)
class Line:
    """A step line: ``value[i]`` holds from ``at_ns[i]`` on."""

    label: str
    at_ns: IntArray
    value: np.ndarray
    peak: float
    binned: bool


def station_label(trace: Trace, preferred: str | None) -> str | None:
    """The station to draw: the preferred one if it has slots, else the one with most work."""
    labels = {trace.stations[i].label for i in np.unique(trace.visits.station).tolist()}
    if preferred in labels and preferred and not preferred.startswith("database "):
        return preferred
    bound = largest_bound(trace)
    return trace.stations[bound.station].label if bound else None


def hold_bars(trace: Trace, label: str | None) -> Bars:
    """The holds of a station's slots, or the stay of each request if there is no station."""
    if label is None:
        return _stay_bars(trace)
    indices = [i for i, station in enumerate(trace.stations) if station.label == label]
    visits = _visits_of(trace, indices)
    held = (visits.granted_ns != NOT_GRANTED) & (visits.released_ns > visits.granted_ns)
    visits = select(visits, held & (visits.request >= 0))
    wave = _wave(visits)
    size = trace.stations[indices[0]].size
    if 2 < size * len(indices) <= LANES_MAX:
        first = np.argsort(visits.granted_ns, kind="stable")[:BARS_MAX]
        # Station indices grow with the process: lanes of one process stand together.
        process = np.searchsorted(np.asarray(indices), visits.station)
        lane = process * size + visits.slot
        return _bars("slot", visits, lane, wave, first, size * len(indices))
    shown = _first_rows(np.lexsort((visits.request, visits.granted_ns)))
    rows = np.empty(len(visits), dtype=np.int64)
    rows[shown] = np.arange(len(shown))
    return _bars("request", visits, rows, wave, shown, len(shown))


def queue_lines(trace: Trace) -> list[Line]:
    """How many wait for each resource, all processes together; the longest queues."""
    lines = []
    for label, indices in _by_label(trace).items():
        at, value = waiting(_visits_of(trace, indices))
        if len(at):
            lines.append(_peak_line(label, at, value.astype(np.float64)))
    return _highest(lines)


def utilisation_lines(trace: Trace) -> list[Line]:
    """The share of each resource's slots that is held, all processes together."""
    lines = []
    for label, indices in _by_label(trace).items():
        size = trace.stations[indices[0]].size
        visits = _visits_of(trace, indices)
        granted = select(visits, visits.granted_ns != NOT_GRANTED)
        at, held = steps_of(granted.granted_ns, granted.released_ns)
        if len(at) and size < UNLIMITED:
            lines.append(_mean_line(label, at, held / (size * len(indices))))
    return _highest(lines)


def completions(trace: Trace) -> tuple[IntArray, int, IntArray, IntArray]:
    """Edges of bins, their width, and the ok and failed completions in each."""
    start = int(trace.arrival_ns.min()) if len(trace) else 0
    done = trace.outcome != IN_FLIGHT
    finish, ok = trace.finish_ns[done] - start, trace.outcome[done] == OK
    end = int(finish.max()) if len(finish) else 0
    width = nice_width(end)
    edges = np.arange(-(-end // width) + 1, dtype=np.int64) * width
    if len(edges) == 1:
        edges = np.asarray([0, width], dtype=np.int64)
    # What ends on an edge belongs to the bin before it, as a wave ends its own period.
    places = np.maximum(np.searchsorted(edges, finish, side="left") - 1, 0)
    counts = [np.bincount(places[rows], minlength=len(edges) - 1) for rows in (ok, ~ok)]
    return edges, width, counts[0], counts[1]


def nice_width(span_ns: int) -> int:
    """The smallest 1, 2 or 5 times a power of ten that cuts a span into 60 bins or fewer."""
    power = 1
    while True:
        for digit in (1, 2, 5):
            if digit * power * _BINS_MAX >= span_ns:
                return digit * power
        power *= 10


def tail_ranks(count: int) -> IntArray:
    """Ranks 1 … count, thinned evenly on the scale of 1 / (1 - p), the last one kept."""
    if count <= POINTS_MAX:
        return np.arange(1, count + 1, dtype=np.int64)
    above = np.geomspace(1, count, POINTS_MAX)
    even = np.linspace(1, count, POINTS_MAX // 2)
    ranks = np.concatenate([count + 1 - above, even])
    return np.unique(np.rint(ranks).astype(np.int64))


def _by_label(trace: Trace) -> dict[str, list[int]]:
    by_label: dict[str, list[int]] = {}
    for i, station in enumerate(trace.stations):
        by_label.setdefault(station.label, []).append(i)
    return by_label


def _visits_of(trace: Trace, indices: list[int]) -> Visits:
    return select(trace.visits, np.isin(trace.visits.station, indices))


def _bars(
    by: Literal["slot", "request"],
    visits: Visits,
    lane: IntArray,
    wave: IntArray,
    shown: IntArray,
    lanes: int,
) -> Bars:
    return Bars(
        by,
        lane[shown],
        visits.queued_ns[shown],
        visits.granted_ns[shown],
        visits.released_ns[shown],
        wave[shown],
        lanes,
        len(visits),
    )


def _stay_bars(trace: Trace) -> Bars:
    end = np.where(trace.outcome == IN_FLIGHT, trace.end_ns, trace.finish_ns)
    shown = _first_rows(np.arange(len(trace), dtype=np.int64))
    begin = trace.arrival_ns[shown]
    rows = np.arange(len(shown), dtype=np.int64)
    return Bars("request", rows, begin, begin, end[shown], rows * 0, len(rows), len(trace))


def _first_rows(order: IntArray) -> IntArray:
    return order if len(order) <= ROWS_MAX else order[:ROWS_SHOWN]


def _wave(visits: Visits) -> IntArray:
    order = np.lexsort((visits.granted_ns, visits.slot, visits.station))
    station, slot = visits.station[order], visits.slot[order]
    fresh = np.ones(len(order), dtype=np.bool_)
    fresh[1:] = (station[1:] != station[:-1]) | (slot[1:] != slot[:-1])
    places = np.arange(len(order))
    wave = np.empty(len(order), dtype=np.int64)
    wave[order] = places - np.maximum.accumulate(np.where(fresh, places, 0))
    return wave


def _peak_line(label: str, at: IntArray, value: np.ndarray) -> Line:
    """The line itself, or the highest value of each bin where there are too many changes."""
    peak = float(value.max())
    if len(at) <= POINTS_MAX:
        return Line(label, at, value, peak, False)
    edges = _edges(at)
    first = np.searchsorted(at, edges[:-1], side="left")
    inside = np.maximum.reduceat(value, np.minimum(first, len(value) - 1))
    carried = value[np.maximum(first - 1, 0)]
    return Line(label, edges[:-1], np.maximum(inside, carried), peak, True)


def _mean_line(label: str, at: IntArray, value: np.ndarray) -> Line:
    """The line itself, or the time average of each bin where there are too many changes."""
    if len(at) <= POINTS_MAX:
        return Line(label, at, value, float(value.max()), False)
    edges = _edges(at)
    area = np.concatenate([[0.0], np.cumsum(value[:-1] * np.diff(at))])
    mean = np.diff(np.interp(edges, at, area)) / np.diff(edges)
    return Line(label, edges[:-1], mean, float(mean.max()), True)


def _edges(at: IntArray) -> IntArray:
    return np.unique(np.linspace(at[0], at[-1], _AVERAGES + 1).astype(np.int64))


def _highest(lines: list[Line]) -> list[Line]:
    kept = sorted(lines, key=lambda line: -line.peak)[:_PANELS_MAX]
    return [line for line in lines if any(line is other for other in kept)]
