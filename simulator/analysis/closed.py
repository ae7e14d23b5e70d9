"""Asymptotic bounds of closed loads: what N users, their thinking and the demands allow.

X ≤ min(1 / Dmax, N / (Z + S)) for N users who think for Z and whose requests take S without
any waiting, where Dmax is the largest demand of a request on one station (Denning and Buzen
1978). The two meet at the knee N* = (Z + S) / Dmax. Not modelled: classes of users, whose
means are mixed; ramps; plans with other loads beside the closed ones, which have no bound here.
"""

from __future__ import annotations

from fractions import Fraction

from simulator.analysis.bounds import Bound
from simulator.analysis.summary import SECOND_NS, Summary
from simulator.plan import LoadKind, Plan
from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class ClosedBound:
    """What closed loads could ask for, and what the busiest station can serve."""

    users: int
    think_ns: Fraction
    own_ns: Fraction  # of a request, without any wait
    demand_ns: Fraction  # of a request on the busiest station

    @property
    def asked(self) -> Fraction:
        """Requests per second if nobody waited: N / (Z + S)."""
        return self.users * SECOND_NS / (self.think_ns + self.own_ns)

    @property
    def served(self) -> Fraction:
        """Requests per second at most: 1 / Dmax."""
        return SECOND_NS / self.demand_ns

    @property
    def knee(self) -> Fraction:
        """N*: with more users than that somebody always waits."""
        return (self.think_ns + self.own_ns) / self.demand_ns


def is_closed(plan: Plan) -> bool:
    """Whether all requests come from users who wait for their answers."""
    return bool(plan.loads) and all(load.kind is LoadKind.CLOSED for load in plan.loads)


def closed_bound(plan: Plan, summary: Summary, bound: Bound | None) -> ClosedBound | None:
    """The bounds of a run; None for other loads, and where nothing was held."""
    finished = summary.total.finished
    if bound is None or not is_closed(plan) or not finished or not bound.bound_ns:
        return None
    users = sum(load.users for load in plan.loads)
    think = Fraction(0)
    for load in plan.loads:
        if load.think >= 0:
            mean = Fraction(plan.streams[load.think].distribution.mean_ns)
            think += mean * load.users / users
    own = Fraction(sum(row.mean_ns for row in summary.breakdown if row.kind == "hold"))
    if not own:
        return None
    return ClosedBound(users, think, own, Fraction(bound.bound_ns, finished))
