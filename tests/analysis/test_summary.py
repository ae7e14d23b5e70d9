"""The numbers of runs that are small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from simulator.analysis.exact import exact_sum, nearest_rank
from simulator.analysis.resources import Resource, steps_of
from simulator.analysis.summary import Spent, summarize
from simulator.engines import contract
from simulator.plan import NEVER, UNLIMITED
from simulator.trace import Stuck
from tests.analysis.handmade import Rows, S, asgi, burst, plan, pool
from tests.plans import database


def test_six_at_once_on_a_pool_of_two() -> None:
    small = plan()
    summary = summarize(small, burst(small))
    total = summary.total
    latency = total.latency
    assert (total.requests, total.ok, total.errors, total.in_flight) == (6, 6, 0, 0)
    assert (total.last_ns, summary.run_ns) == (15 * S, 15 * S)
    assert total.throughput is not None and float(total.throughput) == 0.4
    figures = [latency.percentile_ns(p) for p in (50, 90, 95, 99)]
    assert figures == [10 * S, 15 * S, 15 * S, 15 * S]
    assert (latency.mean_ns, latency.min_ns, latency.max_ns) == (10 * S, 5 * S, 15 * S)
    assert summary.breakdown == (
        Spent("wait", "pool:db", 5 * S, 10 * S, 0.5, 5 * S),
        Spent("hold", "query:db", 5 * S, 5 * S, 0.5, 5 * S),
    )
    assert summary.resources == (
        Resource("pool", "pool db", 2, 2, 1, 1.0, 4, 6, "visit", 5 * S, 10 * S, 10 * S, 0),
    )


def test_times_count_from_the_first_arrival() -> None:
    rows = Rows(plan())
    rows.request(10, 12)
    rows.request(13, 15)
    rows.visit("pool db", 0, 10, 10, 12)
    summary = summarize(rows.plan, rows.trace())
    assert (summary.total.last_ns, summary.run_ns) == (5 * S, 5 * S)
    assert summary.resources[0].busy == pytest.approx(2 / (2 * 5), abs=0)


def test_failures_are_counted_by_reason_and_kept_out_of_the_latency() -> None:
    small = plan(pools=(pool(2, timeout_ns=3 * S, database=0),), databases=(database(97),))
    timeout, refused = contract.pool_timeout(0), contract.connection_refused(small, 0)
    rows = Rows(small)
    rows.request(0, 5)
    for _ in range(2):
        rows.request(0, 3, {contract.wait_for_pool(0): 3}, outcome=timeout)
    for _ in range(3):
        rows.request(0, 0, outcome=refused)
    summary = summarize(small, rows.trace())
    total = summary.total
    assert (total.ok, total.errors, total.last_ns) == (1, 5, 5 * S)
    assert summary.failures == (("too_many_connections:pg", 3), ("pool_timeout:db", 2))
    assert (total.latency.count, total.latency.mean_ns) == (1, 5 * S)
    assert summary.breakdown == (Spent("wait", "pool:db", S, 3 * S, 6 / 11, 0),)


def test_requests_in_flight_last_until_the_end_and_are_in_no_mean() -> None:
    rows = Rows(plan())
    rows.request(0, 4, {contract.AWAIT: 4})
    rows.request(1, None, {contract.AWAIT: 7})
    summary = summarize(rows.plan, rows.trace(end=9, ended="drained"))
    assert (summary.total.in_flight, summary.total.last_ns, summary.run_ns) == (1, 4 * S, 9 * S)
    assert summary.breakdown == (Spent("hold", "await", 4 * S, 4 * S, 1.0, 4 * S),)
    assert summary.ended == "drained"


@pytest.mark.parametrize(
    ("ok", "failed", "shown"),
    [(99, 0, [50, 95]), (100, 0, [50, 95, 99]), (100, 100, [50, 95, 99]), (100, 101, [])],
)
def test_a_percentile_is_shown_if_a_sample_is_beyond_it_and_half_are_ok(
    ok: int, failed: int, shown: list[int]
) -> None:
    rows = Rows(plan())
    for i in range(ok + failed):
        rows.request(0, 1, outcome=contract.OK if i < ok else contract.pool_timeout(0))
    total = summarize(rows.plan, rows.trace()).total
    assert [p for p in (50, 95, 99) if total.reliable_percentile_ns(p) is not None] == shown
    assert total.latency.percentile_ns(99) == S  # for programs it is always there


def test_nothing_ok_gives_none_not_zero() -> None:
    rows = Rows(plan())
    rows.request(0, None)
    total = summarize(rows.plan, rows.trace(end=0)).total
    latency = total.latency
    assert [latency.mean_ns, latency.max_ns, latency.percentile_ns(50)] == [None] * 3
    assert (total.last_ns, total.throughput) == (None, None)


def test_a_run_without_requests_has_a_summary() -> None:
    summary = summarize(plan(), Rows(plan()).trace())
    assert (summary.total.requests, summary.run_ns, summary.resources) == (0, 0, ())


def test_a_visit_that_gave_up_waited_until_then() -> None:
    rows = Rows(plan(pools=(pool(1, timeout_ns=3 * S),)))
    rows.request(0, 5)
    rows.request(0, 3, outcome=contract.pool_timeout(0))
    rows.visit("pool db", 0, 0, 0, 5)
    rows.visit("pool db", 1, 0, None, 3)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert (row.queue_max, row.wait_mean_ns, row.wait_max_ns) == (1, 3 * S // 2, 3 * S)
    assert row.busy == 1.0


def test_waits_for_the_event_loop_are_per_request_as_in_the_breakdown() -> None:
    """Turns without a wait are not recorded, so a mean over visits would leave them out."""
    rows = Rows(plan())
    for i in range(4):
        rows.request(0, 5, {contract.EVENT_LOOP: 2 if i == 0 else 0, contract.AWAIT: 3})
    rows.visit("event loop", 0, 0, 1, 1, work=0)
    rows.visit("event loop", 0, 4, 5, 5, work=0)
    summary = summarize(rows.plan, rows.trace())
    (row,) = summary.resources
    waits = (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns)
    assert (row.visits, row.waits_per, waits) == (2, "request", (S // 2, 2 * S, 2 * S))
    assert next(s.mean_ns for s in summary.breakdown if s.kind == "wait") == row.wait_mean_ns


def test_a_wait_that_a_deadlock_cuts_off_has_no_end() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    rows.request(0, 3)
    rows.request(0, None)
    rows.visit("pool db", 0, 0, 0, 3)
    rows.visit("pool db", 1, 0, None, 3)
    station = [s.label for s in rows.plan.stations].index("pool db")
    stuck = (Stuck(1, (), station),)
    (row,) = summarize(rows.plan, rows.trace(3, "deadlock", stuck)).resources
    assert (row.endless, row.wait_mean_ns, row.wait_max_ns) == (1, NEVER, NEVER)


def test_at_one_instant_a_wait_ends_before_the_next_begins() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(3):
        rows.request(5 * i, 5 * i + 10)
        rows.visit("pool db", i, 5 * i, 5 * i + 5, 5 * i + 10)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert row.queue_max == 1


def test_processes_are_added_up_but_their_queues_are_not() -> None:
    rows = Rows(plan(server=asgi(workers=2), pools=(pool(1),)))
    for i in range(4):
        process, turn = i % 2, i // 2
        rows.request(0, 5 * turn + 5, process=process)
        rows.visit("pool db", i, 0, 5 * turn, 5 * turn + 5, process=process)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert (row.size, row.size_per_process, row.processes) == (2, 1, 2)
    assert (row.queue_max, row.busy, row.visits) == (1, 1.0, 4)


def test_a_visit_of_the_process_itself_is_busy_time_but_no_wait() -> None:
    rows = Rows(plan(pools=(pool(2, database=0),), databases=(database(2),)))
    rows.request(0, 4)
    rows.visit("database pg", -1, 0, 0, 4)
    rows.visit("database pg", 0, 2, 2, 4)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert (row.busy, row.visits) == (0.75, 1)


def test_a_hold_before_the_first_arrival_does_not_count() -> None:
    rows = Rows(plan(pools=(pool(2, database=0),), databases=(database(1),)))
    rows.request(6, 10)
    rows.visit("database pg", -1, 0, 0, 8)
    rows.visit("database pg", 0, 9, 9, 10)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert row.busy == 0.75


def test_without_a_limit_there_is_no_size_and_no_share() -> None:
    rows = Rows(plan(pools=(pool(UNLIMITED),)))
    rows.request(0, 4)
    rows.visit("pool db", 0, 0, 0, 4)
    (row,) = summarize(rows.plan, rows.trace()).resources
    assert (row.size, row.size_per_process, row.busy) == (None, None, None)


def test_a_nearest_rank_is_a_value_that_occurred() -> None:
    ten = np.arange(1, 11, dtype=np.int64)
    ranks = [nearest_rank(ten, p) for p in (0, 10, 11, 50, 95, 100)]
    assert ranks == [1, 1, 2, 5, 10, 10]


def test_a_sum_beyond_int64_is_exact() -> None:
    assert exact_sum(np.full(10, 2**62 + 1, dtype=np.int64)) == 10 * (2**62 + 1)


def test_open_intervals_are_counted_after_each_instant() -> None:
    at, open_ = steps_of(np.array([0, 0, 5, 7]), np.array([5, 9, 9, 7]))
    assert (at.tolist(), open_.tolist()) == ([0, 5, 9], [2, 2, 0])
