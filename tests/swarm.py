"""Random small scenarios, written in the language: ``python -m tests.swarm 500``.

Times come from few small values, so that many events fall on one instant; sizes are
small, so that everything queues. A failure prints the seed and the scenario.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
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

FOLDER = Path(__file__).parent
ARRIVALS, ARRIVALS_OF_ROUTES = "swarm_arrivals.csv", "swarm_arrivals_of_routes.csv"

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
    document = _Writer(random.Random(seed)).document(seed)
    # Drawn apart: the scenarios are otherwise those that they were without it.
    later, overheads = random.Random(f"loop_wake {seed}"), document["server"]["overheads"]
    if isinstance(overheads, dict) and "loop_after" in overheads and later.random() < 0.5:
        overheads["loop_wake"] = later.choice(["50us", "1ms", "3ms"])
    later = random.Random(f"connect_delay {seed}")
    if isinstance(overheads, dict) and "connect" in overheads and later.random() < 0.5:
        overheads["connect_delay"] = later.choice(["100us", "2ms"])
    later = random.Random(f"query_wake {seed}")
    if isinstance(overheads, dict) and "pool_hold" in overheads and later.random() < 0.5:
        overheads["query_wake"] = later.choice(["70us", "2ms"])
        overheads["backend_wake"] = later.choice(["0s", "300us", "5ms"])
    return document


class _Writer:
    """Writes one scenario; every key and step of the language has its chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.kind = chance.choice(["asgi", "asgi", "asgi", "threads", "sync"])
        self.pools = ["a", "b"][: chance.randint(0, 2)]
        self.locks = ["row", "account"][: chance.randint(0, 2)] if self.pools else []
        self.services = ["pay", "geo"][: chance.choice([0, 0, 1, 2])]
        self.accelerators = ["gpu", "llm"][: chance.choice([0, 0, 1, 2])]

    def maybe(self, probability: float, document: Document, **keys: Any) -> None:
        """Set keys with a probability; a callable makes the value."""
        if self.chance.random() < probability:
            for key, value in keys.items():
                document[key.rstrip("_")] = value() if callable(value) else value

    def document(self, seed: int) -> Document:
        chance = self.chance
        document: Document = {"name": f"swarm-{seed}", "seed": seed, "server": self.server()}
        self.maybe(0.05, document, description="$mathtext$ and <b>markup</b>")
        self.maybe(0.05, document, extends="swarm_base.yaml")
        self.maybe(0.1, document, thresholds={"latency": ["p(95)<1s", "max>=0s"]})
        self.maybe(0.05, document, sweep={"seed": [1, 2]})
        document["load"] = self.load() if chance.random() < 0.8 else [self.load(), self.load()]
        if self.pools:
            document["pools"] = {name: self.pool() for name in self.pools}
            if chance.random() < 0.1:
                document["vars"] = {"timeout": "5ms"}
                document["pools"]["a"]["acquire_timeout"] = "${timeout}"
        if any("database" in pool for pool in document.get("pools", {}).values()):
            document["databases"] = {"pg": self.database(document["server"])}
        if self.locks:
            document["locks"] = {name: self.row_lock() for name in self.locks}
        document["routes"] = self.routes()
        written = json.dumps(document["routes"])
        self.services = [name for name in self.services if f'"call": "{name}"' in written]
        self.accelerators = [name for name in self.accelerators if f': "{name}"' in written]
        if self.services:
            document["services"] = {name: self.service() for name in self.services}
        if self.accelerators:
            document["accelerators"] = {name: self.accelerator(name) for name in self.accelerators}
        self.maybe(0.3, document, client=self.client)
        faults = self.faults(document)
        if faults and chance.random() < 0.5:
            document["faults"] = faults
        return document

    # What serves.

    def server(self) -> Document:
        chance = self.chance
        server: Document = {"kind": self.kind, "workers": chance.choice([1, 1, 2, 3])}
        if chance.random() < 0.2:
            presets = {"sync": "flask", "threads": "django", "asgi": "fastapi"}
            server["preset"] = presets[server.pop("kind")]
        self.maybe(0.05, server, memory={"connection": "31KiB", "thread": "1MiB"})
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
            if isinstance(server["gil"], dict):
                self.maybe(0.5, server["gil"], wake=lambda: chance.choice(["0s", "12us", "1ms"]))
            self.maybe(0.15, server, limit_concurrency=lambda: chance.randint(2, 20))
        if self.kind == "sync":
            self.maybe(0.3, server, timeout=lambda: chance.choice(["4ms", "10ms"]))
        if self.kind != "threads":
            self.maybe(0.15, server, backlog=lambda: chance.randint(1, 8))
        if chance.random() < 0.2:
            server["instances"] = chance.randint(2, 3)
            balancers = ["round_robin", "random", "least_connections", "two_choices"]
            server["balancer"] = chance.choice(balancers)
        self.maybe(0.3, server, cores=lambda: chance.randint(1, 3))
        asgi = ["loop_before", "loop_after", "refusal", "thread_hop", "thread_start"]
        kinds = asgi if self.kind == "asgi" else ["worker"]
        every = [
            *kinds,
            "first_request",
            "pool_hold",
            "lock_hold",
            "connect",
            "connect_refused",
            "close",
            "timer",
            "sleep",
        ]
        every += ["query_cpu", "client_call", "client_scan", "aiohttp_call", "aiohttp_connect"]
        chosen = {key: self.duration() for key in every if chance.random() < 0.4}
        beside = {"from": chance.choice(["none", "typical"]), **chosen}
        server["overheads"] = chance.choice(["none", chosen or "none", beside])
        return server

    def pool(self) -> Document:
        chance = self.chance
        pool: Document = {"preset": chance.choice(["asyncpg", "sqlalchemy", "psycopg_pool"])}
        pool["size"] = chance.randint(0, 3)
        pool["overflow"] = chance.randint(0 if pool["size"] else 1, 2)
        pool["min"] = chance.randint(0, pool["size"])
        pool["acquire_timeout"] = chance.choice(["none", "2ms", "5ms", "30s"])
        pool["driver"] = chance.choice(["async", "async", "blocking"])
        self.maybe(0.4, pool, database="pg")
        return pool

    def database(self, server: Document) -> Document:
        chance = self.chance
        database: Document = {"max_connections": chance.randint(4, 20), "reserved": 2}
        self.maybe(0.3, database, preset="postgresql")
        self.maybe(0.5, database, cores=lambda: chance.randint(1, 3))
        if "cores" in server and "instances" not in server:
            self.maybe(0.5, database, cores="server")
        self.maybe(0.4, database, queries=lambda: chance.choice(["compute", "wait"]))
        if self.locks:
            self.maybe(0.5, database, deadlock_timeout=lambda: chance.choice(["1ms", "1s"]))
        return database

    def row_lock(self) -> Document:
        chance, lock = self.chance, {}
        if chance.random() < 0.4:
            lock["keys"] = chance.randint(2, 5)
            lock["pick"] = chance.choice(["uniform", {"zipf": 1.1}, "fixed"])
        self.maybe(0.3, lock, grant=lambda: chance.choice(["fifo", "random"]))
        return lock

    def service(self) -> Document:
        chance = self.chance
        service: Document = {"time": self.time()}
        if chance.random() < 0.6:
            service["concurrency"] = chance.randint(1, 4)
            self.maybe(0.5, service, queue=lambda: chance.randint(0, 4))
        self.maybe(0.3, service, errors=lambda: chance.choice(["20%", "1.5%"]))
        self.maybe(0.5, service, rate_limit=self.rate_limit)
        client = {"connections": chance.randint(1, 3), "pool_timeout": "5ms"}
        preset = {"preset": "httpx", "connections": 2}
        clients = ["httpx", "aiohttp", client, preset]
        self.maybe(0.4, service, client=lambda: chance.choice(clients))
        self.maybe(0.4, service, timeout=lambda: chance.choice(["2ms", "5ms", "none"]))
        self.maybe(0.4, service, retries=self.retries)
        return service

    def rate_limit(self) -> Document:
        chance = self.chance
        over = chance.choice(["wait", "reject"])
        kind = chance.choice(["token_bucket", "leaky_bucket", "fixed_window", "sliding_window"])
        limit: Document = {"kind": kind, "over": over}
        if kind.endswith("bucket"):
            limit["rate"] = chance.choice(["300/s", "1000/s", "700/s"])
        else:
            limit |= {"limit": chance.randint(1, 5), "window": chance.choice(["3ms", "10ms"])}
        if kind == "token_bucket":
            limit["burst"] = chance.randint(1, 5)
        return limit

    def accelerator(self, name: str) -> Document:
        chance = self.chance
        table = {"table": {1: "1ms", 2: "1ms", 8: "3ms"}}
        linear = {"base": "1ms", "per_item": "250us"}
        time = chance.choice([table, linear, "2ms", {"exp": "2ms"}])
        if name == "llm":
            accelerator = {"continuous": {"max_running": chance.randint(1, 5)}, "step": time}
        else:
            batch = {"max": chance.randint(1, 5), "wait": chance.choice(["0s", "1ms", "5ms"])}
            if batch["wait"] != "0s":
                self.maybe(0.4, batch, window=lambda: chance.choice(["arrival", "taken"]))
            accelerator = {"batch": batch, "time": time}
            self.maybe(0.4, accelerator, count=lambda: chance.randint(1, 3))
        self.maybe(0.4, accelerator, queue=lambda: chance.randint(0, 6))
        return accelerator

    def faults(self, document: Document) -> list[Document]:
        """A fault for each thing that can have one."""
        targets = [{"service": name} for name in self.services]
        targets += [{"accelerator": name} for name in self.accelerators]
        targets += [{"database": name} for name in document.get("databases", {})]
        out = []
        for target in targets:
            fault: Document = {**target, "at": self.duration(), "for": "20ms"}
            fault |= self.chance.choice([{"outage": True}, {"slow": 2.5}, {"slow": 3}])
            out.append(fault)
        return out

    # Who asks.

    def load(self, arrivals: str = ARRIVALS_OF_ROUTES) -> Document:
        chance = self.chance
        kind = chance.choice(["burst", "burst", "open", "open", "open", "stages", "users", "trace"])
        if kind == "burst":
            return {"requests": chance.randint(1, 40), "at": "once"}
        if kind == "trace":
            return {"trace": arrivals}
        load: Document = {}
        if kind == "open":
            load["rate"] = f"{chance.choice([50, 200, 333, 1000])}/s"
            load["arrivals"] = chance.choice(["poisson", "constant", {"gamma": {"cv": 2}}])
        elif kind == "stages":
            targets = [chance.choice([0, 200, 1000]), 300]
            stages = [{"duration": "30ms", "target": f"{target}/s"} for target in targets]
            self.maybe(0.5, load, start="100/s")
            return load | {"stages": stages, "arrivals": chance.choice(["poisson", "constant"])}
        else:
            load["users"] = chance.randint(1, 5)
            self.maybe(0.7, load, think=self.time)
            self.maybe(0.5, load, ramp="10ms")
        # Users without any time of their own would never let time pass.
        if chance.random() < 0.5 or kind == "users":
            load["requests"] = chance.randint(1, 60)
        else:
            load["for"] = chance.choice(["50ms", "100ms"])
            self.maybe(0.5, load, drain=lambda: chance.choice(["0s", "5ms", "30s"]))
        self.maybe(0.3, load, warmup=lambda: chance.choice(["auto", "none", "10ms"]))
        return load

    def client(self) -> Document:
        chance = self.chance
        client: Document = {}
        self.maybe(0.6, client, timeout=lambda: chance.choice(["3ms", "10ms", "30ms"]))
        self.maybe(0.6, client, retries=self.retries)
        self.maybe(0.4, client, latency=self.time)
        if self.kind == "sync":
            self.maybe(0.5, client, close_delay=lambda: chance.choice(["1ms", "5ms"]))
        else:
            self.maybe(0.3, client, connections=lambda: {"kept": chance.randint(1, 9)})
        return client or {"timeout": "10ms"}

    def retries(self) -> Any:
        chance = self.chance
        backoff: Any = chance.choice(["1ms", "0s"])
        if chance.random() < 0.5:
            backoff = {"base": "1ms", "factor": 2, "jitter": chance.choice([True, False])}
        return {"max": chance.randint(1, 3), "backoff": backoff}

    def routes(self) -> Document:
        chance = self.chance
        routes = [self.route() for _ in range(chance.randint(1, 3))]
        for route in routes[1:]:
            if chance.random() < 0.4:
                route["load"] = self.load(ARRIVALS)  # the other routes share the scenario's
            else:
                route["weight"] = chance.randint(1, 3)
        for i, route in enumerate(routes):
            self.maybe(0.2, route, path=f"GET /{i}")
        return {f"route{i}": route for i, route in enumerate(routes)}

    def route(self) -> Document:
        chance = self.chance
        asynchronous = self.kind == "asgi" and chance.random() < 0.6
        steps = self.steps(asynchronous, 2, ())
        if chance.random() < 0.15:
            stream = {"chunks": chance.choice([1, 3, {"geometric": 3}]), "every": self.time()}
            self.maybe(0.5, stream, cpu=self.time, direction="in")
            steps.append({"stream": stream})
        route: Document = {"handler": "async def" if asynchronous else "def", "steps": steps}
        self.maybe(0.1, route, deadline=lambda: chance.choice(["5ms", "20ms"]))
        text = json.dumps(steps)
        if any(word in text for word in ('"call"', '"predict"', '"generate"')):
            self.maybe(0.3, route, priority=lambda: chance.randint(0, 3))
        self.maybe(0.1, route, after=lambda: self.steps(asynchronous, 1, ()))
        return route

    # What a handler does.

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
            kinds += ["await", "await", "broadcast"]
        if free:
            kinds += ["query", "query"]
        if held and self.locks and not shared:
            kinds += ["lock", "lock"]
        kinds += ["call", "call"] if self.services else []
        kinds += ["predict"] if "gpu" in self.accelerators else []
        kinds += ["generate"] if "llm" in self.accelerators else []
        if depth:
            kinds += ["with"] if free else []
            kinds += ["gather", "to_thread"] if asynchronous else []
        return getattr(self, f"_{chance.choice(kinds)}")(asynchronous, depth, held, shared, free)

    def _cpu(self, *_: Any) -> Document:
        if self.chance.random() < 0.2:
            return {"cpu": {"time": self.time(), "releases_gil": True}}
        return {"cpu": self.time()}

    def _block(self, *_: Any) -> Document:
        return {"block": self.time()}

    def _await(self, *_: Any) -> Document:
        return {"await": self.time()}

    def _broadcast(self, *_: Any) -> Document:
        return {"broadcast": {"sockets": self.chance.randint(1, 5), "cpu": self.duration()}}

    def _query(self, *given: Any) -> Document:
        return {"query": self.chance.choice(given[4]), "time": self.time()}

    def _lock(self, *_: Any) -> Document:
        lock: Document = {"lock": self.chance.choice(self.locks)}
        self.maybe(0.3, lock, shared=True)
        return lock

    def _call(self, asynchronous: bool, *_: Any) -> Document:
        call: Document = {"call": self.chance.choice(self.services)}
        self.maybe(0.3, call, timeout=lambda: self.chance.choice(["2ms", "6ms"]))
        self.maybe(0.3, call, retries=self.retries)
        if asynchronous:
            self.maybe(0.2, call, blocking=True)
        return call

    def _predict(self, *_: Any) -> Document:
        return {"predict": "gpu"}

    def _generate(self, *_: Any) -> Document:
        return {"generate": "llm", "tokens": self.chance.choice([1, 3, {"geometric": 4}])}

    def _with(
        self,
        asynchronous: bool,
        depth: int,
        held: tuple[str, ...],
        shared: bool,
        free: list[str],
    ) -> Document:
        pool = self.chance.choice(free)
        steps = self.steps(asynchronous, depth - 1, (*held, pool), shared)
        taken: Document = {"with": pool, "do": steps}
        if self.chance.random() < 0.3 and not shared:
            taken["isolation"] = self.chance.choice(["serializable", "repeatable_read"])
            taken["retries"] = self.retries()
        return taken

    def _gather(
        self, asynchronous: bool, depth: int, held: tuple[str, ...], shared: bool, _: Any
    ) -> Document:
        count = self.chance.randint(1, 3)
        branches: list[Any] = [self.steps(True, depth - 1, held, True) for _ in range(count)]
        bare = self.chance.random() < 0.5
        return {"gather": [b[0] if len(b) == 1 and bare else b for b in branches]}

    def _to_thread(
        self, asynchronous: bool, depth: int, held: tuple[str, ...], shared: bool, _: Any
    ) -> Document:
        return {"to_thread": self.steps(False, depth - 1, held, shared)}

    def time(self) -> Any:
        if self.chance.random() < 0.3:
            return self.chance.choice(DISTRIBUTIONS)
        return self.duration()

    def duration(self) -> str:
        return self.chance.choice(["0s", "1ms", "1ms", "2ms", "3ms", "5ms", "250us"])


def load(seed: int) -> Scenario:
    """The random scenario, as the language reads it."""
    return loads(json.dumps(scenario(seed)), path=str(FOLDER / f"swarm-{seed}.yaml"))


def check(seed: int) -> Answer:
    """Run one scenario of the swarm; everything that must hold of it is asserted."""
    written = load(seed)
    plan = written.plan
    answer = simulate(written)
    invariants.check(plan, answer.trace, Workload(plan))
    # Another order of creation, and the same seed once more: not a bit of difference.
    arrivals = len(Workload(plan).arrivals()[0])
    order = random.Random(seed).sample(range(arrivals), arrivals)
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
    resized = loads(json.dumps(document), path=str(FOLDER / "resized.yaml")).plan
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
