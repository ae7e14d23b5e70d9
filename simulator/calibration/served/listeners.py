"""Clients that hold WebSockets open and read: ``python -m …served.listeners URL COUNT``."""

from __future__ import annotations

import asyncio
import os
import sys

import aiohttp
import uvloop

from simulator.calibration.served import children
from simulator.calibration.served import spec as specs
from simulator.calibration.served.process import Process

AT_ONCE = 50
"""Connections that are being opened at the same time."""


async def listen(process: Process, url: str, count: int) -> None:
    """Open so many sockets, tell of it, and read until the server closes them."""
    gate = asyncio.Semaphore(AT_ONCE)
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def connect() -> aiohttp.ClientWebSocketResponse:
            async with gate:
                return await session.ws_connect(url)

        async def read(socket: aiohttp.ClientWebSocketResponse) -> None:
            async for _ in socket:
                pass

        sockets = await asyncio.gather(*(connect() for _ in range(count)))
        process.is_ready("listeners")
        await asyncio.gather(*(read(socket) for socket in sockets))


def main() -> None:
    """Listen until the parent dies, when nobody else wants the processor.

    In earnest these are other machines: reading must not slow the server that sends.
    """
    children.die_with_parent()
    os.nice(19)
    uvloop.run(listen(Process(specs.read()), sys.argv[1], int(sys.argv[2])))


if __name__ == "__main__":
    main()
