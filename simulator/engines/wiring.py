"""The SimPy models of one plan, put together: processes, pools, databases, locks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from models import (
    GIL,
    Clock,
    ConnectionPool,
    Cores,
    Database,
    EventLoop,
    ServerThreads,
    SyncWorkers,
    ThreadLimiter,
    TooManyConnections,
)
from models.connection_pool import Connection
from models.event_loop import Release
from simulator.engines import contract
from simulator.engines.costs import COLD_LEAST, COLD_OPTIONS, slept
from simulator.engines.recorder import Recorder
from simulator.plan import NEVER, NO_DATABASE, UNLIMITED, Plan, Pool, ServerKind
from simulator.record import dataclass
from simulator.workload import Workload


@dataclass(slots=True)
class Process:
    """One worker process: its models, and the numbers of their stations."""

    index: int
    instance: int
    loop: EventLoop | None
    loop_station: int
    threads: ThreadLimiter | ServerThreads | None
    threads_station: int
    gil: GIL | None
    gil_station: int
    pools: list[ConnectionPool]
    pools_station: int  # of the first; the others follow it
    cores: Cores | None  # those of its instance; None: one for every thread
    cores_station: int
    has_served: bool = False
    threads_started: int = 0
    driver_ns: int = 0  # what the next one that gives a connection back takes longer


class Wiring:
    """The models of a plan, and the numbers of their stations.

    ``started`` is False if the database refused a connection that a pool opens when its
    process starts: then no process of the service runs.
    """

    def __init__(self, plan: Plan, workload: Workload) -> None:
        self.plan = plan
        self.workload = workload
        self.clock = Clock(events_per_instant_max=contract.EVENTS_PER_INSTANT_MAX)
        self.arrival, routes = workload.arrivals()
        self.route: list[int] = routes.tolist()
        contract.limit_requests(len(self.arrival))
        first_ns = int(self.arrival[0]) if len(self.arrival) else 0
        self.recorder = Recorder(plan, self.clock, first_ns)
        self.databases = [Database(self.clock, d.connections) for d in plan.databases]
        self._stations: dict[tuple[str, int | None], list[int]] = defaultdict(list)
        for i, station in enumerate(plan.stations):
            self._stations[station.kind, station.process].append(i)
            self._stations[station.kind, None].append(i)
        self.database_station = self.stations("database")
        self.lock_station = self.stations("lock")
        self.cores = [self._cores(plan.server.cores) for _ in range(plan.server.instances)]
        self.database_cores = [
            self.cores[0] if database.cores_of_server else self._cores(database.cores)
            for database in plan.databases
        ]
        self.workers = [
            SyncWorkers(self.clock, plan.server.workers) for _ in range(plan.server.instances)
        ]
        self.started = True
        self.processes = self._processes()

    def opened(self, request: int, pool: Pool, connection: Connection) -> None:
        """Write down that a request (-1: the process) opened a database connection."""
        if pool.database != NO_DATABASE:
            station = self.database_station[pool.database]
            self.recorder.opened(station, request, connection.backend)

    def closed(self, pool: Pool, connection: Connection) -> None:
        """Write down that a database connection was closed."""
        if pool.database != NO_DATABASE:
            self.recorder.closed(self.database_station[pool.database], connection.backend)

    def stations(self, kind: str, process: int | None = None) -> list[int]:
        """Indices of the stations of a kind, of one process (or instance) if given."""
        return self._stations.get((kind, process), [])

    def cores_station(self, cause: int, instance: int = 0) -> int:
        """The station of the cores that are waited for under this cause; -1 if none is."""
        stations = self.stations("cores", instance)
        return next((i for i in stations if self.plan.stations[i].cause == cause), -1)

    def _cores(self, count: int) -> Cores | None:
        return Cores(self.clock, count) if count < UNLIMITED else None

    def _processes(self) -> list[Process]:
        return [
            self._process(index)
            for index in range(self.plan.server.instances * self.plan.server.workers)
        ]

    def _process(self, index: int) -> Process:
        server = self.plan.server
        process = Process(
            index=index,
            instance=index // server.workers,
            loop=None,
            loop_station=self._first("event loop", index),
            threads=None,
            threads_station=self._first("threads", index),
            gil=self._gil(index) if server.gil else None,
            gil_station=self._first("gil", index),
            pools=[self._pool(pool) for pool in self.plan.pools],
            pools_station=self._first("pool", index),
            cores=self.cores[index // server.workers],
            cores_station=self.cores_station(contract.CORE, index // server.workers),
        )
        if server.kind is ServerKind.THREADS:
            process.threads = ServerThreads(self.clock, server.threads)
        if server.kind is ServerKind.ASGI:
            process.threads = ThreadLimiter(self.clock, server.threads)
            process.loop = EventLoop(
                self.clock,
                gil=process.gil,
                owner=self.recorder.station_owner(process.loop_station),
                lost=self._lost(index),
                writes_release=server.gil_writes_release,
                wake=self._wake(index),
            )
        return process

    def _first(self, kind: str, process: int) -> int:
        return next(iter(self.stations(kind, process)), -1)

    def _gil(self, process: int) -> GIL:
        server = self.plan.server
        numbers = iter(range(2**62))

        def choose(waiting: int) -> int:
            return self.workload.decide(f"gil[{process}]", next(numbers), waiting)

        return GIL(
            self.clock,
            # A timed wait on a condition is as late as a sleep: one timer of the kernel.
            switch_interval=server.switch_interval_ns + server.overheads.sleep_ns,
            choose=None if server.gil_fifo else choose,
        )

    def _lost(self, process: int) -> Callable[[Release], bool]:
        numbers = iter(range(2**62))
        lost_ppm = self.plan.server.gil_lost_ppm

        def lost(release: Release) -> bool:
            number = next(numbers)
            drawn = self.workload.decide(f"gil release[{process}]", number, 1_000_000)
            return drawn < lost_ppm[release]

        return lost

    def _wake(self, process: int) -> Callable[[int], int] | None:
        numbers, overheads = iter(range(2**62)), self.plan.server.overheads

        def wake(pause: int) -> int:
            loop_ns = slept(overheads.loop_wake_ns, pause)
            driver_ns = slept(overheads.query_wake_ns, pause)
            if not loop_ns and not driver_ns:
                return 0
            drawn = self.workload.decide(f"loop wake[{process}]", next(numbers), COLD_OPTIONS)
            cold_ns = driver_ns * (COLD_LEAST + drawn) // 1000
            cold = self.processes[process]
            cold.driver_ns = max(cold.driver_ns, cold_ns)
            return loop_ns * (COLD_LEAST + drawn) // 1000

        return wake if overheads.loop_wake_ns or overheads.query_wake_ns else None

    def _pool(self, pool: Pool) -> ConnectionPool:
        database = None if pool.database == NO_DATABASE else self.databases[pool.database]
        model = ConnectionPool(
            self.clock,
            pool.size,
            overflow=pool.overflow,
            acquire_timeout=None if pool.acquire_timeout_ns == NEVER else pool.acquire_timeout_ns,
            database=database,
            lifo=pool.lifo,
        )
        try:
            # A pool that can't open its minimum keeps the process from starting.
            for connection in model.open(pool.min) if self.started else ():
                self.opened(-1, pool, connection)
        except TooManyConnections:
            self.started = False
        return model
