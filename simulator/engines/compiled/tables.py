"""What the kernels wrote, taken away chunk by chunk and put where a trace has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.arrays import IntArray
from simulator.engines import contract
from simulator.engines.compiled.recorder import ROW, place_rows

SPARSE = 64
"""With so many times as many indices as rows, places are found by bisection, not in a table."""
GAPPY = 2
"""With more than so many times as many indices as rows, rows wait for the end."""
VISITS_MAX = 1 << 24
"""Visits that have room beforehand at most, 0.9 GiB of addresses."""


class Places:
    """The place of each index among all, -1 for -1.

    Parameters
    ----------
    index : ndarray of int64
        All of them, ascending.
    """

    def __init__(self, index: IntArray) -> None:
        self._index = index
        self._table: IntArray | None = None
        last = int(index[-1]) if len(index) else 0
        if last < SPARSE * len(index):
            self._table = np.empty(last + 2, dtype=np.int64)
            self._table[index] = np.arange(len(index))
            self._table[-1] = -1

    def of(self, index: IntArray) -> IntArray:
        """The places of these."""
        if self._table is not None:
            return self._table[index]
        places = np.searchsorted(self._index, index)
        return np.where(index < 0, -1, places)


class Rows:
    """Rows of requests, each put at once where its index says.

    Parameters
    ----------
    columns : int
        Of a row: what says who, when and how, then the ledger.
    requests : int
        How many there are to be; about so many where users come back.
    known : bool
        Whether all indices from 0 on are there. Those of users may have gaps, as one user asks
        more often than another; with many gaps rows wait for the end.
    """

    def __init__(self, columns: int, requests: int, *, known: bool) -> None:
        self._columns = columns
        self._known = known
        self._taken = 0
        self._chunks: list[IntArray] = []  # of rows with many gaps between them
        self._head, self._spent, self._here = self._room(requests)

    def _room(self, count: int) -> tuple[IntArray, IntArray, Any]:
        # Memory that nobody has written to costs nothing: no column of causes that nobody has.
        head = np.zeros((ROW, count), dtype=np.int64)
        spent = np.zeros((self._columns - ROW, count), dtype=np.int64)
        return head, spent, np.zeros(0 if self._known else count, dtype=bool)

    def take(self, words: IntArray, count: int) -> None:
        """Take so many rows, in any order; the words are written to again."""
        rows = words[: count * self._columns].reshape(-1, self._columns)
        self._taken += len(rows)
        if not self._known and len(rows):
            end = int(rows[:, 0].max()) + 1
            if self._chunks or end > GAPPY * (self._taken + len(self._here)):
                self._gather()
                self._chunks.append(rows.copy())
                return
            if end > len(self._here):
                self._widen(2 * end)
            self._here[rows[:, 0]] = True
        place_rows(rows, self._head, self._spent)

    def _widen(self, count: int) -> None:
        before = self._head, self._spent, self._here
        self._head, self._spent, self._here = self._room(count)
        have = len(before[2])
        self._head[:, :have] = before[0]
        for i in np.flatnonzero(before[1].any(axis=1)).tolist():
            self._spent[i, :have] = before[1][i]
        self._here[:have] = before[2]

    def _gather(self) -> None:
        """What has its place already becomes the first of the chunks."""
        if self._chunks:
            return
        here = np.flatnonzero(self._here)
        self._chunks.append(np.concatenate([self._head[:, here], self._spent[:, here]]).T.copy())

    def sorted(self, arrived: int) -> tuple[list[IntArray], IntArray]:
        """The columns before the ledger, and the ledger, in the order of the index."""
        if self._chunks:
            index = np.concatenate([rows[:, 0] for rows in self._chunks])
            index.sort()
            self._head, self._spent, _ = self._room(len(index))
            places = Places(index)
            while self._chunks:
                rows = self._chunks.pop()
                rows[:, 0] = places.of(rows[:, 0])
                place_rows(rows, self._head, self._spent)
            self._head[0] = index
        elif not self._known:
            self._close_gaps()
        return [column[:arrived] for column in self._head], self._spent[:, :arrived].T

    def _close_gaps(self) -> None:
        here = np.flatnonzero(self._here)
        moves = np.flatnonzero(here != np.arange(len(here)))
        if len(moves):
            first, end = int(moves[0]), len(here)
            self._head[:, first:end] = self._head[:, here[first:]]
            for ledger in self._spent:
                ledger[first:end] = ledger[here[first:]]


class NarrowRows:
    """Rows of requests that all have their place beforehand, in little memory.

    Instants and the ledger are 64 bits; what no request spends anything on takes none, its
    column is never written.
    """

    def __init__(self, columns: int, arrival: IntArray) -> None:
        count, self._columns = len(arrival), columns
        self._arrival = arrival
        self._head: list[Any] = [
            np.zeros(count, dtype=kind) for kind in (np.int16, np.int32, np.int64, np.int16)
        ]
        self._first_byte: IntArray | None = None  # where it differs from the finish
        self._spent = np.zeros((count, columns - ROW), dtype=np.int64, order="F")
        self.last_finish_ns = -1

    def take(self, words: IntArray, count: int) -> None:
        """Take so many rows, in any order; the words are written to again."""
        rows = words[: count * self._columns].reshape(-1, self._columns)
        if not len(rows):
            return
        index, finish = rows[:, 0], rows[:, 4]
        for column, values in zip(self._head, (rows[:, i] for i in (1, 2, 4, 5)), strict=True):
            column[index] = values
        if not (self._arrival[index] == rows[:, 3]).all():
            raise contract.EngineError("a request of an open load has arrived at another instant")
        if self._first_byte is None and (rows[:, 6] != finish).any():
            self._first_byte = self._head[2].copy()
        if self._first_byte is not None:
            self._first_byte[index] = rows[:, 6]
        for i in np.flatnonzero(rows[:, ROW:].any(axis=0)).tolist():
            self._spent[index, i] = rows[:, ROW + i]
        self.last_finish_ns = max(self.last_finish_ns, int(finish.max()))

    def sorted(self, arrived: int) -> tuple[list[IntArray], IntArray]:
        """The columns before the ledger, and the ledger, in the order of the index."""
        route, process, finish, outcome = (column[:arrived] for column in self._head)
        index: Any = np.arange(arrived, dtype=np.int32)
        first = finish if self._first_byte is None else self._first_byte[:arrived]
        arrival = self._arrival[:arrived]
        return [index, route, process, arrival, finish, outcome, first], self._spent[:arrived]


class Columns:
    """A table in no particular order, by columns; with room for about ``expected`` rows."""

    def __init__(self, columns: int, request: int, expected: int = 0) -> None:
        self._request = request
        self._count = 0
        self._table = np.empty((columns, min(expected, VISITS_MAX)), dtype=np.int64)

    def take(self, words: IntArray, count: int) -> None:
        """Take so many rows of words that stand column behind column."""
        end = self._count + count
        if end > self._table.shape[1]:
            # Memory that nobody has written to costs nothing yet.
            table = np.empty((len(self._table), 4 * end), dtype=np.int64)
            table[:, : self._count] = self._table[:, : self._count]
            self._table = table
        self._table[:, self._count : end] = words.reshape(len(self._table), -1)[:, :count]
        self._count = end

    def by_row(self, index: IntArray) -> list[IntArray]:
        """The columns, with requests as rows of the trace instead of indices."""
        out = [column[: self._count] for column in self._table]
        if len(index) and index[-1] != len(index) - 1:
            out[self._request] = Places(index).of(out[self._request])
        return out
