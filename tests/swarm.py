"""Random small scenarios, written in the language: ``python -m tests.swarm 500``.

Times come from few small values, so that many events fall on one instant; sizes are
small, so that everything queues. A failure prints the seed and the scenario.
"""

from __future__ import annotations

import json
import random
import sys
from typing import Any

from simulator.answer import Answer, simulate
from simulator.engines.reference import run
from simulator.report import machine
from simulator.scenario import Scenario, loads
from simulator.trace import first_difference
from simulator.version import VERSION
from simulator.workload import Workload
from tests import invariants

Document = dict[str, Any]

DISTRIBUTIONS: list[Any] = [
    {"exp": "3ms"},
    {"uniform": ["0s", "5ms"]},
    {"gamma": {"mean": "3ms", "cv": 0.5}},
    {"erlang": {"mean": "4ms", "k": 2}},
    {"hyperexp": {"mean": "2ms", "cv": 2}},
    {"lognormal": {"p50": "2ms", "p99": "20ms"}},
    {"normal": {"mean": "3ms", "sd": "2ms"}},
    {"pareto": {"p50": "1ms", "p99": "20ms"}},
    {"mix": [{"p": 0.8, "time": "1ms"}, {"p": 0.2, "time": "9ms"}]},
]


def scenario(seed: int) -> Document:
    """The document of a random scenario; valid, whatever the seed."""
    return _Writer(random.Random(seed)).document(seed)


class _Writer:
    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kind = chance.choice(["asgi", "asgi", "asgi", "threads", "sync"])
        self.pools = ["a", "b"][: chance.randint(0, 2)]
        self.locks = ["row", "account"][: chance.randint(0, 2)] if self.pools else []

    def document(self, seed: int) -> Document:
        chance = self.chance
        document: Document = {"name": f"swarm-{seed}", "seed": seed, "server": self.server()}
        document["load"] = self.load() if chance.random() < 0.8 else [self.load(), self.load()]
        if self.pools:
            document["pools"] = {name: self.pool() for name in self.pools}
        if any("database" in pool for pool in document.get("pools", {}).values()):
            document["databases"] = {
                "pg": {"max_connections": chance.randint(4, 20), "reserved": 2}
            }
        if self.locks:
            document["locks"] = {name: {} for name in self.locks}
        routes = [self.route() for _ in range(chance.randint(1, 3))]
        for route in routes[1:]:
            if chance.random() < 0.2:
                route["load"] = self.load()  # the other routes share the scenario's
            else:
                route["weight"] = chance.randint(1, 3)
        document["routes"] = {f"route{i}": route for i, route in enumerate(routes)}
        return document

    def server(self) -> Document:
        chance = self.chance
        server: Document = {"kind": self.kind, "workers": chance.choice([1, 1, 2, 3])}
        if self.kind != "sync":
            server["threads"] = chance.randint(1, 4)
            weights = [0.5, 0.3, 0.2][: server["workers"]]
            weights = [round(w / sum(weights), 6) for w in weights]
            weights[0] = round(1 - sum(weights[1:]), 6)
            server["accept"] = chance.choice(["round_robin", "random", {"weights": weights}])
            server["gil"] = chance.choice(
                [True, False, {"handover": "random"}, {"handover": "fifo"}]
            )
            if server["gil"] is not False:
                server["switch_interval"] = chance.choice(["5ms", "1ms"])
        if self.kind == "asgi":
            server["loop"] = chance.choice(["uvloop", "asyncio"])
        kinds = {"asgi": ["loop_before", "loop_after", "thread_hop"]}.get(self.kind, ["worker"])
        every = [*kinds, "pool_hold", "connect", "close", "timer"]
        chosen = {key: self.duration() for key in every if chance.random() < 0.4}
        server["overheads"] = chance.choice(["none", chosen or "none"])
        return server

    def load(self) -> Document:
        chance = self.chance
        if chance.random() < 0.4:
            return {"requests": chance.randint(1, 40), "at": "once"}
        load: Document = {
            "rate": f"{chance.choice([50, 200, 333, 1000])}/s",
            "arrivals": chance.choice(["poisson", "constant"]),
        }
        if chance.random() < 0.5:
            load["requests"] = chance.randint(1, 60)
        else:
            load["for"] = chance.choice(["50ms", "100ms"])
            if chance.random() < 0.5:
                load["drain"] = chance.choice(["0s", "5ms", "30s"])
        return load

    def pool(self) -> Document:
        chance = self.chance
        pool: Document = {"preset": chance.choice(["asyncpg", "sqlalchemy", "psycopg_pool"])}
        pool["size"] = chance.randint(0, 3)
        pool["overflow"] = chance.randint(0 if pool["size"] else 1, 2)
        pool["min"] = chance.randint(0, pool["size"])
        pool["acquire_timeout"] = chance.choice(["none", "2ms", "5ms", "30s"])
        pool["driver"] = chance.choice(["async", "async", "blocking"])
        if chance.random() < 0.3:
            pool["database"] = "pg"
        return pool

    def route(self) -> Document:
        asynchronous = self.kind == "asgi" and self.chance.random() < 0.6
        return {
            "handler": "async def" if asynchronous else "def",
            "steps": self.steps(asynchronous, 2, ()),
        }

    def steps(
        self, asynchronous: bool, depth: int, held: tuple[str, ...], shared: bool = False
    ) -> list[Document]:
        count = self.chance.randint(1, 3)
        return [self.step(asynchronous, depth, held, shared) for _ in range(count)]

    def step(self, asynchronous: bool, depth: int, held: tuple[str, ...], shared: bool) -> Document:
        chance = self.chance
        kinds = ["cpu", "block"]
        free = [pool for pool in self.pools if not (shared and pool in held)]
        if asynchronous:
            kinds += ["await", "await"]
        if free:
            kinds += ["query", "query"]
        if held and self.locks and not shared:
            kinds += ["lock", "lock"]
        if depth:
            kinds += ["with"] if free else []
            kinds += ["gather", "to_thread"] if asynchronous else []
        kind = chance.choice(kinds)
        if kind == "cpu":
            releases = chance.random() < 0.2
            return {"cpu": {"time": self.time(), "releases_gil": True} if releases else self.time()}
        if kind in ("await", "block"):
            return {kind: self.time()}
        if kind == "query":
            return {"query": chance.choice(free), "time": self.time()}
        if kind == "lock":
            return {"lock": chance.choice(self.locks)}
        if kind == "with":
            pool = chance.choice(free)
            return {"with": pool, "do": self.steps(asynchronous, depth - 1, (*held, pool))}
        if kind == "gather":
            branches: list[Any] = [
                self.steps(True, depth - 1, held, shared=True) for _ in range(chance.randint(1, 3))
            ]
            return {
                "gather": [b[0] if len(b) == 1 and chance.random() < 0.5 else b for b in branches]
            }
        return {"to_thread": self.steps(False, depth - 1, held, shared)}

    def time(self) -> Any:
        if self.chance.random() < 0.3:
            return self.chance.choice(DISTRIBUTIONS)
        return self.duration()

    def duration(self) -> str:
        return self.chance.choice(["0s", "1ms", "1ms", "2ms", "3ms", "5ms", "250us"])


