"""Windows in which services, databases and accelerators are out, or slow."""

from __future__ import annotations

from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import LARGEST, NONE, TOO_LARGE, Memory, give_up

(NEXT_FAULT, FAULT_START, FAULT_END, OUTAGE, SLOW_BY, SLOW_OVER, FAULT_SIZE) = range(7)


@kernel
def struck(m: Memory, fault: int, at: int, ns: int) -> int:
    """How long a hold of ``ns`` takes that begins at that instant; NONE in an outage."""
    while fault != 0:
        if m[fault + FAULT_START] <= at < m[fault + FAULT_END]:
            if m[fault + OUTAGE] != 0:
                return NONE
            if ns > LARGEST // m[fault + SLOW_BY]:
                give_up(m, TOO_LARGE)
            ns = ns * m[fault + SLOW_BY] // m[fault + SLOW_OVER]
        fault = m[fault]
    return ns
