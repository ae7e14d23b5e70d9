"""Where rows of requests go that the kernels wrote in the order of their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from simulator.engines.compiled.recorder import ROW
from simulator.engines.compiled.tables import Rows

CAUSES = 3


def taken(chunks: list[list[int]], *, requests: int, known: bool = False) -> Any:
    """The index, the finish and the ledger of rows that came in these chunks of indices."""
    rows = Rows(ROW + CAUSES, requests, known=known)
    for indices in chunks:
        words = np.zeros((len(indices), ROW + CAUSES), dtype=np.int64)
        words[:, 0] = indices
        words[:, 4] = np.asarray(indices) * 10
        words[:, ROW + 1] = np.asarray(indices) * 100
        rows.take(words.reshape(-1), len(indices))
        words[:] = -1  # the kernels write to them again
    head, spent = rows.sorted(sum(map(len, chunks)))
    return head[0].tolist(), head[4].tolist(), spent.tolist()


@pytest.mark.parametrize(
    ("chunks", "requests"),
    [
        ([[0, 2], [1]], 3),
        ([[0, 2], [1]], 1),  # more than were told of
        ([[0, 1], [5, 3], [4]], 6),  # a user who asked less often
        ([[1, 0], [50_000], [7, 3]], 5),  # one who asked far more often
        ([[50_000], [1, 0]], 5),
        ([[], [0]], 0),
    ],
)
def test_rows_of_users_are_in_the_order_of_their_index(
    chunks: list[list[int]], requests: int
) -> None:
    index = sorted(i for indices in chunks for i in indices)
    assert taken(chunks, requests=requests) == (
        index,
        [10 * i for i in index],
        [[0, 100 * i, 0] for i in index],
    )


def test_rows_that_are_all_there_have_their_place_beforehand() -> None:
    ledger = [[0, 0, 0], [0, 100, 0], [0, 200, 0]]
    assert taken([[2], [0, 1]], requests=3, known=True) == ([0, 1, 2], [0, 10, 20], ledger)
