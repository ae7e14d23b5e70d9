"""What all pictures share: titles that fit, an empty picture, a scale of percentiles."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

PERCENTILE_TICKS = (0, 50, 75, 90, 95, 99, 99.9, 99.99)


def empty(figure: Figure, text: str) -> None:
    """A picture that only says why there is none."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)


def set_title(axes: Axes, text: str) -> None:
    """The finding as a title, in lines that fit."""
    axes.set_title("\n".join(textwrap.wrap(text, 84)), fontsize=13, pad=10)


def add_to_title(figure: Figure, text: str) -> None:
    """The same picture with more words behind its title, or behind why there is none."""
    axes = figure.axes[0]
    title = axes.get_title(loc="left")
    if title:
        set_title(axes, " ".join(title.split("\n")) + text)
    else:
        axes.texts[0].set_text(axes.texts[0].get_text() + text)


def percentile_axis(axes: Axes, most: float) -> None:
    """Percentiles as x at 1 / (1 - p), from p0 up to 1 / (1 - p) = ``most``."""
    axes.set_xscale("log")
    ticks = [p for p in PERCENTILE_TICKS if 100 / (100 - p) <= most * 1.01]
    axes.xaxis.set_major_locator(FixedLocator([100 / (100 - p) for p in ticks]))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{p:g}" for p in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(1, most)
