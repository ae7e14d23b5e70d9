"""A plan as records in the memory of a run: processes, pools, services, routes, users."""

from __future__ import annotations

import numpy as np

from simulator.arrays import IntArray
from simulator.engines import contract
from simulator.engines.compiled import connection_pool as pools
from simulator.engines.compiled import draws, memory, service, task
from simulator.engines.compiled import process as parts
from simulator.engines.compiled.cores import CORES_N, CORES_SIZE
from simulator.engines.compiled.lower_outside import LoweredOutside
from simulator.engines.compiled.memory import MISSING, NEVER, NONE
from simulator.engines.compiled.program import Program
from simulator.engines.compiled.slots import MADE, SIZE, SLOTS_SIZE
from simulator.engines.costs import COLD_AFTER_NS
from simulator.plan import (
    NO_DATABASE,
    NO_STREAM,
    UNLIMITED,
    Plan,
    Pool,
    ServerKind,
    Target,
)

LINGER_MAX_NS = 2_000_000_000
"""gunicorn 27's sync worker waits at most so long for the client to close."""


class Lowered(LoweredOutside):
    """Everything that a plan has, as records; ``started`` is False if a pool was refused."""

    def write(self) -> None:
        """Everything but the loads."""
        self._streams()
        self._server()
        cores = [self._cores(self.plan.server.cores) for _ in range(self.plan.server.instances)]
        self.databases = [self._database(i, cores[0]) for i in range(len(self.plan.databases))]
        self._instances()
        self.services()
        self._processes(cores)
        self.locks()
        self.accelerators()
        self._routes()

    # Parts.

    def _streams(self) -> None:
        specs = self.store.take(draws.STREAM_SIZE * self.source.count)
        self.set(0, {memory.STREAMS: specs})
        for i in range(self.source.count):
            constant = self.source.constant(i)
            spec = specs + i * draws.STREAM_SIZE
            known = MISSING if constant is None else constant
            self.set(spec, {draws.CONSTANT: known, draws.LAST_BLOCK: NONE})

    def _server(self) -> None:
        server, client, over = self.plan.server, self.plan.client, self.plan.server.overheads
        balancer = "balancer" if server.instances > 1 else ""
        fields = {
            parts.KIND: server.kind,
            parts.WORKERS_N: server.workers,
            parts.INSTANCES_N: server.instances,
            parts.ACCEPT: server.accept,
            parts.WEIGHTS: self.store.table(self.source.edges(server.accept_weights)),
            parts.BALANCER: server.balancer,
            parts.BALANCER_COLUMN: self.source.column(balancer) if balancer else 0,
            parts.WRITES_RELEASE: server.gil_writes_release,
            **{parts.LOST_PPM + i: ppm for i, ppm in enumerate(server.gil_lost_ppm)},
            parts.GIL_FIFO: server.gil_fifo,
            # A timed wait on a condition is as late as a sleep: one timer of the kernel.
            parts.SWITCH_INTERVAL: server.switch_interval_ns + over.sleep_ns,
            parts.BACKLOG: server.backlog,
            parts.LIMIT_CONCURRENCY: server.limit_concurrency,
            parts.TIMEOUT: server.timeout_ns,
            parts.LINGER: min(client.close_delay_ns, LINGER_MAX_NS),
            parts.KEPT: self.store.take(client.kept_connections),
            parts.KEPT_N: client.kept_connections,
            parts.CLIENT_TIMEOUT: client.timeout_ns,
            parts.CLIENT_RETRIES: self.store.table(client.retries.backoff),
            parts.CLIENT_RETRIES_N: len(client.retries.backoff),
            parts.LATENCY: client.latency,
            parts.LOCK_HOLD: over.lock_hold_ns,
            parts.CONNECT: over.connect_ns,
            parts.CONNECT_DELAY: server.connect_delay,
            parts.CONNECT_REFUSED: over.connect_refused_ns,
            parts.CLOSE: over.close_ns,
            parts.LOOP_WAKE: over.loop_wake_ns,
            parts.QUERY_WAKE: over.query_wake_ns,
            parts.BACKEND_WAKE: over.backend_wake_ns,
        }
        record = self.record(parts.SERVER_SIZE, fields)
        self.set(0, {memory.SERVER: record, memory.KEPT_LEFT: client.kept_connections})

    def _cores(self, count: int) -> int:
        return self.record(CORES_SIZE, {CORES_N: count}) if count < UNLIMITED else 0

    def _instances(self) -> None:
        server = self.plan.server
        base = self.store.take(parts.INSTANCE_SIZE * server.instances)
        self.set(0, {memory.INSTANCES: base})
        drawn = server.workers > 1 and server.accept != 0
        for i in range(server.instances):
            workers = self.record(SLOTS_SIZE, {SIZE: server.workers})
            fields = {
                parts.WORKERS: workers,
                parts.WORKERS_STATION: self.first("workers", i),
                parts.ACCEPT_COLUMN: self.source.column(f"accept[{i}]") if drawn else 0,
            }
            self.set(base + i * parts.INSTANCE_SIZE, fields)

    def _database(self, index: int, of_server: int) -> int:
        spec = self.plan.databases[index]
        cause = contract.wait_for_core_of(self.plan, index)
        cores = of_server if spec.cores_of_server else self._cores(spec.cores)
        stations = self.stations("cores", 0)
        fields = {
            SIZE: spec.connections,
            pools.DATABASE_STATION: self.stations("database")[index],
            pools.DATABASE_CORES: cores,
            pools.QUERY_CORES: cores if contract.queries_share(spec) else 0,
            pools.CORES_CAUSE: cause,
            pools.DATABASE_CORES_STATION: next(
                (i for i in stations if self.plan.stations[i].cause == cause), NONE
            ),
            pools.DATABASE_ERROR: contract.database_error(self.plan, index),
            pools.DATABASE_REFUSED: contract.connection_refused(self.plan, index),
            pools.DEADLOCK_TIMEOUT: (
                NONE if spec.deadlock_timeout_ns >= NEVER else spec.deadlock_timeout_ns
            ),
            pools.DATABASE_FAULTS: self.faults(Target.DATABASE, index),
        }
        return self.record(pools.DATABASE_RECORD, fields)

    def _processes(self, cores: list[int]) -> None:
        server = self.plan.server
        count = server.instances * server.workers
        base = self.store.take(parts.PROCESS_SIZE * count)
        self.set(0, {memory.PROCESSES: base})
        for i in range(count):
            self._process(base + i * parts.PROCESS_SIZE, i, cores[i // server.workers])

    def _process(self, record: int, index: int, cores: int) -> None:
        server, over = self.plan.server, self.plan.server.overheads
        instance = index // server.workers
        loop = self.first("event loop", index)
        threads = 0
        if server.kind is not ServerKind.SYNC:
            threads = self.record(SLOTS_SIZE, {SIZE: server.threads})
        cores_stations = [
            i
            for i in self.stations("cores", instance)
            if self.plan.stations[i].cause == contract.CORE
        ]
        loop_task = self.owner(loop) if loop != NONE else 0
        if loop_task:
            self.set(loop_task, {task.PROC: record, task.PROCESS: index})
        fields = {
            parts.PROCESS_INDEX: index,
            parts.PROCESS_INSTANCE: instance,
            parts.LOOP_STATION: loop,
            parts.LOOP_TASK: loop_task,
            parts.IDLE_FROM: -COLD_AFTER_NS,
            parts.WAKE_COLUMN: (
                self.source.column(f"loop wake[{index}]")
                if (over.loop_wake_ns or over.query_wake_ns) and loop_task
                else 0
            ),
            parts.RELEASE_COLUMN: (
                self.source.column(f"gil release[{index}]") if server.gil and loop_task else 0
            ),
            parts.HAS_GIL: server.gil,
            parts.GIL_STATION: self.first("gil", index),
            parts.GIL_COLUMN: (
                self.source.column(f"gil[{index}]") if server.gil and not server.gil_fifo else 0
            ),
            parts.CORES: cores,
            parts.CORES_STATION: cores_stations[0] if cores_stations else NONE,
            parts.THREADS: threads,
            parts.THREADS_STATION: self.first("threads", index),
            parts.POOLS_STATION: self.first("pool", index),
        }
        self.set(record, fields)
        opened = self.store.table([self._pool(i) for i in range(len(self.plan.pools))])
        clients = self.store.table(self._clients(index))
        self.set(record, {parts.POOLS_OF: opened, parts.CLIENTS_OF: clients})

    def _pool(self, index: int) -> int:
        spec = self.plan.pools[index]
        limited = spec.database != NO_DATABASE
        fields = {
            pools.POOL_SIZE: spec.size,
            pools.POOL_LIMIT: spec.size + spec.overflow,
            pools.ACQUIRE_TIMEOUT: spec.acquire_timeout_ns,
            pools.POOL_DATABASE: self.databases[spec.database] if limited else 0,
            pools.LIFO: spec.lifo,
            pools.POOL_TELLS: spec.size == 0 or spec.overflow == 0,
            pools.POOL_OUTCOME: contract.pool_timeout(index),
        }
        record = self.record(pools.POOL_RECORD, fields)
        if limited:
            self.connections.append((record, self.stations("database")[spec.database]))
        if self.started:
            self.started = self._open(record, spec)
        return record

    def _open(self, record: int, spec: Pool) -> bool:
        """Open what a pool opens when its process starts; False if the database refuses."""
        opened = []
        for slot in range(spec.min):
            backend = slot
            if spec.database != NO_DATABASE:
                database = self.databases[spec.database]
                backend = self.store.words[database + MADE]
                if backend == self.store.words[database + SIZE]:
                    return False
                self.set(database, {MADE: backend + 1})
            fields = {pools.CONNECTION_SLOT: slot, pools.BACKEND: backend}
            opened.append(self.record(pools.CONNECTION_SIZE, fields))
        # Connection 0 is the first to be used, whichever end that is.
        chained = [0, *reversed(opened)]
        for following, connection in zip(chained, reversed(opened), strict=False):
            by = pools.NOT_OPENED if spec.database == NO_DATABASE else NONE
            fields = {0: following, pools.NEXT_OF_POOL: following, pools.OPENED_BY: by}
            self.set(connection, fields)
        if opened:
            fields = {
                pools.IDLE_FIRST: opened[0],
                pools.IDLE_LAST: opened[-1],
                pools.IDLE_N: len(opened),
                pools.POOL_MADE: len(opened),
                pools.ALL_CONNECTIONS: opened[0],
            }
            self.set(record, fields)
        return True

    def _clients(self, process: int) -> list[int]:
        """The HTTP client of a process for each service; 0 where it has no limit."""
        out: list[int] = []
        stations = iter(self.stations("client", process))
        for spec in self.plan.services:
            if spec.connections >= UNLIMITED:
                out.append(0)
                continue
            timeout = spec.connect_timeout_ns
            fields = {
                service.CONCURRENCY: spec.connections,
                service.CONNECT_TIMEOUT: min(timeout, NEVER),
                service.TIMEOUT_RESTARTS: contract.timeout_restarts(spec),
                service.FREED: NONE,
                service.CLIENT_STATION: next(stations),
            }
            out.append(self.record(service.CLIENT_SIZE, fields))
        return out

    def _routes(self) -> None:
        plain = is_plain(self.plan)
        base = self.store.take(parts.ROUTE_SIZE * len(self.plan.routes))
        self.set(0, {memory.ROUTES: base})
        for i, route in enumerate(self.plan.routes):
            program = Program(self.store, self.plan, route, self.databases)
            program.write(plain=plain, started=self.started)
            fields = {
                parts.STEPS: program.steps.at,
                parts.ROUTE_HANDLER: program.handler.at,
                parts.CLIENT: program.client.at,
                parts.PRIORITY: route.priority,
                parts.ROUTE_DEADLINE: route.deadline_ns,
            }
            self.set(base + i * parts.ROUTE_SIZE, fields)


def is_plain(plan: Plan) -> bool:
    """Whether every request is sent once, at once, and waited for."""
    client = plan.client
    patient = client.timeout_ns == NEVER and not client.retries.backoff
    deadlines = any(route.deadline_ns != NEVER for route in plan.routes)
    return patient and client.latency == NO_STREAM and not deadlines


def users(low: Lowered, first: int) -> IntArray:
    """The users of all closed loads as tasks, the last one first.

    Request k of user u has index k · users + u.
    """
    from simulator.engines.compiled.code import ASK, THINK, WORDS

    plan = low.plan
    step = sum(load.users for load in plan.loads)
    asked: list[IntArray] = [np.zeros(0, dtype=np.int64)]
    if not step:
        return asked[0]
    program = low.store.table([ASK, *[0] * (WORDS - 1), THINK, *[0] * (WORDS - 1)])
    for number, load in enumerate(plan.loads):
        if not load.users:
            continue
        many = len(load.routes) > 1
        fields = {
            parts.LOAD_UNTIL: load.until_ns,
            parts.LOAD_COUNT: load.count,
            parts.LOAD_STEP: step,
            parts.LOAD_THINK: load.think,
            parts.LOAD_ROUTES: low.store.table(load.routes),
            parts.LOAD_EDGES: low.store.table(low.source.edges(load.weights)),
            parts.LOAD_ROUTES_N: len(load.routes),
            parts.LOAD_COLUMN: low.source.choice(number) if many else 0,
        }
        record = low.record(parts.LOAD_SIZE, fields)
        number_of = np.arange(load.users)
        rows = np.zeros((load.users, task.USER_SIZE), dtype=np.int64)
        rows[:, task.REQUEST] = first + number_of
        rows[:, task.LOAD] = record
        rows[:, task.PC] = program
        # ramp_ns · u // users, in parts that stay below 64 bits.
        whole, part = divmod(load.ramp_ns, load.users)
        rows[:, task.NS] = whole * number_of + part * number_of // load.users
        rows[:, task.BEGAN] = NONE
        address = low.store.take(rows.size)
        low.store.put_array(address, rows.reshape(-1))
        asked.append(address + task.USER_SIZE * number_of)
        first += load.users
    return np.concatenate(asked)[::-1]
