"""Replays of recorded runs: the same sends, the model instead of the server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import IntArray
from simulator.engines.contract import AWAIT, BLOCK, OK
from simulator.engines.reference import run
from simulator.plan import Plan
from simulator.scenario import load
from simulator.trace import NOT_FINISHED, Trace
from simulator.units import parse_duration
from simulator.workload import Workload
from tests.truth.cases import Case
from tests.truth.overheads import COLD
from tests.truth.recorded import Figures, Recorded, recorded, warm

SCENARIOS = Path(__file__).parent / "scenarios"
REPLICATIONS = 200
"""Of a case in which chance decides."""


@dataclass(frozen=True, slots=True)
class Replay:
    """A recorded run and what the model says of it, once for each replication."""

    case: Case
    recorded: Recorded
    predicted: tuple[Figures, ...]

    def values(self, figure: str) -> list[float]:
        """One figure in all replications, ascending."""
        return sorted(figures[figure] for figures in self.predicted)


def replay(
    case: Case, replications: int = REPLICATIONS, costs: Mapping[str, int] | None = None
) -> Replay:
    """Play a case: once, or as often as asked where chance decides in it.

    Replication k gets the split of connections of the recorded repeat k (mod repeats).
    ``costs``: overheads in ns instead of those of its scenario, by field of ``Overheads``.
    """
    source = recorded(case.run)
    if case.warm:
        source = warm(source)
    count = replications if case.chance else 1
    used = {f"{key}_ns": parse_duration(COLD[key][0]) for key in case.cold} | dict(costs or {})
    return Replay(case, source, tuple(_play(case, source, k, used) for k in range(count)))


def _play(case: Case, source: Recorded, replication: int, costs: Mapping[str, int]) -> Figures:
    plan = _plan(case, source.splits[replication % len(source.splits)])
    if costs:
        overheads = replace(plan.server.overheads, **costs)
        plan = replace(plan, server=replace(plan.server, overheads=overheads))
    if "KiB" in case.figures:
        server = plan.server
        used = server.thread_bytes if "thread" in case.run else server.connection_bytes
        return {"KiB": used / 1024}
    workload, order = _workload(case, source, plan, replication)
    trace = run(plan, workload)
    sent = trace.arrival_ns
    if order is not None:
        sent = np.asarray(source.intended_ns, dtype=np.int64)[order]
    return {name: _figure(name, trace, plan, sent) for name in case.figures}


@cache
def _plan(case: Case, split: tuple[int, ...]) -> Plan:
    """The plan of a case; its scenario's vars are taken from the recorded config."""
    path = SCENARIOS / f"{case.scenario}.yaml"
    text = path.read_text()
    vars = _vars(recorded(case.run), split) | dict(case.vars)
    used = {k: v for k, v in vars.items() if f"${{{k}}}" in text}
    plan = load(path, [f"vars.{k}={v}" for k, v in used.items()]).plan
    if not case.own_overhead:
        return plan
    # It holds all that came on top of the service: the sleep's overshoot too.
    worker_ns = recorded(case.run).overhead_ns
    overheads = replace(plan.server.overheads, worker_ns=worker_ns, sleep_ns=0)
    return replace(plan, server=replace(plan.server, overheads=overheads))


_MS = {"sleep": "sleep_s", "every": "dt_s"}
_COUNTS = {"workers": "workers", "threads": "threads", "pool": "asyncpg_pool", "chunks": "chunks"}


def _vars(source: Recorded, split: tuple[int, ...]) -> dict[str, Any]:
    config = source.config
    out: dict[str, Any] = {"n": source.n, "split": list(split)}
    if config.get("workers", 1) > len(split):
        # A worker that got nothing isn't in the recorded split.
        out["split"] = [*split, *[0] * (config["workers"] - len(split))]
    out |= {k: f"{config[key] * 1e3:g}ms" for k, key in _MS.items() if key in config}
    out |= {k: config[key] for k, key in _COUNTS.items() if key in config}
    if source.batch_ms:
        last = recorded("c10_batch8_10ms_l300").batch_ms  # it has seen all sizes
        out["table"] = {k: f"{ms}ms" for k, ms in (last | source.batch_ms).items()}
    if "burn_ms_nominal" in config:
        out["burn"] = f"{config['burn_ms_nominal']}ms"
    kept = config.get("preconnect", True)
    out["connections"] = f"{{kept: {source.n}}}" if kept else "new"
    return out


def _workload(
    case: Case, source: Recorded, plan: Plan, replication: int
) -> tuple[Workload, IntArray | None]:
    """The recorded sends (and times) as a workload, and which recorded request each row is."""
    if not source.arrivals_ns or any(load.users for load in plan.loads):
        return Workload(plan, replication=replication), None
    sent = np.asarray(source.arrivals_ns, dtype=np.int64)
    order = np.argsort(sent, kind="stable")
    times = {}
    if case.service:
        times[case.service] = [source.service_ns[i] for i in order]
    workload = Workload.scripted(plan, arrival=sent[order].tolist(), times=times)
    workload.replication = replication
    return workload, order


def _figure(name: str, trace: Trace, plan: Plan, sent: IntArray) -> float:
    """One figure of a trace; latencies count from the intended send, over ok requests."""
    rows = trace.outcome == OK
    names = [route.name for route in plan.routes]
    if "light" in names:
        rows &= trace.route == names.index("light")
    if name == "ok":
        return float(rows.sum())
    if name == "share":
        counts = np.bincount(trace.process, minlength=plan.server.workers)
        return float(counts.max() / counts.sum())
    if name == "held":
        return float(trace.spent_ns[:, [AWAIT, BLOCK]].sum() / 1e9)
    ended = trace.finish_ns[trace.finish_ns != NOT_FINISHED]
    span = float(ended.max() - trace.arrival_ns.min()) / 1e9
    if name == "makespan":
        return span
    if name == "rps":
        return float(rows.sum()) / span
    latency = (trace.finish_ns - sent)[rows] / 1e9
    if name == "mean":
        return float(latency.mean())
    if name in ("first", "second", "third"):
        return float(np.sort(latency)[("first", "second", "third").index(name)])
    return float(np.percentile(latency, float(name.removeprefix("p"))))
