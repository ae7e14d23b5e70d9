"""A small server for the generator's tests: it sleeps, fails, resets, hangs and dies on demand.

``python -m tests.calibration.badly_behaved`` prints its URL and serves until its stdin ends.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time

from simulator.calibration.generator.loop import now_ns

SAID = {
    "fail": b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 4\r\n\r\noops",
    "shed": b"HTTP/1.1 503 X\r\ncontent-length: 19\r\n\r\nService Unavailable",
    "reason": b'HTTP/1.1 503 X\r\ncontent-length: 29\r\n\r\n{"outcome":"pool_timeout:db"}\n',
    "nonsense": b"what?\r\n\r\n",
    "until-close": b"HTTP/1.1 200 OK\r\n\r\nall",
}


class Server:
    """Answers by path; remembers how often each index was asked for."""

    def __init__(self) -> None:
        self.asked: dict[int, int] = {}
        self.limit = asyncio.Semaphore(5)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                await self._answer(head, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _answer(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        path = head.split()[1].decode()
        index = int(head.split(b"x-sim-index: ")[1].split()[0])
        self.asked[index] = self.asked.get(index, 0) + 1
        kind, _, value = path.strip("/").partition("/")
        began = now_ns()
        if kind == "flaky" and self.asked[index] == 1:
            kind = "fail"
        if kind in SAID:
            writer.write(SAID[kind])
            if kind == "until-close":
                writer.close()
            return
        if kind == "chunks":
            await self._chunks(int(value), writer)
            return
        if kind == "reset":
            writer.transport.abort()
            return
        if kind == "die" and index >= int(value):
            os._exit(1)
        if kind == "sleep":
            await asyncio.sleep(float(value))
        elif kind == "limited":  # five at a time
            async with self.limit:
                await asyncio.sleep(float(value))
        elif kind == "stall" and index == int(value):
            time.sleep(0.3)
        elif kind == "hang":
            await asyncio.sleep(3600)
        times = b"a=%d b=%d pid=%d" % (began, now_ns(), os.getpid())
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-sim-times: %b\r\n\r\nok" % times)

    async def _chunks(self, count: int, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for _ in range(count):
            await asyncio.sleep(0.02)
            writer.write(b"2\r\nab\r\n")
            await writer.drain()
        writer.write(b"0\r\n\r\n")


async def main() -> None:
    """Serve on a port of the system's choice."""
    server = await asyncio.start_server(Server().serve, "127.0.0.1", 0, backlog=4096)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
