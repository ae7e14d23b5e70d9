"""Plans and traces written by hand, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from simulator.distributions import Constant, Distribution
from simulator.engines import contract
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    Database,
    Load,
    Plan,
    Pool,
    Route,
    RowLock,
    Server,
    ServerKind,
    Step,
    TimeStream,
    Wait,
    With,
)
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Attempts, Stuck, Trace, Visits
from tests import plans

S = 1_000_000_000
MS = 1_000_000


def asgi(workers: int = 1, threads: int = 40, kind: ServerKind = ServerKind.ASGI) -> Server:
    return plans.server(kind, workers, threads)


def pool(size: int = 2, *, overflow: int = 0, timeout_ns: int = NEVER, **options: int) -> Pool:
    minimum = options.get("min", size)
    database = options.get("database", NO_DATABASE)
    return Pool("db", size, overflow, minimum, timeout_ns, database, True, False, True, False)


def query(on_loop: bool = True, frees_loop: bool = True) -> tuple[Step, ...]:
    wait = Wait(0, contract.hold_query(0), frees_loop and on_loop)
    return (With(0, (wait,), frees_loop and on_loop, False, plans.NO_RETRIES),)


def plan(
    *,
    count: int = 6,
    steps: tuple[Step, ...] | None = None,
    on_loop: bool = True,
    server: Server | None = None,
    pools: tuple[Pool, ...] | None = None,
    databases: tuple[Database, ...] = (),
    locks: tuple[RowLock, ...] = (),
    times: Sequence[Distribution] = (Constant(5 * S),),
    loads: tuple[Load, ...] | None = None,
    routes: tuple[Route, ...] | None = None,
    seed: int = 0,
) -> Plan:
    steps = query(on_loop) if steps is None else steps
    pools = (pool(),) if pools is None else pools
    streams = tuple(
        TimeStream(f"routes.get_user.steps[{i}].time", time) for i, time in enumerate(times)
    )
    only = Route("GET /user", "get_user", on_loop, steps, (), NEVER, 0)
    return plans.of_parts(
        name="small",
        seed=seed,
        server=server or asgi(),
        pools=pools,
        databases=databases,
        locks=locks,
        routes=routes or (only,),
        loads=loads if loads is not None else (plans.burst(count),),
        streams=streams,
    )


@dataclass
class Rows:
    """Rows in seconds, collected and then turned into a trace."""

    plan: Plan
    requests: list[tuple[int, int, float, float | None, int]] = field(default_factory=list)
    spent: list[Mapping[int, float]] = field(default_factory=list)
    visits: list[tuple[int, int, int, float, float | None, float, float]] = field(
        default_factory=list
    )

    def request(
        self,
        arrival: float,
        finish: float | None,
        spent: Mapping[int, float] | None = None,
        *,
        outcome: int = contract.OK,
        route: int = 0,
        process: int = 0,
    ) -> int:
        if finish is None:
            outcome = contract.IN_FLIGHT
        self.requests.append((route, process, arrival, finish, outcome))
        self.spent.append(spent or {})
        return len(self.requests) - 1

    def visit(
        self,
        label: str,
        request: int,
        queued: float,
        granted: float | None,
        released: float,
        *,
        slot: int = 0,
        process: int = 0,
        work: float | None = None,
    ) -> None:
        station = next(
            i for i, s in enumerate(self.plan.stations) if s.label == label and s.process == process
        )
        if work is None:
            work = 0 if granted is None else released - granted
        self.visits.append((station, request, slot, queued, granted, released, work))

    def trace(
        self, end: float | None = None, ended: str = "empty", stuck: tuple[Stuck, ...] = ()
    ) -> Trace:
        route, process, arrival, finish, outcome = _columns(self.requests, 5)
        station, request, slot, queued, granted, released, work = _columns(self.visits, 7)
        spent = np.zeros((len(self.requests), len(self.plan.causes)), dtype=np.int64)
        for i, row in enumerate(self.spent):
            for cause, time in row.items():
                spent[i, cause] = _ns(time, 0)
        last = max((row[3] or 0 for row in self.requests), default=0)
        return Trace(
            causes=self.plan.causes,
            outcomes=self.plan.outcomes,
            stations=self.plan.stations,
            index=np.arange(len(self.requests), dtype=np.int64),
            route=_array(route),
            process=_array(process),
            arrival_ns=_times(arrival),
            finish_ns=_times(finish, NOT_FINISHED),
            outcome=_array(outcome),
            first_byte_ns=_times(finish, NOT_FINISHED),
            spent_ns=spent,
            visits=Visits(
                _array(station),
                _array(request),
                _array(slot),
                _times(queued),
                _times(granted, NOT_GRANTED),
                _times(released),
                _times(work),
            ),
            attempts=Attempts(*(_array([]) for _ in range(6))),
            end_ns=_ns(last if end is None else end, 0),
            ended=ended,
            stuck=stuck,
        )


def burst(plan: Plan, count: int = 6, *, size: int = 2, hold: float = 5) -> Trace:
    """``count`` requests at once on a pool of ``size``: waves of ``hold`` seconds."""
    rows = Rows(plan)
    for i in range(count):
        start = i // size * hold
        spent = {contract.wait_for_pool(0): start, contract.hold_query(0): hold}
        rows.request(0, start + hold, spent)
        rows.visit("pool db", i, 0, start, start + hold, slot=i % size)
    return rows.trace()


def _ns(time: float | None, missing: int) -> int:
    return missing if time is None else round(time * S)


def _columns(rows: Sequence[tuple], width: int) -> list[list]:  # type: ignore[type-arg]
    return [[row[i] for row in rows] for i in range(width)]


def _array(values: Sequence[int]) -> np.ndarray:
    return np.asarray(values, dtype=np.int64)


def _times(values: Sequence[float | None], missing: int = 0) -> np.ndarray:
    return _array([_ns(value, missing) for value in values])
