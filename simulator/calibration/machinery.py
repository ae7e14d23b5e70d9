"""The probes of a machine's overheads: a small service of its own, never the user's case.

It has the kind of server, the loop and the threads of the scenario that is calibrated, and
its pools; one worker, and routes that do one thing each. What a request costs is read off
the client's clock alone, so that a server without any instrument can be fitted as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from simulator.analysis.routes import every_step
from simulator.calibration.probe import LoadDocument, Probe
from simulator.calibration.served.written import steps_of
from simulator.engines.contract import BLOCK as BLOCKED
from simulator.plan import UNLIMITED, Cpu, HttpLibrary, Plan, ServerKind, Wait
from simulator.record import dataclass
from simulator.scenario import Scenario, loads

NOTHING, AWAIT, THREAD, BLOCK, CONNECT, ROW = (
    "GET /nothing", "GET /await", "GET /thread", "GET /block", "GET /connect", "GET /row",
)  # fmt: skip
STALL, COMPUTE = "GET /stall", "GET /compute"
POOLED, PROMPT, CROWD, REFUSED = "GET /pooled", "GET /prompt", "GET /crowd", "GET /refused"
HTTPX, HTTPX_QUEUE, AIOHTTP = "GET /httpx", "GET /httpx-queue", "GET /aiohttp"
BURST = 100
FEW = 20
STEADY = 60
"""Of one user without a pause: the loop that serves them does not get cold, nor do backends."""
IN_LINE = 6
"""Of a sync worker's sleepers, who wait for one another."""
ROUNDS = 5
"""Repeats of each probe: what lies between them is the interval."""
SLEEP_S = 0.1
SHORT_S, SHORTEST_S = 0.01, 0.001
"""Of a sync worker: after a long sleep its CPU is cold, which is no overshoot of the sleep. One
whose requests sleep for less is probed with that: the longer the sleep, the colder it wakes."""
QUERY_S = 0.02
CONNECTED_QUERY_S = 0.001
KEPT = 10
"""Of a request that opens a connection, and of the one beside it that takes one that is kept:
so short a query, on so many, that users without a pause are bound by the CPU of its driver."""
CROWD_N, CROWD_QUERY_S = 40, 0.3
"""Connections that are opened at once, and held until the last one is open."""
TAKEN, REFUSED_HOLD_S = 4, 0.5
"""Connections of a database that refuses the others, held until all have come."""
CROWDS = 2
"""How often in a round many connections are opened, or refused: what backends and driver take from
one another differs by a seventh from one time to the next."""
LIMITED, LIMITED_BY = 240, 200
"""Connections, more than uvicorn's limit on a server that has one; other probes have fewer."""
POOLED_MAX = 1
"""Connections of a pool that is filled: of several, some come back in one turn of the loop and
stay together, and what they wait for one another is no hold."""
QUEUE_CONNECTIONS, QUEUE_WAITING = 80, 110
"""Connections, more than httpx keeps idle, and calls beyond them that wait for one: so many pairs
of both that it counts little what else a call that waits computes (.2 ms)."""
STALLS_FROM_S, STALL_S = 0.06, 0.15
"""A callback that keeps the loop from before the first sleeper's end until after the last one's:
their answers leave one after another, whatever lay between their requests."""
COMPUTE_S = 0.1
BESIDE: dict[str, LoadDocument] = {
    NOTHING: {"rate": "100/s", "arrivals": "poisson", "requests": 200},
    COMPUTE: {"users": 1, "for": "2s"},
}
"""Requests that do nothing, while another thread of their process computes all the time."""
_SERVER = ("preset", "kind", "threads", "loop", "gil", "switch_interval")


def opening(label: str, i: int) -> str:
    """A route that is asked once, in round i: its client has no connection yet.

    httpx is probed on such ones alone. It sends all calls that come at once to the first idle
    connection; all but one are in vain, and are sent to the next.
    """
    return f"{label}-opens-{i}"


@dataclass(frozen=True, slots=True)
class Machinery:
    """A scenario for probing and the probes of it. ``pools``: the time of a query, by pool."""

    document: dict[str, Any]
    kind: str
    pools: dict[str, tuple[int, float]]  # by route: connections, seconds of the query
    probes: tuple[Probe, ...]
    sleep_s: float  # of a request of BLOCK

    @property
    def scenario(self) -> Scenario:
        """As it is served, and as it is simulated where the simulator is the double."""
        return loads(json.dumps(self.document))


