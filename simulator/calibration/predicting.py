"""Simulates what was measured: the same arrivals and service times, the same thread time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from simulator.analysis.summary import Summary, summarize
from simulator.calibration.measuring import Measured, cpu_steps
from simulator.engines.reference import run
from simulator.plan import Accept, Plan
from simulator.trace import Trace
from simulator.workload import Draw, Workload

REPLICATIONS = 20
"""Of a prediction in which chance decides."""


def predict(plan: Plan, measured: Measured, first: Trace) -> list[Summary]:
    """A run for each replication: with an observed split each, or with other decisions.

    Parameters
    ----------
    first : Trace
        The plain run of the plan.
    """
    streams = frozenset(
        step.time for route in plan.routes for step in cpu_steps((*route.steps, *route.after))
    )
    cpu = measured.cpu or 1.0
    return [
        summarize(chosen, run(chosen, Redecided(chosen, k, cpu, streams)))
        for k, chosen in enumerate(_plans(plan, measured.splits, first))
    ]


class Redecided(Workload):
    """The draws of the measured runs, with decisions of another replication.

    What the scenario's cpu steps take is what they took in the runs: ``cpu`` times theirs.
    """

    def __init__(self, plan: Plan, decisions: int, cpu: float, streams: frozenset[int]) -> None:
        super().__init__(plan)
        self._decided = Workload(plan, replication=decisions)
        self._cpu, self._streams = cpu, streams

    def decide(self, station: str, number: int, options: int) -> int:
        return self._decided.decide(station, number, options)

    def decide_by_weight(self, station: str, number: int, weights: Sequence[float]) -> int:
        if station.startswith("load["):  # who asks for what is no decision of the run
            return super().decide_by_weight(station, number, weights)
        return self._decided.decide_by_weight(station, number, weights)

    def time(self, stream: int, attempt: int = 0, sub: int = 0) -> Draw:
        draw = super().time(stream, attempt, sub)
        if stream not in self._streams:
            return draw
        return lambda index: round(draw(index) * self._cpu)


def _plans(plan: Plan, splits: tuple[tuple[int, ...], ...], first: Trace) -> list[Plan]:
    """The plan of each replication: with an observed split each, or the same again."""
    if splits:
        return [with_split(plan, shares) for shares in splits]
    again = Redecided(plan, 1, 1.0, frozenset())
    chance = not np.array_equal(run(plan, again).finish_ns, first.finish_ns)
    return [plan] * (REPLICATIONS if chance else 1)


def with_split(plan: Plan, shares: tuple[int, ...]) -> Plan:
    """The plan whose workers have these shares of the connections."""
    weights = tuple(n / sum(shares) for n in _padded(shares, plan.server.workers))
    server = replace(plan.server, accept=Accept.WEIGHTS, accept_weights=weights)
    return replace(plan, server=server)


def _padded(shares: tuple[int, ...], workers: int) -> tuple[int, ...]:
    return (shares + (0,) * workers)[:workers]
