"""Overheads fitted on the recorded runs of some groups, to predict those of another.

What a run's figures say of the overheads is taken from the simulator: each figure is nearly
linear in each of them, so the slopes at ``overheads: typical`` make a linear problem of the
fit. It is solved for least errors, large ones counted less (Huber), on the sleep- and
database-bound runs in which nothing is left to chance. Errors count in parts of 2 % or 1 ms,
whichever is more.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from simulator.arrays import FloatArray
from simulator.scenario.presets import OVERHEADS
from simulator.units import parse_duration
from tests.truth.cases import ASSERTED, CASES, Case
from tests.truth.open_cases import OPEN
from tests.truth.overheads import COLD, UNKNOWN
from tests.truth.replay import replay

_OTHERS = ("client_call", "client_scan", "aiohttp_call", *UNKNOWN, *COLD)
COSTS = tuple(name for name in OVERHEADS if name not in _OTHERS)
"""All but the CPU of HTTP clients, which no group but c09 calls with, what was not measured there,
and cold servers."""
TYPICAL_NS = {name: parse_duration(OVERHEADS[name][0]) for name in COSTS}
STEP = 0.1
"""Of an overhead: how far it is moved for a slope."""
RELATIVE, ABSOLUTE_S = 0.02, 0.001
HUBER = 1.5
ROUNDS = 30
WEAK = 1e-3
"""Slopes so small, in errors per 100 %, say nothing of an overhead."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """The overheads as the other groups have them, in ns; nan where none of them tells."""

    group: str
    costs: dict[str, float]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What no other group tells."""
        return tuple(name for name, ns in self.costs.items() if np.isnan(ns))

    def used(self) -> dict[str, int]:
        """By field of ``Overheads``; 0 for what is not known."""
        return {
            f"{name}_ns": 0 if np.isnan(ns) else max(round(ns), 0)
            for name, ns in self.costs.items()
        }


@dataclass(frozen=True, slots=True)
class _Figure:
    group: str
    error: float  # predicted at typical less measured, in units of what counts as an error
    slopes: FloatArray  # of that, by relative change of each overhead


def fitted(group: str) -> Fitted:
    """The overheads fitted on all groups but this one."""
    return _solved(group, [figure for figure in _figures() if figure.group != group])


def _solved(group: str, figures: list[_Figure]) -> Fitted:
    slopes = np.asarray([figure.slopes for figure in figures])
    errors = np.asarray([figure.error for figure in figures])
    tells = np.abs(slopes).max(axis=0) > WEAK
    change = np.full(len(COSTS), np.nan)
    weights = np.ones(len(errors))
    for _ in range(ROUNDS):
        root = np.sqrt(weights)
        solved = np.linalg.lstsq(slopes[:, tells] * root[:, None], -errors * root, rcond=1e-6)[0]
        left = np.abs(errors + slopes[:, tells] @ solved)
        weights = np.minimum(1.0, HUBER / np.maximum(left, 1e-12))
    change[tells] = solved
    return Fitted(group, {name: TYPICAL_NS[name] * (1 + change[i]) for i, name in enumerate(COSTS)})


@cache
def _figures() -> tuple[_Figure, ...]:
    return tuple(figure for case in CASES if _tells(case) for figure in _of_case(case))


def _tells(case: Case) -> bool:
    if case.label in OPEN:  # what it is off by is no overhead
        return False
    return case.bound in ASSERTED and not case.chance and not case.own_overhead


def _of_case(case: Case) -> list[_Figure]:
    typical = {f"{name}_ns": ns for name, ns in TYPICAL_NS.items()}
    base = replay(case, 1, typical)
    moved = [
        replay(case, 1, typical | {f"{name}_ns": round(ns * (1 + STEP))})
        for name, ns in TYPICAL_NS.items()
    ]
    out = []
    for name in case.figures:
        if name in ("ok", "rps", "share", "KiB") or name not in base.recorded.measured:
            continue
        measured, predicted = base.recorded.measured[name], base.predicted[0][name]
        unit = max(RELATIVE * measured, ABSOLUTE_S)
        slopes = [(there.predicted[0][name] - predicted) / STEP / unit for there in moved]
        out.append(_Figure(case.group, (predicted - measured) / unit, np.asarray(slopes)))
    return out


def pays(case: Case, names: tuple[str, ...]) -> bool:
    """Whether its figures depend on any of these overheads."""
    if not names:
        return False
    typical = {f"{name}_ns": ns for name, ns in TYPICAL_NS.items()}
    without = typical | {f"{name}_ns": 0 for name in names}
    there, here = (replay(case, 1, costs).predicted for costs in (typical, without))
    return there != here


def lines(fits: list[Fitted]) -> list[str]:
    """A table of the overheads, by the group that was left out, in microseconds."""
    head = "left out  " + "  ".join(f"{name:>11}" for name in COSTS)
    rows = [
        f"{fit.group:<8}  " + "  ".join(
            f"{'–' if np.isnan(ns) else f'{ns / 1e3:.0f}us':>11}" for ns in fit.costs.values()
        )
        for fit in fits
    ]  # fmt: skip
    typical = "typical   " + "  ".join(f"{f'{ns / 1e3:.0f}us':>11}" for ns in TYPICAL_NS.values())
    return [head, *rows, typical]
