"""The memory of a run from the host's side: where things are put, and how it grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from simulator.arrays import IntArray
from simulator.engines.compiled.jit import PLAIN
from simulator.engines.compiled.memory import HEADER, TOP, TOP_SOFT, Memory

SLACK = 1 << 17
"""Words that a kernel may use between two looks at what is left."""
FIRST = 2 * SLACK if PLAIN else 1 << 23
"""Words to begin with; those of an array cost nothing until they are written."""
FIRST_MAX = FIRST if PLAIN else 1 << 27
"""Words to begin with at most, 1 GiB of addresses, where many requests may be in flight."""


class Store:
    """A memory that grows; ``words`` is what the kernels get."""

    def __init__(self, wanted: int = 0) -> None:
        first = min(FIRST + wanted, FIRST_MAX)
        self._words: Any = [0] * first if PLAIN else _zeros(first)
        self._words[TOP] = HEADER
        self.grow()

    @property
    def words(self) -> Memory:
        return cast(Memory, self._words)

    def take(self, count: int) -> int:
        """The address of so many words that are 0."""
        address = int(self._words[TOP])
        self._words[TOP] = address + count
        self.grow()
        return address

    def grow(self) -> None:
        """Make room where less than the slack is left."""
        needed = int(self._words[TOP]) + SLACK
        have = len(self._words)
        if needed > have:
            more = max(needed + SLACK, have * 3 // 2) - have
            if PLAIN:
                self._words.extend([0] * more)
            else:
                words = np.zeros(have + more, dtype=np.int64)
                used = min(int(self._words[TOP]), have)
                words[:used] = self._words[:used]
                self._words = words
        self._words[TOP_SOFT] = len(self._words) - SLACK

    def put(self, address: int, values: Sequence[int]) -> None:
        """Write words from an address on."""
        self._words[address : address + len(values)] = list(values)

    def put_array(self, address: int, values: IntArray) -> None:
        """The same for an array."""
        self._words[address : address + len(values)] = values.tolist() if PLAIN else values

    def table(self, values: Sequence[int]) -> int:
        """The address of new words with these values."""
        address = self.take(len(values))
        self.put(address, values)
        return address

    def array(self, address: int, count: int) -> IntArray:
        """A copy of so many words."""
        return np.array(self._words[address : address + count], dtype=np.int64)

    def view(self, address: int, count: int) -> IntArray:
        """So many words to read until the kernels go on: no copy, where that can be."""
        words: IntArray = self._words[address : address + count]
        return np.array(words, dtype=np.int64) if PLAIN else words

    def move(self, address: int, count: int, room: int) -> int:
        """The new address of words that need more room."""
        to = self.take(room)
        self._words[to : to + count] = self._words[address : address + count]
        return to


def _zeros(wanted: int) -> IntArray:
    try:
        return np.zeros(wanted, dtype=np.int64)
    except MemoryError:  # not so many addresses here: it grows by copying instead
        return np.zeros(FIRST, dtype=np.int64)
