"""Predictions in batches and token by token: literal times, causes, places, failures."""

from __future__ import annotations

import dataclasses

from simulator.engines.reference import run
from simulator.plan import Fault, Plan, Target
from simulator.trace import Trace
from simulator.workload import Workload
from tests import invariants
from tests.engines.test_calls import finished, ledger, outcomes, traced
from tests.plans import MILLISECOND, Steps, accelerator, burst, plan

MS = MILLISECOND


def predicts(requests: int = 1, **kwargs: object) -> Plan:
    steps = Steps()
    gpu = accelerator(**kwargs)  # type: ignore[arg-type]
    return plan(steps, steps.predict(), accelerators=(gpu,), load=burst(requests))


def places(trace: Trace) -> list[tuple[int, int]]:
    """Request and slot of each visit to an accelerator."""
    rows = zip(
        trace.visits.station.tolist(),
        trace.visits.request.tolist(),
        trace.visits.slot.tolist(),
        strict=True,
    )
    return sorted((r, slot) for s, r, slot in rows if trace.stations[s].kind == "accelerator")


def test_a_batch_waits_for_its_window_and_takes_its_time_from_the_table() -> None:
    case = predicts(batch_max=3, wait_ns=5 * MS, table_ns=(8 * MS, 10 * MS, 11 * MS))
    trace = traced(case, [0, 2, 6])
    assert finished(trace) == [15, 15, 23]
    assert ledger(trace, 1) == {"wait batch:gpu": 3, "hold accelerator:gpu": 10}
    assert ledger(trace, 2) == {"wait batch:gpu": 9, "hold accelerator:gpu": 8}
    assert places(trace) == [(0, 0), (1, 1), (2, 0)]


def test_a_window_counts_from_when_it_is_taken_if_the_plan_says_so() -> None:
    case = predicts(batch_max=3, wait_ns=5 * MS, window_taken=True, base_ns=10 * MS)
    trace = traced(case, [0, 2, 6])
    assert finished(trace) == [15, 15, 30]
    assert ledger(trace, 2) == {"wait batch:gpu": 14, "hold accelerator:gpu": 10}


def test_two_devices_number_their_places_one_after_the_other() -> None:
    case = predicts(batch_max=2, count=2, base_ns=10 * MS, per_item_ns=1 * MS)
    trace = traced(case, [0, 0, 0, 0, 0])
    assert finished(trace) == [11, 11, 23, 23, 22]
    assert places(trace) == [(0, 0), (1, 2), (2, 0), (3, 1), (4, 2)]


def test_a_drawn_time_is_that_of_the_number_of_the_batch() -> None:
    steps = Steps()
    gpu = accelerator(4, time=steps.time(0))
    case = plan(steps, steps.predict(), accelerators=(gpu,), load=burst(4))
    trace = traced(case, [0, 1, 2, 30], {"t0": [10, 20, 5]})
    assert finished(trace) == [10, 30, 30, 35]


def test_an_async_prediction_frees_the_loop() -> None:
    steps = Steps()
    gpu = accelerator(2, base_ns=10 * MS)
    case = plan(steps, steps.predict(), steps.cpu(1 * MS), accelerators=(gpu,), load=burst(3))
    trace = traced(case, [0, 1, 1])
    assert finished(trace) == [11, 21, 22]
    assert ledger(trace, 2) == {
        "wait event loop": 1,
        "wait batch:gpu": 9,
        "hold accelerator:gpu": 10,
        "hold cpu": 1,
    }


def test_over_the_queue_a_prediction_fails_at_once() -> None:
    trace = traced(predicts(batch_max=1, queue=1, base_ns=10 * MS), [0, 1, 2])
    assert outcomes(trace) == ["ok", "ok", "accelerator_full:gpu"]
    assert finished(trace) == [10, 20, 2]


def test_faults_fail_or_slow_the_batches_that_begin_in_them() -> None:
    steps = Steps()
    gpu = accelerator(2, base_ns=10 * MS)
    faults = (
        Fault(Target.ACCELERATOR, 0, 0, 5 * MS, True, (1, 1)),
        Fault(Target.ACCELERATOR, 0, 5 * MS, 9 * MS, False, (2, 1)),
    )
    case = plan(steps, steps.predict(), accelerators=(gpu,), faults=faults, load=burst(3))
    trace = traced(case, [4, 5, 25])
    assert outcomes(trace) == ["accelerator_error:gpu", "ok", "ok"]
    assert finished(trace) == [4, 25, 35]


def test_tokens_are_generated_together_step_by_step() -> None:
    """Steps of 10 ms + 1 ms for each that runs; 3, 1 and 2 tokens, two at a time."""
    steps = Steps()
    gpu = accelerator(2, continuous=True, base_ns=10 * MS, per_item_ns=1 * MS)
    case = plan(steps, steps.generate(1), accelerators=(gpu,), load=burst(3))
    script = {"t0": [3, 1, 2]}
    workload = Workload.scripted(case, arrival=[0, 1 * MS, 2 * MS], times=script)
    trace = run(case, workload)
    assert finished(trace) == [35, 23, 46]
    assert (trace.first_byte_ns / MS).tolist() == [11, 23, 35]
    assert ledger(trace, 2) == {"wait batch:gpu": 21, "hold accelerator:gpu": 23}
    assert places(trace) == [(0, 0), (1, 1), (2, 1)]


def test_a_generation_ends_with_its_client_a_static_batch_does_not() -> None:
    """Each client leaves at 25; the device is busy until 30, not until 100."""
    for continuous, end in [(True, 30), (False, 100)]:
        steps = Steps()
        gpu = accelerator(1, continuous=continuous, base_ns=(10 if continuous else 100) * MS)
        step = steps.generate(10) if continuous else steps.predict()
        case = plan(steps, step, accelerators=(gpu,), load=burst(1))
        route = dataclasses.replace(case.routes[0], deadline_ns=25 * MS)
        case = dataclasses.replace(case, routes=(route,))
        trace = run(case, Workload(case))
        invariants.check(case, trace)
        assert (outcomes(trace), finished(trace)) == (["deadline"], [25])
        assert (trace.end_ns, trace.visits.released_ns.max()) == (end * MS, end * MS)


def test_the_order_of_creation_does_not_matter() -> None:
    case = predicts(9, batch_max=2, count=2, base_ns=10 * MS, wait_ns=3 * MS)
    ref = run(case, Workload(case))
    comp = run(case, Workload(case), creation_order=list(reversed(range(9))))
    assert ref.finish_ns.tolist() == comp.finish_ns.tolist()
    assert places(ref) == places(comp)


def test_a_window_of_the_loop_is_as_late_as_its_timers() -> None:
    """Who comes meanwhile is in the batch; a window from the arrival is another process's."""
    for taken, expected in [(True, [16, 16, 16]), (False, [15, 15, 25])]:
        steps = Steps()
        gpu = accelerator(3, wait_ns=5 * MS, window_taken=taken, base_ns=10 * MS)
        gpu = dataclasses.replace(gpu, batch_max=4)
        made = plan(steps, steps.predict(), accelerators=(gpu,), load=burst(3), timer_ns=1 * MS)
        workload = Workload.scripted(made, arrival=[0, 2 * MS, 5 * MS + MS // 2])
        trace = run(made, workload)
        invariants.check(made, trace, workload)
        assert finished(trace) == expected
