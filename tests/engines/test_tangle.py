"""Small services where everything meets at one instant: locks, cores, the GIL, faults, retries.

Times of a few whole milliseconds make ties the rule. Every invariant holds, and the order
in which simultaneous arrivals are created doesn't matter.
"""

from __future__ import annotations

import random

import pytest

from simulator.distributions import Distribution, Exponential
from simulator.engines.reference import run
from simulator.plan import (
    NEVER,
    NO_STREAM,
    UNLIMITED,
    Fault,
    Plan,
    RowLock,
    ServerKind,
    Step,
    Target,
)
from simulator.trace import first_difference
from simulator.workload import Workload
from tests import invariants
from tests.plans import MILLISECOND, Steps, burst, changed, database, plan, pool

MS = MILLISECOND
SEEDS = 120


class Tangle:
    """A plan and its arrivals, drawn from a seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.kind = self.chance.choice(list(ServerKind))
        on_loop = self.kind is ServerKind.ASGI and self.chance.random() < 0.6
        self.written = Steps(on_loop=on_loop)
        self.pick = self.written.time(0)
        steps = (*self.steps(0, held=False), self.transaction(0))
        self.count = self.chance.randint(2, 12)
        self.plan = self.service(steps)
        self.arrival = sorted(
            self.chance.choice([0, 0, 0, 1, 2, 3]) * MS for _ in range(self.count)
        )
        self.row = [self.chance.randrange(2) for _ in range(self.count)]

    def workload(self) -> Workload:
        return Workload.scripted(self.plan, arrival=self.arrival, times={"t0": self.row})

    def time(self) -> int | Distribution:
        if self.chance.random() < 0.6:
            return self.chance.choice([0, 1, 2, 3]) * MS
        return Exponential(2.0 * MS)

    def transaction(self, depth: int) -> Step:
        serializable = self.chance.random() < 0.4
        retries = self.chance.randint(0, 3) if serializable else 0
        return self.written.with_(
            0,
            *self.steps(depth, held=True),
            serializable=serializable,
            backoff=tuple(self.time() for _ in range(retries)),
        )

    def steps(self, depth: int, *, held: bool) -> tuple[Step, ...]:
        return tuple(self.step(depth, held) for _ in range(self.chance.randint(1, 4)))

    def step(self, depth: int, held: bool) -> Step:
        written, at = self.written, self.chance.random()
        if held and at < 0.4:
            return written.lock(self.chance.randrange(2), shared=self.chance.random() < 0.4)
        if held and at < 0.6:
            return written.statement(0, self.time())
        if at < 0.75:
            return written.cpu(self.time(), releases_gil=self.chance.random() < 0.3)
        if at < 0.85 and depth < 2:
            return self.transaction(depth + 1)
        if at < 0.93 and written.on_loop and depth < 2:
            branches = (self.steps(depth + 1, held=held) for _ in range(2))
            return written.gather(*branches)
        return written.sleep(self.time()) if written.on_loop else written.block(self.time())

    def service(self, steps: tuple[Step, ...]) -> Plan:
        chance = self.chance
        out = (chance.random() < 0.5, (chance.randint(1, 5), 2))
        fault = Fault(Target.DATABASE, 0, 2 * MS, chance.randint(3, 9) * MS, *out)
        timeout = chance.choice([1, 5, 1000]) * MS
        made = plan(
            self.written,
            *steps,
            load=burst(self.count),
            kind=self.kind,
            workers=chance.randint(1, 3),
            threads=chance.randint(1, 4),
            pools=(
                pool(
                    chance.randint(1, 5),
                    database=0,
                    min=0,
                    overflow=chance.randint(0, 2),
                    acquire_timeout_ns=chance.choice([NEVER, 20 * MS]),
                ),
            ),
            databases=(
                database(
                    chance.randint(3, 20),
                    cores=chance.choice([1, 2, UNLIMITED]),
                    deadlock_timeout_ns=timeout,
                ),
            ),
            locks=(
                RowLock("a", 2, chance.choice([self.pick, NO_STREAM]), chance.random() < 0.3),
                RowLock("b", 1, NO_STREAM, chance.random() < 0.3),
            ),
            faults=(fault,) if chance.random() < 0.3 else (),
            gil=self.kind is not ServerKind.SYNC and chance.random() < 0.6,
            connect_ns=chance.choice([0, MS]),
            pool_hold_ns=chance.choice([0, MS]),
            lock_hold_ns=chance.choice([0, MS]),
        )
        return changed(made, server={"cores": chance.choice([1, 2, 3, UNLIMITED])})


@pytest.mark.parametrize("first", range(0, SEEDS, 20))
def test_every_invariant_holds_in_any_order_of_creation(first: int) -> None:
    for seed in range(first, first + 20):
        tangle = Tangle(seed)
        ref = run(tangle.plan, tangle.workload())
        invariants.check(tangle.plan, ref, tangle.workload())
        order = tangle.chance.sample(range(tangle.count), tangle.count)
        comp = run(tangle.plan, tangle.workload(), creation_order=order)
        assert first_difference(ref, comp) is None, f"seed {seed}"
