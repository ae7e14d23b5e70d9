"""Pools that are not first come, first served, and who was woken too late, as a trace shows it."""

from __future__ import annotations

from collections import defaultdict

from simulator.engines import contract
from simulator.plan import Plan
from simulator.trace import NOT_GRANTED, Trace


def surplus_is_closed(plan: Plan) -> set[int]:
    """Causes of the waits for pools that keep some of their connections."""
    return {contract.wait_for_pool(i) for i, p in enumerate(plan.pools) if p.size and p.overflow}


def wakes(plan: Plan) -> set[int]:
    """Causes of the waits for pools that wake a waiter instead of handing over."""
    return {contract.wait_for_pool(i) for i, p in enumerate(plan.pools) if not p.hands_over}


def kept_for_the_woken(trace: Trace, station: int) -> list[tuple[int, int]]:
    """From when to when a connection at most lay untaken: until the woken one looked again.

    Its wait ended in vain when it was woken, and its next one begins when it has looked.
    """
    visits = trace.visits
    rows: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for i in (visits.station == station).nonzero()[0].tolist():
        queued, granted = int(visits.queued_ns[i]), int(visits.granted_ns[i])
        rows[int(visits.request[i])].append((queued, granted, int(visits.released_ns[i])))
    spans = []
    for mine in rows.values():
        for visit, (_, granted, woken) in enumerate(mine):
            later = [at for other, (at, _, _) in enumerate(mine) if other != visit and at >= woken]
            if granted == NOT_GRANTED and later:
                spans.append((woken, min(later)))
    return spans
