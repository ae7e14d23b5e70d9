"""A probe: a load on some routes of a server, and what came back, request by request.

Probes speak the language's own loads, so that the same probe is sent to a real server and
played by the simulator.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np

from simulator.arrays import FloatArray
from simulator.record import dataclass

LoadDocument = dict[str, Any]
"""A load as a scenario writes it, such as ``{"users": 4, "for": "1s"}``."""

OK = "ok"


@dataclass(frozen=True, slots=True)
class Probe:
    """What is sent: a load for each route, by label such as ``GET /user``.

    ``burners``: processes beside it that compute all the time, to see who needs a core.
    """

    purpose: str
    loads: dict[str, LoadDocument]
    burners: int = 0

    @property
    def users(self) -> int:
        """The most requests that may be under way at once, as far as the loads say it."""
        return sum(int(load.get("users") or load["requests"]) for load in self.loads.values())

    def scenario(self) -> str:
        """The scenario that sends it; its steps are empty, they are the server's."""
        routes = {
            f"r{i}": {"path": label, "handler": "async def", "steps": [], "load": load}
            for i, (label, load) in enumerate(self.loads.items())
        }
        kept = {"connections": {"kept": self.users}}
        return json.dumps({"name": "probe", "client": kept, "routes": routes})


@dataclass(frozen=True, slots=True)
class Answers:
    """What came back: one entry per request, in order of its index.

    Seconds count from the first request of the probe.
    """

    route: list[str]
    sent_s: list[float]
    finish_s: list[float]  # nan where none came
    outcome: list[str]
    handed_s: list[float] | None = None  # to the kernel, where it is known: ``sent_s`` or later
    server_cpu_s: float | None = None  # of its processes meanwhile, where they are known

    def __len__(self) -> int:
        return len(self.route)

    def of(self, label: str) -> Answers:
        """Those of one route."""
        rows = [i for i, route in enumerate(self.route) if route == label]
        return Answers(
            [label] * len(rows),
            [self.sent_s[i] for i in rows],
            [self.finish_s[i] for i in rows],
            [self.outcome[i] for i in rows],
            self.handed_s and [self.handed_s[i] for i in rows],
        )

    @property
    def ok(self) -> FloatArray:
        """Latencies of the requests that were answered well, in seconds, by index."""
        return self._ok_since(self.sent_s)

    @property
    def ok_handed(self) -> FloatArray:
        """The same from when the client had done its part: a client that paused is slow to send."""
        return self._ok_since(self.handed_s or self.sent_s)

    def _ok_since(self, since_s: list[float]) -> FloatArray:
        return np.asarray(
            [
                f - s
                for s, f, outcome in zip(since_s, self.finish_s, self.outcome, strict=True)
                if outcome == OK
            ],
            dtype=np.float64,
        )

    @property
    def completions(self) -> FloatArray:
        """When the good answers came, ascending, in seconds."""
        finish = [f for f, o in zip(self.finish_s, self.outcome, strict=True) if o == OK]
        return np.sort(np.asarray(finish, dtype=np.float64))

    @property
    def refused(self) -> int:
        """How many were answered otherwise, or not at all."""
        return sum(outcome != OK for outcome in self.outcome)


Ask = Callable[[Probe], Answers]
"""Sends a probe and gives back what came; a server, a record of one, or the simulator."""
