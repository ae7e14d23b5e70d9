"""Asking a served scenario: one request, many at once, and what its answers say."""

from __future__ import annotations

import http.client
import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from simulator.calibration.served import Running


@dataclass(frozen=True)
class Answer:
    """One answer, with instants of ``time.monotonic_ns``."""

    status: int
    body: bytes
    times: dict[str, int]  # the marks of x-sim-times
    sent: int
    received: int
    index: int

    @property
    def took_s(self) -> float:
        return (self.received - self.sent) / 1e9

    @property
    def outcome(self) -> str:
        """``ok``, or why it failed."""
        return "ok" if self.status == 200 else str(json.loads(self.body)["outcome"])

    def between_s(self, first: str, last: str) -> float:
        """From one mark to another."""
        return (self.times[last] - self.times[first]) / 1e9


def ask(
    running: Running, path: str, index: int = 0, *, attempt: int = 0, method: str = "GET"
) -> Answer:
    where = urlsplit(running.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    headers = {"x-sim-index": str(index), "x-sim-attempt": str(attempt)}
    sent = time.monotonic_ns()
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    body = response.read()
    received = time.monotonic_ns()
    connection.close()
    words = (response.headers.get("x-sim-times") or "").split()
    times = {name: int(at) for name, at in (word.split("=") for word in words)}
    return Answer(response.status, body, times, sent, received, index)


def ask_many(running: Running, path: str, count: int, *, method: str = "GET") -> list[Answer]:
    """So many requests at once, by index."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda i: ask(running, path, i, method=method), range(count)))


def makespan_s(answers: list[Answer]) -> float:
    return (max(a.received for a in answers) - min(a.sent for a in answers)) / 1e9


def within(low_s: float, measure: Callable[[], float], high_s: float) -> None:
    """A duration is never below ``low_s`` and, in one of five tries, below ``high_s``.

    What else runs on the machine lengthens some; a service that does it wrong is slow in all.
    """
    took = []
    for _ in range(5):
        took.append(measure())
        assert took[-1] > low_s
        if took[-1] < high_s:
            return
        time.sleep(0.5)
    raise AssertionError(f"{took}, expected one below {high_s} s")


def processes_of(folder: Path) -> list[int]:
    """Processes that have this folder in their command line or environment."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            told = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in told:
            found.append(int(entry.name))
    return found


def alive(pids: list[int]) -> list[int]:
    """Which of these processes still run; those that nobody has waited for don't."""
    out = []
    for pid in pids:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except OSError:
            continue
        if state not in "ZX":
            out.append(pid)
    return out


def all_pids(running: Running) -> list[int]:
    return [running.pid, *(pid for pids in running.processes.values() for pid in pids)]


def gone(pids: list[int], within_s: float = 5.0) -> list[int]:
    """Which of these processes still run after so long."""
    ends = time.monotonic() + within_s
    while (left := alive(pids)) and time.monotonic() < ends:
        time.sleep(0.05)
    return left
