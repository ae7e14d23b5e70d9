"""A resolved document to the plan that engines run."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from simulator import plan as p
from simulator.distributions import Constant, Normal
from simulator.engines import contract
from simulator.scenario import presets
from simulator.scenario.lower_load import lower_loads
from simulator.scenario.lower_outside import (
    lower_accelerator,
    lower_client,
    lower_database,
    lower_fault,
    lower_lock,
    lower_service,
)
from simulator.scenario.lower_steps import lower_route
from simulator.scenario.streams import Streams, limit, until
from simulator.units import parse_duration, parse_size

Document = dict[str, Any]

_NOTHING = Constant(0)

_KINDS = {"sync": p.ServerKind.SYNC, "threads": p.ServerKind.THREADS, "asgi": p.ServerKind.ASGI}
_ACCEPTS = {"round_robin": p.Accept.ROUND_ROBIN, "random": p.Accept.RANDOM}
_BALANCERS = {
    "round_robin": p.Balancer.ROUND_ROBIN,
    "random": p.Balancer.RANDOM,
    "least_connections": p.Balancer.LEAST_CONNECTIONS,
    "two_choices": p.Balancer.TWO_CHOICES,
}


def lower(document: Document) -> p.Plan:
    """The plan of a resolved document that has been checked."""
    streams = Streams()
    names = list(document["databases"])
    routes = tuple(lower_route(name, document, streams) for name in document["routes"])
    loads, drain_ns, warmup_ns = lower_loads(document, streams)
    plan = p.Plan(
        name=document["name"],
        seed=document["seed"],
        server=_server(document["server"], routes, streams),
        pools=tuple(_pool(name, entry, names) for name, entry in document["pools"].items()),
        databases=tuple(
            lower_database(name, entry, document["server"])
            for name, entry in document["databases"].items()
        ),
        locks=tuple(lower_lock(name, entry, streams) for name, entry in document["locks"].items()),
        services=tuple(
            lower_service(name, entry, streams) for name, entry in document["services"].items()
        ),
        accelerators=tuple(
            lower_accelerator(name, entry, streams)
            for name, entry in document["accelerators"].items()
        ),
        faults=tuple(lower_fault(entry, document) for entry in document["faults"]),
        client=lower_client(document["client"], streams),
        routes=routes,
        loads=loads,
        drain_ns=drain_ns,
        warmup_ns=warmup_ns,
        streams=tuple(streams.made),
        causes=(),
        outcomes=(),
        stations=(),
    )
    return contract.numbered(plan)


def _pool(name: str, entry: Document, databases: list[str]) -> p.Pool:
    return p.Pool(
        label=name,
        size=entry["size"],
        overflow=entry["overflow"],
        min=entry["min"],
        acquire_timeout_ns=until(entry["acquire_timeout"]),
        database=databases.index(entry["database"]) if "database" in entry else p.NO_DATABASE,
        lifo=presets.POOLS[entry["preset"]].lifo,
        hands_over=presets.POOLS[entry["preset"]].hands_over,
        gives_back_in_task=presets.POOLS[entry["preset"]].gives_back_in_task,
        begins=presets.POOLS[entry["preset"]].begins,
    )


def _server(entry: Document, routes: Sequence[p.Route], streams: Streams) -> p.Server:
    kind, workers = _KINDS[entry["kind"]], entry["workers"]
    threads = entry.get("threads", 1)
    accept = entry.get("accept", "round_robin")
    weights = [1.0] * workers
    if isinstance(accept, dict):
        weights = accept["weights"]
    gil = entry.get("gil", False)
    loop = entry.get("loop", "uvloop")
    overheads = p.Overheads(
        **{f"{key}_ns": parse_duration(v) for key, v in entry["overheads"].items()}
    )
    return p.Server(
        kind=kind,
        workers=workers,
        threads=threads,
        accept=p.Accept.WEIGHTS if isinstance(accept, dict) else _ACCEPTS[accept],
        accept_weights=tuple(weight / sum(weights) for weight in weights),
        gil=gil is not False and _contended(kind, threads, overheads, routes, streams.made),
        gil_fifo=gil is not False and gil["handover"] == "fifo",
        switch_interval_ns=parse_duration(entry.get("switch_interval", presets.SWITCH_INTERVAL)),
        gil_lost_ppm=_lost_ppm(loop, gil),
        gil_writes_release=loop == "asyncio",
        overheads=overheads,
        connect_delay=_connect_delay(overheads.connect_delay_ns, streams),
        instances=entry["instances"],
        balancer=_BALANCERS[entry["balancer"]],
        cores=limit(entry["cores"]),
        backlog=limit(entry["backlog"]),
        limit_concurrency=limit(entry.get("limit_concurrency", "none")),
        timeout_ns=until(entry.get("timeout", "none")),
        connection_bytes=parse_size(entry["memory"]["connection"]),
        thread_bytes=parse_size(entry["memory"]["thread"]),
    )


def _connect_delay(mean_ns: int, streams: Streams) -> int:
    name = "server.overheads.connect_delay"
    return streams.add(name, Normal(mean_ns, mean_ns / 2)) if mean_ns else p.NO_STREAM


def _lost_ppm(loop: str, gil: Any) -> tuple[int, int, int]:
    """How often a woken thread is there before a release is over, its delay exponential."""
    wake_ns = parse_duration(gil["wake"] if gil and "wake" in gil else presets.GIL_WAKE)
    turn, read, write = (
        round(1e6 * -math.expm1(-length_ns / wake_ns)) if wake_ns else 1_000_000
        for length_ns in presets.GIL_RELEASES_NS[loop]
    )
    return turn, read, write


def _contended(
    kind: p.ServerKind,
    threads: int,
    overheads: p.Overheads,
    routes: Sequence[p.Route],
    made: Sequence[p.TimeStream],
) -> bool:
    """Whether two threads of one process can both want the GIL, one of them to compute.

    A thread that only waits needs it too, to begin and to go on: a loop that computes keeps it.
    """
    asgi = kind is p.ServerKind.ASGI
    code = [
        (step, in_thread)
        for route in routes
        for steps in (route.steps, route.after)
        for step, in_thread in _code(steps, in_thread=not route.on_loop)
    ]
    if asgi:
        several = any(in_thread for _, in_thread in code) or any(not r.on_loop for r in routes)
        each_ns = overheads.loop_before_ns + overheads.loop_after_ns + overheads.thread_hop_ns
    else:
        several = kind is p.ServerKind.THREADS and threads > 1
        each_ns = overheads.worker_ns
    computes = any(_computes(step, overheads, made) for step, _ in code)
    return several and (each_ns > 0 or computes)


def _code(steps: Sequence[p.Step], in_thread: bool) -> Iterator[tuple[p.Step, bool]]:
    """Each step, those inside of others too, and whether it uses a thread."""
    for step in steps:
        each_chunk = isinstance(step, p.Stream) and step.per_chunk_thread
        hops = each_chunk or isinstance(step, p.ToThread)
        yield step, in_thread or hops
        if isinstance(step, p.With):
            yield from _code(step.steps, in_thread)
        elif isinstance(step, p.ToThread):
            yield from _code(step.steps, True)
        elif isinstance(step, p.Gather):
            for branch in step.branches:
                yield from _code(branch.steps, in_thread)


def _computes(step: p.Step, costs: p.Overheads, made: Sequence[p.TimeStream]) -> bool:
    """Whether this step itself computes with the GIL."""
    if isinstance(step, p.Cpu):
        return not step.releases_gil
    if isinstance(step, p.Call):
        aiohttp_ns = costs.aiohttp_call_ns + costs.aiohttp_connect_ns
        return costs.client_call_ns + costs.client_scan_ns + aiohttp_ns > 0
    if isinstance(step, p.With):
        return costs.query_cpu_ns + costs.query_wake_ns > 0
    return isinstance(step, p.Stream | p.Broadcast) and made[step.cpu].distribution != _NOTHING
