"""What must hold of every trace, checked from its columns alone.

Written without the engine in mind: a check reads rows and visits, never models.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from simulator.engines import contract
from simulator.plan import (
    NEVER,
    Call,
    Gather,
    Lock,
    Plan,
    Step,
    ToThread,
    With,
)
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Trace
from simulator.workload import Workload
from tests.drawn import drawn
from tests.overtaken import kept_for_the_woken, surplus_is_closed, wakes, while_it_wakes

WAYS_MAX = 64
"""Ways through a route's gathers that are tried one by one."""


def check(plan: Plan, trace: Trace, workload: Workload | None = None) -> None:
    """Assert every invariant of a trace of this plan."""
    if workload is not None:
        nobody_is_lost(plan, trace, workload)
    conservation(trace)
    sums(trace)
    causality(trace)
    slots_hold_one_at_a_time(plan, trace)
    cores_are_shared_equally(trace)
    no_slot_idle_while_someone_waits(plan, trace)
    first_come_first_served(plan, trace)
    waits_are_booked_to_their_station(plan, trace)
    if workload is not None:
        holds_are_what_was_drawn(plan, trace, workload)
        a_gather_books_one_of_its_branches(plan, trace, workload)


def conservation(trace: Trace) -> None:
    """arrived = ok + each named failure + in flight."""
    counts = np.bincount(trace.outcome, minlength=len(trace.outcomes))
    assert counts.sum() == len(trace)
    in_flight = trace.outcome == contract.IN_FLIGHT
    assert ((trace.finish_ns == NOT_FINISHED) == in_flight).all()
    if trace.ended == "empty":
        assert not in_flight.any(), "the run is over and requests are in flight"
    if trace.ended == "deadlock":
        assert trace.stuck  # be it that all clients have left by then


def nobody_is_lost(plan: Plan, trace: Trace, workload: Workload) -> None:
    """Every request that arrived has its row."""
    if any(load.users for load in plan.loads):
        return  # who comes back, and when, is the run's own matter
    arrival, route = workload.arrivals()
    arrived = arrival <= trace.end_ns if trace.ended != "empty" else slice(None)
    assert trace.index.tolist() == np.arange(len(arrival))[arrived].tolist(), "a request is lost"
    assert (trace.arrival_ns == arrival[arrived]).all()
    assert (trace.route == route[arrived]).all()


def sums(trace: Trace) -> None:
    """Waits and holds add up to the latency, to the nanosecond."""
    done = trace.finish_ns != NOT_FINISHED
    total = trace.spent_ns.sum(axis=1)
    assert (trace.spent_ns >= 0).all()
    assert (total[done] == trace.latency_ns[done]).all(), "a latency is not its sum"
    assert (total[~done] <= trace.end_ns - trace.arrival_ns[~done]).all()


def causality(trace: Trace) -> None:
    """Nothing ends before it begins, or begins before its request arrives."""
    done = trace.finish_ns != NOT_FINISHED
    assert (trace.finish_ns[done] >= trace.arrival_ns[done]).all()
    assert (trace.finish_ns <= trace.end_ns).all()
    assert (np.diff(trace.index) > 0).all()
    assert (trace.first_byte_ns[done] <= trace.finish_ns[done]).all()
    assert (trace.first_byte_ns[done] >= trace.arrival_ns[done]).all()
    visits = trace.visits
    was_granted = visits.granted_ns != NOT_GRANTED
    assert (visits.queued_ns[was_granted] <= visits.granted_ns[was_granted]).all()
    assert (visits.granted_ns <= visits.released_ns).all()
    assert (visits.queued_ns <= visits.released_ns).all()
    assert (visits.released_ns <= trace.end_ns).all()
    owned = visits.request >= 0
    assert (visits.queued_ns[owned] >= trace.arrival_ns[visits.request[owned]]).all()
    assert (visits.work_ns >= 0).all()


