"""The host of the kernels: lays out a run, serves what it needs, takes away what it wrote."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.arrays import IntArray
from simulator.engines import contract
from simulator.engines.compiled import connection_pool as pools
from simulator.engines.compiled import kernel, memory, recorder, task
from simulator.engines.compiled.clock import EVENT
from simulator.engines.compiled.failures import NotCompiled
from simulator.engines.compiled.interrupts import Interrupts
from simulator.engines.compiled.jit import PLAIN
from simulator.engines.compiled.lower import Lowered, users
from simulator.engines.compiled.memory import (
    BEYOND,
    COLUMNS,
    DRAW,
    FINISHED,
    FLUSH,
    GIVE_UP,
    GROW,
    MORE_ARRIVALS,
    NONE,
    PAUSE,
)
from simulator.engines.compiled.source import Source
from simulator.engines.compiled.store import Store
from simulator.engines.compiled.stuck import stuck, waiting_as_rows
from simulator.engines.compiled.tables import Columns, NarrowRows, Rows
from simulator.plan import NEVER, UNLIMITED, Branch, Gather, Load, Plan, Step, ToThread, With
from simulator.trace import Attempts, Folding, Trace, Visits
from simulator.workload import Workload

BUDGET = 200_000 if PLAIN else 2_000_000
"""Events between two looks at whether the user wants to stop."""
ARRIVALS = 1 << 16
VISITS_OF_REQUEST = 8
"""There is room for so many beforehand; more are made room for by copying."""
NUMBER_BITS = 26
KEY_BITS = 60


def run(
    plan: Plan,
    workload: Workload,
    *,
    progress: Callable[[int], None] = lambda arrived: None,
    folding: Folding | None = None,
) -> Trace:
    """What happens to every request: the same as ``simulator.engines.reference.run`` says.

    Parameters
    ----------
    folding : Folding, optional
        Takes the visits of an open load in place of the trace.

    Raises
    ------
    NotCompiled
        The plan has something that this engine does not run.
    LimitError
        More requests, events at one instant or simulated time than the named limits.
    """
    return _Run(plan, workload, progress, folding).execute()


class _Run:
    def __init__(
        self,
        plan: Plan,
        workload: Workload,
        progress: Callable[[int], None],
        folding: Folding | None,
    ) -> None:
        self.plan = plan
        self.folding = folding
        self.progress = progress
        self.arrival, self.route = workload.arrivals()
        contract.limit_requests(len(self.arrival))
        in_flight = task.SPENT + len(plan.causes) + 2 * task.VISIT_SIZE + 2 * EVENT
        self.store = Store(in_flight * len(self.arrival))
        self.source = Source(self.store, plan, workload)
        self.columns = (
            recorder.ROW + len(plan.causes),
            recorder.VISIT_ROW,
            recorder.ATTEMPT_ROW,
        )
        expected = len(self.arrival) + sum(_asked(load) for load in plan.loads)
        self.rows: Rows | NarrowRows
        if folding is None:
            known = not any(load.users for load in plan.loads)
            self.rows = Rows(self.columns[0], expected, known=known)
        else:
            self.rows = NarrowRows(self.columns[0], self.arrival)
            folding.begin(int(self.arrival[0]) if len(self.arrival) else 0, len(self.arrival))
        kept = VISITS_OF_REQUEST * expected if folding is None else 0
        self.visits = Columns(recorder.VISIT_ROW, 1, kept)
        self.attempts = Columns(recorder.ATTEMPT_ROW, 0)
        self.stop = self._stop()
        self._lay_out()

    # Laying out.

    def _lay_out(self) -> None:
        words, plan = self.store.words, self.plan
        branches = max((_last_branch(r.steps + r.after) for r in plan.routes), default=0)
        branch_bits = (branches + 1).bit_length()
        attempt_bits = len(plan.client.retries.backoff).bit_length()
        words[memory.BACKGROUND] = branches + 1
        words[memory.ATTEMPT_SHIFT] = NUMBER_BITS
        words[memory.BRANCH_SHIFT] = NUMBER_BITS + attempt_bits
        words[memory.OWNER_SHIFT] = NUMBER_BITS + attempt_bits + branch_bits
        owners = len(plan.stations) + len(self.arrival)
        words[memory.OWNERS_MAX] = 1 << (KEY_BITS - words[memory.OWNER_SHIFT])
        if owners >= words[memory.OWNERS_MAX]:
            raise NotCompiled("too many requests, branches and attempts to number their events")
        words[memory.FIRST_REQUEST] = len(plan.stations)
        words[memory.CAUSES] = len(plan.causes)
        words[memory.TASK_SIZE] = task.SPENT + len(plan.causes)
        words[memory.STOP] = min(self.stop, contract.TIME_MAX_NS)
        words[memory.INSTANT] = -1
        words[memory.INSTANT_MAX] = contract.EVENTS_PER_INSTANT_MAX
        first = int(self.arrival[0]) if len(self.arrival) else 0
        words[memory.LAST] = words[memory.RELEASED] = first
        is_wait = [int(cause.kind == "wait") for cause in plan.causes]
        self._set(memory.IS_WAIT, self.store.table(is_wait))
        self._set(memory.SCRATCH, self.store.take(len(plan.causes)))
        self.low = Lowered(self.store, plan, self.source)
        self.low.write()
        asked = users(self.low, len(self.arrival))
        self._set(memory.USERS, self.store.take(len(asked)))
        self.store.put_array(self.store.words[memory.USERS], asked)
        self._set(memory.USERS_N, len(asked))
        self._make_room(len(asked))

    def _set(self, field: int, value: int) -> None:
        self.store.words[field] = value

    def _make_room(self, asked: int) -> None:
        events = 1 << 12
        while events < 2 * asked:
            events *= 2
        self._set(memory.EVENTS, self.store.take(2 * events * EVENT))
        self._set(memory.EVENTS_SOFT, events)
        self._set(memory.SOON, self.store.take(2 * (1 << 12)))
        self._set(memory.SOON_MASK, (1 << 12) - 1)
        for table, columns in zip(_TABLES, self.columns, strict=True):
            self._set(table, self.store.take(recorder.STRIDE * columns))
            self._set(table + 2, recorder.CHUNK)
        self._set(memory.ARRIVAL, self.store.take(2 * ARRIVALS))
        self._more_arrivals()

    def _stop(self) -> int:
        """When the run is cut: ``drain`` after the end of the last load; NEVER if it has none."""
        if self.plan.drain_ns == NEVER:
            return NEVER
        if any(load.users and load.until_ns == NEVER for load in self.plan.loads):
            return NEVER  # its last request can't be known beforehand
        ends = [load.until_ns for load in self.plan.loads if load.until_ns < NEVER]
        ends += [int(at) for at in self.arrival[-1:]]
        return max(ends) + self.plan.drain_ns

    # Running.

    def execute(self) -> Trace:
        try:
            with Interrupts() as interrupts:
                more = self._run(interrupts)
            self.source.note_decisions()
        except KeyboardInterrupt:
            return self._trace("interrupted", int(self.store.words[memory.NOW]))
        words = self.store.words
        if more and self.stop > contract.TIME_MAX_NS:
            raise contract.LimitError(
                f"the run reached {contract.TIME_MAX_NS} ns, TIME_MAX_NS (about 73 years); "
                "shorten the times or the load"
            )
        if not words[memory.LIVE_N]:
            return self._trace("empty", int(recorder.last_moment(words, False)))
        if more:
            return self._trace("drained", self.stop)
        return self._trace("deadlock", int(recorder.last_moment(words, True)))

    def _run(self, interrupts: Interrupts) -> bool:
        """Run to the end; True if something is left that happens beyond it."""
        self._set(memory.BUDGET, BUDGET)
        while True:
            status = int(kernel.run(self.store.words))
            self._set(memory.STATUS, 0)
            if status & GIVE_UP:
                self._gave_up(int(self.store.words[memory.REASON]))
            if status & GROW:
                self._grow()
            if status & FLUSH:
                self._flush()
            if status & COLUMNS:
                self.source.top_up()
            if status & DRAW:
                self.source.supply()
            if status & MORE_ARRIVALS:
                self._more_arrivals()
            if status & PAUSE:
                self._set(memory.BUDGET, BUDGET)
                self.progress(int(self.store.words[memory.ARRIVED]))
            if status & (FINISHED | BEYOND):
                return bool(status & BEYOND)
            interrupts.raise_if_any()

    def _gave_up(self, reason: int) -> None:
        words = self.store.words
        if reason == memory.LIVELOCK:
            raise contract.LimitError(
                f"more than {contract.EVENTS_PER_INSTANT_MAX} events at {words[memory.NOW]} ns: "
                f"EVENTS_PER_INSTANT_MAX = {contract.EVENTS_PER_INSTANT_MAX}; "
                "do requests come back without any time passing?"
            )
        if reason == memory.TOO_MANY_REQUESTS:
            contract.limit_requests(int(words[memory.ARRIVED]) + 1)
        if reason == memory.ASKS_FOREVER:
            contract.limit_asked(contract.ASKED_PER_INSTANT_MAX + 1, int(words[memory.NOW]))
        raise NotCompiled(
            "a number beyond 64 bits: a very long time, or very much at one instant"
            if reason == memory.TOO_LARGE
            else "more random decisions at one instant than are made beforehand"
        )

    def _grow(self) -> None:
        words = self.store.words
        if words[memory.EVENTS_N] >= words[memory.EVENTS_SOFT]:
            soft = 2 * int(words[memory.EVENTS_SOFT])
            count = int(words[memory.EVENTS_N]) * EVENT
            moved = self.store.move(int(words[memory.EVENTS]), count, 2 * soft * EVENT)
            self._set(memory.EVENTS, moved)
            self._set(memory.EVENTS_SOFT, soft)
        if task.SOON_OF_TASK * words[memory.LIVE_N] > words[memory.SOON_MASK]:
            self._widen_ring()
        self.store.grow()

    def _widen_ring(self) -> None:
        """The ring of what an instant causes begins at its head again, in one of twice the size."""
        words = self.store.words
        head, tail = int(words[memory.SOON_HEAD]), int(words[memory.SOON_TAIL])
        mask = int(words[memory.SOON_MASK])
        ring = self.store.array(int(words[memory.SOON]), 2 * (mask + 1)).reshape(-1, 2)
        waiting = ring[np.arange(head, tail) & mask]
        address = self.store.take(4 * (mask + 1))
        self.store.put_array(address, waiting.reshape(-1))
        self._set(memory.SOON, address)
        self._set(memory.SOON_MASK, 2 * mask + 1)
        self._set(memory.SOON_HEAD, 0)
        self._set(memory.SOON_TAIL, tail - head)

    def _flush(self) -> None:
        words = self.store.words
        takers = (self.rows.take, self._take_visits, self.attempts.take)
        for take, table, columns in zip(takers, _TABLES, self.columns, strict=True):
            count = int(words[table + 1])
            if count > recorder.STRIDE:
                raise contract.EngineError("more rows at one instant than there is room for")
            if count:
                take(self.store.view(int(words[table]), recorder.STRIDE * columns), count)
                words[table + 1] = 0

    def _take_visits(self, words: IntArray, count: int) -> None:
        if self.folding is None:
            self.visits.take(words, count)
        elif self.folding.take(words.reshape(recorder.VISIT_ROW, -1)[:, :count].copy()):
            assert isinstance(self.rows, NarrowRows)
            self.folding.fold(min(self._settled(), self.rows.last_finish_ns))

    def _settled(self) -> int:
        """No visit that is still to end began before this: the begin of the oldest task."""
        words = self.store.words
        oldest, record = int(words[memory.NOW]), int(words[memory.TASKS_FIRST])
        while record:
            oldest = min(oldest, int(words[record + task.ARRIVED_NS]))
            if (queued := int(words[record + task.LOOP_QUEUED])) != NONE:
                oldest = min(oldest, queued)
            record = int(words[record + task.ALL_NEXT])
        return oldest

    def _more_arrivals(self) -> None:
        words = self.store.words
        begin = int(words[memory.ARRIVAL_INDEX] + words[memory.ARRIVAL_N])
        end = min(begin + ARRIVALS, len(self.arrival))
        pairs = np.stack([self.arrival[begin:end], self.route[begin:end]], axis=1)
        self.store.put_array(int(words[memory.ARRIVAL]), pairs.reshape(-1))
        words[memory.ARRIVAL_INDEX] = begin
        words[memory.ARRIVAL_AT] = 0
        words[memory.ARRIVAL_N] = end - begin
        words[memory.ARRIVAL_MORE] = int(end < len(self.arrival))

    # The trace.

    def _trace(self, ended: str, end: int) -> Trace:
        waiting = stuck(self.store.words, self.plan) if ended == "deadlock" else []
        self._set(memory.STATUS, 0)
        while not recorder.close_all(self.store.words, end):
            self._flush()
            self._set(memory.STATUS, 0)
        self._flush()
        self._close_connections(end)
        head, spent = self.rows.sorted(int(self.store.words[memory.ARRIVED]))
        index, route, process, arrival, finish, outcome, first_byte = head
        if self.folding is None:
            visits = Visits(*self.visits.by_row(index))
        else:
            in_flight = bool((outcome == contract.IN_FLIGHT).any()) or not len(finish)
            last = end if in_flight else int(finish.max())
            visits = self.folding.finish(end, last, ended == "deadlock")
        return Trace(
            causes=self.plan.causes,
            outcomes=self.plan.outcomes,
            stations=self.plan.stations,
            index=index,
            route=route,
            process=process,
            arrival_ns=arrival,
            finish_ns=finish,
            outcome=outcome,
            first_byte_ns=first_byte,
            spent_ns=spent,
            visits=visits,
            attempts=Attempts(*self.attempts.by_row(index)),
            end_ns=end,
            ended=ended,
            stuck=tuple(waiting_as_rows(waiting, index)),
            used=self.folding.used if self.folding else {},
        )

    def _close_connections(self, end: int) -> None:
        """What is still open at the database is closed at the end of the run."""
        words = self.store.words
        out: list[int] = []
        for pool, station in self.low.connections:
            connection = int(words[pool + pools.ALL_CONNECTIONS])
            while connection:
                by = int(words[connection + pools.OPENED_BY])
                if by != pools.NOT_OPENED:
                    since = int(words[connection + pools.OPENED_AT])
                    backend = int(words[connection + pools.BACKEND])
                    out += [station, by, backend, since, since, end, end - since]
                connection = int(words[connection + pools.NEXT_OF_POOL])
        visits = np.asarray(out, dtype=np.int64).reshape(-1, recorder.VISIT_ROW)
        self._take_visits(visits.T.reshape(-1), len(visits))


_TABLES = (memory.ROWS, memory.VISITS, memory.ATTEMPTS)


def _asked(load: Load) -> int:
    """The highest index of a load's users, about; 0 where there is no telling."""
    if not load.users or load.count == UNLIMITED:
        return 0
    return min(load.count, contract.REQUESTS_MAX) * 5 // 4 + load.users


def _last_branch(steps: tuple[Step, ...]) -> int:
    """The highest number of a branch in these steps; 0 if there is none."""
    last = 0
    for step in steps:
        if isinstance(step, Gather):
            for branch in step.branches:
                last = max(last, _number_of(branch))
        elif isinstance(step, With | ToThread):
            last = max(last, _last_branch(step.steps))
    return last


def _number_of(branch: Branch) -> int:
    return max(branch.number, _last_branch(branch.steps))


def compile_kernels() -> None:
    """Compile what is not kept on disk yet, on a run without requests."""
    words = Store().words
    kernel.run(words)
    recorder.close_all(words, 0)
    recorder.last_moment(words, False)
    Rows(recorder.ROW, 0, known=True).take(np.zeros(0, dtype=np.int64), 0)
