"""What tests of the engine do and read: run with written times, then look at literal ms."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.engines.reference import run
from simulator.plan import Plan
from simulator.trace import Trace
from simulator.workload import Workload
from tests import invariants
from tests.plans import MILLISECOND

MS = MILLISECOND


def traced(
    case: Plan, arrival: Sequence[float] | None = None, times: dict[str, list[int]] | None = None
) -> Trace:
    """Run with arrivals at these milliseconds, or the plan's, and these scripted times (in ms)."""
    script = {name: [ms * MS for ms in values] for name, values in (times or {}).items()}
    instants = None if arrival is None else [int(ms * MS) for ms in arrival]
    workload = Workload.scripted(case, arrival=instants, times=script)
    trace = run(case, workload)
    invariants.check(case, trace, workload)
    return trace


def finished(trace: Trace) -> list[float]:
    """When each request finished, in ms."""
    return (trace.finish_ns / MS).tolist()


def outcomes(trace: Trace) -> list[str]:
    """How each request ended."""
    return [trace.outcomes[i] for i in trace.outcome.tolist()]


def ledger(trace: Trace, request: int) -> dict[str, float]:
    """Waits and holds of a request by cause, in ms; causes without any are left out."""
    return {
        f"{cause.kind} {cause.name}": ns / MS
        for cause, ns in zip(trace.causes, trace.spent_ns[request].tolist(), strict=True)
        if ns
    }
