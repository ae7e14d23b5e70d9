"""The balancer before several instances: passes connections on, byte by byte.

It chooses per connection, as a balancer of layer 4 does, with the very decisions of the
simulation. ``python -m …served.balancer PORT BACKEND…``.
"""

from __future__ import annotations

import asyncio
import sys

from simulator.calibration.served import children
from simulator.calibration.served import spec as specs
from simulator.calibration.served.process import Process
from simulator.plan import Balancer

_CHUNK = 65_536


class Front:
    """Listens, chooses an instance for each connection, and copies both ways."""

    def __init__(self, process: Process, ports: list[int]) -> None:
        self._decide = process.spec.workload.decide
        self._kind = process.plan.server.balancer
        self._ports = ports
        self._open = [0] * len(ports)
        self._number = 0

    async def connected(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:  # fmt: skip
        """Serve one connection."""
        chosen = self._choose()
        self._open[chosen] += 1
        try:
            inner, outer = await asyncio.open_connection("127.0.0.1", self._ports[chosen])
        except OSError:
            self._open[chosen] -= 1
            writer.transport.abort()
            return
        try:
            await asyncio.gather(_copy(reader, outer), _copy(inner, writer))
        finally:
            self._open[chosen] -= 1
            for end in (outer, writer):
                end.close()

    def _choose(self) -> int:
        number, count = self._number, len(self._ports)
        self._number += 1
        if self._kind is Balancer.ROUND_ROBIN:
            return number % count
        if self._kind is Balancer.RANDOM:
            return self._decide("balancer", number, count)
        if self._kind is Balancer.LEAST_CONNECTIONS:
            return self._open.index(min(self._open))
        first = self._decide("balancer", 2 * number, count)
        second = self._decide("balancer", 2 * number + 1, count - 1)
        second += second >= first  # another one than the first
        return second if self._open[second] < self._open[first] else first


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    try:
        while data := await source.read(_CHUNK):
            sink.write(data)
            await sink.drain()
        sink.write_eof()
    except OSError:
        sink.transport.abort()


def main() -> None:
    """Serve until the parent dies."""
    import uvloop

    children.die_with_parent()
    process = Process(specs.read())
    port, *backends = map(int, sys.argv[1:])
    front = Front(process, backends)

    async def run() -> None:
        server = await asyncio.start_server(front.connected, "127.0.0.1", port, backlog=4096)
        process.is_ready("balancer")
        await server.serve_forever()

    uvloop.run(run())


if __name__ == "__main__":
    main()
