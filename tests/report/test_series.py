"""What the pictures are drawn from."""

from __future__ import annotations

import pytest

from simulator.report import series
from simulator.trace import Trace
from tests.analysis.handmade import MS, Rows, S, asgi, burst, plan, pool


def shown(rows: Trace) -> series.Window:
    return series.window(rows, "pool db")


def test_waves_count_the_visits_of_each_slot() -> None:
    trace = burst(plan(pools=(pool(3),)), 7, size=3)
    bars = series.slot_bars(trace, "pool db", shown(trace))
    assert (bars.by, bars.lanes, bars.of) == ("slot", 3, 7)
    assert bars.lane.tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert bars.wave.tolist() == [0, 0, 0, 1, 1, 1, 2]
    assert bars.begin_ns.tolist() == [0, 0, 0, 5 * S, 5 * S, 5 * S, 10 * S]


def test_lanes_of_one_process_stand_together() -> None:
    rows = Rows(plan(server=asgi(2), pools=(pool(2),)))
    for i in range(4):
        rows.request(0, 5)
        rows.visit("pool db", i, 0, 0, 5, process=i % 2, slot=i // 2)
    bars = series.slot_bars(rows.trace(), "pool db", shown(rows.trace()))
    assert (bars.lanes, bars.lane.tolist()) == (4, [0, 2, 1, 3])


def test_each_request_has_a_row_and_its_wait() -> None:
    trace = burst(plan(pools=(pool(1),)), 3, size=1)
    bars = series.request_bars(trace, "pool db", shown(trace))
    assert (bars.by, bars.lane.tolist()) == ("request", [0, 1, 2])
    assert bars.wait_ns.tolist() == [0, 0, 0]
    assert bars.begin_ns.tolist() == [0, 5 * S, 10 * S]


def test_a_request_that_holds_twice_has_one_row() -> None:
    rows = Rows(plan())
    for i in (0, 1):
        rows.request(0, 9)
        rows.visit("pool db", i, 0, i, 3)
        rows.visit("pool db", i, 5, 5, 6)
    bars = series.request_bars(rows.trace(), "pool db", shown(rows.trace()))
    assert (bars.lane.tolist(), bars.lanes) == ([0, 0, 1, 1], 2)


def test_who_gave_up_has_a_wait_without_a_hold() -> None:
    rows = Rows(plan(pools=(pool(1, timeout_ns=3 * S),)))
    rows.request(0, 5)
    rows.request(0, 3, outcome=1 + 2)
    rows.visit("pool db", 0, 0, 0, 5)
    rows.visit("pool db", 1, 0, None, 3)
    bars = series.request_bars(rows.trace(), "pool db", shown(rows.trace()))
    assert (bars.lane.tolist(), bars.of) == ([0, 1], 1)
    assert (bars.wait_ns[1], bars.begin_ns[1], bars.end_ns[1]) == (0, 3 * S, 3 * S)


def test_bars_too_thin_to_be_seen_are_shown_in_the_busiest_window() -> None:
    """1 ms of 1000 s is a thousandth of a pixel; the window is 207 holds, rounded down."""
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(1000):
        late = 0.001 if i == 700 else 0
        rows.request(i, i + 0.001 + late)
        rows.visit("pool db", i, i, i + late, i + late + 0.001)
    trace = rows.trace(end=1000)
    found = shown(trace)
    assert (found.whole, found.begin_ns, found.end_ns) == (False, 700 * S, 700 * S + 200 * MS)
    bars = series.request_bars(trace, "pool db", found)
    assert (bars.lane.tolist(), bars.of) == ([0], 1000)


def test_without_a_station_the_stay_of_each_request_is_drawn() -> None:
    rows = Rows(plan())
    rows.request(0, 5)
    rows.request(1, None)
    assert series.station_label(rows.trace(end=9), None) is None
    bars = series.stay_bars(rows.trace(end=9))
    assert bars.begin_ns.tolist() == [0, S]
    assert bars.end_ns.tolist() == [5 * S, 9 * S]


def test_a_completion_on_an_edge_belongs_to_the_bin_before() -> None:
    rows = Rows(plan())
    for finish in (0, 1, 1.5, 30):
        rows.request(0, finish)
    rows.request(0, 30, outcome=1 + 2)
    edges, width, ok, failed = series.completions(rows.trace())
    assert (width, len(edges)) == (500 * MS, 61)
    assert {i: n for i, n in enumerate(ok.tolist()) if n} == {0: 1, 1: 1, 2: 1, 59: 1}
    assert {i: n for i, n in enumerate(failed.tolist()) if n} == {59: 1}


@pytest.mark.parametrize(
    ("span", "width"), [(0, 1), (60, 1), (61, 2), (100 * S, 2 * S), (300 * S, 5 * S)]
)
def test_a_bin_is_a_round_width(span: int, width: int) -> None:
    assert series.nice_width(span) == width


def test_queues_and_utilisation_over_time() -> None:
    trace = burst(plan(), 5)
    (queue,) = series.queue_lines(trace)
    assert (queue.at_ns.tolist(), queue.value.tolist()) == ([0, 5 * S, 10 * S], [3, 1, 0])
    loop, used = series.utilisation_lines(trace)
    assert (loop.label, loop.value.tolist()) == ("event loop", [0])
    assert (used.at_ns.tolist(), used.value.tolist()) == (
        [0, 5 * S, 10 * S, 15 * S],
        [1, 1, 0.5, 0],
    )


def test_a_binned_queue_keeps_its_peak_and_a_binned_use_its_mean() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(3000):
        rows.request(0, 0)
        rows.visit("pool db", i, i if i != 1234 else 1230, i + 0.25, i + 0.75)
    trace = rows.trace(end=3000)
    (queue,) = series.queue_lines(trace)
    assert (queue.binned, queue.peak, queue.value.max()) == (True, 2, 2)
    _, used = series.utilisation_lines(trace)
    assert used.binned
    assert used.at_ns[-1] == trace.visits.released_ns[-1] and used.value[-1] == 0
    assert queue.value[-1] == 0
    assert used.value[:-1].mean() == pytest.approx(0.5, abs=0.001)


def test_ranks_are_thinned_but_the_tail_is_kept() -> None:
    assert series.tail_ranks(3).tolist() == [1, 2, 3]
    ranks = series.tail_ranks(1_000_000)
    assert len(ranks) <= 3000
    assert ranks[0] == 1
    assert ranks[-5:].tolist() == [999_996, 999_997, 999_998, 999_999, 1_000_000]


def test_a_binned_queue_is_what_waits_then_and_not_what_comes_next() -> None:
    """1500 that wait for a second each come at 0, as many at 30 s: between them nobody waits."""
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(3000):
        begin = (30.0 if i >= 1500 else 0.0) + (i % 1500) / 1e6
        rows.request(0, 0)
        rows.visit("pool db", i, begin, begin + 1, begin + 2)
    (queue,) = series.queue_lines(rows.trace(end=40))
    assert queue.binned
    at = queue.at_ns / S
    between = (at > 1.1) & (at < 29.9)
    assert between.sum() > 300 and queue.value[between].tolist() == [0] * between.sum()
    assert queue.value[(at > 0.1) & (at < 0.9)].min() == 1500
    assert queue.value[(at > 30.1) & (at < 30.9)].min() == 1500
