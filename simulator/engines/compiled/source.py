"""The randomness of a run as blocks of integers in its memory, made when they are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.arrays import FloatArray, IntArray
from simulator.distributions import Constant
from simulator.engines.compiled import draws, memory
from simulator.engines.compiled.draws import HASH_SLOT
from simulator.engines.compiled.jit import python
from simulator.engines.compiled.memory import BLOCK, MISSING, NONE
from simulator.engines.compiled.store import Store
from simulator.plan import LoadKind, Plan
from simulator.workload import Workload

BLOCKS_MAX = 1 << 10
"""Blocks of times that are kept before the oldest half is given up; they can be made again."""
STEPS = 2**53
"""A uniform number is one of so many steps between 0 and 1."""


class Source:
    """Gives the kernels what they draw, from a workload.

    Streams are those of the plan, then a choice of route for each load.
    """

    def __init__(self, store: Store, plan: Plan, workload: Workload) -> None:
        self.store = store
        self.plan = plan
        self.workload = workload
        self.count = len(plan.streams) + len(plan.loads)
        self._stations: list[tuple[int, str, int]] = []  # column, name, stream of times or -1
        self._slots = 1 << 10
        self._pairs: dict[int, tuple[int, int]] = {}  # a column's block, and the one after it
        self._blocks: dict[tuple[int, ...], int] = {}  # addresses in memory, the oldest first
        self._given_up: set[tuple[int, ...]] = set()
        self._free: list[int] = []
        self._most = BLOCKS_MAX
        self._table(self._slots)

    def constant(self, stream: int) -> int | None:
        """The value of a stream that has just one."""
        if stream >= len(self.plan.streams) or self.workload.is_scripted(stream):
            return None
        distribution = self.plan.streams[stream].distribution
        return distribution.value_ns if isinstance(distribution, Constant) else None

    def choice(self, load: int) -> int:
        """The stream of a closed load's choices of route."""
        return len(self.plan.streams) + load

    def edges(self, weights: Sequence[float]) -> list[int]:
        """The steps at which each option of a weighted choice ends, but for the last one's."""
        return [_edge(weights, option) for option in range(len(weights) - 1)]

    def column(self, station: str) -> int:
        """What a station decides, by number."""
        return self._add_column(station, -1)

    def times_column(self, stream: int) -> int:
        """A stream of times that is drawn by number."""
        return self._add_column("", stream)

    def _add_column(self, station: str, stream: int) -> int:
        column = self.store.take(draws.COLUMN_SIZE)
        self._stations.append((column, station, stream))
        blocks = (self.store.take(BLOCK), self.store.take(BLOCK))
        drew = self.workload.drew
        self._fill(column, blocks[0], 0)
        self._fill(column, blocks[1], 1)
        self.workload.drew = drew  # whether any of it is used is seen at the end
        words = self.store.words
        words[column + draws.BLOCK_NOW], words[column + draws.BLOCK_NEXT] = blocks
        self._pairs[column] = blocks
        return column

    def note_decisions(self) -> None:
        """Say that something was left to chance, if anything was decided by number."""
        words = self.store.words
        for column, _, stream in self._stations:
            by_chance = stream < 0 or self.constant(stream) is None
            if by_chance and words[column + draws.NUMBER_NEXT]:
                self.workload.drew = True

    def top_up(self) -> None:
        """Make the next block of every column that has begun its last one."""
        words = self.store.words
        for column, _, _ in self._stations:
            if words[column + draws.BLOCK_NEXT] == 0:
                first, second = self._pairs[column]
                block = first if words[column + draws.BLOCK_NOW] == second else second
                number = int(words[column + draws.NUMBER_NEXT]) // BLOCK
                self._fill(column, block, number + 1)
                words[column + draws.BLOCK_NEXT] = block

    def _fill(self, column: int, address: int, block: int) -> None:
        station, stream = next((s, t) for c, s, t in self._stations if c == column)
        if stream >= 0:
            values = _padded(self.workload.times(stream, 0, 0, block))
        else:
            values = _steps(self.workload.uniforms(station, block))
        self.store.put_array(address, values)

    def supply(self) -> None:
        """Make the block that a draw misses."""
        words = self.store.words
        address = [
            int(words[field])
            for field in (
                memory.MISS_STREAM,
                memory.MISS_ATTEMPT,
                memory.MISS_SUB,
                memory.MISS_BLOCK,
            )
        ]
        stream, attempt, sub, block = address
        if stream >= len(self.plan.streams):
            load = stream - len(self.plan.streams)
            assert self.plan.loads[load].kind is LoadKind.CLOSED
            values = _steps(self.workload.uniforms(f"load[{load}].route", block))
        else:
            values = _padded(self.workload.times(stream, attempt, sub, block))
        if len(self._blocks) >= self._most:
            self._give_up_oldest(tuple(address))
        if 2 * len(self._blocks) > self._slots:
            self._table(self._slots * 2)
            self._fill_table()
        place = self._free.pop() if self._free else self.store.take(BLOCK)
        self.store.put_array(place, values)
        self._insert([place, *address])
        self._blocks[tuple(address)] = place

    def _give_up_oldest(self, wanted: tuple[int, ...]) -> None:
        """Make room of the oldest half, unless that is still drawn from."""
        if wanted in self._given_up:
            self._most *= 2
            self._given_up.clear()
            return
        oldest = list(self._blocks)[: len(self._blocks) // 2]
        self._given_up = set(oldest)
        self._free += [self._blocks.pop(address) for address in oldest]
        words = self.store.words
        for stream in range(self.count):
            words[words[memory.STREAMS] + stream * draws.STREAM_SIZE + draws.LAST_BLOCK] = NONE
        table = int(words[memory.HASH])
        self.store.put_array(table, np.zeros(self._slots * HASH_SLOT, dtype=np.int64))
        self._fill_table()

    def _fill_table(self) -> None:
        for address, place in self._blocks.items():
            self._insert([place, *address])

    def _table(self, slots: int) -> None:
        self._slots = slots
        base = self.store.take(slots * HASH_SLOT)
        words = self.store.words
        words[memory.HASH], words[memory.HASH_MASK] = base, slots - 1

    def _insert(self, entry: list[int]) -> None:
        slot = int(python(draws.slot_of)(self.store.words, *entry[1:]))
        if self.store.words[slot]:
            name = self.plan.streams[entry[1]].name
            raise IndexError(f"the script of {name} has no value for a request that draws it")
        self.store.put(slot, entry)


def _edge(weights: Sequence[float], option: int) -> int:
    """The first step at which this option, and none before it, is chosen no longer."""
    low, high = 0, STEPS
    while low < high:
        middle = (low + high) // 2
        at = middle / STEPS
        for weight in weights[: option + 1]:
            at -= weight
            if at < 0:
                break
        if at < 0:
            low = middle + 1
        else:
            high = middle
    return low


def _steps(uniforms: FloatArray) -> IntArray:
    return (uniforms * STEPS).astype(np.int64)


def _padded(values: IntArray) -> IntArray:
    """A whole block; what a script does not have is missing for good."""
    if len(values) == BLOCK:
        return values
    return np.concatenate([values, np.full(BLOCK - len(values), MISSING, dtype=np.int64)])