def machinery(scenario: Scenario, *, connects: bool = True) -> Machinery:
    """The probes for the machine under this scenario: its server's kind and its pools.

    ``connects``: whether a connection per request is probed, too.
    """
    given = scenario.document
    server = {key: given["server"][key] for key in _SERVER if key in given["server"]}
    kind = scenario.plan.server.kind
    asgi = kind is ServerKind.ASGI
    slept_s = _sleep_s(scenario.plan)
    routes = {"nothing": _route(NOTHING, asgi, []), "block": _route(
        BLOCK, False, [{"block": _s(slept_s)}])}  # fmt: skip
    if asgi:
        routes["await"] = _route(AWAIT, True, [{"await": _s(SLEEP_S)}])
        routes["thread"] = _route(THREAD, False, [])
        stall = [{"await": _s(STALLS_FROM_S)}, {"cpu": _s(STALL_S)}]
        routes["stall"] = _route(STALL, True, stall)
    if scenario.plan.server.limit_concurrency < UNLIMITED:
        server = server | {"limit_concurrency": LIMITED_BY}
    document: dict[str, Any] = {"name": "probes", "server": server, "routes": routes}
    pools = dict(_add_pools(document, given, asgi))
    if asgi and pools and connects:
        _add_connecting(document)
        if _can_refuse(scenario.plan):
            _add_refusing(document)
    if any(isinstance(step, Cpu) and not step.releases_gil for step in steps_of(scenario.plan)):
        _add_computing(document, scenario)
    if asgi and pools and given["locks"]:
        _add_row(document)
    if asgi:
        _add_calling(document, scenario)
    document["load"] = {"requests": 1000, "at": "once"}
    probes = tuple(_probes(kind, document, pools))
    return Machinery(document, kind.name.lower(), pools, probes, slept_s)


def _sleep_s(plan: Plan) -> float:
    """How long a request of ``BLOCK`` sleeps: a sync worker's no longer than the scenario's."""
    if plan.server.kind is not ServerKind.SYNC:
        return SLEEP_S
    streams = {
        step.time
        for route in plan.routes
        for step in every_step(route.steps)
        if isinstance(step, Wait) and step.cause == BLOCKED
    }
    means_s = [plan.streams[stream].distribution.mean_ns / 1e9 for stream in streams]
    return min(SHORT_S, max(SHORTEST_S, min(means_s, default=SHORT_S)))


def _route(path: str, on_loop: bool, steps: list[Any]) -> dict[str, Any]:
    return {"path": path, "handler": "async def" if on_loop else "def", "steps": steps}


def _s(seconds: float) -> str:
    return f"{round(seconds * 1e6)}us"


def _add_pools(
    document: dict[str, Any], given: dict[str, Any], asgi: bool
) -> Iterator[tuple[str, tuple[int, float]]]:
    """Put the scenario's pools and a query on each into the document; connections by route."""
    if not given["pools"]:
        return
    document["pools"] = {}
    for name, pool in given["pools"].items():
        kept = {key: pool[key] for key in ("preset", "driver") if key in pool}
        size = min(pool["size"] or pool["overflow"], POOLED_MAX)
        document["pools"][name] = kept | {"size": size, "overflow": 0}
        on_loop = asgi and pool["driver"] == "async"
        label = f"GET /query/{name}"
        steps = [{"query": name, "time": _s(QUERY_S)}]
        document["routes"][f"query_{name}"] = _route(label, on_loop, steps)
        yield label, (size, QUERY_S)


def _add_connecting(document: dict[str, Any]) -> None:
    """Routes that open a connection for each request, and one that takes one that is kept."""
    first = next(iter(document["pools"].values()))
    on_loop = first["driver"] == "async"
    document["databases"] = {"open": {"max_connections": FEW + CROWD_N} | backends()}
    document["pools"] |= {
        "fresh": first | {"size": 0, "overflow": CROWD_N, "database": "open"},
        "kept": first | {"size": KEPT, "overflow": 0},
    }
    asked = {CONNECT: ("fresh", CONNECTED_QUERY_S), POOLED: ("kept", CONNECTED_QUERY_S)}
    asked |= {CROWD: ("fresh", CROWD_QUERY_S)} | ({PROMPT: ("kept", 0.0)} if on_loop else {})
    for label, (name, query_s) in asked.items():
        steps = [{"query": name, "time": _s(query_s)}]
        document["routes"][label.removeprefix("GET /")] = _route(label, on_loop, steps)


def backends() -> dict[str, Any]:
    """A database whose backends, which are processes, share this machine's processors."""
    return {"cores": os.cpu_count() or 1, "queries": "wait"}


def _can_refuse(plan: Plan) -> bool:
    """Whether its pools may want more connections than a database has."""
    processes = plan.server.workers * plan.server.instances
    return any(
        processes * sum(p.size + p.overflow for p in plan.pools if p.database == i) > d.connections
        for i, d in enumerate(plan.databases)
    )


def _add_refusing(document: dict[str, Any]) -> None:
    """A route whose connections are refused while a few others are held."""
    document["databases"]["full"] = {"max_connections": TAKEN, "reserved": 0} | backends()
    document["pools"]["taken"] = {
        "preset": "asyncpg", "size": 0, "overflow": BURST, "database": "full",
    }  # fmt: skip
    steps = [{"query": "taken", "time": _s(REFUSED_HOLD_S)}]
    document["routes"]["refused"] = _route(REFUSED, True, steps)


