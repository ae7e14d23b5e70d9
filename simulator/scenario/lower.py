"""A resolved document to the plan that engines run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from simulator import plan as p
from simulator.distributions import (
    Constant,
    Distribution,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    Hyperexponential,
    Lognormal,
    Mixture,
    Normal,
    Pareto,
    Uniform,
)
from simulator.engines import contract
from simulator.scenario import presets
from simulator.scenario.steps import word
from simulator.units import parse_duration, parse_rate

Document = dict[str, Any]

_KINDS = {"sync": p.ServerKind.SYNC, "threads": p.ServerKind.THREADS, "asgi": p.ServerKind.ASGI}
_ACCEPTS = {"round_robin": p.Accept.ROUND_ROBIN, "random": p.Accept.RANDOM}
_NO_RETRIES = p.Retries(())
_ARRIVALS = {"poisson": p.LoadKind.POISSON, "constant": p.LoadKind.CONSTANT}


def lower(document: Document) -> p.Plan:
    """The plan of a resolved document that has been checked."""
    databases = tuple(
        p.Database(name, entry["max_connections"] - entry["reserved"], p.UNLIMITED, p.NEVER)
        for name, entry in document["databases"].items()
    )
    names = list(document["databases"])
    pools = tuple(_pool(name, entry, names) for name, entry in document["pools"].items())
    locks = tuple(p.RowLock(name, 1, p.NO_STREAM, False) for name in document["locks"])
    streams: list[p.TimeStream] = []
    routes = tuple(
        _Lowering(document, streams).route(name, entry)
        for name, entry in document["routes"].items()
    )
    server = _server(document["server"], routes)
    loads, drain_ns = _loads(document)
    plan = p.Plan(
        name=document["name"],
        seed=document["seed"],
        server=server,
        pools=pools,
        databases=databases,
        locks=locks,
        services=(),
        accelerators=(),
        faults=(),
        client=p.Client(p.NEVER, _NO_RETRIES, p.NO_STREAM, 0, 0),
        routes=routes,
        loads=loads,
        drain_ns=drain_ns,
        streams=tuple(streams),
        causes=(),
        outcomes=(),
        stations=(),
    )
    return contract.numbered(plan)


def distribution(time: Any) -> Distribution:
    """The distribution of a time in a resolved document."""
    if isinstance(time, str):
        return Constant(parse_duration(time))
    ((name, given),) = time.items()
    if name == "exp":
        return Exponential(parse_duration(given))
    if name in ("lognormal", "pareto"):
        quantiles = parse_duration(given["p50"]), parse_duration(given["p99"])
        return Lognormal(*quantiles) if name == "lognormal" else Pareto(*quantiles)
    if name == "uniform":
        return Uniform(parse_duration(given[0]), parse_duration(given[1]))
    if name == "empirical":
        return Empirical(tuple(map(parse_duration, given)))
    if name == "mix":
        parts = tuple((float(part["p"]), distribution(part["time"])) for part in given)
        return Mixture(parts)
    mean = parse_duration(given["mean"])
    if name == "gamma":
        return Gamma(mean, float(given["cv"]))
    if name == "hyperexp":
        return Hyperexponential(mean, float(given["cv"]))
    if name == "erlang":
        return Erlang(mean, given["k"])
    return Normal(mean, parse_duration(given["sd"]))


def _pool(name: str, entry: Document, databases: list[str]) -> p.Pool:
    return p.Pool(
        label=name,
        size=entry["size"],
        overflow=entry["overflow"],
        min=entry["min"],
        acquire_timeout_ns=_until(entry["acquire_timeout"]),
        database=databases.index(entry["database"]) if "database" in entry else p.NO_DATABASE,
        lifo=presets.POOLS[entry["preset"]].lifo,
    )


def _until(text: str) -> int:
    return p.NEVER if text == "none" else parse_duration(text)


def _server(entry: Document, routes: Sequence[p.Route]) -> p.Server:
    kind, workers = _KINDS[entry["kind"]], entry["workers"]
    threads = entry.get("threads", 1)
    accept = entry.get("accept", "round_robin")
    weights = [1.0] * workers
    if isinstance(accept, dict):
        weights = accept["weights"]
    gil = entry.get("gil", False)
    overheads = {f"{key}_ns": parse_duration(v) for key, v in entry["overheads"].items()}
    return p.Server(
        kind=kind,
        workers=workers,
        threads=threads,
        accept=p.Accept.WEIGHTS if isinstance(accept, dict) else _ACCEPTS[accept],
        accept_weights=tuple(weight / sum(weights) for weight in weights),
        gil=gil is not False and _contended(kind, threads, routes),
        gil_fifo=gil is not False and gil["handover"] == "fifo",
        switch_interval_ns=parse_duration(entry.get("switch_interval", presets.SWITCH_INTERVAL)),
        gil_takes_per_turn=presets.GIL_TAKES[entry.get("loop", "uvloop")],
        overheads=p.Overheads(**overheads),
        instances=1,
        balancer=p.Balancer.ROUND_ROBIN,
        cores=p.UNLIMITED,
        backlog=p.UNLIMITED,
        limit_concurrency=p.UNLIMITED,
        timeout_ns=p.NEVER,
        connection_bytes=0,
        thread_bytes=0,
    )


def _contended(kind: p.ServerKind, threads: int, routes: Sequence[p.Route]) -> bool:
    """Whether two threads of one process can both want the GIL."""
    if kind is p.ServerKind.SYNC or (kind is p.ServerKind.THREADS and threads == 1):
        return False
    return any(_computes(route.steps, not route.on_loop) for route in routes)


def _computes(steps: Sequence[p.Step], in_thread: bool) -> bool:
    """Whether these steps compute in a thread without releasing the GIL."""
    for step in steps:
        if isinstance(step, p.Cpu) and in_thread and not step.releases_gil:
            return True
        if isinstance(step, p.With) and _computes(step.steps, in_thread):
            return True
        if isinstance(step, p.ToThread) and _computes(step.steps, True):
            return True
        if isinstance(step, p.Gather) and any(_computes(b.steps, in_thread) for b in step.branches):
            return True
    return False


def _loads(document: Document) -> tuple[tuple[p.Load, ...], int]:
    """All loads, and how long after the last arrival requests may stay in flight."""
    routes = document["routes"]
    shared = [i for i, entry in enumerate(routes.values()) if "load" not in entry]
    weights = [float(entry["weight"]) for entry in routes.values() if "load" not in entry]
    given = [(entry, shared, weights) for entry in document.get("load", [])]
    for i, route in enumerate(routes.values()):
        given += [(entry, [i], [1.0]) for entry in route.get("load", [])]
    loads = tuple(_load(entry, indices, shares) for entry, indices, shares in given)
    drains = [_until(entry["drain"]) for entry, _, _ in given if "drain" in entry]
    return loads, max(drains, default=p.NEVER)


def _load(entry: Document, routes: list[int], weights: list[float]) -> p.Load:
    rate = parse_rate(entry["rate"]).as_integer_ratio() if "rate" in entry else (0, 1)
    return p.Load(
        kind=_ARRIVALS[entry["arrivals"]] if "rate" in entry else p.LoadKind.BURST,
        count=entry.get("requests", p.UNLIMITED),
        until_ns=_until(entry.get("for", "none")),
        rate=rate,
        routes=tuple(routes),
        weights=tuple(weight / sum(weights) for weight in weights),
        cv=0.0,
        stages=(),
        evenly=False,
        recorded=(),
        users=0,
        think=p.NO_STREAM,
        ramp_ns=0,
    )


@dataclass(frozen=True, slots=True)
class _Code:
    """What runs a step: the loop or a thread, and the pools of which it holds a connection."""

    on_loop: bool
    held: tuple[str, ...] = ()

    def holding(self, pool: str) -> _Code:
        return _Code(self.on_loop, (*self.held, pool))


@dataclass(slots=True)
class _Lowering:
    """Lowers the steps of one route; its streams are appended to the plan's."""

    document: Document
    streams: list[p.TimeStream]
    branches: int = field(default=0)

    def route(self, name: str, entry: Document) -> p.Route:
        on_loop = entry["handler"] == "async def"
        steps = self.steps(entry["steps"], f"routes.{name}.steps", _Code(on_loop))
        return p.Route(entry.get("path", name), name, on_loop, steps, (), p.NEVER, 0)

    def steps(self, steps: list[Document], path: str, code: _Code) -> tuple[p.Step, ...]:
        return tuple(self._step(step, f"{path}[{i}]", code) for i, step in enumerate(steps))

    def _step(self, step: Document, path: str, code: _Code) -> p.Step:
        name = word(step)
        if name == "cpu":
            cpu = step["cpu"]
            return p.Cpu(self._time(f"{path}.cpu", cpu["time"]), contract.CPU, cpu["releases_gil"])
        if name == "await":
            return p.Wait(self._time(f"{path}.await", step["await"]), contract.AWAIT, True)
        if name == "block":
            return p.Wait(self._time(f"{path}.block", step["block"]), contract.BLOCK, False)
        if name == "query":
            return self._query(step, path, code)
        if name == "with":
            pool = step["with"]
            inner = self.steps(step["do"], f"{path}.do", code.holding(pool))
            return p.With(self._pool(pool), inner, self._frees(pool, code), False, _NO_RETRIES)
        if name == "lock":
            lock = list(self.document["locks"]).index(step["lock"])
            return p.Lock(lock, self._frees(code.held[-1], code), False)
        if name == "gather":
            return self._gather(step["gather"], path, code)
        in_thread = _Code(False, code.held)
        return p.ToThread(self.steps(step["to_thread"], f"{path}.to_thread", in_thread))

    def _query(self, step: Document, path: str, code: _Code) -> p.Step:
        name = step["query"]
        pool, frees = self._pool(name), self._frees(name, code)
        time = self._time(f"{path}.time", step["time"])
        wait = p.Wait(time, contract.hold_query(pool), frees)
        return wait if name in code.held else p.With(pool, (wait,), frees, False, _NO_RETRIES)

    def _gather(self, branches: list[list[Document]], path: str, code: _Code) -> p.Gather:
        out = []
        for i, branch in enumerate(branches):
            self.branches += 1
            number = self.branches
            out.append(p.Branch(number, self.steps(branch, f"{path}.gather[{i}]", code)))
        return p.Gather(tuple(out))

    def _time(self, name: str, time: Any) -> int:
        self.streams.append(p.TimeStream(name, distribution(time)))
        return len(self.streams) - 1

    def _pool(self, name: str) -> int:
        return list(self.document["pools"]).index(name)

    def _frees(self, pool: str, code: _Code) -> bool:
        return code.on_loop and self.document["pools"][pool]["driver"] == "async"
