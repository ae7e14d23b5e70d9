"""A measured run as a trace, with what the generator itself did; and whether to believe it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from simulator.analysis.exact import nearest_rank
from simulator.arrays import IntArray
from simulator.calibration.generator.job import Raw
from simulator.plan import Cause, Plan
from simulator.record import dataclass
from simulator.trace import NOT_FINISHED, Attempts, Trace, Visits
from simulator.units import exact_duration

NOT_SAID = -1
"""A time that the server did not tell."""

LAG_MAX_NS = 5_000_000
"""Of the latest 1 % of sends; or …"""
LAG_OF_LATENCY = 0.05
"""… that part of the median latency, if that is more."""
SEND_NS = 100_000
"""What each of the sends of one instant may take: they leave one after another."""
CPU_MAX = 0.9
"""Of a core, over a run of users that takes a second or more."""

CAUSES = (
    Cause("wait", "attempts"),  # attempts that failed, and the backoff after each
    Cause("wait", "generator"),  # from the intended instant until it began to send
    Cause("wait", "connect"),  # until the request was handed to the kernel
    Cause("wait", "server"),  # until the handler began; the whole, where nothing is told
    Cause("hold", "handler"),
    Cause("wait", "answer"),  # from the handler's end to the last byte
)
"""What a measured latency is booked to, in the order of time."""

TOLD = ("a", "b", "g", "f", "l", "cpu", "pid", "hop")
"""What a served scenario tells of a request (``x-sim-times``): handler start and end, first
connection got, last query ended, first lock got, thread time of cpu steps, process, and when
its thread began."""
PLAIN = ("cpu", "pid")
"""Of these: what is no instant."""


@dataclass(frozen=True, slots=True)
class Live:
    """What was measured of a server, and what the generator did meanwhile.

    ``trace`` counts from ``origin_ns`` of CLOCK_MONOTONIC, its arrivals are the intended
    instants. Arrays have one row per request, as in the trace.
    """

    trace: Trace
    origin_ns: int
    sent_ns: IntArray  # just before the last attempt was handed to the kernel; or NOT_SAID
    lag_ns: IntArray  # of every attempt: begun less intended
    excess_ns: IntArray  # of every attempt: its lag beyond those before it at the same instant
    times: Mapping[str, IntArray]  # what the server told: instants from origin_ns; cpu, pid plain
    cpu_ns: int  # of the generator's process, while sending
    wall_ns: int
    connections: int  # that were opened
    partial: str  # why not all was sent and answered; empty if it was
    said: Mapping[str, str]  # by failure: what the first such answer said

    @property
    def statuses(self) -> dict[str, int]:
        """Requests by outcome, those that occurred."""
        counts = np.bincount(self.trace.outcome, minlength=len(self.trace.outcomes))
        return {name: int(counts[i]) for i, name in enumerate(self.trace.outcomes) if counts[i]}

    @property
    def cpu_share(self) -> float:
        """Of one core, over the run."""
        return self.cpu_ns / self.wall_ns if self.wall_ns else 0.0

    @property
    def cpu_per_request_ns(self) -> int:
        return self.cpu_ns // max(1, len(self.lag_ns))


def late(live: Live) -> str:
    """Why the generator could not keep up, with its figures; empty if it could."""
    lag = nearest_rank(np.sort(live.excess_ns), 99) or 0
    trace = live.trace
    ok = np.sort(trace.latency_ns[trace.outcome == 0])
    allowed = max(LAG_MAX_NS, int(LAG_OF_LATENCY * (nearest_rank(ok, 50) or 0)))
    figures = (
        f"{len(live.lag_ns)} sends, 1 % of them over {exact_duration(_round(lag))} late "
        f"({exact_duration(_round(allowed))} allowed), {live.cpu_share:.0%} of a core used"
    )
    advice = "lower the load, close what else runs here, or send from another machine"
    if lag > allowed:
        return f"the load generator could not keep up: {figures}; {advice}"
    if live.wall_ns >= 1_000_000_000 and live.cpu_share > CPU_MAX:
        return f"the load generator was the limit: {figures}; {advice}"
    return ""


def _round(ns: int) -> int:
    return round(ns / 10_000) * 10_000


def live_of(plan: Plan, raw: Raw) -> Live:
    """The trace and the figures of what the generator's process wrote down."""
    rows, tried = sorted(raw.requests), sorted(raw.attempts)
    outcomes = _outcomes(plan, [row[4] for row in rows] + [row[5] for row in tried])
    number = {name: i for i, name in enumerate(outcomes)}
    table = _table([(*row[:4], number[row[4]], *row[5:9]) for row in rows], 9)
    index, route, arrival, finish, outcome, first, intended, began, sent = table.T
    origin = raw.origin_ns
    arrival, finish = _since(arrival, origin), _since(finish, origin)
    first = np.where(first > 0, first - origin, finish)
    intended, began, sent = (_since(at, origin) for at in (intended, began, sent))
    times = _times([row[9] for row in rows], origin)
    tries = _table([(*row[:5], number[row[5]]) for row in tried], 6)
    tries[:, 2:5] -= origin
    process = _processes(times["pid"])
    trace = Trace(
        causes=CAUSES,
        outcomes=outcomes,
        stations=(),
        index=index.copy(),
        route=route.copy(),
        process=process,
        arrival_ns=arrival,
        finish_ns=finish,
        outcome=outcome.copy(),
        first_byte_ns=first,
        spent_ns=_spent(arrival, finish, [intended, began, sent, times["a"], times["b"]]),
        visits=Visits(*(np.zeros(0, dtype=np.int64) for _ in range(7))),
        attempts=_attempts(plan, tries, index, process),
        end_ns=raw.end_ns - origin,
        ended="interrupted" if raw.stopped else "drained" if (finish < 0).any() else "empty",
        stuck=(),
    )
    lag = np.maximum(tries[:, 3] - tries[:, 2], 0)
    return Live(
        trace=trace,
        origin_ns=origin,
        sent_ns=sent,
        lag_ns=lag,
        excess_ns=np.maximum(lag - _before(tries[:, 2]) * SEND_NS, 0),
        times=times,
        cpu_ns=raw.cpu_ns,
        wall_ns=raw.end_ns - origin,
        connections=raw.connections,
        partial=raw.stopped,
        said=raw.said,
    )


