"""Measured and predicted percentile curves, one over the other, with the error below."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.arrays import FloatArray
from simulator.report.axes import empty, save, set_title, styled

MEASURED, PREDICTED = "#0072B2", "#D55E00"  # Okabe-Ito
ALLOWED = 0.10
PERCENTS = np.arange(1, 100)


class Curve(Protocol):
    """Latencies in seconds at the percentiles 1 to 99: a row for each run and replication."""

    @property
    def load(self) -> str: ...
    @property
    def measured(self) -> FloatArray: ...
    @property
    def predicted(self) -> FloatArray: ...


def write(path: Path, curves: Sequence[Curve], passed: bool) -> None:
    """Draw all loads side by side into a file whose name says the format."""
    with styled():
        save(_drawn(curves, passed), path, dpi=110)


def _drawn(curves: Sequence[Curve], passed: bool) -> Figure:
    drawn = [c for c in curves if len(c.measured) and len(c.predicted)]
    figure = Figure(figsize=(1.5 + 5.0 * max(len(drawn), 1), 6.4), layout="constrained")
    if not drawn:
        empty(figure, "no load had good answers")
    else:
        grid = figure.subplots(2, len(drawn), squeeze=False, sharex=True, height_ratios=(3, 1))
        for column, curve in enumerate(drawn):
            _draw(grid[0][column], grid[1][column], curve)
        grid[0][0].set_ylabel("latency (s)")
        grid[1][0].set_ylabel("error (%)")
        grid[0][0].legend(loc="upper left", frameon=False)
        worst = max((_worst(curve) for curve in drawn), key=abs)
        verb = "agrees" if passed else "does not agree"
        figure.suptitle(
            f"The prediction {verb} with the server: at most {worst:+.0%} off from p5 to p95",
            fontsize=13,
        )
    return figure


def _draw(above: Axes, below: Axes, curve: Curve) -> None:
    ours, theirs = np.median(curve.measured, axis=0), np.median(curve.predicted, axis=0)
    for values, colour, name in (
        (curve.measured, MEASURED, f"measured, {len(curve.measured)} runs"),
        (curve.predicted, PREDICTED, f"predicted, {len(curve.predicted)} replications"),
    ):
        low, high = values.min(axis=0), values.max(axis=0)
        above.fill_between(PERCENTS, low, high, color=colour, alpha=0.2, linewidth=0)
        style = "-" if colour == MEASURED else "--"
        above.plot(PERCENTS, np.median(values, axis=0), style, color=colour, label=name)
    set_title(above, curve.load)
    above.set_ylim(bottom=0)
    below.axhspan(-100 * ALLOWED, 100 * ALLOWED, color="0.9")
    below.axhline(0, color="0.5", linewidth=0.8)
    below.plot(PERCENTS, 100 * (theirs / ours - 1), color="black", linewidth=1.2)
    below.set_xlabel("percentile of the requests")
    reach = max(15.0, float(np.abs(100 * (theirs / ours - 1)[4:95]).max()) * 1.2)
    below.set_ylim(-reach, reach)
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)


def _worst(curve: Curve) -> float:
    ours, theirs = np.median(curve.measured, axis=0), np.median(curve.predicted, axis=0)
    off = (theirs / ours - 1)[4:95]
    return float(off[int(np.argmax(np.abs(off)))])
