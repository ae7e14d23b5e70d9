"""What was found about a server, as a scenario that ``sim run`` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from simulator.calibration.identified import (
    BLOCKS,
    COMPUTES,
    FAILS,
    FREE,
    LIMIT,
    PACED,
    REFUSES,
    Found,
    Route,
)
from simulator.calibration.shapes import is_steady

LOAD_S = 5
"""Of the scenario's own load: what the routes bear, for so long …"""
USE = 0.6
"""… times this."""
REQUESTS_MAX = 2000
"""Of that load."""
TIMES_MAX = 60
"""Measured times that are written down where they vary."""
_SHARE_BEFORE = 0.65
"""Of the loop's time for a request: before its handler (measured: .28 of .43 ms)."""


def document(found: Found, *, name: str = "found", load: bool = True) -> dict[str, Any]:
    """The scenario of a server: one pool, lock or service for each limit that was found."""
    out: dict[str, Any] = {"name": name}
    names = {route.label: _name(route.label, i) for i, route in enumerate(found.routes)}
    cost = found.cost_s
    overheads = {
        "loop_before": _duration(cost * _SHARE_BEFORE),
        "loop_after": _duration(cost * (1 - _SHARE_BEFORE)),
    }
    out["server"] = {"preset": "fastapi", "overheads": overheads}
    if any(route.answers_late for route in found.routes):
        out["server"]["threads"] = max(r.slots for r in found.routes if r.answers_late)
    pools: dict[str, Any] = {}
    services: dict[str, Any] = {}
    out["routes"] = {}
    for route in found.routes:
        if route.kind == FAILS:
            continue
        owner = _owner(route, found, names)
        if route.kind == LIMIT and not route.answers_late:
            pools[owner] = {"size": route.slots, "overflow": 0}
        elif route.kind in (PACED, REFUSES):
            services[owner] = {"time": "0s", "client": "none", "rate_limit": _rate_limit(route)}
        spelt = {"path": route.label, **_handler(route, owner)}
        if load:
            spelt["load"] = _load(route, _sharers(route, found))
        out["routes"][names[route.label]] = spelt
    if pools:
        out["pools"] = pools
    if services:
        out["services"] = services
    return out


def text(found: Found, url: str) -> str:
    """The scenario as YAML, with what each part was concluded from."""
    made = document(found)
    lines = [f"# What sim calibrate found at {url}; each line can be changed and run again."]
    for key in ("name", "server", "pools", "services"):
        if key in made:
            lines += _section(key, made[key])
    lines.append("routes:")
    good = [route for route in found.routes if route.kind != FAILS]
    for route, (name, spelt) in zip(good, made["routes"].items(), strict=True):
        lines += [f"  # {sentence(route, found)}", f"  {name}:"]
        lines += [f"    {key}: {_flow(value)}" for key, value in spelt.items()]
    return "\n".join(lines) + "\n"


def sentence(route: Route, found: Found) -> str:
    """What was found about one route."""
    shared = next((names for names in found.shared if route.label in names), ())
    others = [label for label in shared if label != route.label]
    beside = f", shared with {', '.join(others)}" if others else ""
    time = f"{route.time_s * 1e3:.1f} ms"
    if route.kind == FAILS:
        return "no good answer"
    if route.kind == FREE:
        return f"{time}; as many at once as were asked"
    if route.kind == LIMIT:
        late = "; answers wait behind handlers for a thread once more" if route.answers_late else ""
        return f"{time}; {route.slots} at once{beside}{late}"
    if route.kind == BLOCKS:
        return f"{time}; one at a time, and nothing else meanwhile: it blocks the event loop"
    if route.kind == COMPUTES:
        where = "on the event loop" if route.on_loop else "in threads that share the GIL"
        return f"{time} of computing {where}"
    over = "the others wait" if route.kind == PACED else "the others are refused"
    if route.window_s:
        return f"{time}; {route.burst} in every {route.window_s:.2g} s{beside}, {over}"
    return f"{time}; {route.rate:.3g} per second, {route.burst} at once{beside}, {over}"


def _owner(route: Route, found: Found, names: dict[str, str]) -> str:
    """The name of a route's limit: that of the first route that shares it."""
    shared = next((group for group in found.shared if route.label in group), (route.label,))
    return f"limit_of_{names[shared[0]]}"


def _handler(route: Route, owner: str) -> dict[str, Any]:
    time = _time(route)
    if route.kind == LIMIT and route.answers_late:
        return {"handler": "async def", "steps": [
            {"to_thread": [{"block": time}]}, {"to_thread": []}]}  # fmt: skip
    steps: dict[str, list[Any]] = {
        FREE: [{"await": time}],
        LIMIT: [{"query": owner, "time": time}],
        BLOCKS: [{"block": time}],
        COMPUTES: [{"cpu": time}],
        PACED: [{"call": owner}, {"await": time}],
        REFUSES: [{"call": owner}, {"await": time}],
    }
    on_loop = route.on_loop or route.kind != COMPUTES
    return {"handler": "async def" if on_loop else "def", "steps": steps[route.kind]}


def _rate_limit(route: Route) -> dict[str, Any]:
    over = "wait" if route.kind == PACED else "reject"
    if route.window_s:
        window = _duration(route.window_s)
        return {"kind": "fixed_window", "limit": route.burst, "window": window, "over": over}
    rate = f"{route.rate:.4g}/s"
    return {"kind": "token_bucket", "rate": rate, "burst": max(route.burst, 1), "over": over}


def _sharers(route: Route, found: Found) -> int:
    """Routes that use what this one uses: its limit, or the loop that it stops."""
    if route.kind in (BLOCKS, COMPUTES):
        return sum(other.kind in (BLOCKS, COMPUTES) for other in found.routes)
    return next((len(group) for group in found.shared if route.label in group), 1)


def _load(route: Route, sharers: int) -> dict[str, Any]:
    rate = 20.0
    if route.kind in (PACED, REFUSES):
        rate = route.rate
    elif route.slots:
        rate = route.slots / max(route.time_s, 1e-3)
    rate = min(USE * rate / sharers, REQUESTS_MAX / LOAD_S / 4)
    return {"rate": f"{max(rate, 0.2):.3g}/s", "for": f"{LOAD_S}s"}


def _time(route: Route) -> Any:
    times = np.asarray(route.times)
    if is_steady(times):
        return _duration(route.time_s)
    chosen = np.sort(times)[np.linspace(0, len(times) - 1, min(len(times), TIMES_MAX)).astype(int)]
    return {"empirical": [_duration(float(t)) for t in chosen]}


def _duration(seconds: float) -> str:
    us = max(round(seconds * 1e6), 0)
    return f"{us / 1000:g}ms" if us >= 1000 else f"{us}us"


def _name(label: str, number: int) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", label.partition(" ")[2].lower()).strip("_")
    return f"{word or 'root'}_{number}" if not word or word[0].isdigit() else word


def _section(key: str, value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{key}: {_flow(value)}"
        return
    yield f"{key}:"
    for name, inner in value.items():
        yield f"  {name}: {_flow(inner)}"


def _flow(value: Any) -> str:
    """One line of YAML; what JSON writes is YAML, without quotes where none are needed."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    plain = isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9][\w./ ]*", value)
    return value if plain else json.dumps(value, ensure_ascii=False)
