"""What of a run is compared with its prediction, and how close is close enough."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from statistics import median

from simulator.analysis.summary import Summary
from simulator.engines.contract import CPU, FRAMEWORK, GIL
from simulator.plan import Plan, ServerKind
from simulator.record import dataclass
from simulator.trace import Trace

ABSOLUTE_S = 0.002
"""Always allowed: what timers, a scheduler and a loopback do to any request."""
SHARE = 0.5
"""A run is bound by CPU where computing takes that much of its processes' time, or of the
latency of its requests."""
GIL_SHARE = 0.02
"""… and by the GIL where waiting for it is that much of the latency."""
INTERVAL = 0.95


class Bound(Enum):
    """What a run is bound by; it decides how close a prediction has to be."""

    WAITS = "sleep, lock or database"
    CPU = "CPU"
    GIL = "GIL"
    SPLIT = "several workers"


TOLERANCE = {Bound.WAITS: 0.10, Bound.CPU: 0.25, Bound.GIL: 0.35, Bound.SPLIT: 0.10}
"""Relative, of the median of all runs; of several workers the interval counts, too."""

FIGURES = ("makespan", "throughput", "mean", "p50", "p95", "p99")
_JUDGED = {Bound.GIL: ("mean", "p50")}
_USUAL = ("makespan", "throughput", "p50", "p95", "p99")

Values = dict[str, float | None]
"""By figure: seconds, or requests per second; None where there is none."""


def bound(plan: Plan, trace: Trace, summary: Summary) -> Bound:
    """What a simulated run is bound by."""
    server = plan.server
    processes = server.workers * server.instances
    if processes > 1 and server.kind is not ServerKind.SYNC:
        return Bound.SPLIT
    spent = trace.spent_ns.sum(axis=0)
    total = max(1, int(spent.sum()))
    if spent[GIL] / total >= GIL_SHARE:
        return Bound.GIL
    computed = int(spent[CPU] + spent[FRAMEWORK])
    busy = computed / max(1, summary.run_ns * processes)
    return Bound.CPU if max(busy, computed / total) >= SHARE else Bound.WAITS


def values(summary: Summary) -> Values:
    """The figures of a run."""
    latency = summary.total.latency
    times = {
        "makespan": summary.run_ns,
        "mean": latency.mean_ns,
        "p50": latency.percentile_ns(50),
        "p95": latency.percentile_ns(95),
        "p99": latency.percentile_ns(99),
    }
    out: Values = {name: None if ns is None else ns / 1e9 for name, ns in times.items()}
    rate = summary.total.throughput
    out["throughput"] = None if rate is None else float(rate)
    return out


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure: measured in every run, predicted in every replication."""

    name: str
    measured: tuple[float, ...]
    predicted: tuple[float, ...]  # ascending
    tolerance: float  # relative
    slack: float  # absolute, in the figure's own unit
    judged: bool
    by_interval: bool  # the interval of the replications counts, too

    @property
    def measured_mid(self) -> float:
        return median(self.measured)

    @property
    def predicted_mid(self) -> float:
        return median(self.predicted)

    @property
    def interval(self) -> tuple[float, float]:
        """Where 95 % of the replications lie; with under 40 of them, all."""
        beyond = int(len(self.predicted) * (1 - INTERVAL) / 2)
        return self.predicted[beyond], self.predicted[-1 - beyond]

    @property
    def error(self) -> float:
        """Of the prediction, relative to what was measured."""
        if self.measured_mid == 0:
            return 0.0 if self.predicted_mid == 0 else float("inf")
        return self.predicted_mid / self.measured_mid - 1

    @property
    def agrees(self) -> bool:
        """Within the tolerance or the slack; or, if that counts, within the interval."""
        low, high = self.interval
        if self.by_interval and low - self.slack <= self.measured_mid <= high + self.slack:
            return True
        off = abs(self.predicted_mid - self.measured_mid)
        return off <= max(self.tolerance * abs(self.measured_mid), self.slack)


def figures(
    kind: Bound,
    measured: Sequence[Values],
    predicted: Sequence[Values],
    tolerance: float | None = None,
) -> tuple[Figure, ...]:
    """All figures that both sides have, with how close they have to be."""
    out = []
    makespan = [value for run in measured if (value := run["makespan"])]
    for name in FIGURES:
        ours = [value for run in measured if (value := run[name]) is not None]
        theirs = sorted(value for run in predicted if (value := run[name]) is not None)
        if not ours or not theirs:
            continue
        slack = ABSOLUTE_S
        if name == "throughput":  # what the same slack of the makespan makes of it
            slack = median(ours) * ABSOLUTE_S / median(makespan) if makespan else 0.0
        out.append(
            Figure(
                name, tuple(ours), tuple(theirs), tolerance or TOLERANCE[kind], slack,
                judged=name in _JUDGED.get(kind, _USUAL), by_interval=kind is Bound.SPLIT,
            )
        )  # fmt: skip
    return tuple(out)