def _add_computing(document: dict[str, Any], scenario: Scenario) -> None:
    """A route that computes in a thread, where the loop of the scenario needs the GIL too."""
    if scenario.plan.server.kind is ServerKind.ASGI and scenario.plan.server.gil:
        document["routes"]["compute"] = _route(COMPUTE, False, [{"cpu": _s(COMPUTE_S)}])


def _add_row(document: dict[str, Any]) -> None:
    """A route whose requests lock the same row, in turn."""
    first = next(iter(document["pools"].values()))
    document["pools"]["turns"] = first | {"size": FEW, "overflow": 0}
    document["locks"] = {"row": {}}
    do = [{"lock": "row"}, {"query": "turns", "time": _s(QUERY_S)}]
    on_loop = first["driver"] == "async"
    document["routes"]["row"] = _route(ROW, on_loop, [{"with": "turns", "do": do}])


def _add_calling(document: dict[str, Any], scenario: Scenario) -> None:
    """Routes that call a service with each HTTP client of the scenario; aiohttp without one."""
    clients = {
        s.client if s.connections < UNLIMITED else HttpLibrary.AIOHTTP
        for s in scenario.plan.services
    }
    called = (
        (HTTPX, HttpLibrary.HTTPX, 100),
        (HTTPX_QUEUE, HttpLibrary.HTTPX, QUEUE_CONNECTIONS),
        (AIOHTTP, HttpLibrary.AIOHTTP, 100),
    )
    for probed, library, connections in called:
        if library not in clients:
            continue
        client = {"connections": connections, "pool_timeout": "none"}
        client["preset"] = library.name.lower()
        for label in (probed, *(opening(probed, i) for i in range(ROUNDS))):
            name = label.removeprefix("GET /")
            service = {"time": _s(QUERY_S), "client": client}
            document.setdefault("services", {})[name] = service
            document["routes"][name] = _route(label, True, [{"call": name}])


def _probes(
    kind: ServerKind, document: dict[str, Any], pools: dict[str, tuple[int, float]]
) -> Iterator[Probe]:
    """What is asked, round by round: single requests, bursts, users who fill a pool."""
    every = [route["path"] for route in document["routes"].values()]
    once: LoadDocument = {"requests": BURST, "at": "once"}
    queue: LoadDocument = {"requests": QUEUE_CONNECTIONS + QUEUE_WAITING, "at": "once"}
    fresh = {HTTPX: once, HTTPX_QUEUE: queue, AIOHTTP: once}
    once_only = [opening(label, i) for label in fresh for i in range(ROUNDS)]
    of_others = (STALL, COMPUTE, CROWD, REFUSED, *once_only)
    warmed = [label for label in every if label not in of_others]
    labels = [label for label in warmed if label not in (HTTPX, HTTPX_QUEUE)]
    small: LoadDocument = {"requests": FEW, "at": "once"}
    in_line: LoadDocument = {"requests": IN_LINE, "at": "once"}
    for label in warmed:
        # aiohttp's connections that a burst needs are open before.
        yield Probe("warm up", {label: fresh.get(label, small)})
    crowd = Probe("burst", {CROWD: {"requests": CROWD_N, "at": "once"}})
    crowds = [crowd] if CROWD in every else []
    crowds += [Probe("refused", {REFUSED: once})] if REFUSED in every else []
    yield from (replace(probe, purpose="warm up") for probe in crowds)
    for i in range(ROUNDS):
        for label, load in fresh.items():
            if label in every:
                yield Probe("opening", {opening(label, i): load})
        for label in labels:
            slow = label in (AWAIT, BLOCK)
            # A request that opens a connection comes alone; one after another they are quicker.
            rest = "20ms" if label == CONNECT else "5ms"
            alone = {"users": 1, "think": rest, "requests": 5 if slow else 12}
            if label not in (ROW, POOLED, PROMPT):
                yield Probe("single", {label: alone})
            if label in (NOTHING, PROMPT):
                yield Probe("steady", {label: {"users": 1, "requests": STEADY}})
        if kind is not ServerKind.ASGI:
            yield Probe("burst", {NOTHING: small})
            if kind is ServerKind.SYNC:
                yield Probe("burst", {BLOCK: in_line})
            continue
        for label in (NOTHING, THREAD, AIOHTTP):
            if label in labels:
                yield Probe("burst", {label: once})
        yield Probe("stalled", {STALL: {"requests": 1, "at": "once"}, AWAIT: once})
        if ROW in labels:
            yield Probe("burst", {ROW: small})
        yield from crowds * CROWDS
        if "limit_concurrency" in document["server"]:
            yield Probe("refused", {NOTHING: {"requests": LIMITED, "at": "once"}})
        if "compute" in document["routes"]:
            yield Probe("beside", BESIDE)
        if POOLED in labels:
            yield Probe("full", {POOLED: {"users": 2 * KEPT, "requests": 30 * KEPT}})
        for label, (size, _) in pools.items():
            yield Probe("full", {label: {"users": 2 * size, "requests": 24 * size}})
