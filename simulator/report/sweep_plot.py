"""The picture of a sweep: a curve over one key, a heat map over two."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from simulator.experiments.finding import default_metric
from simulator.experiments.measures import Metric
from simulator.experiments.sweep import Result, Sweep
from simulator.report.axes import save, styled
from simulator.report.sweep_curve import curve
from simulator.report.sweep_heat import heat_map

FORMATS = (".svg", ".png", ".pdf")


def write(path: str | Path, result: Result, *, metric: Metric | None = None) -> None:
    """Write the picture; its format is the suffix: .svg, .png or .pdf. Equal bytes each time.

    Raises
    ------
    ValueError
        If the sweep has more than two keys and is not zipped.
    """
    target = Path(path)
    with styled():
        figure = Figure(figsize=(9, 5.4), dpi=100, layout="constrained")
        draw(figure, result, metric)
        save(figure, target)


def refusal(path: Path, sweep: Sweep) -> str | None:
    """Why this sweep can't be drawn into this file; None if it can."""
    if path.suffix not in FORMATS:
        return f"{path}: expected a file name that ends in {', '.join(FORMATS)}"
    if len(sweep.axes) > 2 and not sweep.zipped:
        keys = ", ".join(axis.key for axis in sweep.axes)
        return f"a plot shows one key or two, this sweep varies {keys}: fix the others"
    return None


def draw(figure: Figure, result: Result, metric: Metric | None = None) -> None:
    """Draw a curve, or a heat map where two keys are combined."""
    axes = len(result.sweep.axes)
    chosen = metric or default_metric(result)
    if axes == 1 or result.sweep.zipped:
        curve(figure, result, chosen, alone=metric is not None)
    elif axes == 2:
        heat_map(figure, result, chosen)
    else:
        raise ValueError(refusal(Path("plot.svg"), result.sweep))