def check(seed: int) -> Answer:
    """Run one scenario of the swarm; everything that must hold of it is asserted."""
    written = loads(json.dumps(scenario(seed)), path=f"swarm-{seed}.yaml")
    plan = written.plan
    answer = simulate(written)
    invariants.check(plan, answer.trace, Workload(plan))
    # Another order of creation, and the same seed once more: not a bit of difference.
    order = random.Random(seed).sample(range(len(answer.trace)), len(answer.trace))
    shuffled = run(plan, Workload(plan), creation_order=order)
    assert first_difference(answer.trace, shuffled) is None
    assert as_json(simulate(written)) == as_json(answer)
    no_draw_changes_with_a_resource(written)
    return answer


def as_json(answer: Answer) -> bytes:
    meta = machine.Meta(seed=answer.scenario.seed, version=VERSION, engine="simpy")
    return machine.dumps(
        machine.as_dict(
            answer.scenario.plan,
            answer.summary,
            answer.bottleneck,
            answer.thresholds,
            answer.findings,
            meta=meta,
        )
    )


def no_draw_changes_with_a_resource(written: Scenario) -> None:
    """Arrivals and times are the same draws when workers, threads and pools are resized."""
    document = scenario(written.seed)
    document["server"]["workers"] += 1
    document["server"].pop("accept", None)
    for pool in document.get("pools", {}).values():
        pool["size"] += 2
    resized = loads(json.dumps(document)).plan
    before, after = Workload(written.plan), Workload(resized)
    for ref, comp in zip(before.arrivals(), after.arrivals(), strict=True):
        assert (ref == comp).all()
    for stream, (ref, comp) in enumerate(zip(written.plan.streams, resized.streams, strict=True)):
        assert ref == comp
        assert all(before.time(stream)(i) == after.time(stream)(i) for i in range(20))


def main(count: int, first: int = 0) -> None:
    ended: dict[str, int] = {}
    for seed in range(first, first + count):
        try:
            answer = check(seed)
        except BaseException:
            print(f"seed {seed}: python -m tests.swarm 1 {seed}", file=sys.stderr)
            print(json.dumps(scenario(seed), indent=1), file=sys.stderr)
            raise
        ended[answer.trace.ended] = ended.get(answer.trace.ended, 0) + 1
    print(f"{count} scenarios keep every invariant; runs ended: {ended}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
