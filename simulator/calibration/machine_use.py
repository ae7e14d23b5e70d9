"""Whether a server had a processor when it wanted one: a busy machine makes any server slow.

Thread time does not see it, so a prediction made with it would be off by what others
computed meanwhile. Linux counts for each thread how long it was ready to run and did not.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

from simulator.record import dataclass

PROC = Path("/proc")
SHORT_NS = 5_000_000
"""A wait that says nothing: a few threads, each woken once on a machine that does something."""


@dataclass(frozen=True, slots=True)
class Use:
    """What processes have had of the processors so far, all their threads together."""

    ran_ns: int
    waited_ns: int  # ready to run, but another had the processor


def used(pids: Iterable[int]) -> Use:
    """By these processes; nothing where the system does not tell (``/proc/PID/task/*``)."""
    ran = waited = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for thread in (PROC / str(pid) / "task").iterdir():
                with contextlib.suppress(OSError, ValueError):  # it has ended meanwhile
                    fields = (thread / "schedstat").read_text().split()
                    ran, waited = ran + int(fields[0]), waited + int(fields[1])
    return Use(ran, waited)


def delayed(before: Use, after: Use) -> float:
    """How long they waited for a processor between two instants, relative to how long they ran."""
    ran, waited = after.ran_ns - before.ran_ns, after.waited_ns - before.waited_ns
    return waited / ran if ran > 0 and waited > SHORT_NS else 0.0
