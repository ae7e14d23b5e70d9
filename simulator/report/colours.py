"""Okabe and Ito's colours, which colour-blind readers can tell apart."""

from __future__ import annotations

ORANGE, SKY, GREEN, BLUE = "#E69F00", "#56B4E9", "#009E73", "#0072B2"
VERMILION, PURPLE, GREY, BLACK = "#D55E00", "#CC79A7", "#8C8C8C", "#222222"
LINES = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY)
"""Of lines, in their order."""
