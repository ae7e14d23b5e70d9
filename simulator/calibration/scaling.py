"""A scenario whose times are all shorter by one factor, so that it can be run while one waits.

Rates become as much higher: the same requests, the same queues, in less time. What a
machine costs (overheads, the GIL's switch interval) can't be scaled and stays.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any

from simulator.units import (
    DURATION_PATTERN,
    RATE_PATTERN,
    exact_duration,
    parse_duration,
    parse_rate,
)

_DURATION = re.compile(DURATION_PATTERN)
_RATE = re.compile(RATE_PATTERN)
_STAYS = ("overheads", "switch_interval", "description", "name", "thresholds", "sweep")
_RATE_UNITS = 1_000_000  # per second, in which a scaled rate is written


def scaled(document: Any, factor: Fraction) -> Any:
    """A resolved document with every duration times ``factor`` and every rate divided by it."""
    if factor == 1:
        return document
    if isinstance(document, dict):
        return {
            key: value if key in _STAYS else scaled(value, factor)
            for key, value in document.items()
        }
    if isinstance(document, list):
        return [scaled(value, factor) for value in document]
    if isinstance(document, str):
        if _DURATION.fullmatch(document):
            return exact_duration(round(parse_duration(document) * factor))
        if _RATE.fullmatch(document):
            rate = parse_rate(document) / factor
            return f"{round(rate * _RATE_UNITS) / _RATE_UNITS:.6f}/s"
    return document