def _table(rows: list[tuple[int, ...]], columns: int) -> IntArray:
    return np.asarray(rows, dtype=np.int64).reshape(-1, columns)


def _since(at: IntArray, origin: int) -> IntArray:
    """Instants from the origin; what is not known (not positive) stays unknown."""
    return np.where(at > 0, at - origin, NOT_SAID)


def _outcomes(plan: Plan, seen: list[str]) -> tuple[str, ...]:
    """The plan's outcomes, then those that only a real server has."""
    return (*plan.outcomes, *sorted(set(seen) - set(plan.outcomes)))


def _times(headers: list[bytes], origin: int) -> dict[str, IntArray]:
    """What the ``x-sim-times`` headers tell, one array for each name."""
    columns = {name: np.full(len(headers), NOT_SAID, dtype=np.int64) for name in TOLD}
    for row, header in enumerate(headers):
        for part in header.split():
            name, _, value = part.decode("latin-1").partition("=")
            if name in columns and value.isdigit():
                columns[name][row] = int(value)
    return {k: v if k in PLAIN else _since(v, origin) for k, v in columns.items()}


def _processes(pid: IntArray) -> IntArray:
    """The server's processes, numbered in the order of their ids; -1 where it is not known."""
    known = np.unique(pid[pid >= 0])
    return np.where(pid >= 0, np.searchsorted(known, pid), -1).astype(np.int64)


def _spent(arrival: IntArray, finish: IntArray, between: list[IntArray]) -> IntArray:
    """Latency by cause, shape (n, causes): the gaps between instants, which add up to it.

    What did not happen or was not told counts as the end: the cause before it takes all.
    """
    inner = np.stack([np.where(at == NOT_SAID, finish, at) for at in between], axis=1)
    if not len(arrival):
        return np.zeros((0, len(CAUSES)), dtype=np.int64)
    marks = np.concatenate([arrival[:, None], inner, finish[:, None]], axis=1)
    marks = np.minimum(np.maximum.accumulate(marks, axis=1), finish[:, None])
    spent = np.diff(marks, axis=1)
    spent[finish == NOT_FINISHED] = 0
    return spent


def _attempts(plan: Plan, tries: IntArray, index: IntArray, process: IntArray) -> Attempts:
    """The attempts; none where the client sends each request just once, as in the engine."""
    if not plan.client.retries.backoff:
        tries = tries[:0]
    rows = np.searchsorted(index, tries[:, 0]).astype(np.int64)
    return Attempts(
        request=rows,
        attempt=tries[:, 1].copy(),
        process=process[rows],
        sent_ns=tries[:, 2].copy(),
        ended_ns=tries[:, 4].copy(),
        outcome=tries[:, 5].copy(),
    )


def _before(intended: IntArray) -> IntArray:
    """For each send: how many stand before it at the same instant."""
    order = np.argsort(intended, kind="stable")
    ordered = intended[order]
    first = np.searchsorted(ordered, ordered, "left")
    out = np.empty(len(intended), dtype=np.int64)
    out[order] = np.arange(len(intended)) - first
    return out
