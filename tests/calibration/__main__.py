"""``python -m tests.calibration [APP…]``: hand-written apps, identified from their URL alone.

Prints what was found beside what the app's source says; limits have to be exact, medians of
service times within 5 % or half a millisecond of what such a sleep takes on this machine. For
a machine that nothing else uses; about a minute for each app.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from statistics import median

import uvloop

from simulator.calibration.generator import Budget
from simulator.calibration.identified import (
    BLOCKS,
    COMPUTES,
    FREE,
    LIMIT,
    PACED,
    REFUSES,
    Found,
    Route,
)  # fmt: skip
from simulator.calibration.identify import identify
from simulator.calibration.lessons import serving_app
from simulator.calibration.observe import LiveServer
from tests.conftest import ROOT

REFERENCE = "GET /-/nothing-here"
MEDIAN, LEAST_S = 0.05, 0.0005
RATE = 0.05


@dataclass(frozen=True)
class Truth:
    """What an app's source says of a route."""

    label: str
    kind: str
    time_s: float | None  # None: random
    slots: int = 0
    rate: float = 0.0
    burst: int = 0


@dataclass(frozen=True)
class App:
    """An app, its routes, and which of them share a limit."""

    name: str
    routes: tuple[Truth, ...]
    shared: tuple[tuple[str, ...], ...] = ()


APPS = (
    App(
        "threads12",
        (
            Truth("GET /report", LIMIT, 0.05, 12),
            Truth("GET /invoice", LIMIT, 0.08, 12),
            Truth("GET /feed", FREE, 0.0),
        ),
        (("GET /report", "GET /invoice"),),
    ),
    App(
        "pool7",
        (
            Truth("GET /users", LIMIT, 0.04, 7),
            Truth("GET /orders", LIMIT, 0.06, 7),
            Truth("GET /reports", LIMIT, None, 7),
        ),
        (("GET /users", "GET /orders"),),
    ),
    App(
        "limited",
        (
            Truth("GET /mail", PACED, 0.0, rate=25, burst=1),
            Truth("GET /search", REFUSES, 0.01, rate=25, burst=10),
        ),
    ),
    App(
        "blocking",
        (
            Truth("GET /charge", BLOCKS, 0.06, 1),
            Truth("GET /cart", FREE, 0.03),
            Truth("GET /health", FREE, 0.0),
        ),
    ),
    App(
        "computing",
        (
            Truth("GET /render", COMPUTES, 0.03, 1),
            Truth("GET /thumbnail", COMPUTES, 0.03, 1),
            Truth("GET /page", FREE, 0.02),
        ),
    ),
)


def main() -> None:
    """Look at all apps, or those that are named; exit 1 if one was not found out."""
    wrong = 0
    for app in APPS:
        if len(sys.argv) > 1 and app.name not in sys.argv[1:]:
            continue
        found = look_at(app)
        for truth in app.routes:
            problems = list(differences(truth, found.route(truth.label)))
            wrong += bool(problems)
            said = "; ".join(problems) or "found"
            print(f"{app.name:10} {truth.label:15} {_told(found.route(truth.label)):48} {said}")
        if found.shared != app.shared:
            wrong += 1
            print(f"{app.name:10} shared: {found.shared}, expected {app.shared}")
    sys.exit(1 if wrong else 0)


def look_at(app: App) -> Found:
    """Serve the app and identify its routes."""
    budget = Budget(requests=200_000, rate=Fraction(5000))
    with serving_app(f"tests.calibration.apps.{app.name}:app", folder=ROOT) as url:
        labels = [truth.label for truth in app.routes]
        ask = LiveServer(url, REFERENCE, budget)
        return identify(ask, labels, REFERENCE, cores=os.cpu_count() or 1)


@cache
def takes(time_s: float) -> float:
    """What a sleep of so long really takes on a loop that has nothing else to do."""

    async def sleeps() -> list[float]:
        took = []
        for _ in range(11):
            began = time.perf_counter()
            await asyncio.sleep(time_s)
            took.append(time.perf_counter() - began)
        return took

    return median(uvloop.run(sleeps()))


def differences(truth: Truth, route: Route) -> Iterator[str]:
    """What was found otherwise than the source says it."""
    if route.kind != truth.kind:
        yield f"{route.kind}, expected {truth.kind}"
    if route.slots != truth.slots:
        yield f"{route.slots} at once, expected {truth.slots}"
    if truth.rate and abs(route.rate / truth.rate - 1) > RATE:
        yield f"{route.rate:.2f}/s, expected {truth.rate:g}/s"
    if route.burst != truth.burst:
        yield f"a burst of {route.burst}, expected {truth.burst}"
    if truth.time_s is not None:
        sleeps = truth.time_s and truth.kind != COMPUTES
        expected = takes(truth.time_s) if sleeps else truth.time_s
        if abs(route.time_s - expected) > max(MEDIAN * expected, LEAST_S):
            yield f"{route.time_s * 1e3:.2f} ms, expected {expected * 1e3:.2f}"


def _told(route: Route) -> str:
    rate = f", {route.rate:.2f}/s after {route.burst}" if route.rate else ""
    slots = f", {route.slots} at once" if route.slots else ""
    return f"{route.kind} {route.time_s * 1e3:.2f} ms{slots}{rate}"


if __name__ == "__main__":
    main()
