"""The HTTP clients with which handlers call services: aiohttp, httpx, requests.

Awaited calls use httpx where the scenario's service has a limit of connections, unless it
names aiohttp, which is used without a limit too; blocking ones use requests (a session per
thread), or httpx where there is a limit of connections.
"""

from __future__ import annotations

import asyncio
import importlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from simulator.calibration.served.failures import Failed
from simulator.plan import NEVER, UNLIMITED, Call, HttpLibrary

if TYPE_CHECKING:
    from simulator.calibration.served.process import Process
    from simulator.calibration.served.task import Task

WARM = 100
"""Calls for nothing at the start, of a client that is closed again: the first calls of a process,
and the first connections of the other server, take several times as long as the next, which no
overhead stands for."""
RETRY_BITS = 16
"""The retry of a call stands in so many low bits of the attempt that it draws by."""
_REASONS = {429: "rate_limited", 503: "service_full"}


def outcome(status: int) -> str | None:
    """Why a call failed, by the status of its answer; None if it is well."""
    return None if status < 400 else _REASONS.get(status, "service_error")


class Clients:
    """The clients of one process, one for each service that it calls."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._awaited: dict[int, Awaited] = {}
        self._blocking: dict[int, Blocking] = {}
        self._session: Any = None

    def awaited(self, service: int) -> Awaited:
        """The client of awaited calls to a service."""
        if service not in self._awaited:
            spec = self._process.plan.services[service]
            httpx = spec.connections < UNLIMITED and spec.client == HttpLibrary.HTTPX
            self._awaited[service] = (HttpxAwaited if httpx else Aiohttp)(self._process, service)
        return self._awaited[service]

    def blocking(self, service: int) -> Blocking:
        """The client of blocking calls to a service."""
        if service not in self._blocking:
            _import_requests()
            limited = self._process.plan.services[service].connections < UNLIMITED
            kind = HttpxBlocking if limited else Requests
            self._blocking[service] = kind(self._process, service)
        return self._blocking[service]

    @property
    def session(self) -> Any:
        """The aiohttp session for shared accelerators."""
        return self._session

    async def open(self) -> None:
        """Open those that belong to the loop that runs."""
        if self._process.plan.accelerators and self._process.spec.shares_accelerators:
            import aiohttp

            self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        for client in self._awaited.values():
            await client.open()

    async def close(self) -> None:
        """Close them."""
        for client in self._awaited.values():
            await client.close()
        if self._session is not None:
            await self._session.close()


class _Client:
    def __init__(self, process: Process, service: int) -> None:
        self.spec = process.plan.services[service]
        self.url = f"{process.spec.outside}/service/{service}"
        self.nowhere = f"{process.spec.outside}/nothing"
        self.connections = None if self.spec.connections >= UNLIMITED else self.spec.connections
        ns = self.spec.connect_timeout_ns
        self.pool_timeout_s = None if ns >= NEVER else ns / 1e9


class Awaited(_Client):
    """Calls that free the loop."""

    async def open(self) -> None:
        """Make the client on the loop that runs."""
        raise NotImplementedError

    async def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        raise NotImplementedError

    async def close(self) -> None:
        """Close its connections."""
        raise NotImplementedError


class Aiohttp(Awaited):
    """aiohttp's ``ClientSession``."""

    async def open(self) -> None:
        """Make the session."""
        import aiohttp

        connector = aiohttp.TCPConnector(limit=self.connections or 0)
        self._session = aiohttp.ClientSession(connector=connector)
        async with aiohttp.ClientSession() as other:
            calls = (self._warm(other) for _ in range(WARM))
            await asyncio.gather(*calls, return_exceptions=True)

    async def _warm(self, session: Any) -> None:
        async with session.get(self.nowhere) as answer:
            await answer.read()

    async def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=timeout_s, connect=self.pool_timeout_s)
        try:
            async with self._session.get(self.url, headers=headers, timeout=timeout) as answer:
                await answer.read()
                return outcome(answer.status)
        except aiohttp.ConnectionTimeoutError:
            return "client_pool_timeout"
        except TimeoutError:
            return "call_timeout"
        except aiohttp.ClientError:
            return "service_error"

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()


class HttpxAwaited(Awaited):
    """httpx's ``AsyncClient``; httpx times each phase, so the whole is timed by asyncio."""

    async def open(self) -> None:
        """Make the client."""
        import httpx

        self._client = httpx.AsyncClient(**_httpx_options(self))
        async with httpx.AsyncClient(trust_env=False) as other:
            calls = (other.get(self.nowhere) for _ in range(WARM))
            await asyncio.gather(*calls, return_exceptions=True)

    async def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        import httpx

        try:
            async with asyncio.timeout(timeout_s):
                answer = await self._client.get(self.url, headers=headers)
            return outcome(answer.status_code)
        except httpx.PoolTimeout:
            return "client_pool_timeout"
        except TimeoutError:
            return "call_timeout"
        except httpx.HTTPError:
            return "service_error"

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()


class Blocking(_Client):
    """Calls that hold what makes them."""

    def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        raise NotImplementedError


