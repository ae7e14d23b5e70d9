"""The result of a run: one row per request, one row per visit to a station.

Every engine returns a ``Trace``, so engine against engine and model against server
are one comparison. Whatever a report shows is derived from these columns.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Protocol

import numpy as np

from simulator.arrays import IntArray
from simulator.plan import Cause, Station
from simulator.record import dataclass

NOT_FINISHED = -1
"""The finish of a request that is still in flight at the end of the run."""
NOT_GRANTED = -1
"""The grant (and slot) of a visit that ended in a timeout or was still waiting."""


@dataclass(frozen=True, slots=True)
class Visits:
    """Visits of requests to stations, in no particular order; columns of one length n.

    A visit that found a slot at once has ``granted_ns == queued_ns``. A visit that gave
    up has ``granted_ns == NOT_GRANTED`` and ``released_ns`` is when it gave up. A visit
    that is open at the end of the run is closed there, at ``Trace.end_ns``. For the
    event loop and the GIL only visits that waited or held for some time are kept.

    ``work_ns`` is the part of the hold in which the visitor did not wait for any other
    station: what the slot would be held for without contention elsewhere.
    """

    station: IntArray  # index into Trace.stations
    request: IntArray  # row of the request; -1 for the process itself
    slot: IntArray  # 0 … size - 1, lowest free or as the pool hands them out
    queued_ns: IntArray
    granted_ns: IntArray
    released_ns: IntArray
    work_ns: IntArray

    def __len__(self) -> int:
        return len(self.station)


@dataclass(frozen=True, slots=True)
class Attempts:
    """Attempts of requests, in no particular order; empty where each one is sent just once.

    ``ended_ns`` is when the attempt was over for its client; the server may have worked on.
    """

    request: IntArray  # row of the request
    attempt: IntArray  # 0, 1, …
    process: IntArray
    sent_ns: IntArray
    ended_ns: IntArray
    outcome: IntArray

    def __len__(self) -> int:
        return len(self.request)


@dataclass(frozen=True, slots=True, eq=False)
class ByTime:
    """What visits to all stations of a label came to, by equal pieces of time; see ``by_time``."""

    origin_ns: int
    width_ns: int
    used_ns: IntArray  # held, on cores computed
    waits: IntArray  # visits of requests that began to queue
    waited_ns: IntArray  # how long they did, whenever it ended
    lengths: IntArray  # shape (pieces, classes): how many of them, by the class of their wait


@dataclass(frozen=True, slots=True)
class Used:
    """What the visits to one station came to, where they themselves were not kept.

    ``served`` are visits of requests that were granted; pieces of work are these, or on cores
    and at the GIL all that one request brought.
    """

    visits: int
    by_requests: int
    begun: int  # of these, before the last answer
    unserved: int  # never granted
    gave_up_at_once: int
    timed_out: int  # gave up after the pool's whole timeout
    waited_ns: int
    held_ns: int
    work_ns: int
    busy_ns: int  # held until the last answer, on cores computed
    queue_max: int
    waiting_max: int  # requests that waited at once
    open_max: int  # visits that waited or held at once
    endless: int  # waits that a deadlock keeps from ever ending
    served: int  # with some work
    pieces: int
    pieces_ns: int
    piece_min_ns: int
    piece_max_ns: int
    idle_beside: bool  # a free slot while requests queued in another process
    waits_ns: IntArray  # ascending, of those begun
    all_waits_ns: IntArray  # ascending, of all; only of pools with a timeout
    by_time: ByTime  # of all stations of its label


class Folding(Protocol):
    """Takes the visits of a run as it goes on, so that not all of them are in memory."""

    def begin(self, start_ns: int, requests: int) -> None:
        """The first arrival, and how many there are to be."""

    def take(self, visits: IntArray) -> bool:
        """Take rows as in ``Visits``, shape (7, n); whether ``fold`` is to follow."""

    def fold(self, settled_ns: int) -> None:
        """No visit that is still to come begins before this instant, and it is not the end."""

    def finish(self, end_ns: int, last_answer_ns: int, deadlock: bool) -> Visits:
        """The run is over; the visits that were kept."""

    @property
    def used(self) -> Mapping[int, Used]:
        """The stations whose visits were not kept, after the end."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """One request that a deadlock left in flight: what it holds and what it waits for."""

    request: int
    holds: tuple[int, ...]  # stations
    waits_for: int  # station


@dataclass(frozen=True, slots=True)
class Trace:
    """What a run produced; arrays have one row per request that arrived, by its index.

    For every request with an outcome other than ``in_flight``:
    ``spent_ns[i].sum() == finish_ns[i] - arrival_ns[i]`` exactly (law 5).
    """

    causes: tuple[Cause, ...]
    outcomes: tuple[str, ...]
    stations: tuple[Station, ...]
    index: IntArray  # the address of its draws: 0, 1, … for open loads, k·users + u for closed
    route: IntArray  # index into Plan.routes
    process: IntArray  # the worker process that served it; -1 if none did
    arrival_ns: IntArray
    finish_ns: IntArray  # NOT_FINISHED if in flight
    outcome: IntArray  # index into outcomes
    first_byte_ns: IntArray  # instant of the first chunk; the finish where nothing is streamed
    spent_ns: IntArray  # shape (n, len(causes)): waits and holds by cause
    visits: Visits
    attempts: Attempts
    end_ns: int  # when the run ended
    ended: str  # "empty", "drained", "deadlock" or "interrupted"
    stuck: tuple[Stuck, ...]  # empty unless the run ended in a deadlock
    used: Mapping[int, Used] = field(default_factory=dict)  # stations that have no visits here

    def __len__(self) -> int:
        return len(self.route)

    @property
    def latency_ns(self) -> IntArray:
        """Finish less arrival, shape (n,); meaningless where the request is in flight."""
        return self.finish_ns - self.arrival_ns


_COLUMNS = ("index", "route", "process", "arrival_ns", "finish_ns", "outcome", "first_byte_ns")
_ATTEMPT_COLUMNS = ("request", "attempt", "process", "sent_ns", "ended_ns", "outcome")
_VISIT_COLUMNS = (
    "station",
    "request",
    "granted_ns",
    "queued_ns",
    "slot",
    "released_ns",
    "work_ns",
)


def first_difference(ref: Trace, comp: Trace) -> str | None:
    """The first place where two traces differ, as a sentence; None if they are equal.

    Everything counts: labels, every column, every cause, every visit (in canonical
    order), and how the run ended.
    """
    for name in ("causes", "outcomes", "stations", "end_ns", "ended", "stuck"):
        a, b = getattr(ref, name), getattr(comp, name)
        if a != b:
            return f"{name}: {a!r} against {b!r}"
    if len(ref) != len(comp):
        return f"requests: {len(ref)} against {len(comp)}"
    columns = [(name, getattr(ref, name), getattr(comp, name)) for name in _COLUMNS]
    columns += [
        (f"{cause.kind} {cause.name}", ref.spent_ns[:, i], comp.spent_ns[:, i])
        for i, cause in enumerate(ref.causes)
    ]
    found = _first_unequal_row(columns)
    if found:
        row, name, a, b = found
        return f"request {row}: {name} is {a} against {b}"
    return _child_difference(
        "visit", "by station, request, grant", _VISIT_COLUMNS, ref.visits, comp.visits
    ) or _child_difference(
        "attempt", "by request, attempt", _ATTEMPT_COLUMNS, ref.attempts, comp.attempts
    )


def _child_difference(
    name: str,
    order: str,
    columns: tuple[str, ...],
    ref: Visits | Attempts,
    comp: Visits | Attempts,
) -> str | None:
    if len(ref) != len(comp):
        return f"{name}s: {len(ref)} against {len(comp)}"
    order_a, order_b = _canonical(ref, columns), _canonical(comp, columns)
    found = _first_unequal_row(
        [(c, getattr(ref, c)[order_a], getattr(comp, c)[order_b]) for c in columns]
    )
    if found is None:
        return None
    row, column, a, b = found
    return f"{name} {row} ({order}): {column} is {a} against {b}"


def _canonical(table: Visits | Attempts, columns: tuple[str, ...]) -> IntArray:
    keys = [getattr(table, name) for name in reversed(columns)]
    return np.lexsort(keys).astype(np.int64)


def _first_unequal_row(
    columns: list[tuple[str, IntArray, IntArray]],
) -> tuple[int, str, int, int] | None:
    best: tuple[int, str, int, int] | None = None
    for name, a, b in columns:
        rows = np.flatnonzero(a != b)
        if len(rows) and (best is None or rows[0] < best[0]):
            best = (int(rows[0]), name, int(a[rows[0]]), int(b[rows[0]]))
    return best
