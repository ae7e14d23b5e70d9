"""Memory that open connections and threads of a run take at their most."""

from __future__ import annotations

import numpy as np

from simulator.analysis.resources import select, steps_of
from simulator.analysis.routes import broadcasts, streams
from simulator.engines.contract import IN_FLIGHT
from simulator.plan import Plan
from simulator.record import dataclass
from simulator.trace import NOT_GRANTED, Trace


@dataclass(frozen=True, slots=True)
class Memory:
    """The most that was open at once in all processes together, and what each takes.

    A connection is open from the arrival of its request to the answer; those that the
    client keeps are open all the time. Python itself, and what handlers hold, is not in it.
    """

    connections: int
    connection_bytes: int  # of each
    threads: int
    thread_bytes: int  # of each, resident

    @property
    def total_bytes(self) -> int:
        return self.connections * self.connection_bytes + self.threads * self.thread_bytes


def measure_memory(plan: Plan, trace: Trace) -> Memory | None:
    """What connections and threads take; None where nothing is streamed or broadcast.

    The bytes of a connection are those of a WebSocket: requests that end soon cost less.
    """
    server = plan.server
    if not any(streams(route) or broadcasts(route) for route in plan.routes):
        return None
    found = Memory(
        max(_most_connections(trace), plan.client.kept_connections),
        server.connection_bytes,
        sum(_most_threads(trace, i) for i, s in enumerate(trace.stations) if s.kind == "threads"),
        server.thread_bytes,
    )
    return found if found.total_bytes else None


def _most_connections(trace: Trace) -> int:
    end = np.where(trace.outcome == IN_FLIGHT, trace.end_ns, trace.finish_ns)
    return _most(trace.arrival_ns, end)


def _most_threads(trace: Trace, station: int) -> int:
    """Threads of one process that were held at once."""
    rows = (trace.visits.station == station) & (trace.visits.granted_ns != NOT_GRANTED)
    visits = select(trace.visits, rows)
    return _most(visits.granted_ns, visits.released_ns)


def _most(begin: np.ndarray, end: np.ndarray) -> int:
    open_ = steps_of(begin, end)[1]
    return int(open_.max()) if len(open_) else 0
