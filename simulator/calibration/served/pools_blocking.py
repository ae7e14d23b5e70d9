"""Pools of blocking drivers."""

from __future__ import annotations

from typing import Any

from simulator.calibration.served.pools import Settings


def blocking_pool(given: Settings, preset: str) -> Any:
    """The pool of a preset."""
    raise NotImplementedError(preset)
