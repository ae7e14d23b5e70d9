"""The client's connections: kept ones, opened before the first request, or a new one each."""

from __future__ import annotations

import select
import time
from collections.abc import Callable

from simulator.calibration.generator.connection import Connection
from simulator.calibration.generator.job import Job
from simulator.calibration.generator.loop import Loop, now_ns

OPENING_MAX_S = 10.0
"""How long it may take to open all that are kept."""


class Connections:
    """Gives out connections as the scenario's client has them.

    Request i goes over the kept connection i modulo their number, as in the model; where
    that one is busy over any idle one, and where none is over one more, which stays.
    """

    def __init__(
        self,
        job: Job,
        loop: Loop,
        answered: Callable[[Connection], None],
        lost: Callable[[Connection, str], None],
    ) -> None:
        client = job.plan.client
        self._job = job
        self._loop = loop
        self._calls = (answered, lost)
        self._keeps = client.kept_connections
        self._close_delay_ns = client.close_delay_ns
        self._kept: list[Connection] = []
        self._idle: dict[Connection, None] = {}
        self.opened = 0

    def open_kept(self) -> None:
        """Open those that are kept, and wait until they are."""
        self._kept = [self._new() for _ in range(self._keeps)]
        self._idle = dict.fromkeys(self._kept)
        until = time.monotonic() + OPENING_MAX_S
        selector = self._loop.selector
        while time.monotonic() < until and any(not c.open for c in self._idle):
            select.select([selector.fileno()], (), (), 0.1)
            for key, mask in selector.select(0):
                key.data(mask)

    def warm(self) -> None:
        """Make and drop a connection that asks nobody."""
        connection = Connection(self._loop, self._job.family, *self._calls)
        connection.close()

    def take(self, index: int) -> Connection:
        """A connection for the request of this index."""
        if self._keeps:
            preferred = self._kept[index % self._keeps]
            if preferred not in self._idle and self._idle:
                preferred = next(reversed(self._idle))
            if preferred in self._idle:
                del self._idle[preferred]
                return preferred
        return self._new()

    def give_back(self, connection: Connection) -> None:
        """Its answer is whole: keep it, or close it after the client's delay."""
        connection.request = None
        if self._keeps and connection.open:
            self._idle[connection] = None
        elif self._close_delay_ns:
            connection.rest()  # the server's own end of it must not close ours
            self._loop.at(now_ns() + self._close_delay_ns, _close, connection)
        else:
            connection.close()

    def drop(self, connection: Connection) -> None:
        """It was closed, was never opened, or the client leaves without its answer."""
        self._idle.pop(connection, None)
        connection.close()

    def _new(self) -> Connection:
        self.opened += 1
        connection = Connection(self._loop, self._job.family, *self._calls)
        connection.connect(self._job.address)
        return connection


def _close(connection: Connection) -> None:
    connection.close()
