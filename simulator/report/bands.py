"""Pictures of several replications: means, and bands that hold the true ones."""

from __future__ import annotations

import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from simulator.report.axes import empty, percentile_axis, set_title
from simulator.report.several import NOBODY, Several, curve_label, ecdf_title, percentiles_title
from simulator.report.titles import time_unit

_OPACITY = 0.2
_NAME_MAX = 40


def percentiles(figure: Figure, several: Several) -> None:
    """Mean latency against percentile, the tail stretched."""
    if not several.curves:
        empty(figure, NOBODY)
        return
    axes = figure.add_subplot()
    scale, unit = time_unit(int(max(curve.latency_ns.mean.max() for curve in several.curves)))
    most = 2.0
    for curve, colour in several.coloured:
        band, x = curve.latency_ns, curve.stretched
        low = np.maximum(band.low, 0.0) / scale
        axes.fill_between(x, low, band.high / scale, color=colour, alpha=_OPACITY, linewidth=0)
        axes.plot(x, band.mean / scale, color=colour, label=_name(curve_label(curve)))
        most = max(most, float(x[-1]))
    percentile_axis(axes, most)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("percentile of ok requests")
    axes.set_ylabel(f"latency ({unit})")
    _finish(axes, several, percentiles_title(several))


def ecdf(figure: Figure, several: Several) -> None:
    """The mean share of all requests that had their answer within a time."""
    if not several.curves:
        empty(figure, NOBODY)
        return
    axes = figure.add_subplot()
    longest = float(several.curves[-1].within_ns[-1])
    scale, unit = time_unit(int(longest))
    for curve, colour in several.coloured:
        band, x = curve.answered, curve.within_ns / scale
        axes.fill_between(x, band.low, band.high, color=colour, alpha=_OPACITY, linewidth=0)
        axes.plot(x, band.mean, color=colour, label=_name(curve_label(curve)))
    axes.set_xlim(0, longest / scale)
    axes.set_ylim(0, 1.03)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel(f"latency ({unit})")
    axes.set_ylabel("share of requests answered")
    _finish(axes, several, ecdf_title(several))


def _name(label: str) -> str:
    return textwrap.shorten(label, _NAME_MAX, placeholder="…")


def _finish(axes: Axes, several: Several, title: str) -> None:
    if len(several.coloured) > 1:
        axes.legend()
    set_title(axes, title)
