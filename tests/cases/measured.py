"""What a run of a scenario measures, in the words of queueing theory and the unit of its case."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulator.arrays import BoolArray, FloatArray, IntArray
from simulator.engines.contract import OK
from simulator.plan import Plan
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Trace
from tests.cases import estimate
from tests.cases.estimate import Estimate


@dataclass(frozen=True)
class Measured:
    """A trace after its warm-up; times are in ``unit_ns``.

    The first ``warm_up`` of the requests are dropped, the rest makes ``batches``
    batches by arrival, or as many windows of equal length in time up to the last arrival.
    """

    plan: Plan
    trace: Trace
    unit_ns: int
    warm_up: float
    batches: int

    @property
    def first(self) -> int:
        return int(len(self.trace) * self.warm_up)

    @property
    def edges_ns(self) -> FloatArray:
        arrival = self.trace.arrival_ns
        return np.linspace(float(arrival[self.first]), float(arrival[-1]), self.batches + 1)

    # Values by request, in order of arrival.

    def where(self, *, route: str = "", ok: bool = False) -> BoolArray:
        """The rows of a route (all if not named), the ok ones alone if asked."""
        rows = np.arange(len(self.trace)) >= self.first
        rows &= self._of_route(self.trace.route, route)
        return rows & (self.trace.outcome == OK) if ok else rows

    def response(self, *, route: str = "") -> FloatArray:
        """Latencies of the ok requests."""
        latency: IntArray = self.trace.latency_ns[self.where(route=route, ok=True)]
        return latency / self.unit_ns

    def waits(self, *, route: str = "", ok: bool = False) -> FloatArray:
        """Waits of requests, of all causes together."""
        causes = [i for i, cause in enumerate(self.trace.causes) if cause.kind == "wait"]
        spent: IntArray = self.trace.spent_ns[:, causes].sum(axis=1)
        return spent[self.where(route=route, ok=ok)] / self.unit_ns

    def booked(self, kind: str, *names: str) -> FloatArray:
        """What the requests spent on causes of this kind and these names."""
        causes = [i for i, c in enumerate(self.trace.causes) if c.kind == kind and c.name in names]
        assert len(causes) == len(names), names
        spent: IntArray = self.trace.spent_ns[:, causes].sum(axis=1)
        return spent[self.where(ok=True)] / self.unit_ns

    def at_station(self, label: str, *, route: str = "") -> FloatArray:
        """Times from queueing to release of the visits to a station, in that order."""
        visits = self.trace.visits
        rows = np.flatnonzero(self._visited(label, route) & (visits.request >= self.first))
        rows = rows[np.argsort(visits.queued_ns[rows], kind="stable")]
        return (visits.released_ns - visits.queued_ns)[rows] / self.unit_ns

    # Estimates.

    def mean(self, values: FloatArray) -> Estimate:
        return estimate.mean(values, self.batches)

    def percentile(self, values: FloatArray, p: float) -> Estimate:
        return estimate.percentile(values, p, self.batches)

    def share(self, rows: BoolArray) -> Estimate:
        """How often something is true."""
        return self.mean(rows.astype(np.float64))

    def failed(self) -> Estimate:
        """Share of requests that are not ok."""
        return self.share(self.trace.outcome[self.first :] != OK)

    def throughput(self, *, route: str = "") -> Estimate:
        """Ok requests that end, per unit of time."""
        ok = (self.trace.outcome == OK) & self._of_route(self.trace.route, route)
        finish = self.trace.finish_ns[ok]
        counts, _ = np.histogram(finish, self.edges_ns)
        rates = counts / (np.diff(self.edges_ns) / self.unit_ns)
        return Estimate(float(rates.mean()), estimate.half_width(rates.tolist()))

    def in_system(self) -> tuple[IntArray, IntArray]:
        """Instants of change and the number of requests in the system from there on."""
        return estimate.level(self.trace.arrival_ns, self.trace.finish_ns)

    def at_once(self, label: str, *, route: str = "") -> tuple[IntArray, IntArray]:
        """Instants of change and the number of visits that queue or are served from there on."""
        visits, rows = self.trace.visits, self._visited(label, route)
        return estimate.level(visits.queued_ns[rows], visits.released_ns[rows])

    def queueing(self, label: str) -> tuple[IntArray, IntArray]:
        """Instants of change and the number of visits that queue from there on."""
        visits, rows = self.trace.visits, self._granted(label)
        return estimate.level(visits.queued_ns[rows], visits.granted_ns[rows])

    def served(self, label: str) -> tuple[IntArray, IntArray]:
        """Instants of change and the number of visits that are served from there on."""
        visits, rows = self.trace.visits, self._granted(label)
        return estimate.level(visits.granted_ns[rows], visits.released_ns[rows])

    def some(self, step: tuple[IntArray, IntArray]) -> Estimate:
        """Share of time in which a step function is above 0."""
        at, number = step
        return self.over_time((at, (number > 0).astype(np.int64)))

    def batch_sizes(self, label: str) -> FloatArray:
        """Sizes of the batches of a single device, in order of their start."""
        visits = self.trace.visits
        rows = self._granted(label) & (visits.request >= self.first)
        return np.unique(visits.granted_ns[rows], return_counts=True)[1].astype(np.float64)

    def over_time(self, step: tuple[IntArray, IntArray | FloatArray]) -> Estimate:
        """Mean over time of a step function."""
        return estimate.over_time(*step, self.edges_ns)

    def in_states(self, count: int) -> list[Estimate]:
        """Shares of time with 0, 1, … requests in the system."""
        at, number = self.in_system()
        return [self.over_time((at, (number == n).astype(np.int64))) for n in range(count)]

    def utilization(self, label: str) -> Estimate:
        """Mean share of the slots of a station that are held."""
        at, held = self.served(label)
        slots = sum(s.size for s in self.trace.stations if s.label == label)
        return self.over_time((at, held / slots))

    # Of a run without chance: everything counts, and nothing is estimated.

    def latencies(self) -> FloatArray:
        """Latencies of all requests, ascending."""
        return np.sort(self.trace.latency_ns) / self.unit_ns

    def makespan(self) -> float:
        """From the first arrival to the last finish."""
        span = self.trace.finish_ns.max() - self.trace.arrival_ns.min()
        return float(span / self.unit_ns)

    def in_queue(self, label: str, at_ns: int) -> int:
        """How many visits wait for a station at one instant."""
        visits, rows = self.trace.visits, self._visited(label)
        until = np.where(visits.granted_ns == NOT_GRANTED, visits.released_ns, visits.granted_ns)
        return int((rows & (visits.queued_ns <= at_ns) & (until > at_ns)).sum())

    def finished_between(self, begin_ns: int, end_ns: int) -> int:
        """Requests that finish in an interval, its end included."""
        finish = self.trace.finish_ns[self.trace.finish_ns != NOT_FINISHED]
        return int(((finish > begin_ns) & (finish <= end_ns)).sum())

    def _visited(self, label: str, route: str = "") -> BoolArray:
        stations = [i for i, s in enumerate(self.trace.stations) if s.label == label]
        assert stations, f"no station {label}"
        visits = self.trace.visits
        rows: BoolArray = np.isin(visits.station, stations)
        return rows & self._of_route(self.trace.route[visits.request], route)

    def _granted(self, label: str) -> BoolArray:
        granted: BoolArray = self.trace.visits.granted_ns != NOT_GRANTED
        return self._visited(label) & granted

    def _of_route(self, numbers: IntArray, route: str) -> BoolArray:
        """Which of the numbers are that of a route (all if not named)."""
        if not route:
            return np.ones(len(numbers), dtype=np.bool_)
        index = [r.name for r in self.plan.routes].index(route)
        return np.asarray(numbers == index)
