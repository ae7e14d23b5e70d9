"""Threads: those of a threaded server process, and AnyIO's limiter.

``ServerThreads`` imitates gunicorn 27.0 ``gthread``: the main thread of each process
keeps accepting and pushes to its own threads, so a connection that a busy process has
accepted waits there even if another process is idle.

``ThreadLimiter`` imitates AnyIO 4.16 ``CapacityLimiter(40)``, one per event loop, as
Starlette uses it for ``def`` routes: first come, first served, and a token given back
is handed straight to the longest waiter.

A slot is numbered when it is first used, and the one used last is used next, as AnyIO does
with its idle threads: a number that is new is a thread that has to be started.

Modelled: counts, FIFO, hand-over. Not modelled: pruning of idle threads (AnyIO's after 10 s),
``worker_connections``.
"""

from __future__ import annotations

from models.slots import Slots


class ServerThreads(Slots):
    """The threads of one server process; a slot is a thread."""


class ThreadLimiter(Slots):
    """Tokens for work in threads of one event loop; a slot is a token."""
