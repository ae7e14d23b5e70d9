"""The memory that a run takes, said before it begins."""

from __future__ import annotations

from simulator.analysis.folding import why_kept
from simulator.engine import events_of, requests_of
from simulator.plan import Plan

BASE = 420 << 20
"""Bytes that a run takes with a few requests: Python, NumPy, Numba, the memory of the kernels."""
REQUEST = 80
"""Bytes of a request whose visits are not kept, its latencies' order and intervals included."""
KEPT_REQUEST = 200
"""Bytes of a request in a trace, and in what is made of it."""
CAUSE = 8
"""Bytes of what a request spends on a cause; all causes count where visits are kept."""
CAUSES_USED = 6
"""Causes that requests spend something on, of those of a plan."""
VISIT = 160
"""Bytes of a visit that is kept, and of what is made of it."""


def bytes_of(plan: Plan, *, kept: bool) -> int:
    """About how many bytes a run takes at its most, on the compiled engine.

    Parameters
    ----------
    kept : bool
        Whether all visits are kept: something is asked for that shows single ones, or
        ``why_kept`` says why.
    """
    requests = int(sum(requests_of(load, plan) for load in plan.loads))
    if not kept and why_kept(plan) is None:
        return BASE + requests * (REQUEST + CAUSE * min(CAUSES_USED, len(plan.causes)))
    visits = max(events_of(plan) - 2 * requests, requests)
    return BASE + requests * (KEPT_REQUEST + 2 * CAUSE * len(plan.causes)) + visits * VISIT
