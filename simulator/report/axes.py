"""What all pictures share: titles that fit, an empty picture."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure


def empty(figure: Figure, text: str) -> None:
    """A picture that only says why there is none."""
    axes = figure.add_subplot()
    axes.set_axis_off()
    axes.text(0.5, 0.5, text, ha="center", va="center", fontsize=14)


def set_title(axes: Axes, text: str) -> None:
    """The finding as a title, in lines that fit."""
    axes.set_title("\n".join(textwrap.wrap(text, 84)), fontsize=13, pad=10)
