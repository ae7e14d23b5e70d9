"""What a deadlock leaves behind: who holds what and who waits for what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from simulator.arrays import IntArray
from simulator.engines.compiled import memory, task
from simulator.engines.compiled.memory import NONE, Memory
from simulator.engines.compiled.process import LOOP_STATION
from simulator.plan import Plan
from simulator.trace import Stuck


def stuck(m: Memory, plan: Plan) -> list[Stuck]:
    """Every task that waits for a station, in the order of requests, branches and attempts."""
    out = []
    for record in sorted(_live(m), key=lambda t: _order(m, t)):
        waits: list[int] = []
        holds: list[int] = []
        visit = int(m[record + task.OPEN_FIRST])
        while visit:
            station = int(m[visit + task.STATION])
            (waits if m[visit + task.GRANTED] == NONE else holds).append(station)
            visit = int(m[visit])
        loop = int(m[m[record + task.PROC] + LOOP_STATION])
        if m[record + task.LOOP_GRANTED] != NONE:
            holds.append(loop)
        elif m[record + task.LOOP_QUEUED] != NONE:
            waits.append(loop)
        if waits:
            out.append(Stuck(int(m[record + task.REQUEST]), tuple(holds), waits[0]))
    return out


def waiting_as_rows(found: list[Stuck], index: IntArray) -> list[Stuck]:
    """The same with rows of the trace instead of indices."""
    return [replace(s, request=int(np.searchsorted(index, s.request))) for s in found]


def _live(m: Memory) -> Iterator[int]:
    record = int(m[memory.TASKS_FIRST])
    while record:
        if m[record + task.LIVE]:
            yield record
        record = int(m[record + task.ALL_NEXT])


def _order(m: Memory, record: int) -> tuple[int, ...]:
    fields = (task.REQUEST, task.BRANCH, task.ATTEMPT, task.LIVE_SERIAL)
    return tuple(int(m[record + field]) for field in fields)
