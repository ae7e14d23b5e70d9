"""What of a scenario can't be served, with reasons, all at once."""

from __future__ import annotations

from simulator.calibration.served.written import awaited_pools, steps_of
from simulator.plan import Cpu, Gather, Lock, ServerKind, ToThread, Wait, With
from simulator.scenario import Scenario

SERVED = (Cpu, Wait, With, Lock, Gather, ToThread)


def refusals(scenario: Scenario, *, database: str = "embedded") -> tuple[str, ...]:
    """Why a scenario can't be served: one sentence for each part; empty if it can be."""
    plan, out = scenario.plan, []
    if plan.server.kind is not ServerKind.ASGI:
        out.append("server.kind: only asgi is served yet")
    awaited = awaited_pools(plan)
    for i, pool in enumerate(plan.pools):
        entry = scenario.document["pools"][pool.label]
        if i not in awaited or entry["preset"] != "asyncpg" or not pool.size or database == "none":
            out.append(f"pools.{pool.label}: only asyncpg in async def is served yet")
    kinds = {type(step).__name__.lower() for step in steps_of(plan) if not isinstance(step, SERVED)}
    out += [f"{kind}: not served yet" for kind in sorted(kinds)]
    return tuple(out)