class Requests(Blocking):
    """A ``requests.Session`` for each thread."""

    def __init__(self, process: Process, service: int) -> None:
        super().__init__(process, service)
        self._local = threading.local()

    def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        import requests

        try:
            answer = _session(self._local).get(self.url, headers=headers, timeout=timeout_s)
            return outcome(answer.status_code)
        except requests.Timeout:
            return "call_timeout"
        except requests.RequestException:
            return "service_error"


class HttpxBlocking(Blocking):
    """httpx's ``Client``, which its threads share; the timeout is that of each read."""

    def __init__(self, process: Process, service: int) -> None:
        super().__init__(process, service)
        import httpx

        self._client = httpx.Client(**_httpx_options(self))

    def get(self, headers: dict[str, str], timeout_s: float | None) -> str | None:
        """Call once; the reason if it fails."""
        import httpx

        timeout = httpx.Timeout(timeout_s, pool=self.pool_timeout_s)
        try:
            answer = self._client.get(self.url, headers=headers, timeout=timeout)
            return outcome(answer.status_code)
        except httpx.PoolTimeout:
            return "client_pool_timeout"
        except httpx.TimeoutException:
            return "call_timeout"
        except httpx.HTTPError:
            return "service_error"


def _httpx_options(client: _Client) -> dict[str, Any]:
    import httpx

    return {
        "limits": httpx.Limits(max_connections=client.connections, max_keepalive_connections=20),
        "timeout": httpx.Timeout(None, pool=client.pool_timeout_s),
        "trust_env": False,
    }


class RemoteDevices:
    """An accelerator that all processes share: an inference server, called over HTTP."""

    def __init__(self, process: Process, accelerator: int) -> None:
        self._url = f"{process.spec.outside}/accelerator/{accelerator}"
        self._process = process
        self._local = threading.local()
        _import_requests()

    async def submit(self, priority: int, tokens: int = 0) -> None:
        """Come back when served, on a loop."""
        session = self._process.clients.session
        async with session.post(self._url, headers=_of_item(priority, tokens)) as answer:
            said = await answer.text()
            if answer.status >= 400:
                raise Failed(said)

    def wait(self, priority: int, tokens: int = 0) -> None:
        """The same for code that blocks."""
        session = _session(self._local)
        answer = session.post(self._url, headers=_of_item(priority, tokens))
        if answer.status_code >= 400:
            raise Failed(answer.text)


def _of_item(priority: int, tokens: int) -> dict[str, str]:
    return {"x-sim-index": "0", "x-sim-priority": str(priority), "x-sim-tokens": str(tokens)}


def _import_requests() -> None:
    """Load it before the first request, which would pay for it."""
    importlib.import_module("requests")


def _session(local: threading.local) -> Any:
    """The ``requests.Session`` of this thread."""
    import requests

    session = getattr(local, "session", None)
    if session is None:
        session = local.session = requests.Session()
        session.trust_env = False  # no proxy stands between two processes of a machine
    return session


class Caller:
    """A call of a handler: attempts, each with draws of its own, until one is well."""

    def __init__(self, process: Process, step: Call, number: int, priority: int) -> None:
        self._time = process.spec.workload.time
        self._step = step
        self._number = number
        self._priority = {"x-sim-priority": str(priority)} if priority else {}
        self._label = process.plan.services[step.service].label
        self.timeout_s = None if step.timeout_ns >= NEVER else step.timeout_ns / 1e9
        self.retries = len(step.retries.backoff)

    def headers(self, task: Task, retry: int) -> dict[str, str]:
        """What tells the service whose draws to use."""
        attempt = (task.attempt + task.redone) << RETRY_BITS | retry
        return {
            "x-sim-index": str(task.index),
            "x-sim-attempt": str(attempt),
            "x-sim-sub": str(self._number),
            **self._priority,
        }

    def backoff_s(self, task: Task, retry: int) -> float:
        """The wait before the retry after this one."""
        stream = self._step.retries.backoff[retry]
        draw = self._time(stream, task.attempt + task.redone, self._number)
        return draw(task.index) / 1e9

    def failed(self, reason: str) -> Failed:
        """The failure of the request when no attempt was well."""
        return Failed(f"{reason}:{self._label}")


def awaited_call(caller: Caller, client: Awaited) -> Callable[[Task], Awaitable[None]]:
    """The step of ``async def``."""

    async def run(task: Task) -> None:
        for retry in range(caller.retries + 1):
            reason = await client.get(caller.headers(task, retry), caller.timeout_s)
            if reason is None:
                return
            if retry < caller.retries and (pause := caller.backoff_s(task, retry)):
                await asyncio.sleep(pause)
        raise caller.failed(reason or "")

    return run


def blocking_call(caller: Caller, client: Blocking) -> Callable[[Task], None]:
    """The step of ``def``."""
    import time

    def run(task: Task) -> None:
        for retry in range(caller.retries + 1):
            reason = client.get(caller.headers(task, retry), caller.timeout_s)
            if reason is None:
                return
            if retry < caller.retries and (pause := caller.backoff_s(task, retry)):
                time.sleep(pause)
        raise caller.failed(reason or "")

    return run
