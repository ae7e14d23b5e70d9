"""How much of the machine others used during a run: a busy machine makes any server slow.

Thread time does not see it, so a prediction made with it would be off by what others
computed meanwhile. It is measured, and shown, and where computing is what bounds a run such
a run is not believed.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from simulator.record import dataclass

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Use:
    """Seconds of CPU so far, in clock ticks, and when that was."""

    at_s: float
    everyone: int
    ours: int


def now() -> Use | None:
    """What the machine and this process with all its descendants have used; None off Linux."""
    try:
        everyone = _busy((PROC / "stat").read_text())
        return Use(time.monotonic(), everyone, _ours())
    except (OSError, ValueError, IndexError):
        return None


def others(before: Use | None, after: Use | None) -> float | None:
    """Processors that others kept busy between two instants (stolen time is theirs, too)."""
    if before is None or after is None or after.at_s <= before.at_s:
        return None
    ticks = (after.everyone - before.everyone) - (after.ours - before.ours)
    return max(0.0, ticks / os.sysconf("SC_CLK_TCK") / (after.at_s - before.at_s))


def _busy(stat: str) -> int:
    # cpu user nice system idle iowait irq softirq steal …
    fields = [int(field) for field in stat.split("\n", 1)[0].split()[1:9]]
    return sum(fields) - fields[3] - fields[4]


def _ours() -> int:
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):  # it has ended meanwhile
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            parents[int(folder.name)] = int(fields[1])
            # With what its children used that have ended and were waited for.
            used[int(folder.name)] = sum(int(field) for field in fields[11:15])
    return sum(ticks for pid, ticks in used.items() if _is_ours(pid, parents))


def _is_ours(pid: int, parents: dict[int, int]) -> bool:
    while pid > 1:
        if pid == os.getpid():
            return True
        pid = parents.get(pid, 0)
    return False
