"""Queries: what their drivers compute around them, what slows them down, how late they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import simpy

from models import Cores, Job
from models.clock import Steps
from simulator.engines import contract
from simulator.engines.contract import FRAMEWORK
from simulator.engines.costs import DriverCosts, driver_costs, slept
from simulator.engines.failed import Failed
from simulator.engines.faults import Faults
from simulator.engines.task import Task
from simulator.plan import NO_DATABASE, Target, Wait
from simulator.trace import NOT_GRANTED

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Queries:
    """Runs ``Wait`` where it is a query.

    A statement that begins in an outage fails at once, and its transaction with it; one that has
    begun ends. The backend of one that does not compute sleeps, and is late (``backend_wake``).
    """

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.plan = runner.plan
        self.faults = Faults(self.plan)
        self.costs = {
            contract.hold_query(i): driver_costs(self.plan, i) for i in range(len(self.plan.pools))
        }
        self.shared = self._shared()
        self.other = runner.steps[Wait]
        overheads = self.plan.server.overheads
        costs_ns = overheads.query_cpu_ns + overheads.backend_wake_ns
        self.are_special = costs_ns > 0 or bool(self.shared)  # others are held as any wait is

    def _shared(self) -> dict[int, int]:
        """The database of each cause that is a query on one whose cores it uses, or with faults."""
        struck = {fault.index for fault in self.plan.faults if fault.target is Target.DATABASE}
        databases = enumerate(self.plan.databases)
        shared = {i for i, d in databases if contract.queries_share(d)} | struck
        pools = enumerate(self.plan.pools)
        return {contract.hold_query(i): p.database for i, p in pools if p.database in shared}

    def wait(self, task: Task, step: Wait) -> Steps:
        """A query, with what the driver computes before it is sent and after its answer."""
        costs = self.costs.get(step.cause)
        return self.other(task, step) if costs is None else self._query(task, step, costs)

    def _query(self, task: Task, step: Wait, costs: DriverCosts) -> Steps:
        if costs.before_ns:
            yield from self.runner.compute(task, costs.before_ns, FRAMEWORK)
        ns, computes = self.runner.draw(task, step.time), False
        database = self.shared.get(step.cause, NO_DATABASE)
        if database != NO_DATABASE:
            slowed = self.faults.struck(Target.DATABASE, database, self.runner.clock.now, ns)
            if slowed is None:
                raise self.outage(task, database)
            ns, computes = slowed, contract.queries_share(self.plan.databases[database])
        if computes and ns:
            yield from self.compute(task, step.cause, database, ns, step.frees_loop)
        else:
            ns += slept(self.plan.server.overheads.backend_wake_ns, ns)
            yield from self.runner.hold(task, ns, step.cause, step.frees_loop)
        if costs.after_ns:
            yield from self.runner.compute(task, costs.after_ns, FRAMEWORK)

    def cores_of(self, database: int) -> Cores | None:
        """The cores of a database, if their number is limited."""
        return None if database == NO_DATABASE else self.runner.wiring.database_cores[database]

    def compute(self, task: Task, hold: int, database: int, work: int, frees_loop: bool) -> Steps:
        """Share the database's cores; what it takes beyond the work is the wait for them."""
        cores, clock = self.cores_of(database), self.runner.clock
        assert cores is not None
        wait = contract.wait_for_core_of(self.plan, database)
        station = self.runner.wiring.cores_station(wait)
        began = clock.now
        job = Job(work, task)

        def ended(_: simpy.Event) -> None:
            now = clock.now
            task.book_until(now - work, wait)
            self.runner.recorder.visit(station, task, NOT_GRANTED, began, began, now, work)

        event = cores.begin(job)
        event.callbacks.append(ended)
        try:
            yield from self.runner.wait_for(task, event, hold, frees_loop, False)
        finally:
            cores.take_off(job)

    def is_out(self, database: int) -> bool:
        """Whether a database is in an outage."""
        return self.faults.struck(Target.DATABASE, database, self.runner.clock.now, 0) is None

    def outage(self, task: Task, database: int) -> Failed:
        """The failure of a statement that begins in an outage, and of its transaction."""
        return task.transactions[-1].fail(contract.database_error(self.plan, database))
