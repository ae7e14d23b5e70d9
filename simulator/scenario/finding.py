"""One finding about a scenario."""

from __future__ import annotations

from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: its rule, how grave it is, what was seen, where, and what to do."""

    code: str
    severity: str  # "warning" or "info"
    message: str
    place: str  # file:line:col
    hint: str