def slots_hold_one_at_a_time(plan: Plan, trace: Trace) -> None:
    """No slot is held twice at one time, none beyond the station's size."""
    for station, rows in _by_station(trace):
        if trace.stations[station].kind == "cores" or station in _unordered_locks(plan):
            continue  # cores have no slots (their work is checked), readers share a row
        held = [row for row in rows if row[1] != NOT_GRANTED]
        size = trace.stations[station].size
        by_slot: dict[int, list[tuple[int, int]]] = defaultdict(list)
        for slot, granted, released, *_ in ((r[3], r[1], r[2]) for r in held):
            assert 0 <= slot < size, f"slot {slot} of {size}"
            if released > granted:
                by_slot[slot].append((granted, released))
        for slot, spans in by_slot.items():
            spans.sort()
            for (_, end), (begin, _) in itertools.pairwise(spans):
                assert end <= begin, f"{trace.stations[station]} slot {slot} is held twice"


def cores_are_shared_equally(trace: Trace) -> None:
    """Each stay attained its work while n jobs on c cores got min(1, c / n) of one each.

    Written from the stays alone; jobs that are on the cores when a run is cut off are no
    visits, so only runs that came to their end are looked at.
    """
    if trace.ended not in ("empty", "deadlock"):
        return
    visits = trace.visits
    for index, station in enumerate(trace.stations):
        mine = np.flatnonzero((visits.station == index) & (visits.granted_ns != NOT_GRANTED))
        if station.kind != "cores" or not len(mine):
            continue
        begin, end = visits.granted_ns[mine], visits.released_ns[mine]
        at = np.unique(np.concatenate([begin, end]))
        jobs = np.zeros(len(at))
        np.add.at(jobs, np.searchsorted(at, begin), 1)
        np.add.at(jobs, np.searchsorted(at, end), -1)
        rate = np.minimum(1, station.size / np.maximum(np.cumsum(jobs), 1))
        attained = np.concatenate([[0], np.cumsum(rate[:-1] * np.diff(at))])
        first, last = np.searchsorted(at, begin), np.searchsorted(at, end)
        off = attained[last] - attained[first] - visits.work_ns[mine]
        # Each change of n rounds by up to 1/1024 ns, each beginning and end by up to 1.
        assert (np.abs(off) <= 3 + (last - first) / 1024).all(), f"{station.label}: off by {off}"


def no_slot_idle_while_someone_waits(plan: Plan, trace: Trace) -> None:
    """While a visit waits, all slots are held, kept for one who was woken, or a loop wakes."""
    for station, size, rows in _queues(trace):
        spec = trace.stations[station]
        if spec.kind == "event loop" and plan.server.gil:
            continue  # the loop itself may wait for the GIL
        if spec.kind in ("rate limit", "accelerator") or spec.cause in surplus_is_closed(plan):
            continue  # no slots; a place stays empty for a batch; nobody hears of what was closed
        waits = [
            (queued, granted if granted != NOT_GRANTED else released)
            for queued, granted, released, *_ in rows
        ]
        waits = [(begin, end) for begin, end in waits if end > begin]
        if not waits:
            continue
        changes: dict[int, int] = defaultdict(int)
        for _, granted, released, *_ in rows:
            if granted != NOT_GRANTED:
                changes[granted] += 1
                changes[released] -= 1
        kept = kept_for_the_woken(trace, station) if spec.cause in wakes(plan) else ()
        for begins, ends in while_it_wakes(plan, rows) if spec.kind == "event loop" else kept:
            changes[begins] += 1
            changes[ends] -= 1
        instants = np.asarray(sorted(changes), dtype=np.int64)
        busy = np.cumsum([changes[at] for at in instants.tolist()])
        for begin, end in waits:
            first = np.searchsorted(instants, begin, "right") - 1
            last = np.searchsorted(instants, end, "left")
            lowest = busy[max(first, 0) : last].min() if last > max(first, 0) else 0
            assert lowest >= size, (
                f"{spec.label}: {lowest} of {size} held while a visit waits {begin}–{end}"
            )


