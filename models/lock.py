"""A row lock: exclusive, held to the end of the transaction.

Imitates ``SELECT … FOR UPDATE`` and ``UPDATE`` of one row in PostgreSQL 15 to 18 under
READ COMMITTED. A transaction that holds the lock and asks again has it already.

Modelled: mutual exclusion, FIFO grants, re-entry. Not modelled: shared locks, PostgreSQL's
grant order under contention, which is not always that of arrival, deadlock_timeout.
"""

from __future__ import annotations

import simpy

from models.slots import Slots


class RowLock(Slots):
    """One row, which one transaction at a time can hold."""

    def __init__(self, env: simpy.Environment) -> None:
        super().__init__(env, 1)
