"""Whatever a test of this folder runs on the readable engine runs on the compiled one too."""

from __future__ import annotations

from typing import Any

import pytest

from simulator.engines import reference
from simulator.engines.compiled import engine
from simulator.plan import Plan
from simulator.trace import Trace, first_difference
from simulator.workload import Workload


def run_both(plan: Plan, workload: Workload, **options: Any) -> Trace:
    """The trace of both engines, which is one."""
    ref = reference.run(plan, workload, **options)
    if ref.ended == "interrupted":
        return ref
    comp = engine.run(plan, workload)
    assert first_difference(ref, comp) is None
    return ref


@pytest.fixture(autouse=True)
def both_engines(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    breaks_one = request.module.__name__.endswith("test_broken")
    if not breaks_one and getattr(request.module, "run", None) is reference.run:
        monkeypatch.setattr(request.module, "run", run_both)
