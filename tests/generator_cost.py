"""``python -m tests.generator_cost``: CPU per request of three ways to send, and their lag.

The generator's own loop, asyncio's protocols on uvloop with httptools, and aiohttp send the
same open load over the same kept connections to the same small server.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Awaitable, Callable

import numpy as np

from simulator.calibration.generator import CouldNotKeepUp, drive
from simulator.scenario import loads
from simulator.workload import Workload
from tests.calibration.test_generator import server

CONNECTIONS = 20
Once = Callable[[], Awaitable[None]]


def own(url: str, rate: int, seconds: int) -> tuple[float, float]:
    """CPU per request in µs and the lag's 99th percentile in µs, of the generator itself."""
    plan = loads(
        f"load: {{rate: {rate}/s, arrivals: constant, for: {seconds}s}}\n"
        f"client: {{connections: {{kept: {CONNECTIONS}}}}}\n"
        "routes: {r: {path: GET /hello, handler: async def, steps: []}}\n"
    ).plan
    try:
        live = drive(plan, Workload(plan), url)
    except CouldNotKeepUp as error:
        live = error.live
    return live.cpu_per_request_ns / 1e3, float(np.percentile(live.lag_ns, 99)) / 1e3


async def _open_load(once: Once, rate: int, seconds: int) -> tuple[float, float]:
    loop = asyncio.get_running_loop()
    lags, tasks = [], set()
    cpu, origin = time.process_time(), loop.time() + 0.05
    for k in range(rate * seconds):
        intended = origin + k / rate
        if (pause := intended - loop.time()) > 0:
            await asyncio.sleep(pause)
        lags.append(loop.time() - intended)
        task = asyncio.ensure_future(once())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)
    used = time.process_time() - cpu
    return used / (rate * seconds) * 1e6, float(np.percentile(lags, 99)) * 1e6


async def with_aiohttp(url: str, rate: int, seconds: int) -> tuple[float, float]:
    """The same of aiohttp's client."""
    import aiohttp

    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def once() -> None:
            async with session.get(f"{url}/hello", headers={"x-sim-index": "1"}) as response:
                await response.read()

        return await _open_load(once, rate, seconds)


class _Protocol(asyncio.Protocol):
    def __init__(self, idle: list[_Protocol]) -> None:
        import httptools

        self.idle = idle
        self.parser = httptools.HttpResponseParser(self)
        self.waiter: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.idle.append(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.idle.append(self)
        if self.waiter is not None:
            self.waiter.set_result(None)


async def with_uvloop(url: str, rate: int, seconds: int) -> tuple[float, float]:
    """The same of a protocol of asyncio on uvloop."""
    loop = asyncio.get_running_loop()
    idle: list[_Protocol] = []
    host, _, port = url.removeprefix("http://").partition(":")
    for _ in range(CONNECTIONS):
        await loop.create_connection(lambda: _Protocol(idle), host, int(port))
    payload = b"GET /hello HTTP/1.1\r\nHost: x\r\nx-sim-index: 1\r\n\r\n"

    async def once() -> None:
        while not idle:
            await asyncio.sleep(0)
        connection = idle.pop()
        connection.waiter = loop.create_future()
        connection.transport.write(payload)  # type: ignore[attr-defined]
        await connection.waiter

    return await _open_load(once, rate, seconds)


def main() -> None:
    """Print a line for each way to send."""
    import uvloop

    parser = argparse.ArgumentParser(prog="python -m tests.generator_cost", description=__doc__)
    parser.add_argument("--rate", type=int, default=500)
    parser.add_argument("--seconds", type=int, default=4)
    given = parser.parse_args()
    amount = (given.rate, given.seconds)
    with server() as url:
        rows = [
            ("own loop", own(url, *amount)),
            ("uvloop + httptools", uvloop.run(with_uvloop(url, *amount))),
            ("aiohttp on uvloop", uvloop.run(with_aiohttp(url, *amount))),
            ("aiohttp on asyncio", asyncio.run(with_aiohttp(url, *amount))),
        ]
    print(f"{given.rate} requests/s for {given.seconds} s, {os.cpu_count()} processors")
    for name, (cpu, lag) in rows:
        print(f"{name:20} {cpu:6.0f} µs of CPU a request, 99 % sent within {lag:6.0f} µs")


if __name__ == "__main__":
    main()
