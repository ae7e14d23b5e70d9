"""Windows in which services, databases and accelerators are out, or slow."""

from __future__ import annotations

from simulator.plan import Fault, Plan, Target


class Faults:
    """What the faults of a plan do to a hold that begins at some instant."""

    def __init__(self, plan: Plan) -> None:
        self._of: dict[tuple[Target, int], list[Fault]] = {}
        for fault in plan.faults:
            self._of.setdefault((fault.target, fault.index), []).append(fault)

    def struck(self, target: Target, index: int, at: int, ns: int) -> int | None:
        """How long a hold of ``ns`` takes that begins at that instant; None in an outage.

        The time is rounded down; faults that overlap act one after the other, in plan order.
        """
        for fault in self._of.get((target, index), ()):
            if fault.start_ns <= at < fault.end_ns:
                if fault.outage:
                    return None
                numerator, denominator = fault.slow
                ns = ns * numerator // denominator
        return ns
