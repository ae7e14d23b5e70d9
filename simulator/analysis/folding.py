"""What visits come to, taken up while a run goes on: a long run need not keep them.

Visits come as they end, so of those that are open at an instant some are still to come. An
engine knows how old the oldest request in work is: no later visit begins before that. Up to
there everything is known, and highest numbers of visits at once can be read off; the highest of
a part of them is never higher than that of all, so the highest over all parts is exact. Sums
take each visit once, when it has ended before that instant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from simulator.analysis.bounds import SHARED_IN_PIECES
from simulator.analysis.by_time import TimeSums
from simulator.analysis.exact import exact_sum
from simulator.analysis.limits import idle_beside, processes, waiting_of
from simulator.analysis.resources import (
    PER_REQUEST,
    clipped,
    held_ns,
    most_open,
    queue_max_of,
    select,
    waited_ns,
)
from simulator.analysis.routes import broadcasts, cycles, streams
from simulator.arrays import BoolArray, IntArray
from simulator.plan import NEVER, NO_STREAM, Plan
from simulator.trace import NOT_GRANTED, ByTime, Used, Visits

AT_ONCE = 1 << 17
"""Visits that are taken up together; more where many requests are in work."""
FOLDED = ("workers", "threads", "event loop", "gil", "cores", "pool", "service", "client")
"""Kinds of stations whose visits need not be kept: of the others, slots have to be told apart."""

_COLUMNS = len(Visits.__slots__)


def why_kept(plan: Plan) -> str | None:
    """What in a plan is explained by single visits, so that all are kept; None if nothing is."""
    client = plan.client
    if any(load.users for load in plan.loads):
        return "users who come back"
    if plan.warmup_ns:
        return "load.warmup"
    if plan.faults:
        return "faults"
    if client.retries.backoff or client.timeout_ns != NEVER or client.latency != NO_STREAM:
        return "client"
    if any(route.deadline_ns != NEVER for route in plan.routes):
        return "a deadline"
    if any(streams(route) or broadcasts(route) for route in plan.routes):
        return "streams"
    if cycles(plan):
        return "threads and connections that are taken in two orders"
    return None


def time_sums(kind: str, start_ns: int) -> TimeSums:
    """Takes up the visits to stations of a kind, of which ``FOLDED`` are."""
    return TimeSums(start_ns, waits=kind not in PER_REQUEST, computes=kind == "cores")


class Values:
    """Many times, most of them short or none: kept as narrow as they allow."""

    def __init__(self) -> None:
        self._zeros = 0
        self._chunks: list[np.ndarray] = []

    def add(self, values: IntArray) -> None:
        """More of them."""
        some = values[values > 0]
        self._zeros += len(values) - len(some)
        if len(some):
            narrow = int(some.max()) < 1 << 32
            self._chunks.append(some.astype(np.uint32) if narrow else some)

    def ordered(self) -> IntArray:
        """All of them, ascending; they are given away."""
        chunks, self._chunks = self._chunks, []
        out = np.zeros(self._zeros + sum(map(len, chunks)), dtype=np.int64)
        at = self._zeros
        while chunks:
            chunk = chunks.pop()
            out[at : at + len(chunk)] = chunk
            at += len(chunk)
        out.sort()
        return out


class VisitFolding:
    """Folds the visits of the stations of a plan; see ``simulator.trace.Folding``."""

    def __init__(self, plan: Plan, *, at_once: int = AT_ONCE) -> None:
        self._plan = plan
        self._at_once = at_once
        self._pending: list[IntArray] = []
        self._kept: list[IntArray] = []
        self._count = 0
        self._limit = at_once
        self._settled_ns = 0
        self.used: Mapping[int, Used] = {}
        kinds = [station.kind in FOLDED for station in plan.stations]
        self._folded = np.asarray(kinds, dtype=np.bool_)

    def begin(self, start_ns: int, requests: int) -> None:
        """The first arrival, and how many there are to be."""
        self._start_ns = self._settled_ns = start_ns
        labels: dict[str, list[int]] = {}
        for i, station in enumerate(self._plan.stations):
            if self._folded[i]:
                labels.setdefault(station.label, []).append(i)
        self._labels = [
            _Label(self._plan, indices, requests, start_ns) for indices in labels.values()
        ]

    def take(self, visits: IntArray) -> bool:
        """Take rows of shape (7, n); whether ``fold`` is to follow."""
        folded = self._folded[visits[0]]
        if not folded.all():
            self._kept.append(visits[:, ~folded])
            visits = visits[:, folded]
        self._pending.append(visits)
        self._count += visits.shape[1]
        return self._count >= self._limit

    def fold(self, settled_ns: int) -> None:
        """Take up what has ended until then."""
        if settled_ns > self._settled_ns:
            period = (self._settled_ns, settled_ns)
            visits = self._join()
            for label in self._labels:
                label.fold(visits, self._start_ns, period)
            after = visits.released_ns > settled_ns
            self._pending = [np.stack([getattr(visits, c)[after] for c in Visits.__slots__])]
            self._count = int(after.sum())
            self._settled_ns = settled_ns
        self._limit = self._count + max(self._at_once, 4 * self._count)

    def finish(self, end_ns: int, last_answer_ns: int, deadlock: bool) -> Visits:
        """The run is over; the visits that were kept."""
        visits = self._join()
        used: dict[int, Used] = {}
        for label in self._labels:
            label.last(visits, self._start_ns, self._settled_ns, last_answer_ns)
            used |= label.used(end_ns if deadlock else None)
        self.used = used
        kept = self._kept or [np.zeros((_COLUMNS, 0), dtype=np.int64)]
        return Visits(*np.concatenate(kept, axis=1))

    def _join(self) -> Visits:
        pending, self._pending = self._pending, []
        return Visits(*np.concatenate(pending or [np.zeros((_COLUMNS, 0), dtype=np.int64)], axis=1))


class _Label:
    """The stations of one label, in all processes."""

    def __init__(self, plan: Plan, indices: Sequence[int], requests: int, start_ns: int) -> None:
        first = plan.stations[indices[0]]
        self._size = first.size
        self._compares = first.kind == "pool" and processes(plan) > 1
        self._idle_beside = False
        self._pieces = _Pieces(requests) if first.kind in SHARED_IN_PIECES else None
        self._stations = [_Station(plan, i, self._pieces) for i in indices]
        self._sums = time_sums(first.kind, start_ns)

    def fold(self, visits: Visits, start_ns: int, period: tuple[int, int]) -> None:
        own = [select(visits, visits.station == one.index) for one in self._stations]
        for one, rows in zip(self._stations, own, strict=True):
            one.highest(rows, start_ns, period[1])
            over = select(rows, rows.released_ns <= period[1])
            one.add(over, start_ns, period[1])
            self._sums.add(over)
        self._compare(own, period)

    def last(self, visits: Visits, start_ns: int, settled_ns: int, until_ns: int) -> None:
        own = [select(visits, visits.station == one.index) for one in self._stations]
        for one, rows in zip(self._stations, own, strict=True):
            one.highest(rows, start_ns, until_ns)
            one.add(rows, start_ns, until_ns)
            self._sums.add(rows)
        self._compare(own, (settled_ns, NEVER))

    def _compare(self, own: Sequence[Visits], period: tuple[int, int]) -> None:
        if self._compares and not self._idle_beside:
            self._idle_beside = idle_beside(own, self._size, *period)

    def used(self, deadlock_ns: int | None) -> dict[int, Used]:
        sums = self._sums.sums()
        return {one.index: one.used(deadlock_ns, self._idle_beside, sums) for one in self._stations}


class _Pieces:
    """What each request brought to the stations of a label: it comes to one of them only."""

    def __init__(self, requests: int) -> None:
        self._sum_ns = np.zeros(requests, dtype=np.int64)
        self._where = np.zeros(requests, dtype=np.int16)

    def add(self, station: int, request: IntArray, work: IntArray) -> None:
        np.add.at(self._sum_ns, request, work)
        self._where[request] = station

    def of(self, station: int) -> IntArray:
        pieces: IntArray = self._sum_ns[(self._where == station) & (self._sum_ns > 0)]
        return pieces


class _Station:
    """What came to one station so far."""

    def __init__(self, plan: Plan, index: int, shared: _Pieces | None) -> None:
        self.index = index
        self._station = plan.stations[index]
        self._shared = shared
        self._timeout_ns = next(
            (p.acquire_timeout_ns for p in plan.pools if f"pool {p.label}" == self._station.label),
            NEVER,
        )
        self._waits, self._all_waits = Values(), Values()
        self._counts = dict.fromkeys(("visits", "by_requests", "begun", "unserved"), 0)
        self._gave_up_at_once = self._timed_out = self._served = self._pieces = 0
        self._waited_ns = self._held_ns = self._work_ns = self._busy_ns = self._pieces_ns = 0
        self._piece_min_ns, self._piece_max_ns = NEVER, 0
        self._queue_max = self._waiting_max = self._open_max = 0
        self._cut: list[tuple[int, int]] = []  # those that may never end: wait, and when cut off

    def highest(self, rows: Visits, start_ns: int, until_ns: int) -> None:
        """All that was open at some time of a period that ends there."""
        if len(rows):
            within = clipped(rows, start_ns, until_ns)
            self._queue_max = max(self._queue_max, queue_max_of(self._station, within))
            self._waiting_max = max(self._waiting_max, waiting_of(rows))
            self._open_max = max(self._open_max, most_open(rows.queued_ns, rows.released_ns))

    def add(self, rows: Visits, start_ns: int, until_ns: int) -> None:
        """Visits that are over, each once."""
        waited, unserved = waited_ns(rows), rows.granted_ns == NOT_GRANTED
        self._counts["visits"] += len(rows)
        self._counts["by_requests"] += int((rows.request >= 0).sum())
        self._counts["unserved"] += int(unserved.sum())
        self._gave_up_at_once += int((unserved & (rows.released_ns == rows.queued_ns)).sum())
        self._timed_out += int((unserved & (waited >= self._timeout_ns)).sum())
        self._waited_ns += exact_sum(waited)
        self._held_ns += exact_sum(held_ns(rows, 0, NEVER))
        self._work_ns += exact_sum(rows.work_ns)
        if self._timeout_ns < NEVER:
            self._all_waits.add(waited)
        self._add_begun(rows, start_ns, until_ns)
        self._add_work(select(rows, ~unserved & (rows.request >= 0)), until_ns)

    def _add_begun(self, rows: Visits, start_ns: int, until_ns: int) -> None:
        within = clipped(rows, start_ns, until_ns)
        spans = held_ns(within, start_ns, until_ns)
        shares = self._station.kind == "cores"
        self._busy_ns += exact_sum(np.minimum(within.work_ns, spans) if shares else spans)
        begun = select(within, within.request >= 0)
        self._counts["begun"] += len(begun)
        if self._station.kind not in PER_REQUEST:
            waits = waited_ns(begun)
            cut: BoolArray = (begun.granted_ns == NOT_GRANTED) & (begun.released_ns == until_ns)
            self._waits.add(waits[~cut])
            self._cut += zip(waits[cut].tolist(), begun.released_ns[cut].tolist(), strict=True)

    def _add_work(self, served: Visits, until_ns: int) -> None:
        work = np.minimum(served.work_ns, np.maximum(until_ns - served.granted_ns, 0))
        some = work > 0
        self._served += int(some.sum())
        if self._shared is not None:
            self._shared.add(self.index, served.request[some], work[some])
        elif some.any():
            self._bring(work[some])

    def _bring(self, pieces: IntArray) -> None:
        self._pieces += len(pieces)
        self._pieces_ns += exact_sum(pieces)
        self._piece_min_ns = min(self._piece_min_ns, int(pieces.min()))
        self._piece_max_ns = max(self._piece_max_ns, int(pieces.max()))

    def used(self, deadlock_ns: int | None, idle_beside: bool, sums: ByTime) -> Used:
        if self._shared is not None and len(pieces := self._shared.of(self.index)):
            self._bring(pieces)
        endless = [wait for wait, at in self._cut if at == deadlock_ns]
        ended = [wait for wait, at in self._cut if at != deadlock_ns]
        self._waits.add(np.asarray(ended, dtype=np.int64))
        return Used(
            **self._counts,
            gave_up_at_once=self._gave_up_at_once,
            timed_out=self._timed_out,
            waited_ns=self._waited_ns,
            held_ns=self._held_ns,
            work_ns=self._work_ns,
            busy_ns=self._busy_ns,
            queue_max=self._queue_max,
            waiting_max=self._waiting_max,
            open_max=self._open_max,
            endless=len(endless),
            served=self._served,
            pieces=self._pieces,
            pieces_ns=self._pieces_ns,
            piece_min_ns=self._piece_min_ns,
            piece_max_ns=self._piece_max_ns,
            idle_beside=idle_beside,
            waits_ns=self._waits.ordered(),
            all_waits_ns=self._all_waits.ordered(),
            by_time=sums,
        )
