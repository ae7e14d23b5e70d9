"""What all pictures share: colours, titles, units of a time axis, an empty picture."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulator.analysis.summary import Group
from simulator.report import format
from simulator.trace import Trace

# Okabe and Ito's colours, which colour-blind readers can tell apart.
ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, GREY, BLACK = "#D55E00", "#CC79A7", "#8C8C8C", "#222222"


def empty(figure: Figure, text: str) -> None:
    """A picture that only says why there is none."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)


def set_title(axes: Axes, text: str) -> None:
    """The finding as a title, in lines that fit."""
    axes.set_title("\n".join(textwrap.wrap(text, 84)), fontsize=13, pad=10)


def first_arrival(trace: Trace) -> int:
    """Where a time axis begins."""
    return int(trace.arrival_ns.min()) if len(trace) else 0


def time_unit(span_ns: int) -> tuple[int, str]:
    """The unit of a time axis and its nanoseconds."""
    for unit_ns, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if span_ns >= unit_ns:
            return unit_ns, unit
    return 1, "ns"


def served(total: Group) -> str:
    """Who had an answer: "1000 requests", "3 of 10 requests"."""
    if total.ok == total.requests:
        return format.count(total.ok, "request")
    return f"{total.ok} of {format.count(total.requests, 'request')}"
