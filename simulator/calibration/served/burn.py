"""Burning CPU for an exact thread time: with the GIL, as Python code does, or without it.

``time.thread_time_ns`` counts what this thread computed, whoever else ran meanwhile, so the
work is the same on a busy machine and on a slow one; only how long it takes differs.
"""

from __future__ import annotations

import hashlib
import time

_LOOPS = 40  # of the inner loop between two looks at the clock: about 1 µs each
_LAST_NS = 30_000  # what is left when work without the GIL stops to aim


class _Speed:
    """Iterations of PBKDF2 in a nanosecond of thread time, as last seen; slow at first."""

    per_ns = 0.0002


def with_gil(ns: int) -> int:
    """Compute in pure Python for ``ns`` of thread time; gives back what it really was."""
    clock = time.thread_time_ns
    began = clock()
    ends = began + ns
    x = 0
    while (now := clock()) < ends:
        for i in range(_LOOPS):
            x += i
    return now - began


def without_gil(ns: int) -> int:
    """The same in C code that releases the GIL, as numpy, zlib or hashlib do.

    ``hashlib.pbkdf2_hmac`` lets go of it for all its iterations. A first call of most of the
    work tells the speed of now, a second does the rest.
    """
    clock = time.thread_time_ns
    began = clock()
    ends = began + ns
    share = 0.6
    while True:
        before = clock()
        left = ends - before
        if left <= 0:
            return before - began
        iterations = max(1, int(left * _Speed.per_ns * (share if left > _LAST_NS else 1.0)))
        hashlib.pbkdf2_hmac("sha256", b"work", b"work", iterations)
        took = clock() - before
        if iterations > 20 and took > 0:
            _Speed.per_ns = iterations / took
        share = 0.9
