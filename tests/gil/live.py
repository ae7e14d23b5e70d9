"""Measures one row: a real uvicorn, light requests in the open, burners in a closed loop."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import fmean

from simulator.calibration.generator.loop import Loop, now_ns
from tests.gil.rows import RATE, Row, figures

KEPT = 20
"""Connections of the light requests, used in turn so that none is idle for 5 s."""

Done = Callable[[], None]


def measure(row: Row, n: int) -> dict[str, float]:
    """Figures of the n light requests in ms from the intended send.

    Beside them ``late``: how late sends were on average, in ms; ``core``: how much of a core
    the server got, about 1 unless others used the machine.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.gil.app:app", "--loop", row.loop]
    command += ["--port", str(port), "--log-level", "error", "--no-access-log"]
    env = os.environ | {"SWITCH_INTERVAL": str(row.interval_ms / 1e3)}
    server = subprocess.Popen(command, env=env, cwd=Path(__file__).parents[2])
    try:
        _until_it_listens(port, server)
        return _Load(row, n, port, server.pid).run()
    finally:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _until_it_listens(port: int, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and server.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


class _Connection:
    """Asks for one thing at a time, and calls back when the answer is whole."""

    def __init__(self, loop: Loop, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._answer = b""
        self._done: Done = lambda: None
        loop.selector.register(self._socket, 1, self._read)

    def get(self, path: str, done: Done) -> None:
        self._answer, self._done = b"", done
        self._socket.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())

    def _read(self, _mask: int) -> None:
        received = self._socket.recv(65536)
        if not received:
            raise ConnectionError("the server closed a connection")
        self._answer += received
        head, end, body = self._answer.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if end and len(body) == int(length):
            self._done()


class _Load:
    def __init__(self, row: Row, n: int, port: int, pid: int) -> None:
        self._row, self._n, self._port, self._pid = row, n, port, pid
        self._loop = Loop()
        self._idle = deque(_Connection(self._loop, port) for _ in range(KEPT))
        self._chance = random.Random(1)
        self._sent = 0
        self._latencies: list[float] = []
        self._late: list[float] = []

    def run(self) -> dict[str, float]:
        for _ in range(self._row.k):
            self._burn(_Connection(self._loop, self._port))
        warm_ns = int((0.3 + self._row.k * self._row.burn_ms / 1e3) * 1e9)
        self._loop.at(now_ns() + warm_ns, self._light, now_ns() + warm_ns)
        self._loop.running = True
        self._loop.run()
        core = (_cpu_s(self._pid) - self._computed) / (now_ns() - self._began) * 1e9
        late = {"late": round(fmean(self._late), 2), "core": round(core, 2)}
        return figures(self._latencies) | late

    def _burn(self, connection: _Connection) -> None:
        connection.get(f"/burn?ms={self._row.burn_ms:g}", partial(self._burn, connection))

    def _light(self, due: int) -> None:
        if not self._sent:
            self._began, self._computed = now_ns(), _cpu_s(self._pid)
        self._sent += 1
        idle = self._idle
        connection = idle.popleft() if idle else _Connection(self._loop, self._port)
        self._late.append((now_ns() - due) / 1e6)
        connection.get("/light", partial(self._answered, connection, due))
        if self._sent < self._n:
            due += int(self._chance.gammavariate(1 / 0.09, 0.09e9 / RATE))
            self._loop.at(due, self._light, due)

    def _answered(self, connection: _Connection, due: int) -> None:
        self._latencies.append((now_ns() - due) / 1e6)
        self._idle.append(connection)
        self._loop.running = len(self._latencies) < self._n


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
