"""Predicted against measured, on loads that nothing was fitted to.

The same arrivals are sent and simulated. Of a served scenario the service times are the same,
too, and computing is predicted with the thread time that it took in the runs; those of a
server that is known by its URL are drawn anew. Both sides have an interval: the measured one
over the runs, the predicted one over replications.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import numpy as np

from simulator.analysis.summary import summarize
from simulator.arrays import FloatArray
from simulator.calibration.figures import FIGURES, values
from simulator.calibration.generator import Budget, CouldNotKeepUp, Live, drive
from simulator.calibration.measuring import computed, cpu_steps
from simulator.calibration.predicting import Redecided, with_split
from simulator.engines.reference import run
from simulator.plan import Plan
from simulator.record import dataclass
from simulator.trace import Trace
from simulator.workload import Workload

RUNS = 3
REPLICATIONS = 20
TRIES = 4
RELATIVE = 0.10
ABSOLUTE_S = 0.002
CURVE = tuple(range(1, 100))
"""The percentiles of the pictures."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of one load; seconds, or requests per second for throughput."""

    load: str
    figure: str
    measured: tuple[float, float, float]  # low, middle, high
    predicted: tuple[float, float, float]
    agrees: bool

    @property
    def error(self) -> float:
        """Of the prediction, relative to what was measured."""
        return self.predicted[1] / self.measured[1] - 1 if self.measured[1] else 0.0


@dataclass(frozen=True, slots=True)
class Curve:
    """Latencies at the percentiles ``CURVE``, in seconds: of all runs and replications."""

    load: str
    measured: FloatArray  # shape (runs, 99)
    predicted: FloatArray  # shape (replications, 99)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a check of a server says."""

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    late: int  # runs that the generator had to send again
    partial: str  # why not all was measured; empty if it was


def agreement(
    plans: dict[str, Plan],
    url: str,
    *,
    served: bool = False,
    splits: tuple[tuple[int, ...], ...] = (),
    runs: int = RUNS,
    budget: Budget | None = None,
    allow_remote: bool = False,
    say: Callable[[str], None] = lambda text: None,
) -> Agreement:
    """Send each load, simulate it, and compare.

    Parameters
    ----------
    plans : dict
        By name of the load.
    served : bool
        Whether the server draws the very times of these plans.
    splits : tuple of tuple of int
        How its workers share connections, as observed; each replication has one of them.

    Raises
    ------
    GeneratorError
        The load could not be sent, or not on time.
    """
    rows: list[Row] = []
    drawn: list[Curve] = []
    again, partial = 0, ""
    began, done = time.monotonic(), 0
    for name, plan in plans.items():
        lives: list[Live] = []
        for k in range(runs):
            left_s = (time.monotonic() - began) * (len(plans) * runs - done) / max(done, 1)
            left = f", about {left_s:.0f} s left" if done else ""
            say(f"{name}: run {k + 1} of {runs}{left}")
            done += 1
            live, late = _sent(plan, url, budget, allow_remote)
            again += late
            if live.partial:
                partial = f"{name}: {live.partial}"
                break
            lives.append(live)
        if not lives:
            break
        say(f"{name}: simulating")
        traces = _simulated(plan, lives if served else [], splits)
        rows += _rows(name, plan, [live.trace for live in lives], traces)
        drawn.append(Curve(name, curves([v.trace for v in lives]), curves(traces)))
        if partial:
            break
    return Agreement(tuple(rows), tuple(drawn), again, partial)


def _sent(plan: Plan, url: str, budget: Budget | None, allow_remote: bool) -> tuple[Live, int]:
    for late in range(TRIES):
        try:
            workload = Workload(plan)
            return drive(plan, workload, url, budget=budget, allow_remote=allow_remote), late
        except CouldNotKeepUp:
            if late == TRIES - 1:
                raise
    raise AssertionError("unreachable")


def _simulated(plan: Plan, lives: list[Live], splits: tuple[tuple[int, ...], ...]) -> list[Trace]:
    """Replications with the arrivals that were sent; with the served times where there are any."""
    if not lives:
        return [run(plan, _drawn_anew(plan, k)) for k in range(REPLICATIONS)]
    ratios = [took / said for took, said in (computed(plan, live) for live in lives) if said]
    steps = [step for route in plan.routes for step in cpu_steps((*route.steps, *route.after))]
    streams = frozenset(step.time for step in steps)
    cpu = median(ratios) if ratios else 1.0
    chosen = [with_split(plan, splits[k % len(splits)]) if splits else plan
              for k in range(REPLICATIONS)]  # fmt: skip
    return [run(one, Redecided(one, k, cpu, streams)) for k, one in enumerate(chosen)]


def _drawn_anew(plan: Plan, replication: int) -> Workload:
    arrival, route = Workload(plan).arrivals()
    workload = Workload.scripted(plan, arrival=arrival.tolist(), route=route.tolist())
    workload.replication = replication
    return workload


def _rows(name: str, plan: Plan, measured: list[Trace], simulated: list[Trace]) -> list[Row]:
    ours = [values(summarize(plan, trace)) for trace in measured]
    theirs = [values(summarize(plan, trace)) for trace in simulated]
    out = []
    for figure in FIGURES:
        a = sorted(v for run in ours if (v := run[figure]) is not None)
        b = sorted(v for run in theirs if (v := run[figure]) is not None)
        if a and b:
            ours_s, theirs_s = (a[0], median(a), a[-1]), (b[0], median(b), b[-1])
            out.append(Row(name, figure, ours_s, theirs_s, _agree(figure, ours_s, theirs_s)))
    return out


def _agree(figure: str, measured: tuple[float, ...], predicted: tuple[float, ...]) -> bool:
    """Within 10 % or 2 ms, or where the two intervals meet."""
    slack = 0.0 if figure == "throughput" else ABSOLUTE_S
    if abs(predicted[1] - measured[1]) <= max(RELATIVE * measured[1], slack):
        return True
    meet = predicted[0] <= measured[2] and measured[0] <= predicted[2]
    return meet and predicted[0] < predicted[2]


def curves(traces: list[Trace]) -> FloatArray:
    """Latencies at the percentiles ``CURVE``, a row for each trace with good answers."""
    latencies = [trace.latency_ns[trace.outcome == 0] / 1e9 for trace in traces]
    found = [np.percentile(ok, CURVE) for ok in latencies if len(ok)]
    return np.asarray(found).reshape(-1, len(CURVE))
