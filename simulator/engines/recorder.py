"""What a run writes down while it happens: rows, attempts, visits; then the trace."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from models.clock import PHASE_ARRIVAL, Clock, Owner, first_key, grant
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.engines.task import Task
from simulator.plan import Plan
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Attempts, Stuck, Trace, Visits

_CHUNK = 16_384  # rows kept as Python lists before they go into an array
_ROW = 7  # columns of a request's row
_FIRST_OF_ATTEMPT = 1 << 20  # numbers of an attempt's events; its client's come before


class _Table:
    """Rows of integers, kept as lists for a while and then as arrays."""

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._rows: list[tuple[int, ...]] = []
        self._chunks: list[IntArray] = []

    def append(self, row: tuple[int, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _CHUNK:
            self._flush()

    def array(self) -> IntArray:
        """All rows, shape (n, columns)."""
        self._flush()
        return np.concatenate(self._chunks)

    def _flush(self) -> None:
        rows = np.asarray(self._rows, dtype=np.int64).reshape(-1, self._columns)
        self._chunks.append(rows)
        self._rows = []


class Recorder:
    """Rows and visits of a run, as they come; ``trace`` makes the arrays."""

    def __init__(self, plan: Plan, clock: Clock, first_ns: int) -> None:
        self.plan = plan
        self.clock = clock
        self.first_request = len(plan.stations)
        self.causes = len(plan.causes)
        self.is_wait = [cause.kind == "wait" for cause in plan.causes]
        self.live: dict[Task, None] = {}
        self.lingering: dict[Task, None] = {}  # answered, but still holding a worker
        self.arrived = 0
        self._rows = _Table(_ROW + self.causes)  # the ledger stands behind the row
        self._visits = _Table(7)
        self._attempts = _Table(6)
        self._connections: dict[tuple[int, int], tuple[int, int]] = {}
        self._last = first_ns  # the end of the last task so far
        self._released = first_ns  # the end of the last visit so far

    def station_owner(self, station: int) -> Owner:
        """The owner of a station's own events."""
        return Owner(station)

    def arrival_key(self, request: int) -> int:
        """The key of a request's arrival, its owner's first event."""
        return first_key(self.first_request + request, PHASE_ARRIVAL)

    def task(self, request: int, route: int) -> Task:
        """A new task for a request that arrives now."""
        task = Task(self, request, route)
        task._number = 1  # its first event was its arrival
        self.arrived += 1
        self.live[task] = None
        return task

    def attempt(self, client: Task, attempt: int) -> Task:
        """A new task for the server's side of an attempt that its client makes now."""
        task = Task(self, client.request, client.route, 0, attempt)
        task._number = _FIRST_OF_ATTEMPT
        task.is_request = False
        self.live[task] = None
        return task

    def branch(self, parent: Task, branch: int) -> Task:
        """A new task for a branch of its gather, or for its background work."""
        task = Task(self, parent.request, parent.route, branch, parent.attempt)
        task.process, task.instance = parent.process, parent.instance
        task.transactions = list(parent.transactions)
        self.live[task] = None
        return task

    def ended(self, task: Task) -> None:
        """The task is over."""
        del self.live[task]
        self._last = self.clock._now

    def finish(self, task: Task, outcome: int) -> None:
        """The request has its answer, or its failure."""
        self.ended(task)
        self._row(task, self._last, outcome)
        if task.done is not None:
            grant(task.done)

    def attempted(self, attempt: Task, outcome: int) -> None:
        """An attempt is over for its client: answered, or given up."""
        self._attempts.append(
            (
                attempt.request,
                attempt.attempt,
                attempt.process,
                attempt.arrival,
                self.clock._now,
                outcome,
            )
        )

    def visit(
        self,
        station: int,
        task: Task,
        slot: int,
        queued: int,
        granted: int,
        released: int,
        work: int,
    ) -> None:
        """A visit is over."""
        if released > self._released:
            self._released = released
        self._visits.append((station, task.request, slot, queued, granted, released, work))

    def opened(self, station: int, request: int, backend: int) -> None:
        """A database connection was opened; request -1 is the process itself."""
        self._connections[station, backend] = (request, self.clock._now)

    def closed(self, station: int, backend: int) -> None:
        """A database connection was closed."""
        request, since = self._connections.pop((station, backend))
        now = self.clock._now
        self._visits.append((station, request, backend, since, since, now, now - since))

    def trace(self, ended: str, stop: int = NOT_FINISHED) -> Trace:
        """Everything as arrays, with what is still open closed at the end of the run."""
        # A worker can linger behind its last answer, a killed one's work behind its end.
        lingering = (v for task in self.lingering for v in task.open)
        last = max([self._last, self._released, *(max(v.queued, v.granted) for v in lingering)])
        end = {
            "empty": last,
            "deadlock": max([last, *(task.mark for task in self.live)]),
            "drained": stop,
            "interrupted": int(self.clock.now),
        }[ended]
        stuck = self._stuck() if ended == "deadlock" else ()
        for task in (*self.live, *self.lingering):
            self._close(task, end)
        for (station, backend), (request, since) in self._connections.items():
            self._visits.append((station, request, backend, since, since, end, end - since))
        visits = self._visits.array()
        rows = self._rows.array()
        order = np.argsort(rows[:, 0], kind="stable")
        rows = rows[order]
        index = np.ascontiguousarray(rows[:, 0])
        return Trace(
            causes=self.plan.causes,
            outcomes=self.plan.outcomes,
            stations=self.plan.stations,
            index=index,
            route=np.ascontiguousarray(rows[:, 1]),
            process=np.ascontiguousarray(rows[:, 2]),
            arrival_ns=np.ascontiguousarray(rows[:, 3]),
            finish_ns=np.ascontiguousarray(rows[:, 4]),
            outcome=np.ascontiguousarray(rows[:, 5]),
            first_byte_ns=np.ascontiguousarray(rows[:, 6]),
            spent_ns=np.ascontiguousarray(rows[:, _ROW:]),
            visits=Visits(*_by_row(visits, 1, index)),
            attempts=Attempts(*_by_row(self._attempts.array(), 0, index)),
            end_ns=end,
            ended=ended,
            stuck=tuple(replace(s, request=int(np.searchsorted(index, s.request))) for s in stuck),
        )

    def _row(self, task: Task, finish: int, outcome: int) -> None:
        first_byte = finish if task.first_byte == NOT_FINISHED else task.first_byte
        # Work left behind goes on booking: the ledger is copied.
        self._rows.append(
            (
                task.request,
                task.route,
                task.process,
                task.arrival,
                finish,
                outcome,
                first_byte,
                *task.spent,
            )
        )

    def _stuck(self) -> tuple[Stuck, ...]:
        out = []
        for task in sorted(self.live, key=lambda t: (t.request, t.branch, t.attempt)):
            waits = [v.station for v in task.open if v.granted == NOT_GRANTED]
            holds = tuple(v.station for v in task.open if v.granted != NOT_GRANTED)
            if task.loop_granted != NOT_GRANTED:
                holds += (self._loop_station(task.process),)
            elif task.loop_queued != NOT_GRANTED:
                waits.append(self._loop_station(task.process))
            if waits:
                out.append(Stuck(task.request, holds, waits[0]))
        return tuple(out)

    def _loop_station(self, process: int) -> int:
        return next(
            i
            for i, station in enumerate(self.plan.stations)
            if station.kind == "event loop" and station.process == process
        )

    def _close(self, task: Task, end: int) -> None:
        queued = any(v.granted == NOT_GRANTED for v in task.open)
        if queued:
            task.waited += max(0, end - task.mark)
        for visit in tuple(task.open):
            task.released(visit, at=end)
        if task.loop_queued != NOT_GRANTED:
            granted = task.loop_granted
            work = 0 if granted == NOT_GRANTED else end - granted - (task.waited - task.loop_waited)
            station = self._loop_station(task.process)
            slot = NOT_GRANTED if granted == NOT_GRANTED else 0
            self.visit(station, task, slot, task.loop_queued, granted, end, work)
        if task.is_request and task in self.live:
            self._row(task, NOT_FINISHED, IN_FLIGHT)


def _by_row(table: IntArray, column: int, index: IntArray) -> list[IntArray]:
    """The columns of a table, with requests as rows of the trace instead of indices."""
    requests = table[:, column]
    rows = np.searchsorted(index, requests)
    table[:, column] = np.where(requests < 0, -1, rows)
    return [np.ascontiguousarray(table[:, i]) for i in range(table.shape[1])]
