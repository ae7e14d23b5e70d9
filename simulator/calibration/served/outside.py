"""What the service calls, as a second real HTTP server: ``python -m …served.outside PORT``.

``GET /service/<number>``: a service of the scenario, with its rate limit, slots, queue, time,
errors and faults. ``POST /accelerator/<number>``: one that several processes share. A caller
who leaves gives up its place in a queue; what is being served is served to its end.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from aiohttp import web

from simulator.calibration.served import children
from simulator.calibration.served import spec as specs
from simulator.calibration.served.accelerator import Batches
from simulator.calibration.served.failures import Failed
from simulator.calibration.served.limits import Gate, Refused, Slots
from simulator.calibration.served.process import Process
from simulator.calibration.served.timer import Timer
from simulator.plan import NO_STREAM, Target

STATUS = {"rate_limited": 429, "service_full": 503, "service_error": 500}
"""The HTTP status of each way in which a call can fail."""


class Remote:
    """One service of the scenario."""

    def __init__(self, process: Process, index: int, timer: Timer) -> None:
        self.spec = spec = process.plan.services[index]
        self._time = process.spec.workload.time
        self._time(spec.time)(0)
        self._timer = timer
        self._strikes = process.strikes(Target.SERVICE, index)
        self._gate = Gate(spec.limits[0], process.spec.clock.now, timer) if spec.limits else None
        self._slots = Slots(spec.concurrency, spec.queue)

    async def serve(self, request: int, draws: tuple[int, int], priority: int) -> None:
        """Serve a call; ``draws``: the attempt and the number that its time is drawn by.

        Raises
        ------
        Refused
            If it fails.
        """
        if self._gate is not None:
            await self._gate.enter()
        await self._slots.take(priority)
        await asyncio.shield(self._hold(request, draws))

    async def _hold(self, request: int, draws: tuple[int, int]) -> None:
        try:
            ns: int | None = self._time(self.spec.time, *draws)(request)
            if self._strikes is not None:
                ns = self._strikes(ns or 0)
            if ns is None:
                raise Refused("service_error")
            await self._timer.sleep(ns)
        finally:
            self._slots.give()
        if self.spec.error != NO_STREAM and self._time(self.spec.error, *draws)(request):
            raise Refused("service_error")


class Outside:
    """All services of the scenario, and the accelerators that its processes share."""

    def __init__(self, process: Process) -> None:
        timer = Timer()
        self.remotes = [Remote(process, i, timer) for i in range(len(process.plan.services))]
        self.batches = Batches(process)

    async def handle(self, request: web.BaseRequest) -> web.Response:
        """Answer one call."""
        _, kind, number, *_ = f"{request.path}//".split("/")
        headers = request.headers
        try:
            index = int(headers["x-sim-index"])
            priority = int(headers.get("x-sim-priority", 0))
            if kind == "service":
                draws = int(headers.get("x-sim-attempt", 0)), int(headers.get("x-sim-sub", 0))
                await self.remotes[int(number)].serve(index, draws, priority)
            elif kind == "accelerator":
                tokens = int(headers.get("x-sim-tokens", 0))
                await self.batches.devices[int(number)].submit(priority, tokens)
            else:
                return web.Response(status=404)
        except Refused as refused:
            return web.Response(status=STATUS[refused.reason], text=refused.reason)
        except Failed as failed:
            return web.Response(status=503, text=failed.outcome)
        except (KeyError, IndexError, ValueError):
            return web.Response(status=400)
        return web.Response(text="ok")


def main() -> None:
    """Serve until the parent dies."""
    children.die_with_parent()
    process = Process(specs.read())

    async def run() -> None:
        outside = Outside(process)
        server = web.Server(outside.handle, handler_cancellation=True, access_log=None)
        runner = web.ServerRunner(server)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1]), backlog=4096).start()
        process.is_ready("outside")
        await asyncio.Event().wait()

    _loop_run()(run())


def _loop_run() -> Any:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


if __name__ == "__main__":
    main()
