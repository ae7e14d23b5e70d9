"""A database that refuses connections above its limit.

Imitates PostgreSQL 15 to 18: ``max_connections`` (100) less those reserved for
superusers (3). A connection above it is refused, it does not wait. The CPU that its queries
and the forks of its backends share is a ``Cores``, their rows are ``RowLock``s.

Not modelled: background processes, the memory of a backend.
"""

from __future__ import annotations

from models.slots import Slots


class TooManyConnections(Exception):
    """The database has no connection left (PostgreSQL: ``53300 too_many_connections``)."""


class Database(Slots):
    """Connections that can be open at the same time; a slot is one of them."""

    def connect(self) -> int:
        """The number of the new connection.

        Raises
        ------
        TooManyConnections
            If all are open.
        """
        if self.in_use >= self.size:
            raise TooManyConnections(f"all {self.size} connections are open")
        slot = self.acquire().value
        assert isinstance(slot, int)
        return slot

    def disconnect(self, slot: int) -> None:
        """Close a connection."""
        self.release(slot)
