"""What is sent, and what an answer means in the simulator's words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from simulator.calibration.generator.connection import Connection
from simulator.calibration.generator.job import Job

Payload = Callable[[int, int], bytes]
"""The bytes of a request by its index and attempt."""


def payloads(job: Job) -> list[Payload]:
    """What is sent, by route."""
    return [_payload(route.label, route.name, job.host) for route in job.plan.routes]


def method_and_path(label: str, name: str) -> tuple[str, str]:
    """``GET /user`` of a route's label; a route without a path has its name as one."""
    method, space, path = label.partition(" ")
    return (method, path) if space and path.startswith("/") else ("GET", f"/{name}")


def _payload(label: str, name: str, host: str) -> Payload:
    method, path = method_and_path(label, name)
    before, *after = re.split(r"\{[^}]*\}", path)
    length = "" if method in ("GET", "HEAD") else "Content-Length: 0\r\n"
    tail = f"Host: {host}\r\n{length}x-sim-index: "

    def payload(index: int, attempt: int) -> bytes:
        number = str(index)
        filled = before + "".join(number + part for part in after)
        again = f"\r\nx-sim-attempt: {attempt}" if attempt else ""
        return f"{method} {filled} HTTP/1.1\r\n{tail}{number}{again}\r\n\r\n".encode("latin-1")

    return payload


def outcome_of(connection: Connection, known: tuple[str, ...]) -> str:
    """The outcome of an answer: its reason where the served scenario gives one.

    uvicorn's own 503, ``--limit-concurrency``, says no reason.
    """
    status = connection.status
    if 200 <= status < 400:
        return "ok"
    if status == 503:
        try:
            said = json.loads(connection.body)["outcome"]
        except (ValueError, KeyError, TypeError):
            plain = connection.body.startswith(b"Service Unavailable")
            return "limit_concurrency" if plain else "http_503"
        if said in known:
            return str(said)
    return f"http_{status}"