def first_come_first_served(plan: Plan, trace: Trace) -> None:
    """Who queued earlier is granted no later (the loop has turns, the GIL chance)."""
    urgent, woken_ones = len({route.priority for route in plan.routes}) > 1, wakes(plan)
    for station, _, rows in _queues(trace):
        if trace.stations[station].kind in ("event loop", "gil", "database"):
            continue
        if station in _unordered_locks(plan):
            continue
        if trace.stations[station].cause in surplus_is_closed(plan):
            continue  # who comes then connects
        if urgent and trace.stations[station].kind in ("service", "accelerator"):
            continue  # routes differ in priority
        granted = sorted((queued, at) for queued, at, *_ in rows if at != NOT_GRANTED)
        if trace.stations[station].cause in woken_ones:
            granted = [(queued, at) for queued, at in granted if at > queued]  # who had to wait
        latest_before, latest, queued_last = -1, -1, -1
        for queued, at in granted:
            if queued > queued_last:
                latest_before, queued_last = latest, queued
            assert at >= latest_before, f"{trace.stations[station]}: overtaken at {at}"
            latest = max(latest, at)


def waits_are_booked_to_their_station(plan: Plan, trace: Trace) -> None:
    """A request's wait by cause is the sum of its visits' waits to stations of that cause.

    Holds for requests without a gather (whose ledger follows one branch) that finished.
    """
    straight = [not _has_gather(route.steps) and not route.after for route in plan.routes]
    rows = np.asarray(straight)[trace.route] & (trace.finish_ns != NOT_FINISHED)
    rows &= trace.outcome != contract.WORKER_TIMEOUT  # what was left behind goes on waiting
    rows[_given_up(trace)] = False  # the server's visits go on without the client
    booked = {station.cause for station in trace.stations}
    expected = np.zeros_like(trace.spent_ns)
    visits = trace.visits
    ends = np.where(visits.granted_ns == NOT_GRANTED, visits.released_ns, visits.granted_ns)
    shared = np.asarray([station.kind == "cores" for station in trace.stations])[visits.station]
    ends = np.where(shared, visits.released_ns - visits.work_ns, ends)
    causes = np.asarray([station.cause for station in trace.stations])[visits.station]
    owned = visits.request >= 0
    np.add.at(
        expected,
        (visits.request[owned], causes[owned]),
        (ends - visits.queued_ns)[owned],
    )
    for i, cause in enumerate(trace.causes):
        if i not in booked or (plan.server.gil and i in (contract.EVENT_LOOP, contract.GIL)):
            continue  # a turn's wait for the GIL is booked to the GIL, the visit is the loop's
        assert (trace.spent_ns[rows, i] == expected[rows, i]).all(), f"waits for {cause.name}"


def holds_are_what_was_drawn(plan: Plan, trace: Trace, workload: Workload) -> None:
    """An ok request without a gather held each step for just the time that was drawn."""
    ok = trace.outcome == contract.OK
    ok[_given_up(trace)] = False
    for index, route in enumerate(plan.routes):
        if _has_gather(route.steps) or _is_redone(route.steps) or plan.faults:
            continue
        rows = np.flatnonzero(ok & (trace.route == index))
        for request in rows.tolist():
            expected: dict[int, int] = defaultdict(int)
            drawn(plan, route.steps, workload, int(trace.index[request]), expected)
            _called(plan, route.steps, workload, int(trace.index[request]), expected)
            for cause in (contract.CPU, contract.AWAIT, contract.BLOCK):
                expected.setdefault(cause, 0)
            for cause, ns in expected.items():
                assert trace.spent_ns[request, cause] == ns, (
                    f"request {request}: {plan.causes[cause].name} "
                    f"{trace.spent_ns[request, cause]}, drawn {ns}"
                )


def a_gather_books_one_of_its_branches(plan: Plan, trace: Trace, workload: Workload) -> None:
    """What an ok request held is what was drawn for its steps and one branch of each gather."""
    ok = trace.outcome == contract.OK
    ok[_given_up(trace)] = False
    for index, route in enumerate(plan.routes):
        ways = _straightened(route.steps)
        if not _has_gather(route.steps) or len(ways) > WAYS_MAX or plan.faults:
            continue
        if any(_is_redone(way) for way in ways):
            continue
        queries = [contract.hold_query(pool) for pool in range(len(plan.pools))]
        causes = [contract.CPU, contract.AWAIT, contract.BLOCK, contract.STREAM, *queries]
        for request in np.flatnonzero(ok & (trace.route == index)).tolist():
            possible = set()
            for way in ways:
                expected: dict[int, int] = defaultdict(int)
                drawn(plan, way, workload, int(trace.index[request]), expected)
                possible.add(tuple(expected[cause] for cause in causes))
            held = tuple(trace.spent_ns[request, causes].tolist())
            assert held in possible, f"request {request}: held {held}, no branch has drawn that"


