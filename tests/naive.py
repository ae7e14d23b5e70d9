"""A deliberately dumb second meaning of the simplest scenarios, by recurrence.

No events, no clock, no queue: with first come, first served, request i starts when the
earliest of c slots is free (Kiefer and Wolfowitz, 1955). It shares only data with the
engines: arrivals and times drawn by the workload.
"""

from __future__ import annotations

from collections.abc import Sequence


def fifo(arrival: Sequence[int], service: Sequence[int], slots: int) -> list[int]:
    """Finish times of requests served first come, first served by ``slots`` equal slots."""
    free = [0] * slots
    finish = []
    for at, time in zip(arrival, service, strict=True):
        earliest = min(range(slots), key=lambda slot: (free[slot], slot))
        free[earliest] = max(at, free[earliest]) + time
        finish.append(free[earliest])
    return finish


def fifo_with_patience(
    arrival: Sequence[int], service: Sequence[int], slots: int, patience: int
) -> list[tuple[str, int]]:
    """The same where a request gives up after ``patience``; (outcome, finish) of each.

    A slot that becomes free at the very instant of giving up serves.
    """
    free = [0] * slots
    out = []
    for at, time in zip(arrival, service, strict=True):
        earliest = min(range(slots), key=lambda slot: (free[slot], slot))
        if free[earliest] > at + patience:
            out.append(("gave up", at + patience))
            continue
        free[earliest] = max(at, free[earliest]) + time
        out.append(("ok", free[earliest]))
    return out


def processes(
    arrival: Sequence[int], service: Sequence[int], workers: int, slots: int
) -> list[int]:
    """Finish times when request i goes to process i mod ``workers``, with its own slots."""
    finish = [0] * len(arrival)
    for worker in range(workers):
        mine = range(worker, len(arrival), workers)
        for i, at in zip(
            mine, fifo([arrival[i] for i in mine], [service[i] for i in mine], slots), strict=True
        ):
            finish[i] = at
    return finish
