"""Who is woken and runs later, as a trace shows it: waiters of pools, loops that are cold."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from simulator.engines import contract
from simulator.engines.costs import COLD_AFTER_NS, COLD_LEAST, COLD_OPTIONS
from simulator.plan import NEVER, Plan
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


def while_it_wakes(plan: Plan, rows: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """From when to when an idle loop that somebody waits for may be waking at most.

    From the first who comes after a pause, for the longest that this pause can cost: what runs
    on a loop for no time leaves no visit, so the pause may have been shorter than it looks.
    """
    cold_ns = plan.server.overheads.loop_wake_ns
    if not cold_ns:
        return
    free = -COLD_AFTER_NS
    came = sorted(queued for queued, *_ in rows)
    stays = sorted((granted, released) for _, granted, released, *_ in rows)
    stays = [stay for stay in stays if stay[0] != NOT_GRANTED]
    for granted, released in [*stays, (NEVER, NEVER)]:  # one that nobody had when the run ended
        first = min([*came[bisect_left(came, free) :][:1], granted])
        pause = min(first - free, COLD_AFTER_NS)
        longest = cold_ns * pause // COLD_AFTER_NS * (COLD_LEAST + COLD_OPTIONS - 1) // 1000
        if first < granted:
            yield first, min(granted, first + longest)
        free = max(free, released)
