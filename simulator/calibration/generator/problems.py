"""What keeps a load from being sent, or its measurement from being believed.

GeneratorError
├── NotAllowed      beyond the budget, not a loopback address: nothing was sent
├── Unreachable     nobody answers at the URL: nothing was sent
└── CouldNotKeepUp  sent too late: ``live`` holds what was measured, not to be reported
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from simulator.calibration.generator.live import Live


class GeneratorError(Exception):
    """The load was not sent or can't be believed; the message says what to do."""


class NotAllowed(GeneratorError):
    """The load is beyond what the caller allowed; nothing was sent."""


class Unreachable(GeneratorError):
    """Nobody answers at the URL; nothing was sent."""


class CouldNotKeepUp(GeneratorError):
    """The generator sent too late; its figures are in the message, its data in ``live``."""

    def __init__(self, message: str, live: Live) -> None:
        super().__init__(message)
        self.live = live
