"""Several replications, as pictures and reports show them."""

from __future__ import annotations

from collections.abc import Sequence

from simulator.experiments.measures import Numbers
from simulator.experiments.replications import Replicated
from simulator.record import dataclass
from simulator.report import format
from simulator.report.colours import BLACK, BLUE, LINES
from simulator.report.curves import Curve, Latencies, curves
from simulator.report.text import clean


@dataclass(frozen=True, slots=True, eq=False)
class Several:
    """What is drawn of all replications; the rest is drawn of the first."""

    found: Replicated
    curves: tuple[Curve, ...]  # routes, and the total where there are several

    @property
    def replications(self) -> int:
        return len(self.found.runs)

    @property
    def total(self) -> Numbers:
        return self.found.together.total

    @property
    def one(self) -> str:
        """Stands behind the title of what is drawn of one of them."""
        return f" (replication 1 of {self.replications})"

    @property
    def coloured(self) -> list[tuple[Curve, str]]:
        """The curves in their colours; only the total where there are too many."""
        *routes, total = self.curves
        if not routes:
            return [(total, BLUE)]
        every = [*zip(routes, LINES, strict=False), (total, BLACK)]
        return every if len(routes) <= len(LINES) else every[-1:]


def several_of(found: Replicated, kept: Sequence[Latencies]) -> Several:
    """The replications with what was kept of each (``curves.latencies``)."""
    routes = {route.name: route.label for route in found.first.scenario.plan.routes}
    labels = routes if len(routes) == 1 else routes | {"": "total"}
    answered = {name: [_answered(run.group(name or None)) for run in found.runs] for name in labels}
    made = curves(labels, kept, answered)
    # The total is of all: where it is missing, nobody was answered in some replication.
    whole = made if made and made[-1].name == list(labels)[-1] else []
    return Several(found, tuple(whole))


def percentiles_title(several: Several) -> str:
    """Of latency against percentile: the half, and one in 20."""
    total = several.total
    p50, p95 = (total.percentile_ns(p) for p in (50, 95))
    if p50 is None or p95 is None:
        return f"{_served(total)} answered, {_slowest(total)}{_means(several)}"
    return (
        f"Half of the requests take {format.duration(p50)} or less, one in 20 takes "
        f"{format.duration(p95)} or more{_means(several)}"
    )


def ecdf_title(several: Several) -> str:
    """Of the share answered within a time: the half, and the slowest."""
    total = several.total
    half = total.percentile_ns(50)
    middle = (
        ""
        if total.ok < total.requests or half is None
        else (f"half of them within {format.duration(half)}, ")
    )
    return f"{_served(total)} answered, {middle}{_slowest(total)}{_means(several)}"


NOBODY = "In some replication no request was answered."
"""Of a picture that has nothing to show."""


def curve_label(curve: Curve) -> str:
    """The name of a curve."""
    return clean(curve.label)


def _answered(group: Numbers | None) -> float:
    return float(group.ok / group.requests) if group is not None and group.requests else 0.0


def _served(total: Numbers) -> str:
    ok, of = (format.mean_count(number) for number in (total.ok, total.requests))
    return f"{ok} requests" if ok == of else f"{ok} of {of} requests"


def _slowest(total: Numbers) -> str:
    return f"the slowest in {format.duration(total.max_ns)}"


def _means(several: Several) -> str:
    return f": means over {several.replications} replications, shaded: 95% intervals"
