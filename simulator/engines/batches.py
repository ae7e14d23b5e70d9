"""Steps on an accelerator: static batches and continuous batching."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.clock import Steps

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Batches:
    """Runs ``Predict`` and ``Generate``."""

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.steps: dict[type, Callable[..., Steps]] = {}
