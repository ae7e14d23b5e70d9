"""The faults of a plan in words, and whom they met."""

from __future__ import annotations

from fractions import Fraction

from simulator.plan import NEVER, Fault, Plan, Target
from simulator.report import format
from simulator.trace import Trace


def fault_words(plan: Plan, fault: Fault) -> str:
    """What is wrong and when: "service cache is out from 4s to 6s"."""
    what = "out" if fault.outage else f"{format.significant(Fraction(*fault.slow))} times slower"
    begin = format.duration(fault.start_ns)
    until = f" to {format.duration(fault.end_ns)}" if fault.end_ns < NEVER else " on"
    return f"{target_label(plan, fault)} is {what} from {begin}{until}"


def target_label(plan: Plan, fault: Fault) -> str:
    """What a fault strikes, as reports print it: "service cache"."""
    if fault.target is Target.SERVICE:
        return f"service {plan.services[fault.index].label}"
    if fault.target is Target.DATABASE:
        return f"database {plan.databases[fault.index].label}"
    return f"accelerator {plan.accelerators[fault.index].label}"


def met(plan: Plan, trace: Trace) -> tuple[Fault, ...]:
    """Faults during which something was in work or arrived, in the order of the plan."""
    if not len(trace):
        return ()
    first, last = int(trace.arrival_ns.min()), trace.end_ns
    return tuple(f for f in plan.faults if f.start_ns <= last and f.end_ns > first)


def slowing(plan: Plan, trace: Trace, label: str) -> list[Fault]:
    """The faults that make a resource slow: its own, and what those who hold it wait for."""
    own = [f for f in met(plan, trace) if not f.outage and target_label(plan, f) == label]
    if own or label.startswith(("service ", "accelerator ", "client ", "rate limit ")):
        return own
    return [fault for fault in met(plan, trace) if not fault.outage]


def arrived_in(trace: Trace, fault: Fault) -> int:
    """How many requests arrive while a fault lasts."""
    at = trace.arrival_ns
    return int(((at >= fault.start_ns) & (at < fault.end_ns)).sum())


def outage(plan: Plan, trace: Trace) -> Fault | None:
    """The outage behind the failures or the backoff of a run, if there is one."""
    seen = [trace.outcomes[i] for i in set(trace.outcome.tolist())]
    waited = [c.name for i, c in enumerate(trace.causes) if trace.spent_ns[:, i].any()]
    for fault in met(plan, trace):
        kind, _, label = target_label(plan, fault).partition(" ")
        if fault.outage and (f"{kind}_error:{label}" in seen or "backoff" in waited):
            return fault
    return None
