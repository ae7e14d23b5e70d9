"""Broken on purpose: each check turns red on the bug that it is there for."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from models import ConnectionPool, EventLoop, Slots
from models.clock import Owner, grant
from simulator.distributions import Exponential
from simulator.engines import contract, recorder, task
from simulator.engines.reference import run
from simulator.plan import Plan
from simulator.trace import Trace, Visits, first_difference
from simulator.workload import Workload
from tests import invariants
from tests.plans import MILLISECOND, Steps, burst, plan, poisson, pool

MS = MILLISECOND


def busy_service() -> Plan:
    """A loop, threads, a pool that times out and a row lock, all under pressure."""
    steps = Steps()
    return plan(
        steps,
        steps.cpu(Exponential(1 * MS)),
        steps.to_thread(steps.block(Exponential(3 * MS))),
        steps.with_(0, steps.lock(0), steps.statement(0, Exponential(2 * MS))),
        load=poisson(400, (400, 1)),
        threads=2,
        pools=(pool(3, acquire_timeout_ns=15 * MS),),
        locks=1,
    )


@pytest.fixture(scope="module")
def case() -> Plan:
    return busy_service()


@pytest.fixture(scope="module")
def trace(case: Plan) -> Trace:
    return run(case, Workload(case))


def test_the_sound_trace_is_sound_and_equals_itself(case: Plan, trace: Trace) -> None:
    invariants.check(case, trace, Workload(case))
    assert first_difference(trace, run(case, Workload(case))) is None
    assert len(set(trace.outcome.tolist())) == 2, "some must time out for this to be a test"


def changed(array: np.ndarray, row: Any, value: int) -> np.ndarray:
    out = array.copy()
    out[row] = value
    return out


COLUMNS = ["index", "route", "process", "arrival_ns", "finish_ns", "outcome", "first_byte_ns"]
VISIT_COLUMNS = [field.name for field in dataclasses.fields(Visits)]


@pytest.mark.parametrize("column", COLUMNS)
def test_one_perturbed_cell_is_found(trace: Trace, column: str) -> None:
    cells = getattr(trace, column)
    broken = dataclasses.replace(trace, **{column: changed(cells, 7, cells[7] + 1)})
    assert "request 7: " + column in str(first_difference(trace, broken))


def test_a_nanosecond_booked_to_another_cause_is_found(case: Plan, trace: Trace) -> None:
    spent = trace.spent_ns.copy()
    threads, pool_wait = contract.THREADS, contract.wait_for_pool(0)
    row = int(np.flatnonzero(spent[:, threads] > 0)[0])
    spent[row, threads] -= 1
    spent[row, pool_wait] += 1
    broken = dataclasses.replace(trace, spent_ns=spent)
    assert f"request {row}: wait threads" in str(first_difference(trace, broken))
    invariants.sums(broken)  # the sum alone does not see it
    with pytest.raises(AssertionError, match="waits for threads"):
        invariants.waits_are_booked_to_their_station(case, broken)


@pytest.mark.parametrize("column", VISIT_COLUMNS)
def test_one_perturbed_visit_is_found(trace: Trace, column: str) -> None:
    cells = getattr(trace.visits, column)
    visits = dataclasses.replace(trace.visits, **{column: changed(cells, 11, cells[11] + 1)})
    assert "visit" in str(first_difference(trace, dataclasses.replace(trace, visits=visits)))


def test_two_swapped_rows_are_found(trace: Trace) -> None:
    finish = trace.finish_ns.copy()
    finish[[3, 4]] = finish[[4, 3]]
    assert "request 3: finish_ns" in str(
        first_difference(trace, dataclasses.replace(trace, finish_ns=finish))
    )


def test_a_dropped_row_is_found(trace: Trace) -> None:
    broken = dataclasses.replace(
        trace, **{name: getattr(trace, name)[:-1] for name in [*COLUMNS, "spent_ns"]}
    )
    assert first_difference(trace, broken) == "requests: 400 against 399"


@pytest.mark.parametrize(
    ("field", "value"), [("end_ns", 1), ("ended", "drained"), ("stuck", ("x",)), ("causes", ())]
)
def test_another_end_is_found(trace: Trace, field: str, value: object) -> None:
    assert str(first_difference(trace, dataclasses.replace(trace, **{field: value}))).startswith(
        field
    )


def test_a_lost_request_is_found(trace: Trace) -> None:
    lost = dataclasses.replace(
        trace,
        outcome=changed(trace.outcome, 5, contract.IN_FLIGHT),
        finish_ns=changed(trace.finish_ns, 5, -1),
    )
    with pytest.raises(AssertionError, match="requests are in flight"):
        invariants.conservation(lost)


def test_a_latency_off_by_one_is_found(trace: Trace) -> None:
    broken = dataclasses.replace(trace, finish_ns=trace.finish_ns + 1)
    with pytest.raises(AssertionError, match="a latency is not its sum"):
        invariants.sums(broken)


# Bugs in the models and in the engine itself.


def no_hand_over(self: Slots, slot: int) -> None:
    """A slot given back idles while others wait for it (happysim wakes one at an instant)."""
    self._idle.append(slot)
    if self._waiting and len(self._idle) == self._made:
        grant(self._waiting.popleft(), self._idle.pop())


def last_come_first_served(self: Slots, slot: int) -> None:
    if self._waiting:
        grant(self._waiting.pop(), slot)
    else:
        self._idle.append(slot)


def barging_pool(self: ConnectionPool, connection: Any, *, close: bool = False) -> None:
    """The connection is handed over and kept idle as well: two hold it."""
    self._idle.append(connection)
    original_release(self, connection, close=close)


def books_everything_to_the_loop(self: task.Task, cause: int) -> None:
    original_book(self, contract.EVENT_LOOP if cause == contract.THREADS else cause)


def forgets_to_book(self: task.Task, cause: int) -> None:
    if cause == contract.CPU:
        self.mark = self._clock.now
    original_book(self, cause)


def loses_requests(self: recorder.Recorder, task: task.Task, outcome: int) -> None:
    if task.request % 100:
        original_finish(self, task, outcome)
    else:
        self.ended(task)


original_release = ConnectionPool.release
original_book = task.Task.book
original_finish = recorder.Recorder.finish

BUGS: list[tuple[type, str, Callable[..., Any], str]] = [
    (Slots, "release", no_hand_over, "held while a visit waits"),
    (Slots, "release", last_come_first_served, "overtaken"),
    (ConnectionPool, "release", barging_pool, "is held twice"),
    (task.Task, "book", books_everything_to_the_loop, "waits for event loop"),
    (task.Task, "book", forgets_to_book, "a latency is not its sum"),
    (recorder.Recorder, "finish", loses_requests, "a request is lost"),
]


@pytest.mark.parametrize(
    ("owner", "name", "bug", "message"), BUGS, ids=lambda v: getattr(v, "__name__", str(v)[:40])
)
def test_a_bug_in_the_machinery_is_found(
    case: Plan,
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    bug: Callable[..., Any],
    message: str,
) -> None:
    monkeypatch.setattr(owner, name, bug)
    broken = run(case, Workload(case))
    with pytest.raises(AssertionError, match=message):
        invariants.check(case, broken, Workload(case))


def test_a_swapped_tie_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With timers before ends, a connection that comes back at the timeout serves no more."""
    steps = Steps()
    case = plan(
        steps,
        steps.query(0, 5 * MS),
        load=burst(4),
        pools=(pool(2, acquire_timeout_ns=5 * MS),),
    )
    assert run(case, Workload(case)).outcome.tolist() == [0, 0, 0, 0]
    original = Owner.key
    swapped = {0: 1, 1: 0, 2: 2}
    monkeypatch.setattr(Owner, "key", lambda self, phase: original(self, swapped[phase]))
    timeout = contract.pool_timeout(0)
    assert run(case, Workload(case)).outcome.tolist() == [0, 0, timeout, timeout]


