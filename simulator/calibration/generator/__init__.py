"""The load generator: a plan's load, sent to a real server, measured as a trace."""

from simulator.calibration.generator.budget import Budget
from simulator.calibration.generator.driving import drive
from simulator.calibration.generator.live import Live
from simulator.calibration.generator.problems import (
    CouldNotKeepUp,
    GeneratorError,
    NotAllowed,
    Unreachable,
)

__all__ = [
    "Budget",
    "CouldNotKeepUp",
    "GeneratorError",
    "Live",
    "NotAllowed",
    "Unreachable",
    "drive",
]
