"""Whether this machine has the memory that a run takes: said beforehand where it is much."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import console

if TYPE_CHECKING:
    from simulator.scenario import Scenario
    from simulator.trace import Folding

MUCH = 1 << 30
"""Bytes from which on it is said what a run takes."""
FOLDED_FROM = 200_000
"""Requests from which on visits are not kept where nobody asks for them."""

_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def folding_for(scenario: Scenario, *, kept: bool) -> Folding | None:
    """What takes the visits of a run; None where they are kept. Exit 5 where there is no room.

    Parameters
    ----------
    kept : bool
        Whether something is asked for that shows single visits.
    """
    from simulator.engine import requests_of

    plan = scenario.plan
    if sum(requests_of(load, plan) for load in plan.loads) < FOLDED_FROM:
        return None
    from simulator.analysis.folding import VisitFolding, why_kept
    from simulator.footprint import bytes_of

    why = "-o, --plot, --trace and --report show them" if kept else why_kept(plan)
    needed, there = bytes_of(plan, kept=why is not None), available()
    note = f"{scenario.name}: takes about {_words(needed)} of memory"
    if why is not None:
        note += f": every visit is kept ({why})"
    if there is not None and needed > there:
        console.tell(f"error: {note}; this machine has {_words(there)} left: {_advice(kept)}")
        console.leave(console.ENVIRONMENT)
    if needed >= MUCH:
        console.tell(f"note: {note}")
    return VisitFolding(plan) if why is None else None


def available() -> int | None:
    """Bytes that are left, by the machine and by the limits of its container; None if unknown."""
    import resource

    found = []
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found += [int(row.split()[1]) << 10 for row in lines if row.startswith("MemAvailable:")]
    except (OSError, ValueError):
        pass
    for limit in _LIMITS:
        try:
            found.append(int(Path(limit).read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    address_space, _ = resource.getrlimit(resource.RLIMIT_AS)
    if address_space != resource.RLIM_INFINITY:
        found.append(address_space)
    return min(found, default=None)


def _advice(kept: bool) -> str:
    less = "lower load.requests, load.for or the rate"
    return f"leave out -o, --plot, --trace and --report, or {less}" if kept else less


def _words(count: int) -> str:
    return f"{count / 1e9:.1f} GB"
