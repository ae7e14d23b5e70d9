"""What the offered load asks of each resource, by mean times (no queueing)."""

from __future__ import annotations

from collections import Counter
from typing import Any

from simulator.distributions import ZipfKey
from simulator.engines.costs import client_costs, driver_costs
from simulator.plan import Accelerator, Accept, LoadKind, Plan, ServerKind
from simulator.record import dataclass
from simulator.scenario.blocks import mean_ns, means
from simulator.scenario.resolve import Document

SHARED = ("lock", "service", "rate limit", "accelerator", "database cores")
"""Resources of which there is one for all processes and instances."""


@dataclass(frozen=True, slots=True)
class Use:
    """How much of one resource the open loads use, in the busiest process."""

    resource: str  # "event loop", "threads", "pool db"
    rate: float  # requests per second that use it
    hold_ns: float  # mean hold of each of these
    size: int

    @property
    def utilisation(self) -> float:
        """Offered load over capacity: 1 and more is not sustained."""
        return self.rate * self.hold_ns / 1e9 / self.size


@dataclass(frozen=True, slots=True)
class Demand:
    """What one request of a route asks for, by mean times."""

    took_ns: float  # of its handler and background work, without any queueing
    held_ns: Counter[str]  # for how long it holds each resource


def demand_of(document: Document, plan: Plan, route: str) -> Demand:
    """The demand of one request of a route."""
    adder = _Demand(document, plan)
    held = adder.of(route)
    return Demand(adder.took_ns, held)


def at_once(plan: Plan, route: str, time_ns: float) -> int:
    """About how many requests of a route one process has, if each stays this long."""
    index = next(i for i, r in enumerate(plan.routes) if r.name == route)
    wanted = 0.0
    for load in plan.loads:
        share = sum(w for i, w in zip(load.routes, load.weights, strict=True) if i == index)
        if load.kind is LoadKind.BURST:
            wanted += share * load.count
        elif load.kind is LoadKind.CLOSED:
            wanted += share * load.users
        elif load.rate[0]:
            wanted += share * load.rate[0] / load.rate[1] * min(time_ns, 1e15) / 1e9
    return int(wanted / (plan.server.workers * plan.server.instances))


def copies(plan: Plan, resource: str) -> float:
    """How many of a resource there are; fewer where one process gets more than its share."""
    if resource.startswith(SHARED):
        return 1
    if resource.startswith(("workers", "cores")):
        return plan.server.instances
    if plan.server.accept is Accept.WEIGHTS:
        return plan.server.instances / max(plan.server.accept_weights)
    return plan.server.instances * plan.server.workers


def sizes(plan: Plan) -> dict[str, int]:
    """Slots of each resource, in one process where each has its own."""
    return {s.label: s.size for s in plan.stations} | _narrow(plan)


def uses(document: Document, plan: Plan) -> list[Use]:
    """Every resource that requests arriving at a rate use, in order of utilisation."""
    rates: Counter[str] = Counter()
    busy_ns: Counter[str] = Counter()
    for i, rate in enumerate(_rates(plan)):
        for resource, hold_ns in _Demand(document, plan).of(plan.routes[i].name).items():
            if rate and hold_ns:
                local = rate / copies(plan, resource)
                rates[resource] += local  # type: ignore[assignment]
                busy_ns[resource] += local * hold_ns  # type: ignore[assignment]
    slots = sizes(plan)
    found = [Use(r, rates[r], busy_ns[r] / rates[r], slots[r]) for r in rates if r in slots]
    return sorted(found, key=lambda use: -use.utilisation)


def _narrow(plan: Plan) -> dict[str, int]:
    """Stations whose size is not what they serve at once: rows picked unevenly, rate limits."""
    sizes = {f"rate limit {s.label}": 1 for s in plan.services if s.limits}
    for lock in plan.locks:
        pick = plan.streams[lock.pick].distribution if lock.pick >= 0 else None
        if pick is None:
            sizes[f"lock {lock.label}"] = 1
        elif isinstance(pick, ZipfKey):
            # The row picked most often is full first: its share is 1 / (the sum of weights).
            weights = sum((i + 1) ** -pick.s for i in range(min(pick.keys, 100_000)))
            sizes[f"lock {lock.label}"] = max(1, int(weights))
    return sizes


def _rates(plan: Plan) -> list[float]:
    """Requests per second of each route from loads that arrive at a rate."""
    rates = [0.0] * len(plan.routes)
    for load in plan.loads:
        if load.kind is not LoadKind.BURST:
            for route, weight in zip(load.routes, load.weights, strict=True):
                rates[route] += weight * load.rate[0] / load.rate[1]
    return rates


