"""What all pictures share: style, files of equal bytes, titles that fit, an empty picture."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "simulator",
    "text.parse_math": False,  # a route named "$x$" is a name, not a formula
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
}
PERCENTILE_TICKS = (0, 50, 75, 90, 95, 99, 99.9, 99.99)


@contextmanager
def styled() -> Iterator[None]:
    """Around what draws and saves a picture."""
    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        yield


def save(figure: Figure, path: Path, *, dpi: int | None = None) -> None:
    """Write a picture in the format that its suffix says, the same bytes each time."""
    kind = path.suffix.removeprefix(".")
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(kind)
    figure.savefig(path, format=kind, metadata=metadata, dpi=dpi or "figure")


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
