"""What the steps of a request are to hold, as its draws say."""

from __future__ import annotations

from simulator.engines import contract
from simulator.plan import Broadcast, Cpu, Plan, Step, Stream, ToThread, Wait, With
from simulator.workload import Workload


def drawn(
    plan: Plan,
    steps: tuple[Step, ...],
    workload: Workload,
    request: int,
    out: dict[int, int],
) -> None:
    """Add what these steps are to hold, by cause, without what their calls do."""
    for step in steps:
        if isinstance(step, Cpu | Wait):
            ns = workload.time(step.time)(request)
            if step.cause == contract.AWAIT:
                ns += plan.server.overheads.timer_ns
            elif step.cause == contract.BLOCK:
                ns += plan.server.overheads.sleep_ns
            elif step.cause in _asleep(plan):
                ns += plan.server.overheads.backend_wake_ns * min(ns, 4_000_000) // 4_000_000
            out[step.cause] += ns
        elif isinstance(step, Stream):
            overheads = plan.server.overheads
            in_thread = step.per_chunk_thread or not step.frees_loop
            overshoot_ns = overheads.sleep_ns if in_thread else overheads.timer_ns
            for chunk in range(workload.time(step.chunks)(request)):
                every = workload.time(step.every, 0, chunk)(request)
                out[contract.STREAM] += every and every + overshoot_ns
                out[contract.CPU] += workload.time(step.cpu, 0, chunk)(request)
        elif isinstance(step, Broadcast):
            sends = (workload.time(step.cpu, 0, i)(request) for i in range(step.sockets))
            out[contract.CPU] += sum(sends)
        elif isinstance(step, With | ToThread):
            drawn(plan, step.steps, workload, request, out)


def _asleep(plan: Plan) -> set[int]:
    """Causes that are queries whose backends sleep until their end."""
    computing = {i for i, d in enumerate(plan.databases) if contract.queries_share(d)}
    pools = enumerate(plan.pools)
    return {contract.hold_query(i) for i, pool in pools if pool.database not in computing}
