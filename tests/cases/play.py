"""A run of the scenario that means the same as a case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from simulator.engines.reference import run
from simulator.scenario import load
from simulator.workload import Workload
from tests.cases.estimate import Estimate
from tests.cases.measured import Measured

Figures = Mapping[str, Estimate | list[Estimate]]
"""Estimates by the key of a case's ``expected``; inner keys follow a dot."""

SECOND = 10**9
MINUTE = 60 * SECOND
_HERE = Path(__file__).parent
_CONFIGS = _HERE.parents[1] / "configs"

SHIPPED = {
    "seed-1000x5s-dbpool50": "1000req",
    "seed-3-sync-one-worker": "3users-sync",
    "seed-3-async": "3users-async",
    "seed-3-sync-db-2s": "db2s-sync",
    "async-unlimited-1000x5s": "async-unlimited",
    "row-lock-100-writers": "same-row",
}
"""Cases whose scenario is one of those that ship."""


def scenario_path(case: str) -> Path:
    """The scenario that means the same as the case."""
    if case in SHIPPED:
        return _CONFIGS / f"{SHIPPED[case]}.yaml"
    return _HERE / "scenarios" / f"{case}.yaml"


def play(
    case: str,
    *overrides: str,
    unit_ns: int = SECOND,
    warm_up: float = 0.1,
    batches: int = 20,
) -> Measured:
    """A run of the scenario of a case, without its warm-up."""
    plan = load(scenario_path(case), overrides).plan
    return Measured(plan, run(plan, Workload(plan)), unit_ns, warm_up, batches)
