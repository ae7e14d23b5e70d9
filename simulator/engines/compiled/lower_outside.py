"""What stands outside of the server, as records: services, locks, accelerators."""

from __future__ import annotations

from simulator.engines import contract
from simulator.engines.compiled import gpu_batch, lock, memory, rate_limit, service
from simulator.engines.compiled.failures import NotCompiled
from simulator.engines.compiled.memory import NEVER, NONE
from simulator.engines.compiled.records import Records
from simulator.plan import (
    NO_STREAM,
    UNLIMITED,
    RateLimit,
    RateLimitKind,
    Target,
)

ROWS_MAX = 1_000_000
"""Rows of a lock, places of a device: more of them are not laid out beforehand."""


class LoweredOutside(Records):
    """Services, locks and accelerators as records."""

    def services(self) -> None:
        """The records of all services."""
        base = self.store.take(service.SERVICE_SIZE * len(self.plan.services))
        self.set(0, {memory.SERVICES: base})
        for i, spec in enumerate(self.plan.services):
            station = self.stations("service")[i]
            limit = self._rate_limit(spec.limits[0], station - 1) if spec.limits else 0
            fields = {
                service.CONCURRENCY: spec.concurrency,
                service.CALL_QUEUE: spec.queue if spec.queue < UNLIMITED else NEVER,
                service.SERVICE_STATION: station,
                service.LIMIT_OF: limit,
                service.LIMIT_STATION: station - 1,
                service.SERVICE_TIME: spec.time,
                service.SERVICE_ERRORS: spec.error,
                service.SERVICE_FAULTS: self.faults(Target.SERVICE, i),
                service.CLIENT_CAUSE: contract.wait_for_client(self.plan, i),
                service.FIRST_OUTCOME: contract.service_outcome(
                    self.plan, i, "client_pool_timeout"
                ),
                service.HAS_CLIENTS: spec.connections < UNLIMITED,
            }
            self.set(base + i * service.SERVICE_SIZE, fields)

    def _rate_limit(self, spec: RateLimit, station: int) -> int:
        window = {RateLimitKind.FIXED_WINDOW: 1, RateLimitKind.SLIDING_WINDOW: 2}
        kind = window.get(spec.kind, rate_limit.BUCKET)
        scale, denominator = spec.rate
        burst = spec.burst if spec.kind is RateLimitKind.TOKEN_BUCKET else 1
        period = 10**9 * denominator
        if kind == rate_limit.BUCKET and period * burst > 2**60:
            raise NotCompiled("a rate limit whose bucket fills in more than 36 years")
        if kind == rate_limit.SLIDING_WINDOW and spec.limit > ROWS_MAX:
            raise NotCompiled(f"a sliding window of more than {ROWS_MAX} calls")
        fields = {
            rate_limit.LIMIT_KIND: kind,
            rate_limit.LIMIT_WAITS: spec.waits,
            rate_limit.LIMIT_OWNER: self.owner(station),
            rate_limit.SCALE: max(scale, 1),
            rate_limit.PERIOD: period,
            rate_limit.AHEAD: (burst - 1) * period,
            rate_limit.LIMIT: spec.limit,
            rate_limit.WINDOW_NS: spec.window_ns,
            rate_limit.PASSED: self.store.take(spec.limit) if kind == 2 else 0,
        }
        return self.record(rate_limit.LIMIT_SIZE, fields)

    def locks(self) -> None:
        """The records of all locks."""
        base = self.store.take(lock.LOCK_SIZE * len(self.plan.locks))
        self.set(0, {memory.LOCKS: base})
        for i, spec in enumerate(self.plan.locks):
            keys = spec.keys if spec.pick != NO_STREAM else 1
            if keys > ROWS_MAX:
                raise NotCompiled(f"a lock of more than {ROWS_MAX} rows")
            rows = self.store.take(keys * lock.ROW_SIZE)
            record = base + i * lock.LOCK_SIZE
            for key in range(keys):
                self.set(rows + key * lock.ROW_SIZE, {lock.ROW_LOCK: record})
            column = self.source.column(f"lock {spec.label}") if spec.random_grant else 0
            fields = {
                lock.LOCK_ROWS: rows,
                lock.LOCK_KEYS: spec.keys,
                lock.LOCK_PICK: spec.pick,
                lock.LOCK_RANDOM: spec.random_grant,
                lock.LOCK_COLUMN: column,
                lock.LOCK_STATION: self.stations("lock")[i],
                lock.LOCK_CAUSE: contract.wait_for_lock(self.plan, i),
            }
            self.set(record, fields)

    def accelerators(self) -> None:
        """The records of all accelerators."""
        base = self.store.take(gpu_batch.ACCELERATOR_SIZE * len(self.plan.accelerators))
        self.set(0, {memory.ACCELERATORS: base})
        for i, spec in enumerate(self.plan.accelerators):
            if spec.batch_max > ROWS_MAX or spec.count > ROWS_MAX:
                raise NotCompiled(f"an accelerator with more than {ROWS_MAX} places")
            record = base + i * gpu_batch.ACCELERATOR_SIZE
            station = self.stations("accelerator")[i]
            drawn = not spec.table_ns and spec.time != NO_STREAM
            # A window that opens when taken is a timer of the process's own loop.
            timed = spec.window_taken and spec.wait_ns
            late_ns = self.plan.server.overheads.timer_ns if timed else 0
            fields = {
                gpu_batch.CONTINUOUS: spec.continuous,
                gpu_batch.BATCH_MAX: spec.batch_max,
                gpu_batch.WAIT_NS: spec.wait_ns + late_ns,
                gpu_batch.WINDOW_TAKEN: spec.window_taken,
                gpu_batch.DEVICES_N: spec.count,
                gpu_batch.ITEM_QUEUE: spec.queue if spec.queue < UNLIMITED else NEVER,
                gpu_batch.DEVICE_OWNER: self.owner(station),
                gpu_batch.DEVICES: self._devices(record, spec.count, spec.batch_max),
                gpu_batch.TAKEN_AT: NONE,
                gpu_batch.WINDOW_ENDS_AT: NONE,
                gpu_batch.TIME_TABLE: self.store.table(spec.table_ns) if spec.table_ns else 0,
                gpu_batch.TIME_COLUMN: self.source.times_column(spec.time) if drawn else 0,
                gpu_batch.BASE_NS: spec.base_ns,
                gpu_batch.PER_ITEM_NS: spec.per_item_ns,
                gpu_batch.ACCELERATOR_FAULTS: self.faults(Target.ACCELERATOR, i),
                gpu_batch.ACCELERATOR_STATION: station,
                gpu_batch.BATCH_CAUSE: contract.wait_for_batch(self.plan, i),
                gpu_batch.FULL_OUTCOME: contract.accelerator_outcome(
                    self.plan, i, "accelerator_full"
                ),
            }
            self.set(record, fields)

    def _devices(self, accelerator: int, count: int, places: int) -> int:
        base = self.store.take(count * gpu_batch.DEVICE_SIZE)
        for number in range(count):
            fields = {
                gpu_batch.DEVICE_IDLE: 1,
                gpu_batch.FREE_PLACES: self.store.take(places),
                gpu_batch.DEVICE_ACCELERATOR: accelerator,
                gpu_batch.DEVICE_NUMBER: number,
            }
            self.set(base + number * gpu_batch.DEVICE_SIZE, fields)
        return base
