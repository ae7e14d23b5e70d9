"""What can be found of a server from outside: its routes, what limits them, the ladder."""

from __future__ import annotations

from dataclasses import field

import numpy as np

from simulator.record import dataclass

FREE, LIMIT, BLOCKS, COMPUTES, PACED, REFUSES, FAILS = (
    "free", "limit", "blocks", "computes", "paced", "refuses", "fails",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Route:
    """What was found about one route. Times in seconds."""

    label: str
    kind: str
    times: tuple[float, ...]  # of single requests, without what a request costs by itself
    slots: int = 0  # LIMIT, BLOCKS: how many requests are served at once
    between: tuple[float, float] = (0.0, 0.0)  # where only this is known of the slots
    on_loop: bool = True  # COMPUTES: on the loop or in threads that share the GIL
    rate: float = 0.0  # PACED, REFUSES: requests per second
    burst: int = 0  # PACED, REFUSES: at once, before they are paced or refused
    window_s: float = 0.0  # PACED, REFUSES: of so many per window; 0 where they trickle
    stops_all: bool = False  # others wait while it is served: it holds the loop or the process
    answers_late: bool = False  # an answer takes a slot once more, behind all that wait for one
    drift: float = 1.0  # its time at the end by that in the beginning
    drifts: bool = False  # beyond DRIFT, and beyond chance

    @property
    def time_s(self) -> float:
        """Median."""
        return float(np.median(self.times))


@dataclass(frozen=True, slots=True)
class Rung:
    """A rung of the ladder: so many users, each asking again at once."""

    label: str
    users: int
    throughput: float
    latency_s: float
    little: float  # users under way by Little's law, relative to the users


@dataclass(frozen=True, slots=True)
class Found:
    """A server as its answers show it."""

    routes: tuple[Route, ...]
    shared: tuple[tuple[str, ...], ...]  # routes that use the same limit, two or more each
    cost_s: float  # the loop's time for a request that does nothing
    single_s: float  # latency of such a request, alone
    rungs: tuple[Rung, ...]
    drift: float  # of requests that do nothing: the slowest median by the fastest
    problems: tuple[str, ...] = field(default=())

    def route(self, label: str) -> Route:
        """By its label."""
        return next(route for route in self.routes if route.label == label)
