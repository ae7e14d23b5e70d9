"""What a run writes down while it happens: tasks with their ledgers, rows, visits."""

from __future__ import annotations

import numpy as np

from models.clock import Clock, Owner
from simulator.arrays import IntArray
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import Plan
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Stuck, Trace, Visits

IN_CODE = 0
"""What a task does that lets no time pass: any cause will do."""

_CHUNK = 16_384  # rows kept as Python lists before they go into an array


class Visit:
    """An open visit to a station."""

    __slots__ = ("granted", "queued", "slot", "station", "waited")

    def __init__(self, station: int, queued: int) -> None:
        self.station = station
        self.queued = queued
        self.granted = NOT_GRANTED
        self.slot = NOT_GRANTED
        self.waited = 0  # what the task had waited in all when it was granted


class Task(Owner):
    """A request, or a branch of its gather, with its ledger of time.

    Every span of its life is booked to exactly one cause: ``book`` takes what has
    passed since the last booking, so the sum can't miss or count twice.
    """

    __slots__ = (
        "_clock",
        "_recorder",
        "branch",
        "doing",
        "first_byte",
        "loop_granted",
        "loop_queued",
        "loop_waited",
        "mark",
        "open",
        "process",
        "request",
        "route",
        "spent",
        "transactions",
        "waited",
    )

    def __init__(self, recorder: Recorder, request: int, branch: int) -> None:
        super().__init__(recorder.first_request + request, branch)
        self._recorder = recorder
        self._clock = recorder.clock
        self.request = request
        self.branch = branch
        self.route = recorder.route[request]
        self.process = -1
        self.spent = [0] * recorder.causes
        self.mark: int = recorder.clock._now
        self.waited = 0
        self.doing = IN_CODE  # the cause of the span that is under way
        self.first_byte = NOT_FINISHED
        self.open: list[Visit] = []
        self.transactions: list[list[tuple[int, Visit]]] = []
        self.loop_queued = NOT_GRANTED
        self.loop_granted = NOT_GRANTED
        self.loop_waited = 0

    def book(self, cause: int) -> None:
        """Book all time since the last booking to a cause."""
        now: int = self._clock._now
        if now > self.mark:
            self.book_until(now, cause)

    def book_until(self, until: int, cause: int) -> None:
        """Book the time since the last booking up to an instant to a cause."""
        span = until - self.mark
        self.spent[cause] += span
        self.mark = until
        if self._recorder.is_wait[cause]:
            self.waited += span

    def absorb(self, branch: Task | None) -> None:
        """Take over the ledger of the branch that a gather has waited for."""
        assert branch is not None
        self.spent = [a + b for a, b in zip(self.spent, branch.spent, strict=True)]
        self.waited += branch.waited
        self.mark = self._clock._now

    def queue(self, station: int) -> Visit:
        """Begin a visit."""
        visit = Visit(station, self._clock._now)
        self.open.append(visit)
        return visit

    def granted(self, visit: Visit, slot: int) -> None:
        """The visit has its slot."""
        visit.slot = slot
        visit.granted = self._clock._now
        visit.waited = self.waited

    def released(self, visit: Visit, *, at: int | None = None) -> None:
        """The visit ends, or is given up if it was never granted."""
        self.open.remove(visit)
        released = self._clock._now if at is None else at
        work = 0
        if visit.granted != NOT_GRANTED:
            work = released - visit.granted - (self.waited - visit.waited)
        self._recorder.visit(
            visit.station, self, visit.slot, visit.queued, visit.granted, released, work
        )


