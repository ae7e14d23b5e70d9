"""Measures one row: a real uvicorn, light requests in the open, burners in a closed loop."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.gil.rows import RATE, Row, figures
from tests.gil.wake import wake_us

KEPT = 20
"""Connections of the light requests, used in turn so that none is idle for 5 s."""


def measure(row: Row, n: int) -> dict[str, float]:
    """Figures of the n light requests in ms from the intended send.

    Beside them ``late``: how late sends were; ``core``: how much of a core the server got,
    about 1 unless others used the machine; ``wake``: ``wake_us`` just before.
    """
    wake = wake_us()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "uvicorn", "tests.gil.app:app", "--loop", row.loop]
    command += ["--port", str(port), "--log-level", "error", "--no-access-log"]
    env = os.environ | {"SWITCH_INTERVAL": str(row.interval_ms / 1e3)}
    server = subprocess.Popen(command, env=env, cwd=Path(__file__).parents[2])
    try:
        _until_it_listens(port, server)
        return asyncio.run(_load(row, n, port, server.pid)) | {"wake": wake}
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


async def _load(row: Row, n: int, port: int, pid: int) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(KEPT)]
    connections = list(idle)
    burners = [asyncio.create_task(_burn(row, port)) for _ in range(row.k)]
    await asyncio.sleep(0.3 + row.k * row.burn_ms / 1e3)
    latencies: list[float] = []
    late = 0.0

    async def light(due: float) -> None:
        if not idle:
            connections.append(await asyncio.open_connection("127.0.0.1", port))
            idle.append(connections[-1])
        connection = idle.pop(0)
        await _get(connection, "/light")
        latencies.append((loop.time() - due) * 1e3)
        idle.append(connection)

    chance, due, tasks = random.Random(1), loop.time(), []
    began, computed = due, _cpu_s(pid)
    for _ in range(n):
        due += chance.gammavariate(1 / 0.09, 0.09 / RATE)
        await asyncio.sleep(due - loop.time())
        late = max(late, loop.time() - due)
        tasks.append(asyncio.create_task(light(due)))
    await asyncio.gather(*tasks)
    core = (_cpu_s(pid) - computed) / (loop.time() - began)
    for burner in burners:
        burner.cancel()
    await asyncio.gather(*burners, return_exceptions=True)
    for _, writer in connections:
        writer.close()
    return figures(latencies) | {"late": round(late * 1e3, 1), "core": round(core, 2)}


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _burn(row: Row, port: int) -> None:
    connection = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            await _get(connection, f"/burn?ms={row.burn_ms:g}")
    finally:
        connection[1].close()


async def _get(connection: tuple[Any, Any], path: str) -> None:
    reader, writer = connection
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = head.partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))
