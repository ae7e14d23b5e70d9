"""What the kernels wrote, taken away chunk by chunk and put where a trace has it."""

from __future__ import annotations

from typing import Any

import numpy as np

from simulator.arrays import IntArray
from simulator.engines import contract
from simulator.engines.compiled.recorder import ROW


class Rows:
    """Rows of requests, by index.

    Parameters
    ----------
    columns : int
        Of a row: what says who, when and how, then the ledger.
    requests : int
        How many there are if each row has its place beforehand, that of its index; -1 where
        users come back, so that nobody knows yet.
    """

    def __init__(self, columns: int, requests: int) -> None:
        self._columns = columns
        self._known = requests >= 0
        count = max(requests, 0)
        self._head = np.zeros((ROW, count), dtype=np.int64)
        self._spent = np.zeros((count, columns - ROW), dtype=np.int64)
        self._chunks: list[IntArray] = []

    def take(self, words: IntArray) -> None:
        """Take a chunk of rows, in any order."""
        rows = words.reshape(-1, self._columns)
        if not self._known:
            self._chunks.append(rows)
            return
        index = rows[:, 0]
        for i in range(ROW):
            self._head[i, index] = rows[:, i]
        self._spent[index] = rows[:, ROW:]

    def sorted(self, arrived: int) -> tuple[list[IntArray], IntArray]:
        """The columns before the ledger, and the ledger, in the order of the index."""
        if self._known:
            return [column[:arrived] for column in self._head], self._spent[:arrived]
        rows = np.concatenate(self._chunks)
        rows = rows[np.argsort(rows[:, 0], kind="stable")]
        head = [np.ascontiguousarray(rows[:, i]) for i in range(ROW)]
        return head, np.ascontiguousarray(rows[:, ROW:])


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

    def take(self, words: IntArray) -> None:
        """Take a chunk of rows, in any order."""
        rows = words.reshape(-1, self._columns)
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
    """A table in no particular order, by columns."""

    def __init__(self, columns: int, request: int) -> None:
        self._columns = columns
        self._request = request
        self._chunks: list[IntArray] = []

    def take(self, words: IntArray) -> None:
        """Take a chunk of rows."""
        self._chunks.append(np.ascontiguousarray(words.reshape(-1, self._columns).T))

    def by_row(self, index: IntArray) -> list[IntArray]:
        """The columns, with requests as rows of the trace instead of indices."""
        out = []
        for i in range(self._columns):
            out.append(np.concatenate([chunk[i] for chunk in self._chunks]))
        if len(index) and index[-1] != len(index) - 1:
            requests = out[self._request]
            rows = np.searchsorted(index, requests)
            out[self._request] = np.where(requests < 0, -1, rows)
        return out
