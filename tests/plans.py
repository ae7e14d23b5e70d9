"""Plans in a line or two, for tests of engines that do not go through the language."""

from __future__ import annotations

import dataclasses
from typing import Any

from simulator.distributions import Constant, Distribution
from simulator.engines import contract
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    NO_STREAM,
    UNLIMITED,
    Accelerator,
    Accept,
    Balancer,
    Branch,
    Call,
    Client,
    Cpu,
    Database,
    Fault,
    Gather,
    Generate,
    HttpLibrary,
    Load,
    LoadKind,
    Lock,
    Overheads,
    Plan,
    Pool,
    Predict,
    RateLimit,
    RateLimitKind,
    Retries,
    Route,
    RowLock,
    Server,
    ServerKind,
    Service,
    Step,
    TimeStream,
    ToThread,
    Wait,
    With,
)

NO_RETRIES = Retries(())
SECOND = 10**9
MILLISECOND = 10**6


class Steps:
    """Writes steps down and collects the streams that they draw from."""

    def __init__(self, *, on_loop: bool = True) -> None:
        self.on_loop = on_loop
        self.streams: list[TimeStream] = []
        self.branches = 0

    def time(self, time: int | Distribution) -> int:
        distribution = Constant(time) if isinstance(time, int) else time
        self.streams.append(TimeStream(f"t{len(self.streams)}", distribution))
        return len(self.streams) - 1

    def cpu(self, time: int | Distribution, *, releases_gil: bool = False) -> Step:
        return Cpu(self.time(time), contract.CPU, releases_gil)

    def sleep(self, time: int | Distribution) -> Step:
        return Wait(self.time(time), contract.AWAIT, True)

    def block(self, time: int | Distribution) -> Step:
        return Wait(self.time(time), contract.BLOCK, False)

    def query(self, pool: int, time: int | Distribution, *, blocking: bool = False) -> Step:
        return self.with_(pool, self.statement(pool, time, blocking=blocking), blocking=blocking)

    def statement(self, pool: int, time: int | Distribution, *, blocking: bool = False) -> Step:
        frees_loop = self.on_loop and not blocking
        return Wait(self.time(time), contract.hold_query(pool), frees_loop)

    def with_(
        self,
        pool: int,
        *steps: Step,
        blocking: bool = False,
        serializable: bool = False,
        backoff: tuple[int | Distribution, ...] = (),
    ) -> Step:
        retries = Retries(tuple(self.time(wait) for wait in backoff))
        return With(pool, steps, self.on_loop and not blocking, serializable, retries)

    def lock(self, lock: int, *, shared: bool = False) -> Step:
        return Lock(lock, self.on_loop, shared)

    def gather(self, *branches: Step | tuple[Step, ...]) -> Step:
        out = []
        for branch in branches:
            self.branches += 1
            steps = branch if isinstance(branch, tuple) else (branch,)
            out.append(Branch(self.branches, steps))
        return Gather(tuple(out))

    def call(
        self,
        service: int = 0,
        *,
        timeout: int = NEVER,
        backoff: tuple[int | Distribution, ...] = (),
        blocking: bool = False,
    ) -> Step:
        retries = Retries(tuple(self.time(wait) for wait in backoff))
        return Call(service, self.on_loop and not blocking, timeout, retries)

    def predict(self, accelerator: int = 0) -> Step:
        return Predict(accelerator, self.on_loop)

    def generate(self, tokens: int | Distribution, accelerator: int = 0) -> Step:
        return Generate(accelerator, self.time(tokens), self.on_loop)

    def to_thread(self, *steps: Step) -> Step:
        return ToThread(steps)


def pool(size: int, **kwargs: Any) -> Pool:
    values: dict[str, Any] = {
        "label": "db",
        "size": size,
        "overflow": 0,
        "min": size,
        "acquire_timeout_ns": NEVER,
        "database": NO_DATABASE,
        "lifo": True,
        "hands_over": False,
        "gives_back_in_task": True,
        "begins": False,
    }
    return Pool(**(values | kwargs))


def sqlalchemy(**kwargs: Any) -> Pool:
    values = {"overflow": 10, "min": 0, "acquire_timeout_ns": 30 * SECOND, "lifo": False}
    values |= {"gives_back_in_task": False, "begins": True}
    return pool(5, **(values | kwargs))


def load(
    kind: LoadKind,
    count: int = UNLIMITED,
    until_ns: int = NEVER,
    rate: tuple[int, int] = (0, 1),
    routes: tuple[int, ...] = (0,),
    weights: tuple[float, ...] = (1.0,),
    **kwargs: Any,
) -> Load:
    values: dict[str, Any] = {
        "cv": 0.0,
        "stages": (),
        "evenly": False,
        "recorded": (),
        "users": 0,
        "think": NO_STREAM,
        "ramp_ns": 0,
    }
    return Load(kind, count, until_ns, rate, routes, weights, **(values | kwargs))


def route(name: str, on_loop: bool = True, steps: tuple[Step, ...] = ()) -> Route:
    return Route(name, name, on_loop, steps, (), NEVER, 0)


def database(
    connections: int,
    *,
    label: str = "pg",
    cores: int = UNLIMITED,
    of_server: bool = False,
    compute: bool = True,
    deadlock_timeout_ns: int = SECOND,
) -> Database:
    return Database(label, connections, cores, of_server, compute, deadlock_timeout_ns)