def test_ties_by_creation_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without keys the order of creation shows: the shuffle test turns red."""
    steps = Steps()
    case = plan(steps, steps.query(0, 5 * MS), load=burst(100), pools=(pool(3),))
    ref = run(case, Workload(case))
    numbers = itertools.count()
    monkeypatch.setattr(Owner, "key", lambda self, phase: next(numbers))
    monkeypatch.setattr(recorder, "first_key", lambda index, phase: next(numbers))
    comp = run(case, Workload(case), creation_order=list(range(99, -1, -1)))
    assert "finish_ns" in str(first_difference(ref, comp))


def test_two_events_with_one_key_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing falls back to the order of creation without anyone noticing."""
    steps = Steps()
    case = plan(steps, steps.query(0, 5 * MS), load=burst(100), pools=(pool(3),))
    monkeypatch.setattr(Owner, "key", lambda self, phase: 0)
    with pytest.raises(TypeError, match="not supported between instances of 'Event'"):
        run(case, Workload(case))


def test_a_loop_that_forgets_its_turns_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one queue for all, what is polled during a turn overtakes what the turn made ready."""
    steps = Steps()
    case = plan(
        steps,
        steps.sleep(1 * MS),
        steps.cpu(0),
        steps.with_(0, steps.sleep(2 * MS), steps.cpu(10 * MS)),
        load=burst(3),
        pools=(pool(1),),
    )
    times = {"t0": [1 * MS, 1 * MS, 5 * MS], "t1": [0, 0, 3 * MS]}
    workload = Workload.scripted(case, arrival=[0, 0, 0], times=times)
    ref = run(case, workload)

    def one_queue(self: EventLoop, *, soon: bool = False, reads: bool = False) -> Any:
        return original_enter(self, soon=False, reads=reads)

    original_enter = EventLoop.enter
    monkeypatch.setattr(EventLoop, "enter", one_queue)
    monkeypatch.setattr(EventLoop, "leave", EventLoop._advance)
    comp = run(case, workload)
    assert first_difference(ref, comp) is not None


def test_a_gather_that_books_to_another_cause_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = Steps()
    fan_out = steps.gather(steps.sleep(Exponential(5 * MS)), steps.query(0, Exponential(5 * MS)))
    case = plan(steps, fan_out, load=poisson(50, (100, 1)), pools=(pool(2),))
    invariants.check(case, run(case, Workload(case)), Workload(case))
    original = task.Task.absorb

    def absorbs_as_blocking(self: task.Task, other: task.Task | None) -> None:
        original(self, other)
        self.spent[contract.BLOCK] += self.spent[contract.AWAIT]
        self.spent[contract.AWAIT] = 0

    monkeypatch.setattr(task.Task, "absorb", absorbs_as_blocking)
    with pytest.raises(AssertionError, match="no branch has drawn that"):
        invariants.check(case, run(case, Workload(case)), Workload(case))
