"""Sync workers that pull from one accept queue.

Imitates gunicorn 27.0 with its default ``sync`` worker class: a process accepts one
connection, runs the handler to its end, answers, closes, and only then accepts again.
Connections wait in the kernel's accept queue of the shared socket, first come, first
served, so a busy worker never holds a request back that another could take.

Modelled: pull, one request per process, FIFO. Not modelled: which of several idle
workers wakes, the wait of up to 2 s for a client that does not close, the 30 s timeout.
"""

from __future__ import annotations

from models.slots import Slots


class SyncWorkers(Slots):
    """So many worker processes behind one accept queue; a slot is a worker."""