def _straightened(steps: tuple[Step, ...]) -> list[tuple[Step, ...]]:
    """All ways through the steps that take one branch of each gather."""
    ways: list[tuple[Step, ...]] = [()]
    for step in steps:
        if isinstance(step, Gather):
            taken = [way for branch in step.branches for way in _straightened(branch.steps)]
        elif isinstance(step, With | ToThread):
            inner = _straightened(step.steps)
            taken = [(dataclasses.replace(step, steps=way),) for way in inner]
        else:
            taken = [(step,)]
        ways = [(*way, *more) for way in ways[: WAYS_MAX + 1] for more in taken]
    return ways


def _given_up(trace: Trace) -> np.ndarray:
    """Rows of requests of which an attempt failed for its client: draws and visits of others."""
    return trace.attempts.request[trace.attempts.outcome != contract.OK]


def _is_redone(steps: tuple[Step, ...]) -> bool:
    return any(
        isinstance(step, With | ToThread)
        and ((isinstance(step, With) and step.serializable) or _is_redone(step.steps))
        for step in steps
    )


def _unordered_locks(plan: Plan) -> set[int]:
    """Stations of locks that readers share, or whose next holder is drawn."""
    stations = [i for i, station in enumerate(plan.stations) if station.kind == "lock"]
    shared = {
        step.lock
        for route in plan.routes
        for step in _locks((*route.steps, *route.after))
        if step.shared
    }
    shared |= {i for i, lock in enumerate(plan.locks) if lock.random_grant}
    return {stations[i] for i in shared}


def _called(
    plan: Plan,
    steps: tuple[Step, ...],
    workload: Workload,
    request: int,
    out: dict[int, int],
) -> None:
    """The times of calls that are tried once only; several of one service draw apart."""
    calls = list(_calls(steps))
    again = {call.service for call in calls if call.timeout_ns < NEVER or call.retries.backoff}
    for i, call in enumerate(calls):
        if call.service not in again:
            sub = sum(before.service == call.service for before in calls[:i])
            time = workload.time(plan.services[call.service].time, 0, sub)
            out[contract.hold_call(plan, call.service)] += time(request)


def _calls(steps: tuple[Step, ...]) -> Iterator[Call]:
    for step in steps:
        if isinstance(step, Call):
            yield step
        elif isinstance(step, With | ToThread):
            yield from _calls(step.steps)


def _locks(steps: tuple[Step, ...]) -> Iterator[Lock]:
    for step in steps:
        if isinstance(step, Lock):
            yield step
        elif isinstance(step, With | ToThread):
            yield from _locks(step.steps)
        elif isinstance(step, Gather):
            for branch in step.branches:
                yield from _locks(branch.steps)


def _queues(trace: Trace) -> list[tuple[int, int, list[tuple[int, int, int, int]]]]:
    """Visits by what they queue for, and how many it lets in: a station, or one row of it."""
    out = []
    for station, rows in _by_station(trace):
        spec = trace.stations[station]
        if spec.kind == "lock" and spec.size > 1:
            # Which row a visit waited for that never got it isn't known.
            for slot in sorted({row[3] for row in rows} - {NOT_GRANTED}):
                out.append((station, 1, [row for row in rows if row[3] == slot]))
        elif spec.kind != "cores":
            out.append((station, spec.size, rows))
    return out


def _has_gather(steps: tuple[Step, ...]) -> bool:
    return any(
        isinstance(step, Gather) or (isinstance(step, With | ToThread) and _has_gather(step.steps))
        for step in steps
    )


def _by_station(trace: Trace) -> list[tuple[int, list[tuple[int, int, int, int]]]]:
    visits = trace.visits
    columns = zip(
        visits.station.tolist(),
        visits.queued_ns.tolist(),
        visits.granted_ns.tolist(),
        visits.released_ns.tolist(),
        visits.slot.tolist(),
        strict=True,
    )
    rows: dict[int, list[tuple[int, int, int, int]]] = defaultdict(list)
    for station, *row in columns:
        rows[station].append(tuple(row))  # type: ignore[arg-type]
    return sorted(rows.items())
