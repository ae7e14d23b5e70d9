"""What the generator's process is told, and what it tells: plain data, pickled over pipes."""

from __future__ import annotations

from typing import Any

from simulator.arrays import IntArray
from simulator.plan import Plan
from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A load and where it goes."""

    plan: Plan
    seed: int
    replication: int
    arrival_ns: IntArray  # of the open loads
    route: IntArray
    host: str  # as the Host header says it
    family: int
    address: tuple[Any, ...]
    requests_max: int
    rate_max: float  # requests begun in any second, of users: open loads were checked before
    time_max_ns: int  # after which the run is cut
    ramp_ns: int  # between opening the connections and the first request


@dataclass(frozen=True, slots=True)
class Begun:
    """All connections are open; the first request may go at this instant."""

    origin_ns: int


RequestRow = tuple[int, int, int, int, str, int, int, int, int, bytes]
"""index, route, arrival, finish, outcome, first byte; intended, begun and sent of the last
attempt; its ``x-sim-times``. Instants of CLOCK_MONOTONIC in ns; 0 or less: it did not happen."""

AttemptRow = tuple[int, int, int, int, int, str]
"""index, attempt, intended, begun, ended, outcome."""


@dataclass(slots=True)
class Raw:
    """What was measured, as the process wrote it down."""

    origin_ns: int
    end_ns: int
    requests: list[RequestRow]
    attempts: list[AttemptRow]
    cpu_ns: int
    connections: int  # opened
    stopped: str  # why it ended before all was sent and answered; empty if it didn't
    said: dict[str, str]  # by outcome: what the first such answer said