class _Demand:
    """Adds up, over the steps of a route, how long each resource is held."""

    def __init__(self, document: Document, plan: Plan) -> None:
        self._document = document
        self._plan = plan
        self._means = means(plan)
        self._held: Counter[str] = Counter()
        self.took_ns = 0.0

    def of(self, route: str) -> Counter[str]:
        """ns for which one request of the route holds each resource."""
        entry = self._document["routes"][route]
        on_loop = entry["handler"] == "async def"
        took = self._steps(entry["steps"], f"routes.{route}.steps", on_loop, ())
        took += self._steps(entry["after"], f"routes.{route}.after", on_loop, ())
        self.took_ns = took
        costs, kind = self._plan.server.overheads, self._plan.server.kind
        if kind is ServerKind.ASGI:
            self._add("event loop", costs.loop_before_ns + costs.loop_after_ns)
            if not on_loop:
                self._add("event loop", costs.thread_hop_ns)
                self._add("threads", took)
        else:
            resource = "workers" if kind is ServerKind.SYNC else "threads"
            self._add(resource, took + costs.worker_ns)
        return self._held

    def _add(self, resource: str, ns: float) -> None:
        self._held[resource] += ns  # type: ignore[assignment]

    def _steps(
        self, steps: list[Document], path: str, on_loop: bool, held: tuple[str, ...]
    ) -> float:
        times = [self._step(step, f"{path}[{i}]", on_loop, held) for i, step in enumerate(steps)]
        beyond_ns = self._plan.server.overheads.lock_hold_ns
        for i, step in enumerate(steps):
            if "lock" in step and not step["shared"]:
                self._add(f"lock {step['lock']}", sum(times[i + 1 :]) + beyond_ns)
        return sum(times)

    def _step(self, step: Document, path: str, on_loop: bool, held: tuple[str, ...]) -> float:
        if "with" in step or "query" in step:
            return self._connection(step, path, on_loop, held)
        if "gather" in step:
            return max(
                self._steps(branch, f"{path}.gather[{i}]", on_loop, held)
                for i, branch in enumerate(step["gather"])
            )
        if "to_thread" in step:
            took = self._steps(step["to_thread"], f"{path}.to_thread", False, held)
            self._add("threads", took)
            return took
        took = mean_ns(step, path, self._means)
        self._elsewhere(step, path, took)
        computed = self._computed(step, path, took)
        if "call" in step:
            took += computed
        if on_loop:
            free = "await" in step or ("call" in step and not step["blocking"])
            self._add("event loop", computed if free or "stream" in step else took)
        self._add("cores", computed)
        if not ("cpu" in step and step["cpu"]["releases_gil"]):
            self._add("gil", computed)
        return took

    def _elsewhere(self, step: Document, path: str, took: float) -> None:
        """What a step asks of services and accelerators."""
        if "call" in step:
            name = step["call"]
            self._add(f"service {name}", took)
            limits = next(s.limits for s in self._plan.services if s.label == name)
            if limits and limits[0].limit:
                self._add(f"rate limit {name}", limits[0].window_ns / limits[0].limit)
            elif limits:
                self._add(f"rate limit {name}", 1e9 * limits[0].rate[1] / limits[0].rate[0])
        name = step.get("predict", step.get("generate", ""))
        for device in self._plan.accelerators if name else ():
            if device.label == name:
                items = self._means[f"{path}.tokens"] if device.continuous else 1
                # A place of a full batch: the most that it can serve.
                self._add(f"accelerator {name}", items * self._full_batch_ns(device))

    def _full_batch_ns(self, device: Accelerator) -> float:
        if device.table_ns:
            return device.table_ns[-1]
        if device.time >= 0:
            return self._plan.streams[device.time].distribution.mean_ns
        return device.base_ns + device.per_item_ns * device.batch_max

    def _computed(self, step: Document, path: str, took: float) -> float:
        """Mean CPU of a single step in ns."""
        if "stream" in step:
            chunks = self._means[f"{path}.stream.chunks"]
            return chunks * self._means[f"{path}.stream.cpu"]
        if "call" in step:
            labels = [service.label for service in self._plan.services]
            return client_costs(self._plan, labels.index(step["call"]))[0]
        return took if "cpu" in step or "broadcast" in step else 0.0

    def _connection(self, step: Document, path: str, on_loop: bool, held: tuple[str, ...]) -> float:
        pool: Any = step.get("with", step.get("query"))
        costs = driver_costs(self._plan, list(self._document["pools"]).index(pool))
        computed = 0
        frozen = on_loop and self._document["pools"][pool]["driver"] == "blocking"
        if "with" in step:
            before = self._held["event loop"]
            took = self._steps(step["do"], f"{path}.do", on_loop, (*held, pool))
            if any("lock" in inner for inner in step["do"]):
                took += self._plan.server.overheads.lock_hold_ns
            if frozen:
                self._held["event loop"] = before
        else:
            took = mean_ns(step, path, self._means)
            self._share_cores(self._document["pools"][pool].get("database"), took)
            took += costs.before_ns + costs.after_ns
            computed += costs.before_ns + costs.after_ns
        if "with" in step or pool not in held:
            took += costs.begin_ns + costs.end_ns
            computed += costs.begin_ns + costs.end_ns
            self._add(f"pool {pool}", took + self._plan.server.overheads.pool_hold_ns)
        if frozen:
            self._add("event loop", took)
        elif on_loop:
            self._add("event loop", computed)
        return took

    def _share_cores(self, database: str | None, took: float) -> None:
        """What a query needs of the cores of its database, if it computes."""
        spec = self._document["databases"].get(database)
        if spec and spec["queries"] == "compute":
            self._add("cores" if spec["cores"] == "server" else f"database cores {database}", took)
