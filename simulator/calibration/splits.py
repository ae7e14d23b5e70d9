"""How the connections of one client are shared among the workers of a server, as observed.

The kernel wakes whom it likes, and a worker that wakes takes all it finds: shares are
uneven and change from run to run. They are not predicted but observed, on connections that
ask for nothing but the worker's name.
"""

from __future__ import annotations

import re
import socket
from collections import Counter
from urllib.parse import urlsplit

_PID = re.compile(rb'"pid":\s*(\d+)\D')
READY = b"GET /-/ready HTTP/1.1\r\nHost: localhost\r\n\r\n"


def split(url: str, connections: int) -> tuple[int, ...]:
    """Connections by worker, the largest share first, when so many are opened at once."""
    parts = urlsplit(url)
    address = (parts.hostname or "127.0.0.1", parts.port or 80)
    opened: list[socket.socket] = []
    try:
        for _ in range(connections):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            opened.append(sock)
        counts = Counter(_worker(sock) for sock in opened)
    finally:
        for sock in opened:
            sock.close()
    return tuple(sorted(counts.values(), reverse=True))


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
