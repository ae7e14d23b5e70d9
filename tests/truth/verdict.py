"""Whether a prediction agrees with what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from tests.truth.cases import ASSERTED
from tests.truth.replay import Replay

RELATIVE = 0.05
ABSOLUTE_S = 0.002
"""A prediction agrees within 5 % or 2 ms, whichever is more …

… or, where chance decides, if the measured value lies between the least and the greatest
of all replications: of 200 a right model fails that in 1 of 100 figures."""

_NUMBERS = ("ok", "rps", "share", "KiB")


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure: measured, and predicted at the least, in the middle and at the most."""

    figure: str
    measured: float
    low: float
    predicted: float
    high: float

    @property
    def error(self) -> float:
        """Of the middle, relative to what was measured."""
        if self.measured == 0:
            return 0.0 if self.predicted == 0 else float("inf")
        return self.predicted / self.measured - 1

    @property
    def is_close(self) -> bool:
        """Within 5 %."""
        return abs(self.predicted - self.measured) <= RELATIVE * abs(self.measured)

    @property
    def is_near(self) -> bool:
        """Within 5 %, or 2 ms if it is a time."""
        slack = 0.0 if self.figure in _NUMBERS else ABSOLUTE_S
        return self.is_close or abs(self.predicted - self.measured) <= slack

    @property
    def is_in_spread(self) -> bool:
        """Between the least and the greatest of several replications."""
        return self.low < self.high and self.low <= self.measured <= self.high

    @property
    def agrees(self) -> bool:
        return self.is_near or self.is_in_spread


def compare(replay: Replay) -> tuple[Comparison, ...]:
    """The figures of a case, in its order."""
    out = []
    for figure in replay.case.figures:
        values = replay.values(figure)
        measured = replay.recorded.measured[figure]
        out.append(Comparison(figure, measured, values[0], median(values), values[-1]))
    return tuple(out)


def verdict(replay: Replay) -> str:
    """``5 %``, ``2 ms``, ``spread`` or ``OPEN``; ``reported`` if it is off and not asserted.

    ``2 ms`` says little of runs that take a few milliseconds: it is told apart from ``5 %``.
    """
    comparisons = compare(replay)
    if all(comparison.is_close for comparison in comparisons):
        return "5 %"
    if all(comparison.is_near for comparison in comparisons):
        return "2 ms"
    if all(comparison.agrees for comparison in comparisons):
        return "spread"
    return "OPEN" if replay.case.bound in ASSERTED else "reported"
