"""What the pictures show, as arrays: lanes of holds, lines over time, counts per bin."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np

from simulator.analysis.bounds import largest_bound
from simulator.analysis.resources import select, steps_of, waiting
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT, OK
from simulator.plan import UNLIMITED
from simulator.record import dataclass
from simulator.trace import NOT_GRANTED, Trace, Visits

LANES_MAX = 200
"""More slots than this are not drawn one by one."""
BARS_MAX = 4000
ROWS_MAX = 2000
"""With more requests than this a window of the run with about ``ROWS_SHOWN`` is drawn."""
ROWS_SHOWN = 200
WIDTH_PX = 830
"""Of the axes: a bar that would be narrower than one pixel of it could not be seen."""
_BAR_PX = 4
POINTS_MAX = 2000
_PANELS_MAX = 6
_BINS_MAX = 60
_AVERAGES = 400


@dataclass(frozen=True, slots=True)
class Window:
    """The part of a run that a picture shows."""

    begin_ns: int
    end_ns: int
    whole: bool


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
    of: int  # bars there are in the whole run


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
    bound = largest_bound(None, trace)
    return trace.stations[bound.station].label if bound else None


def lanes_of(trace: Trace, label: str) -> int:
    """The slots of a station in all processes together."""
    return sum(station.size for station in trace.stations if station.label == label)


def window(trace: Trace, label: str) -> Window:
    """The whole run; its busiest part if bars would be too thin or too many to be seen.

    Busiest is where those who begin a hold have waited longest, else where most begin.
    """
    visits = _holds(trace, label)
    start, span = _span(trace)
    width = span
    if len(visits):
        hold = int(np.median(visits.released_ns - visits.granted_ns))
        if hold * WIDTH_PX < span:
            width = hold * WIDTH_PX // _BAR_PX
        if len(visits) > BARS_MAX:
            width = min(width, span * BARS_MAX // len(visits))
        requests = len(np.unique(visits.request))
        if requests > ROWS_MAX or (width < span and requests * width > ROWS_SHOWN * span):
            width = min(width, span * ROWS_SHOWN // requests)
    if width >= span:
        return Window(start, start + span, True)
    width = _floor(max(width, 1))
    place = (visits.granted_ns - start) // width
    waited = np.bincount(place, weights=(visits.granted_ns - visits.queued_ns).astype(np.float64))
    busiest = int((waited if waited.any() else np.bincount(place)).argmax())
    begin = start + busiest * width
    return Window(begin, min(begin + width, start + span), False)


def slot_bars(trace: Trace, label: str, shown: Window) -> Bars:
    """The holds of a station's slots in a window, a lane for each slot."""
    visits = _holds(trace, label)
    wave = _wave(visits)
    seen = np.flatnonzero(_seen(visits.granted_ns, visits.released_ns, shown))
    # Station indices grow with the process: lanes of one process stand together.
    indices = [i for i, station in enumerate(trace.stations) if station.label == label]
    process = np.searchsorted(np.asarray(indices), visits.station)
    lane = process * trace.stations[indices[0]].size + visits.slot
    return _bars("slot", visits, lane, wave, seen, lanes_of(trace, label))


def request_bars(trace: Trace, label: str, shown: Window) -> Bars:
    """The waits and holds of requests in a window, a row for each in order of arrival.

    Who gave up, or waits for ever, has a wait without a hold.
    """
    indices = [i for i, station in enumerate(trace.stations) if station.label == label]
    visits = _visits_of(trace, indices)
    visits = select(visits, (visits.request >= 0) & (visits.released_ns > visits.queued_ns))
    granted = visits.granted_ns != NOT_GRANTED
    visits = replace(visits, granted_ns=np.where(granted, visits.granted_ns, visits.released_ns))
    wave = _wave(visits)
    seen = np.flatnonzero(_seen(visits.queued_ns, visits.released_ns, shown))
    requests, rows = np.unique(visits.request[seen], return_inverse=True)
    lane = np.zeros(len(visits), dtype=np.int64)
    lane[seen] = rows
    bars = _bars("request", visits, lane, wave, seen, len(requests))
    return replace(bars, of=int((granted & (visits.released_ns > visits.granted_ns)).sum()))


