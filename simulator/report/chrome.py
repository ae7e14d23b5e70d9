"""A run as a trace file for chrome://tracing, Perfetto or speedscope.

The Trace Event Format of Chrome ("JSON Object Format", complete events `X` and metadata
events `M`): a process per station of each worker, a lane (thread) per slot, a bar per
hold. Beside them stands a process of all requests, whose bars go from arrival to answer and
say in their `args` what the time was spent on. Instants are microseconds, with decimals
where nanoseconds need them. Waits are no bars of a station, because they would overlap:
each hold says in its `args` how long it was waited for.

Not modelled: flows from one hold of a request to the next, and counters of queues.
"""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import IntArray
from simulator.plan import Plan
from simulator.report.text import clean
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Trace

EVENTS_MAX = 200_000
"""Holds, and likewise requests, in a trace file: the first ones. Viewers are slow beyond."""


def write(
    path: str | Path, plan: Plan, trace: Trace, *, events_max: int = EVENTS_MAX
) -> str | None:
    """Write the file; returns a note if it has not all holds and requests."""
    Path(path).write_text(dumps(plan, trace, events_max=events_max), encoding="utf-8")
    held = int((trace.visits.granted_ns != NOT_GRANTED).sum())
    notes = [
        f"the first {events_max} of {count} {what}"
        for count, what in ((held, "holds"), (len(trace), "requests"))
        if count > events_max
    ]
    return f"{' and '.join(notes)} (EVENTS_MAX)" if notes else None


def dumps(plan: Plan, trace: Trace, *, events_max: int = EVENTS_MAX) -> str:
    """The text of the file, one event per line; equal bytes for equal runs."""
    rows = _rows(trace, events_max)
    lanes = _lanes(trace, rows)
    lines = [_line(event) for event in _metadata(plan, trace, rows, lanes)]
    lines += [_line(event) for event in _holds(plan, trace, rows, lanes)]
    lines += [_line(event) for event in _requests(plan, trace, events_max)]
    head = {"displayTimeUnit": "ms", "otherData": {"scenario": clean(plan.name)}}
    return _line(head)[:-1] + ',"traceEvents":[\n' + ",\n".join(lines) + "\n]}\n"


def _rows(trace: Trace, events_max: int) -> np.ndarray:
    """The holds that are shown: by instant of the grant, then station and slot."""
    visits = trace.visits
    held = np.flatnonzero(visits.granted_ns != NOT_GRANTED)
    keys = (
        visits.request[held],
        visits.released_ns[held],
        visits.slot[held],
        visits.station[held],
        visits.granted_ns[held],
    )
    return held[np.lexsort(keys)][:events_max]


def _lanes(trace: Trace, rows: np.ndarray) -> IntArray:
    """The lane of each hold: its slot, or one further down where that is taken.

    A slot may be held by several at once, such as a row by its readers, or a core that
    is shared: bars of one lane must not overlap, so the others move to free lanes.
    """
    free_from: dict[tuple[int, int], int] = {}
    lanes = np.empty(len(rows), dtype=np.int64)
    visits = trace.visits
    columns = zip(
        visits.station[rows].tolist(),
        visits.slot[rows].tolist(),
        visits.granted_ns[rows].tolist(),
        visits.released_ns[rows].tolist(),
        strict=True,
    )
    highest = _highest_slots(trace, rows)
    for i, (station, slot, granted, released) in enumerate(columns):
        lane = max(slot, 0)
        if free_from.get((station, lane), granted) > granted:
            lane = highest[station] + 1
            while free_from.get((station, lane), granted) > granted:
                lane += 1
        free_from[station, lane] = released
        lanes[i] = lane
    return lanes


def _highest_slots(trace: Trace, rows: np.ndarray) -> list[int]:
    highest = np.zeros(len(trace.stations), dtype=np.int64)
    np.maximum.at(highest, trace.visits.station[rows], trace.visits.slot[rows])
    return [int(slot) for slot in highest]


