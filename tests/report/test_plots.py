"""The pictures: what they say, that they are the same each time, that none fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from simulator.analysis.bottleneck import bottleneck
from simulator.analysis.summary import summarize
from simulator.engines import contract
from simulator.plan import Plan
from simulator.report import overlay, plots
from simulator.report.staircase import staircase
from simulator.trace import Trace
from tests.analysis.handmade import Rows, asgi, burst, plan, pool
from tests.plans import database, route

NAMES = ["staircase", "percentiles", "ecdf", "timeline", "queues", "utilisation"]


def write(folder: Path, small: Plan, trace: Trace) -> tuple[Path, ...]:
    summary = summarize(small, trace)
    return plots.write(folder, small, trace, summary, bottleneck(small, trace, summary))


def titles(small: Plan, trace: Trace) -> list[str]:
    summary = summarize(small, trace)
    found = bottleneck(small, trace, summary)
    draws: list[Callable[[Figure], None]] = [
        lambda figure: staircase(figure, trace, summary, found),
        lambda figure: plots.percentiles(figure, summary),
        lambda figure: plots.ecdf(figure, summary),
        lambda figure: plots.timeline(figure, trace, summary),
        lambda figure: plots.queues(figure, trace, summary),
        lambda figure: plots.utilisation(figure, trace, summary),
    ]
    found_titles = []
    for draw in draws:
        figure = Figure()
        draw(figure)
        axes = figure.axes[0]
        shown = axes.get_title(loc="left") or axes.get_title()
        found_titles.append(shown or axes.texts[0].get_text())
    return [title.replace("\n", " ") for title in found_titles]


def test_the_titles_state_the_finding() -> None:
    small = plan(count=60, pools=(pool(3),))
    assert titles(small, burst(small, 60, size=3)) == [
        "3 connections serve 60 requests in 20 waves: the last ends at 100s",
        "Half of the requests take 50s or less, one in 20 takes 95s or more",
        "60 requests answered, half of them within 50s, all within 100s",
        "60 of 60 served, 0.6/s on average",
        "pool db: up to 57 requests wait at once",
        "pool db: 100% busy, the most of all resources",
    ]


def test_failures_are_in_the_titles() -> None:
    small = plan(pools=(pool(3, timeout_ns=3),))
    rows = Rows(small)
    for i in range(3):
        rows.request(0, 5)
        rows.visit("pool db", i, 0, 0, 5, slot=i)
    for i in range(3, 10):
        rows.request(0, 3, outcome=contract.pool_timeout(0))
        rows.visit("pool db", i, 0, None, 3)
    assert titles(small, rows.trace())[:4] == [
        "3 connections serve 3 of 10 requests: the last ends at 5s",
        "3 of 10 requests answered, the slowest in 5s",
        "3 of 10 requests answered, the slowest in 5s",
        "3 of 10 served, 0.6/s on average; 7 failed: pool timeout db",
    ]


def test_six_files_with_the_same_bytes_each_time(tmp_path: Path) -> None:
    small = plan()
    first = write(tmp_path / "a", small, burst(small))
    second = write(tmp_path / "b", small, burst(small))
    assert [path.name for path in first] == [f"{name}.svg" for name in NAMES]
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def _in_flight() -> Rows:
    rows = Rows(plan())
    rows.request(0, None)
    return rows


def _refused() -> Rows:
    rows = Rows(plan(pools=(pool(2, database=0),), databases=(database(1),)))
    rows.request(0, 0, outcome=contract.NOT_STARTED)
    return rows


def _two_workers() -> Rows:
    rows = Rows(plan(server=asgi(2), pools=(pool(2),)))
    for i in range(4):
        rows.request(0, 5, process=i % 2)
        rows.visit("pool db", i, 0, 0, 5, process=i % 2, slot=i // 2)
    return rows


def _nobody() -> Rows:
    return Rows(plan())


@pytest.mark.parametrize("make", [_nobody, _in_flight, _refused, _two_workers])
def test_odd_runs_have_pictures_too(tmp_path: Path, make: Callable[[], Rows]) -> None:
    rows = make()
    paths = write(tmp_path, rows.plan, rows.trace(end=5))
    assert all(path.stat().st_size > 1000 for path in paths)


def test_a_single_request_has_pictures(tmp_path: Path) -> None:
    assert len(write(tmp_path, plan(count=1), burst(plan(count=1), 1))) == 6


@pytest.mark.parametrize(
    "name", ["$x_{$ cost \\frac", "<script>&amp;", "\x1b[31m\x00", "\U0001f600"]
)
def test_a_name_is_a_name_and_not_a_formula(tmp_path: Path, name: str) -> None:
    routes = tuple(route(label) for label in (name, "other"))
    rows = Rows(plan(routes=routes))
    for index in (0, 1):
        rows.request(0, 5, route=index)
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        paths = write(tmp_path, rows.plan, rows.trace())
    text = paths[2].read_text(encoding="utf-8")
    assert "<script>" not in text
    assert "\x1b" not in text


def test_a_burst_has_a_row_per_request_above_a_lane_per_slot() -> None:
    small = plan(count=60, pools=(pool(3),))
    trace = burst(small, 60, size=3)
    summary = summarize(small, trace)
    figure = Figure()
    staircase(figure, trace, summary, bottleneck(small, trace, summary))
    top, below = figure.axes
    assert (top.get_ylabel(), top.get_ylim()) == ("request (grey: waiting)", (59.5, -0.5))
    assert (below.get_ylabel(), below.get_ylim()) == ("connection of pool db", (2.5, -0.5))
    # Alike and side by side is one bar: 19 waves wait, 20 hold.
    assert [len(bars.get_paths()) for bars in top.collections] == [19, 20]
    assert top.get_xlim() == (0, 100)


def test_pictures_of_several_routes_draw_the_total_that_their_title_speaks_of() -> None:
    routes = tuple(route(label) for label in ("read", "write"))
    rows = Rows(plan(routes=routes))
    for index in (0, 1):
        rows.request(0, 5 + index, route=index)
    summary = summarize(rows.plan, rows.trace())
    for draw in (plots.percentiles, plots.ecdf):
        figure = Figure()
        draw(figure, summary)
        assert [line.get_label() for line in figure.axes[0].lines] == ["read", "write", "total"]


def test_a_queue_of_several_workers_is_of_all() -> None:
    rows = _two_workers()
    for process in (0, 1):
        rows.request(0, 10)
        rows.visit("pool db", 4 + process, 0, 5, 10, process=process)
    assert titles(rows.plan, rows.trace())[4] == (
        "pool db: up to 2 requests wait at once, in all workers"
    )


def test_the_queue_of_the_title_is_the_one_that_takes_the_time() -> None:
    """All nine wait for the loop for an instant; then four of them for long."""
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(9):
        rows.request(0, 10)
        rows.visit("event loop", i, 0, 0 if i == 0 else 1, 1)
    for i in range(5):
        rows.visit("pool db", i, 1, 1 + i, 2 + i)
    assert titles(rows.plan, rows.trace())[4] == "pool db: up to 4 requests wait at once"


def test_a_long_run_is_cut_and_the_title_says_so(tmp_path: Path) -> None:
    rows = Rows(plan(pools=(pool(1),)))
    for i in range(2500):
        rows.request(0, i + 1)
        rows.visit("pool db", i, 0, i, i + 1)
    assert titles(rows.plan, rows.trace())[0] == (
        "1 connection serves 2500 requests: the last ends at 2500s "
        "(shown: its busiest 200s, from 2200s)"
    )
    paths = write(tmp_path, rows.plan, rows.trace())
    assert max(path.stat().st_size for path in paths) < 500_000


class _Curve:
    load = "as written"
    measured = np.outer([1.0, 1.1, 0.9], np.arange(1, 100))
    predicted = np.outer([1.0, 1.2], np.arange(1, 100))


def test_measured_over_predicted_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    paths = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for path in paths:
        overlay.write(path, [_Curve(), _Curve()], passed=True)
    first, second = (path.read_bytes() for path in paths)
    assert first == second and len(first) > 10_000
    assert b"The prediction agrees with the server: at most +10% off from p5 to p95" in first


def test_an_event_loop_that_never_computed_says_so() -> None:
    small = plan(count=60, pools=(pool(3),))
    trace = burst(small, 60, size=3)
    figure = Figure()
    plots.utilisation(figure, trace, summarize(small, trace))
    texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
    assert texts.count(["idle all the time"]) == 1 and len(texts) == 2
