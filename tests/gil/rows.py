"""The rows: loop, burners, burn and switch interval, and what the model says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from simulator.engines.contract import OK
from simulator.engines.reference import run
from simulator.scenario import load
from simulator.workload import Workload

SCENARIO = Path(__file__).parents[1] / "truth" / "scenarios" / "c15-light.yaml"
STORED = Path(__file__).with_name("measured.json")
RATE = 45.0
"""Light requests a second."""
ALLOWED = 0.35
"""Of a mean, either way."""
FIGURES = ("mean", "p50", "p90")


@dataclass(frozen=True, slots=True)
class Row:
    loop: str
    k: int
    burn_ms: float
    interval_ms: float

    @property
    def name(self) -> str:
        return f"{self.loop} k={self.k} {self.burn_ms:g}ms switch {self.interval_ms:g}ms"


def rows() -> Iterator[Row]:
    """k × loop at 20 ms, and more burn lengths and switch intervals."""
    for loop in ("uvloop", "asyncio"):
        for k in (1, 2, 4, 16):
            yield Row(loop, k, 20, 5)
        for k in (1, 4):
            yield Row(loop, k, 100, 5)
            for interval_ms in (0.5, 20):
                yield Row(loop, k, 100, interval_ms)
            yield Row(loop, k, 2, 5)


def figures(latencies_ms: Sequence[float]) -> dict[str, float]:
    p50, p90 = np.percentile(latencies_ms, [50, 90])
    named = {"mean": float(np.mean(latencies_ms)), "p50": float(p50), "p90": float(p90)}
    return {name: round(value, 2) for name, value in named.items()}


def predict(row: Row, *, replications: int = 5, wake_us: float | None = None) -> dict[str, float]:
    """The same figures by the model, over all replications."""
    assigned = {
        "vars.loop": row.loop,
        "vars.k": row.k,
        "vars.burn": f"{row.burn_ms:g}ms",
        "vars.switch_interval": f"{row.interval_ms:g}ms",
        "routes.light.load.rate": f"{RATE:g}/s",
    }
    if wake_us is not None:
        assigned["server.gil"] = f"{{wake: {round(wake_us * 1e3)}ns}}"
    plan = load(SCENARIO, [f"{key}={value}" for key, value in assigned.items()]).plan
    latencies: list[float] = []
    for replication in range(replications):
        trace = run(plan, Workload(plan, replication=replication))
        light = (trace.outcome == OK) & (trace.route == 0)
        latencies += ((trace.finish_ns - trace.arrival_ns)[light] / 1e6).tolist()
    return figures(latencies)


def stored() -> dict[str, Any]:
    """What was measured: when and where, and the figures of each row's runs."""
    if not STORED.exists():
        return {"rows": {}}
    data: dict[str, Any] = json.loads(STORED.read_text())
    return data


def measured(row: Row) -> dict[str, float]:
    """The medians of the row's stored runs."""
    runs = stored()["rows"][row.name]
    return {key: median(run[key] for run in runs) for key in FIGURES}
