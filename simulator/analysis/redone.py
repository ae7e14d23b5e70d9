"""Transactions that were done again, because another had written their row first."""

from __future__ import annotations

import numpy as np

from simulator.analysis.routes import every_step
from simulator.plan import Lock, Plan, With
from simulator.record import dataclass
from simulator.trace import Trace


@dataclass(frozen=True, slots=True)
class Redone:
    """How often serializable transactions came to one row lock."""

    label: str  # "lock row"
    station: int
    tries: int
    requests: int  # that came to it at all


def redone(plan: Plan, trace: Trace) -> Redone | None:
    """The lock for which most transactions were redone; None if none was."""
    locks = {
        inner.lock
        for route in plan.routes
        for step in every_step(route.steps)
        if isinstance(step, With) and step.serializable
        for inner in every_step(step.steps)
        if isinstance(inner, Lock)
    }
    found = [_tries(trace, f"lock {plan.locks[lock].label}") for lock in sorted(locks)]
    again = [row for row in found if row.tries > row.requests]
    return max(again, key=lambda row: row.tries - row.requests, default=None)


def _tries(trace: Trace, label: str) -> Redone:
    station = next(i for i, s in enumerate(trace.stations) if s.label == label)
    rows = trace.visits.station == station
    return Redone(label, station, int(rows.sum()), len(np.unique(trace.visits.request[rows])))