def _metadata(
    plan: Plan, trace: Trace, rows: np.ndarray, lanes: IntArray
) -> Iterator[dict[str, Any]]:
    stations = trace.visits.station[rows]
    highest = _highest_slots(trace, rows)
    for station in np.unique(stations).tolist():
        pid = station + 1
        yield _meta("process_name", pid, {"name": _station_name(plan, trace, station)})
        yield _meta("process_sort_index", pid, {"sort_index": pid})
        for lane in np.unique(lanes[stations == station]).tolist():
            name = f"slot {lane}" if lane <= highest[station] else "shared slot"
            yield _meta("thread_name", pid, {"name": name}, tid=lane)
            yield _meta("thread_sort_index", pid, {"sort_index": lane}, tid=lane)


def _station_name(plan: Plan, trace: Trace, station: int) -> str:
    """The station's label, and whose it is where there are several of its kind."""
    row = trace.stations[station]
    alike = sum(other.label == row.label for other in trace.stations)
    label = clean(row.label)
    if alike == 1:
        return label
    if row.kind in ("workers", "cores"):
        return f"{label}, instance {row.process}"
    instance, worker = divmod(row.process, plan.server.workers)
    where = f"worker {worker}"
    return (
        f"{label}, instance {instance}, {where}"
        if plan.server.instances > 1
        else f"{label}, {where}"
    )


def _meta(name: str, pid: int, args: dict[str, Any], tid: int = 0) -> dict[str, Any]:
    return {"ph": "M", "name": name, "pid": pid, "tid": tid, "args": args}


def _holds(plan: Plan, trace: Trace, rows: np.ndarray, lanes: IntArray) -> Iterator[dict[str, Any]]:
    visits = trace.visits
    labels = [clean(route.label) for route in plan.routes]
    names = [clean(route.name) for route in plan.routes]
    columns = zip(
        visits.station[rows].tolist(),
        visits.request[rows].tolist(),
        lanes.tolist(),
        visits.queued_ns[rows].tolist(),
        visits.granted_ns[rows].tolist(),
        visits.released_ns[rows].tolist(),
        strict=True,
    )
    for station, request, lane, queued, granted, released in columns:
        args: dict[str, Any] = {"request": request, "waited_us": _us(granted - queued)}
        name = "opened at the start"
        if request >= 0:
            route = int(trace.route[request])
            name, args["route"] = labels[route], names[route]
        yield {
            "ph": "X",
            "name": name,
            "cat": trace.stations[station].kind,
            "pid": station + 1,
            "tid": lane,
            "ts": _us(granted),
            "dur": _us(released - granted),
            "args": args,
        }


def _requests(plan: Plan, trace: Trace, events_max: int) -> Iterator[dict[str, Any]]:
    """A process of its own: a lane for each request that is there at the same time."""
    pid = len(trace.stations) + 1
    yield _meta("process_name", pid, {"name": "requests"})
    yield _meta("process_sort_index", pid, {"sort_index": pid})
    order = np.argsort(trace.arrival_ns, kind="stable")[:events_max]
    free: list[int] = []  # lanes of requests that are over, lowest first
    busy: list[tuple[int, int]] = []  # (finish, lane)
    lanes = 0
    for row in order.tolist():
        arrival = int(trace.arrival_ns[row])
        while busy and busy[0][0] <= arrival:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else lanes
        lanes = max(lanes, lane + 1)
        finish = int(trace.finish_ns[row])
        finish = trace.end_ns if finish == NOT_FINISHED else finish
        heapq.heappush(busy, (finish, lane))
        yield _request(plan, trace, row, pid, lane, finish)


def _request(
    plan: Plan, trace: Trace, row: int, pid: int, lane: int, finish: int
) -> dict[str, Any]:
    route = plan.routes[int(trace.route[row])]
    arrival = int(trace.arrival_ns[row])
    spent = {
        f"{cause.kind} {clean(cause.name)}": _us(ns)
        for cause, ns in zip(trace.causes, trace.spent_ns[row].tolist(), strict=True)
        if ns
    }
    outcome = trace.outcomes[int(trace.outcome[row])]
    return {
        "ph": "X",
        "name": clean(route.label),
        "cat": "request",
        "pid": pid,
        "tid": lane,
        "ts": _us(arrival),
        "dur": _us(finish - arrival),
        "args": {
            "request": row,
            "route": clean(route.name),
            "outcome": clean(outcome),
            "spent_us": spent,
        },
    }


def _us(ns: int) -> int | float:
    return ns // 1000 if ns % 1000 == 0 else ns / 1000


def _line(event: dict[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"))