class Recorder:
    """Rows and visits of a run, as they come; ``trace`` makes the arrays."""

    def __init__(self, plan: Plan, clock: Clock, arrival: IntArray, route: IntArray) -> None:
        n = len(arrival)
        self.plan = plan
        self.clock = clock
        self.first_request = len(plan.stations)
        self.causes = len(plan.causes)
        self.is_wait = [cause.kind == "wait" for cause in plan.causes]
        self.arrival = arrival
        self.route: list[int] = route.tolist()
        self.live: dict[Task, None] = {}
        self._process = np.full(n, -1, dtype=np.int64)
        self._finish = np.full(n, NOT_FINISHED, dtype=np.int64)
        self._outcome = np.full(n, IN_FLIGHT, dtype=np.int64)
        self._spent = np.zeros((n, self.causes), dtype=np.int64)
        self._rows: list[tuple[int, int, int, int]] = []
        self._ledgers: list[list[int]] = []
        self._visits: list[tuple[int, int, int, int, int, int, int]] = []
        self._visit_chunks: list[IntArray] = []
        self._connections: dict[tuple[int, int], tuple[int, int]] = {}
        self._last = int(arrival[0]) if n else 0

    def station_owner(self, station: int) -> Owner:
        """The owner of a station's own events."""
        return Owner(station)

    def request_owner(self, request: int) -> Owner:
        """The owner of a request's arrival."""
        return Owner(self.first_request + request)

    def task(self, request: int) -> Task:
        """A new task for a request that arrives now."""
        task = Task(self, request, 0)
        task._number = 1  # its first event was its arrival
        self.live[task] = None
        return task

    def branch(self, parent: Task, branch: int) -> Task:
        """A new task for a branch of its gather."""
        task = Task(self, parent.request, branch)
        task.process = parent.process
        self.live[task] = None
        return task

    def ended(self, task: Task) -> None:
        """The task is over."""
        del self.live[task]
        self._last = self.clock._now

    def finish(self, task: Task, outcome: int) -> None:
        """The request has its answer, or its failure."""
        self.ended(task)
        self._rows.append((task.request, task.process, self._last, outcome))
        self._ledgers.append(task.spent)
        if len(self._rows) >= _CHUNK:
            self._flush()

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
        self._visits.append((station, task.request, slot, queued, granted, released, work))
        if len(self._visits) >= _CHUNK:
            self._flush_visits()

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
        end = {
            "empty": self._last,
            "deadlock": max([self._last, *(task.mark for task in self.live)]),
            "drained": stop,
            "interrupted": int(self.clock.now),
        }[ended]
        stuck = self._stuck() if ended == "deadlock" else ()
        for task in self.live:
            self._close(task, end)
        for (station, backend), (request, since) in self._connections.items():
            self._visits.append((station, request, backend, since, since, end, end - since))
        self._flush()
        self._flush_visits()
        table = np.concatenate(self._visit_chunks)
        arrived = slice(None) if ended != "interrupted" else self.arrival <= end
        return Trace(
            causes=self.plan.causes,
            outcomes=self.plan.outcomes,
            stations=self.plan.stations,
            route=np.asarray(self.route, dtype=np.int64)[arrived],
            process=self._process[arrived],
            arrival_ns=self.arrival[arrived],
            finish_ns=self._finish[arrived],
            outcome=self._outcome[arrived],
            spent_ns=self._spent[arrived],
            visits=Visits(*(np.ascontiguousarray(table[:, i]) for i in range(7))),
            end_ns=end,
            ended=ended,
            stuck=stuck,
        )

    def _stuck(self) -> tuple[Stuck, ...]:
        out = []
        for task in sorted(self.live, key=lambda task: (task.request, task.branch)):
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
        if task.branch == 0:
            self._spent[task.request] = task.spent
            self._process[task.request] = task.process

    def _flush(self) -> None:
        if self._rows:
            rows = np.asarray(self._rows, dtype=np.int64)
            index = rows[:, 0]
            self._process[index], self._finish[index] = rows[:, 1], rows[:, 2]
            self._outcome[index] = rows[:, 3]
            self._spent[index] = np.asarray(self._ledgers, dtype=np.int64)
            self._rows, self._ledgers = [], []

    def _flush_visits(self) -> None:
        self._visit_chunks.append(np.asarray(self._visits, dtype=np.int64).reshape(-1, 7))
        self._visits = []
