"""How the connections of one client are shared among the workers of a server, as observed.

The kernel wakes whom it likes, and a worker that wakes takes all it finds: shares are
uneven and change from run to run. They are not predicted but observed, on connections that
ask for nothing but the worker's name. How fast one is opened after the other matters (a worker
that is awake takes the next one, too), so they are opened as the load generator does it.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Sequence
from statistics import median
from urllib.parse import urlsplit

from simulator.calibration.generator.connection import Connection
from simulator.calibration.generator.loop import Loop
from simulator.report.format import percent

_PID = re.compile(rb'"pid":\s*(\d+)\D')
READY = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"


def split(url: str, connections: int) -> tuple[int, ...]:
    """Connections by worker, the largest share first, when so many are opened at once."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    loop = Loop()
    opened: list[Connection] = []
    try:
        for _ in range(connections):
            opened.append(Connection(loop, socket.AF_INET, _ignored, _lost))
            opened[-1].connect(address)
        counts = Counter(_worker(connection.sock) for connection in opened)
    finally:
        for connection in opened:
            connection.sock.close()
        loop.selector.close()
    return tuple(sorted(counts.values(), reverse=True))


def sentence(splits: Sequence[tuple[int, ...]]) -> str:
    """How uneven several splits were, in words."""
    busiest = sorted(shares[0] / sum(shares) for shares in splits)
    return (
        f"the busiest worker has {percent(busiest[0])} to {percent(busiest[-1])} of the "
        f"connections, {percent(median(busiest))} in the median of {len(busiest)}"
    )


def _ignored(connection: Connection) -> None:
    """Nothing is asked through it."""


def _lost(connection: Connection, reason: str) -> None:
    raise ConnectionError(f"a connection to the server was not opened: {reason}")


def _worker(sock: socket.socket) -> int:
    sock.settimeout(10.0)
    sock.sendall(READY)
    data = b""
    while (found := _PID.search(data)) is None:
        more = sock.recv(65_536)
        if not more:
            raise ConnectionError("the server closed a connection that asked for its name")
        data += more
    return int(found.group(1))
