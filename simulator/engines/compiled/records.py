"""Writing records: their fields, the stations and faults of what they stand for."""

from __future__ import annotations

from collections import defaultdict

from simulator.engines.compiled import memory, task
from simulator.engines.compiled.faults import FAULT_SIZE
from simulator.engines.compiled.memory import NONE
from simulator.engines.compiled.source import Source
from simulator.engines.compiled.store import Store
from simulator.plan import (
    Plan,
    Target,
)


class Records:
    """Writes records into the memory of a run."""

    def __init__(self, store: Store, plan: Plan, source: Source) -> None:
        self.store = store
        self.plan = plan
        self.source = source
        self.connections: list[tuple[int, int]] = []  # pools with a database, and its station
        self.started = True
        self._stations: dict[tuple[str, int | None], list[int]] = defaultdict(list)
        for i, station in enumerate(plan.stations):
            self._stations[station.kind, station.process].append(i)
            self._stations[station.kind, None].append(i)

    # What all records are written with.

    def stations(self, kind: str, place: int | None = None) -> list[int]:
        """Stations of a kind, of one process (or instance) if given."""
        return self._stations.get((kind, place), [])

    def first(self, kind: str, place: int | None = None) -> int:
        """The first of them; NONE if there is none."""
        return next(iter(self.stations(kind, place)), NONE)

    def set(self, record: int, fields: dict[int, int]) -> None:
        """Write fields of a record."""
        words = self.store.words
        for field, value in fields.items():
            words[record + field] = int(value)

    def record(self, size: int, fields: dict[int, int]) -> int:
        """A new record with these fields, all others 0."""
        address = self.store.take(size)
        self.set(address, fields)
        return address

    def owner(self, station: int) -> int:
        """A task that stands for a station: it orders its events, and waits for its GIL."""
        words = self.store.words
        address = self.store.take(words[memory.TASK_SIZE])
        self.set(address, {task.KEY: station << words[memory.OWNER_SHIFT], task.REQUEST: NONE})
        return address

    def faults(self, target: Target, index: int) -> int:
        """The list of the faults that strike a thing."""
        first = 0
        for fault in reversed(self.plan.faults):
            if (fault.target, fault.index) == (target, index):
                by, over = fault.slow
                fields = [first, fault.start_ns, fault.end_ns, int(fault.outage), max(by, 1), over]
                first = self.store.table(fields)
                assert len(fields) == FAULT_SIZE
        return first
