"""SIM107 for closed loads: more users than can keep the busiest resource busy."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from simulator.plan import Load, LoadKind
from simulator.scenario.demand import copies, demand_of, sizes
from simulator.scenario.finding import Finding
from simulator.scenario.scenario import Scenario
from simulator.units import exact_duration


def too_many_users(scenario: Scenario) -> Iterator[Finding]:
    """Closed loads beyond the knee of their asymptotic bounds.

    N* = (think + a request's own time) / the largest demand: with more users than that
    somebody always waits (Denning and Buzen 1978). What other loads take is not in it.
    """
    for i, load in enumerate(scenario.plan.loads):
        found = _knee(scenario, load) if load.kind is LoadKind.CLOSED else None
        if found is None or load.users <= math.ceil(found[0]):
            continue
        users, resource, product = found
        message = f"{load.users} users, but {product} = {users:.4g} of them keep {resource} busy: "
        message += "with more its queue gets longer, not its throughput higher"
        path = scenario.load_paths[i] if i < len(scenario.load_paths) else "load"
        hint = f"fewer users, more {resource}, or a shorter hold of it"
        yield Finding("SIM107", "warning", message, scenario.place(f"{path}.users"), hint)


def _knee(scenario: Scenario, load: Load) -> tuple[float, str, str] | None:
    """N*, the resource that is full there, and the arithmetic."""
    plan = scenario.plan
    own_ns, held = 0.0, Counter[str]()
    for route, weight in zip(load.routes, load.weights, strict=True):
        found = demand_of(scenario.document, plan, plan.routes[route].name)
        own_ns += weight * found.took_ns
        for resource, ns in found.held_ns.items():
            held[resource] += weight * ns  # type: ignore[assignment]
    slots = {r: size * copies(plan, r) for r, size in sizes(plan).items()}
    # A limit that rejects keeps nobody waiting.
    rejects = {f"rate limit {s.label}" for s in plan.services if s.limits and not s.limits[0].waits}
    slots = {r: size for r, size in slots.items() if r not in rejects}
    demands = [(ns / slots[r], r) for r, ns in held.items() if ns and r in slots]
    if not demands:
        return None
    demand, resource = max(demands)
    think_ns = plan.streams[load.think].distribution.mean_ns if load.think >= 0 else 0
    product = f"({_time(think_ns)} of thinking + {_time(own_ns)}) × {slots[resource]:.4g}"
    product += f" / {_time(held[resource])}"
    return (think_ns + own_ns) / demand, resource, product


def _time(ns: float) -> str:
    return exact_duration(int(float(f"{ns:.4g}")))