def rows(keys: int = 1, pick: int = NO_STREAM, *, random_grant: bool = False) -> RowLock:
    """Rows to lock; ``pick`` is the stream of the row's number."""
    return RowLock("rows", keys, pick, random_grant)


def service(time: int, **kwargs: Any) -> Service:
    """A service whose time is this stream: ``service(steps.time(10 * MS), concurrency=2)``."""
    values: dict[str, Any] = {
        "label": "api",
        "concurrency": UNLIMITED,
        "queue": UNLIMITED,
        "error": NO_STREAM,
        "limits": (),
        "connections": UNLIMITED,
        "connect_timeout_ns": NEVER,
        "client": HttpLibrary.HTTPX,
    }
    return Service(time=time, **(values | kwargs))


def bucket(per_second: int, burst: int = 1, *, waits: bool = True) -> RateLimit:
    return RateLimit(RateLimitKind.TOKEN_BUCKET, (per_second, 1), burst, 0, 0, waits)


def accelerator(batch_max: int, **kwargs: Any) -> Accelerator:
    values: dict[str, Any] = {
        "label": "gpu",
        "count": 1,
        "queue": UNLIMITED,
        "batch_max": batch_max,
        "wait_ns": 0,
        "window_taken": False,
        "continuous": False,
        "table_ns": (),
        "base_ns": 0,
        "per_item_ns": 0,
        "time": NO_STREAM,
    }
    return Accelerator(**(values | kwargs))


def burst(count: int) -> Load:
    return load(LoadKind.BURST, count)


def poisson(count: int, per_second: tuple[int, int]) -> Load:
    return load(LoadKind.POISSON, count, rate=per_second)


def server(
    kind: ServerKind = ServerKind.ASGI,
    workers: int = 1,
    threads: int = 40,
    *,
    gil: bool = False,
    accept: Accept = Accept.ROUND_ROBIN,
    **overheads: int,
) -> Server:
    overheads.setdefault("connect_refused_ns", overheads.get("connect_ns", 0))
    none = Overheads(*[0] * len(dataclasses.fields(Overheads)))
    return Server(
        kind=kind,
        workers=workers,
        threads=threads,
        accept=accept,
        accept_weights=tuple([1 / workers] * workers),
        gil=gil,
        gil_fifo=False,
        switch_interval_ns=5 * MILLISECOND,
        gil_lost_ppm=(0, 1_000_000, 0),
        gil_writes_release=False,
        overheads=dataclasses.replace(none, **overheads),
        connect_delay=NO_STREAM,
        instances=1,
        balancer=Balancer.ROUND_ROBIN,
        cores=UNLIMITED,
        backlog=UNLIMITED,
        limit_concurrency=UNLIMITED,
        timeout_ns=NEVER,
        connection_bytes=0,
        thread_bytes=0,
    )


def of_parts(**parts: Any) -> Plan:
    """A plan of these parts; what is not given is empty."""
    values: dict[str, Any] = {
        "name": "test",
        "seed": 0,
        "server": server(),
        "pools": (),
        "databases": (),
        "locks": (),
        "services": (),
        "accelerators": (),
        "faults": (),
        "client": Client(NEVER, NO_RETRIES, NO_STREAM, 0, 0),
        "routes": (),
        "loads": (),
        "drain_ns": NEVER,
        "warmup_ns": 0,
        "streams": (),
        "causes": (),
        "outcomes": (),
        "stations": (),
    }
    return contract.numbered(Plan(**(values | parts)))


def plan(
    written: Steps,
    *steps: Step,
    load: Load | tuple[Load, ...] = (),
    kind: ServerKind = ServerKind.ASGI,
    workers: int = 1,
    threads: int = 40,
    pools: tuple[Pool, ...] = (),
    databases: tuple[Database, ...] = (),
    services: tuple[Service, ...] = (),
    accelerators: tuple[Accelerator, ...] = (),
    faults: tuple[Fault, ...] = (),
    locks: int | tuple[RowLock, ...] = 0,
    gil: bool = False,
    accept: Accept = Accept.ROUND_ROBIN,
    drain_ns: int = NEVER,
    warmup_ns: int = 0,
    **overheads: int,
) -> Plan:
    """A plan of one route with these steps."""
    used = server(kind, workers, threads, gil=gil, accept=accept, **overheads)
    if isinstance(locks, int):
        locks = tuple(RowLock(f"row{i}", 1, NO_STREAM, False) for i in range(locks))
    on_loop = written.on_loop and kind is ServerKind.ASGI
    return of_parts(
        server=used,
        pools=pools,
        databases=databases,
        services=services,
        accelerators=accelerators,
        faults=faults,
        locks=locks,
        routes=(Route("GET /", "route", on_loop, steps, (), NEVER, 0),),
        loads=load if isinstance(load, tuple) else (load,),
        drain_ns=drain_ns,
        warmup_ns=warmup_ns,
        streams=tuple(written.streams),
    )


def changed(
    made: Plan,
    *,
    server: dict[str, Any] | None = None,
    client: dict[str, Any] | None = None,
    route: dict[str, Any] | None = None,
) -> Plan:
    """The plan with fields of its server, its client or its (first) route replaced."""
    first = dataclasses.replace(made.routes[0], **(route or {}))
    return contract.numbered(
        dataclasses.replace(
            made,
            server=dataclasses.replace(made.server, **(server or {})),
            client=dataclasses.replace(made.client, **(client or {})),
            routes=(first, *made.routes[1:]),
        )
    )
