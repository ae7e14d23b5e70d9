"""What the processes of a served scenario are told: one file, named by an environment variable."""

from __future__ import annotations

import json
import mmap
import os
import time
from pathlib import Path
from typing import Any

from simulator.plan import Plan, ServerKind
from simulator.record import dataclass
from simulator.scenario.lower import lower
from simulator.workload import Workload

ENV = "SIM_SERVED"
"""The environment variable that names the file."""

Document = dict[str, Any]


class Clock:
    """The run's clock, shared by all processes: 0 is where the load begins.

    The load generator says when that is; if nobody does, it is the first time anyone asks.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 8)

    def begins(self, at_ns: int) -> None:
        """Let the run begin at this instant of ``time.monotonic_ns``."""
        self._shared[:8] = at_ns.to_bytes(8, "little")

    def now(self) -> int:
        """Nanoseconds since the run began; negative before."""
        began = int.from_bytes(self._shared[:8], "little")
        if not began:
            began = time.monotonic_ns()
            self.begins(began)
        return time.monotonic_ns() - began


@dataclass(frozen=True, slots=True)
class Spec:
    """A scenario and its surroundings, as each process of the service sees them."""

    document: Document  # resolved
    plan: Plan
    workload: Workload
    folder: Path  # the service's own, removed when it ends
    dsn: dict[str, str]  # by pool; empty where it has no PostgreSQL
    outside: str  # where services (and shared accelerators) are served
    clock: Clock

    @property
    def processes(self) -> int:
        """Worker processes that serve requests, over all instances."""
        return self.plan.server.workers * self.plan.server.instances

    @property
    def shares_accelerators(self) -> bool:
        """Whether accelerators stand outside: several processes, or none with a loop, use them."""
        return self.processes > 1 or self.plan.server.kind is not ServerKind.ASGI


def write(
    folder: Path,
    document: Document,
    *,
    seed: int,
    replication: int,
    dsn: dict[str, str],
    outside: str,
) -> Path:
    """Write the file that ``read`` reads."""
    path = folder / "served.json"
    told = {
        "document": document,
        "seed": seed,
        "replication": replication,
        "dsn": dsn,
        "outside": outside,
    }
    path.write_text(json.dumps(told), encoding="utf-8")
    return path


def read() -> Spec:
    """What this process was told."""
    path = Path(os.environ[ENV])
    told = json.loads(path.read_text(encoding="utf-8"))
    plan = lower(told["document"])
    return Spec(
        document=told["document"],
        plan=plan,
        workload=Workload(plan, seed=told["seed"], replication=told["replication"]),
        folder=path.parent,
        dsn=told["dsn"],
        outside=told["outside"],
        clock=Clock(path.parent / "clock"),
    )
