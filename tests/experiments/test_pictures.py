"""Pictures of sweeps: titles state the finding, equal bytes each time, odd sweeps are drawn."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from simulator.experiments.measures import parse_metric
from simulator.experiments.sweep import Result, question, run
from simulator.report import sweep_plot
from simulator.report.axes import STYLE
from simulator.report.sweep_curve import columns

BURST = """\
name: burst
load: {requests: 20, at: once}
pools: {db: {size: 2}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""
LIMIT = "thresholds={latency: p(95)<3s}"


def swept(folder: Path, *arguments: str, zipped: bool = False) -> Result:
    path = folder / "burst.yaml"
    path.write_text(BURST)
    return run(question(str(path), arguments, zipped=zipped))


def drawn(result: Result) -> Figure:
    figure = Figure()
    sweep_plot.draw(figure, result)
    return figure


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if text.get_text()]


def test_a_curve_has_the_threshold_and_the_bottlenecks(tmp_path: Path) -> None:
    axes = drawn(swept(tmp_path, "pools.db.size=2,4,10,20", LIMIT)).axes[0]
    title = axes.get_title(loc="left") or axes.get_title()
    assert title == "p95 falls below 3s from pools.db.size=10"
    labels = [str(line.get_label()) for line in axes.lines]
    assert [label for label in labels if not label.startswith("_")] == [
        "p95",
        "p50",
        "latency p(95)<3s",
    ]
    assert [text.get_text() for text in axes.texts] == [
        "limited by pool db",
        "limited by nothing",
    ]
    assert axes.get_xlabel() == "pools.db.size"


def test_a_heat_map_has_values_bottlenecks_and_frames(tmp_path: Path) -> None:
    figure = drawn(swept(tmp_path, "pools.db.size=2,20", "server.workers=1,2", LIMIT))
    assert texts(figure) == [
        "pool db", "10s", "pool db", "5s", "nothing", "1s", "nothing", "1s",
    ]  # fmt: skip
    assert len(figure.axes[0].patches) == 2


def test_a_metric_is_drawn_alone(tmp_path: Path) -> None:
    result = swept(tmp_path, "pools.db.size=2,4")
    figure = Figure()
    sweep_plot.draw(figure, result, parse_metric("throughput"))
    assert figure.axes[0].get_ylabel() == "throughput (per second)"


@pytest.mark.parametrize(
    "arguments",
    [
        ["pools.db.size=2,4", "server.workers=1,2"],
        ["pools.db.size=2,4,20"],
    ],
)
def test_the_same_bytes_each_time(tmp_path: Path, arguments: list[str]) -> None:
    result = swept(tmp_path, *arguments)
    for name in ("a.svg", "b.svg"):
        sweep_plot.write(tmp_path / name, result)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize(
    "arguments",
    [
        ["pools.db.size=0,1"],
        ["pools.db.size=0,1", "server.workers=1..13"],
        ["routes.read.handler=async def,def"],
        ["name='$x_{$','<script>'"],
        ["pools.db.size=0,1,2,5,1000"],
        ["pools.db.acquire_timeout=1ms,500ms", "server.workers=1,2"],
        ["pools.db.acquire_timeout=1ms,2ms"],
        ["routes.read.steps[0].time=0s,1s"],
        ["load.requests=1..22", "pools.db.size=1..3"],
    ],
)
def test_odd_sweeps_have_pictures_too(tmp_path: Path, arguments: list[str]) -> None:
    sweep_plot.write(tmp_path / "a.png", swept(tmp_path, *arguments))
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_what_can_not_be_drawn(tmp_path: Path) -> None:
    asked = swept(tmp_path, "pools.db.size=1,2", "server.workers=1,2", "seed=1,2").sweep
    assert sweep_plot.refusal(Path("a.gif"), asked) == (
        "a.gif: expected a file name that ends in .svg, .png, .pdf"
    )
    assert sweep_plot.refusal(Path("a.svg"), asked) == (
        "a plot shows one key or two, this sweep varies "
        "pools.db.size, server.workers, seed: fix the others"
    )


def test_a_legend_of_long_names_stays_within_the_picture(tmp_path: Path) -> None:
    """A threshold on a route with a long name, beside points where some requests failed."""
    path = tmp_path / "long.yaml"
    path.write_text(
        BURST.replace("read:", "list_all_the_products:").replace(
            "size: 2", "size: 2, acquire_timeout: 4s"
        )
    )
    limit = "thresholds={'latency{route:list_all_the_products}': p(95)<3s}"
    result = run(question(str(path), ["pools.db.size=2,4,10,20", limit]))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
        canvas = FigureCanvasAgg(figure)
        sweep_plot.draw(figure, result)
        canvas.draw()
        box = figure.legends[0].get_window_extent()
    assert len(figure.legends[0].get_texts()) == 5
    assert box.x0 >= 0 and box.x1 <= 900


def test_labels_that_fit_stand_in_one_row() -> None:
    assert [columns(labels) for labels in (["p95", "p50"], ["a" * 60, "b" * 60], ["a" * 200])] == [
        2,
        1,
        1,
    ]
