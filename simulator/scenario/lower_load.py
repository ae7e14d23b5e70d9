"""The loads of a resolved document to those of the plan."""

from __future__ import annotations

from typing import Any

from simulator import plan as p
from simulator.scenario.streams import Streams, until
from simulator.units import parse_duration, parse_rate

Document = dict[str, Any]

_ARRIVALS = {"poisson": p.LoadKind.POISSON, "constant": p.LoadKind.CONSTANT}


def lower_loads(document: Document, streams: Streams) -> tuple[tuple[p.Load, ...], int, int]:
    """All loads, how long after the last arrival requests may stay in flight, the warm-up."""
    routes = document["routes"]
    shared = [i for i, entry in enumerate(routes.values()) if "load" not in entry]
    weights = [float(entry["weight"]) for entry in routes.values() if "load" not in entry]
    given = [
        (entry, f"load[{i}]", shared, weights) for i, entry in enumerate(document.get("load", []))
    ]
    for i, (name, route) in enumerate(routes.items()):
        for j, entry in enumerate(route.get("load", [])):
            given.append((entry, f"routes.{name}.load[{j}]", [i], [1.0]))
    names = {name: i for i, name in enumerate(routes)}
    loads = tuple(_load(*load, names, streams) for load in given)
    drains = [until(entry["drain"]) for entry, _, _, _ in given if "drain" in entry]
    warmups = [entry["warmup"] for entry, _, _, _ in given if "warmup" in entry]
    return loads, max(drains, default=p.NEVER), _warmup(warmups)


def _warmup(given: list[str]) -> int:
    """The longest; what the run says, where a load leaves it to that."""
    if "auto" in given:
        return p.WARMUP_AUTO
    return max((parse_duration(text) for text in given if text != "none"), default=0)


def _load(
    entry: Document,
    path: str,
    routes: list[int],
    weights: list[float],
    names: dict[str, int],
    streams: Streams,
) -> p.Load:
    arrivals = entry.get("arrivals", "poisson")
    recorded = tuple((parse_duration(at), names[route]) for at, route in entry.get("trace", ()))
    stages = _stages(entry) if "stages" in entry else ()
    end = sum(stage.duration_ns for stage in stages) if stages else until(entry.get("for", "none"))
    closed = "users" in entry
    return p.Load(
        kind=_kind(entry),
        count=len(recorded) if recorded else entry.get("requests", p.UNLIMITED),
        until_ns=end,
        rate=parse_rate(entry["rate"]).as_integer_ratio() if "rate" in entry else (0, 1),
        routes=tuple(routes),
        weights=tuple(weight / sum(weights) for weight in weights),
        cv=float(arrivals["gamma"]["cv"]) if isinstance(arrivals, dict) else 0.0,
        stages=stages,
        evenly="stages" in entry and arrivals == "constant",
        recorded=recorded,
        users=entry.get("users", 0),
        think=streams.time(f"{path}.think", entry["think"]) if closed else p.NO_STREAM,
        ramp_ns=parse_duration(entry.get("ramp", "0s")),
    )


def _kind(entry: Document) -> p.LoadKind:
    if "rate" in entry:
        arrivals = entry["arrivals"]
        return p.LoadKind.GAMMA if isinstance(arrivals, dict) else _ARRIVALS[arrivals]
    if "stages" in entry:
        return p.LoadKind.STAGES
    if "users" in entry:
        return p.LoadKind.CLOSED
    return p.LoadKind.RECORDED if "trace" in entry else p.LoadKind.BURST


def _stages(entry: Document) -> tuple[p.Stage, ...]:
    rates = [entry["start"], *(stage["target"] for stage in entry["stages"])]
    exact = [parse_rate(rate).as_integer_ratio() for rate in rates]
    return tuple(
        p.Stage(parse_duration(stage["duration"]), exact[i], exact[i + 1])
        for i, stage in enumerate(entry["stages"])
    )
