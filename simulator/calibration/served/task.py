"""A request on its way through a handler: its index, its attempt, and when what happened."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable
from typing import Any

INDEX = b"x-sim-index"
ATTEMPT = b"x-sim-attempt"
TIMES = "x-sim-times"

_UNNUMBERED = itertools.count()


class Marks:
    """Instants of ``time.monotonic_ns`` and the CPU time that was burnt; 0 is "never"."""

    __slots__ = ("began", "cpu", "first_connection", "first_lock", "last_query")

    def __init__(self) -> None:
        self.began = time.monotonic_ns()
        self.first_connection = 0
        self.first_lock = 0
        self.last_query = 0
        self.cpu = 0

    def header(self, hop: bool) -> str:
        """The response's ``x-sim-times``; ``hop`` if the handler began in a thread."""
        words = [f"a={self.began} b={time.monotonic_ns()}"]
        if self.first_connection:
            words.append(f"g={self.first_connection}")
        if self.last_query:
            words.append(f"f={self.last_query}")
        if self.first_lock:
            words.append(f"l={self.first_lock}")
        if self.cpu:
            words.append(f"cpu={self.cpu}")
        if hop:
            words.append(f"hop={self.began}")
        words.append(f"pid={os.getpid()}")
        return " ".join(words)


class Task:
    """One request, or a branch of it: what its draws and its held connections go by."""

    __slots__ = ("attempt", "held", "index", "marks", "redone")

    def __init__(self, index: int, attempt: int, marks: Marks) -> None:
        self.index = index
        self.attempt = attempt
        self.redone = 0  # how often the transaction around was run before
        self.held: dict[int, Any] = {}  # connections by pool
        self.marks = marks

    def branch(self) -> Task:
        """A branch of this task; it shares the marks and what is held."""
        branch = Task(self.index, self.attempt, self.marks)
        branch.redone = self.redone
        branch.held = dict(self.held)
        return branch


def from_asgi(headers: Iterable[tuple[bytes, bytes]]) -> Task:
    """The task of an ASGI request; one without an index is numbered by this process."""
    marks = Marks()
    index, attempt = -1, 0
    for name, value in headers:
        if name == INDEX:
            index = int(value)
        elif name == ATTEMPT:
            attempt = int(value)
    return Task(next(_UNNUMBERED) if index < 0 else index, attempt, marks)


def from_wsgi(environ: dict[str, Any]) -> Task:
    """The task of a WSGI request."""
    marks = Marks()
    index = environ.get("HTTP_X_SIM_INDEX")
    attempt = int(environ.get("HTTP_X_SIM_ATTEMPT", 0))
    return Task(next(_UNNUMBERED) if index is None else int(index), attempt, marks)