def stay_bars(trace: Trace) -> Bars:
    """The stay of each request: the first of them where there are many."""
    end = np.where(trace.outcome == IN_FLIGHT, trace.end_ns, trace.finish_ns)
    every = np.arange(len(trace), dtype=np.int64)
    shown = every if len(every) <= ROWS_MAX else every[:ROWS_SHOWN]
    begin = trace.arrival_ns[shown]
    rows = np.arange(len(shown), dtype=np.int64)
    return Bars("request", rows, begin, begin, end[shown], rows * 0, len(rows), len(trace))


def queue_lines(trace: Trace) -> list[Line]:
    """How many wait for each resource, all processes together; the longest queues."""
    lines = []
    for label, indices in _by_label(trace).items():
        at, value = waiting(_visits_of(trace, indices))
        if len(at):
            lines.append(_peak_line(label, at, value.astype(np.float64)))
    return _highest(lines)


def utilisation_lines(trace: Trace) -> list[Line]:
    """The share of each resource's slots that is held, all processes together.

    An event loop has its line even if it never computed for any time.
    """
    lines = []
    for label, indices in _by_label(trace).items():
        station = trace.stations[indices[0]]
        visits = _visits_of(trace, indices)
        granted = select(visits, visits.granted_ns != NOT_GRANTED)
        at, held = steps_of(granted.granted_ns, granted.released_ns)
        if len(at) and station.size < UNLIMITED:
            used = np.minimum(held / (station.size * len(indices)), 1.0)
            lines.append(_mean_line(label, at, used))
        elif station.kind == "event loop":
            never = np.asarray(trace.arrival_ns[:1])
            lines += [Line(label, never, np.zeros(1), 0.0, False)] if len(trace) else []
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


def _holds(trace: Trace, label: str) -> Visits:
    """The visits of requests to a station that held a slot for some time."""
    indices = [i for i, station in enumerate(trace.stations) if station.label == label]
    visits = _visits_of(trace, indices)
    held = (visits.granted_ns != NOT_GRANTED) & (visits.released_ns > visits.granted_ns)
    return select(visits, held & (visits.request >= 0))


def _span(trace: Trace) -> tuple[int, int]:
    """The first arrival, and how long the run took from there on."""
    start = int(trace.arrival_ns.min()) if len(trace) else 0
    done = trace.finish_ns[trace.outcome != IN_FLIGHT]
    end = int(done.max()) if len(done) and len(done) == len(trace) else trace.end_ns
    return start, max(end - start, 1)


def _seen(begin: IntArray, end: IntArray, shown: Window) -> np.ndarray:
    seen: np.ndarray = (begin < shown.end_ns) & (end > shown.begin_ns)
    return seen


def _floor(ns: int) -> int:
    """The largest 1, 2 or 5 times a power of ten that is not more."""
    power: int = 10 ** (len(str(ns)) - 1)
    return max(digit * power for digit in (1, 2, 5) if digit * power <= ns)


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
    first = np.searchsorted(at, edges, side="left")
    highest = value[np.searchsorted(at, edges, side="right") - 1]  # what holds at each edge
    changes = np.flatnonzero(first[1:] > first[:-1])  # bins in which nothing changes have no more
    inside = np.maximum.reduceat(value, first[changes])
    highest[changes] = np.maximum(highest[changes], inside)
    return Line(label, edges, highest, peak, True)


def _mean_line(label: str, at: IntArray, value: np.ndarray) -> Line:
    """The line itself, or the time average of each bin where there are too many changes."""
    if len(at) <= POINTS_MAX:
        return Line(label, at, value, float(value.max()), False)
    edges = _edges(at)
    area = np.concatenate([[0.0], np.cumsum(value[:-1] * np.diff(at))])
    mean = np.diff(np.interp(edges, at, area)) / np.diff(edges)
    return Line(label, edges, np.append(mean, value[-1]), float(mean.max()), True)


def _edges(at: IntArray) -> IntArray:
    return np.unique(np.linspace(at[0], at[-1], _AVERAGES + 1).astype(np.int64))


def _highest(lines: list[Line]) -> list[Line]:
    kept = sorted(lines, key=lambda line: -line.peak)[:_PANELS_MAX]
    return [line for line in lines if any(line is other for other in kept)]
