"""The relations of a resolved document: names that exist, sums, limits, orders."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from simulator import units
from simulator.engines.contract import REQUESTS_MAX, TIME_MAX_NS
from simulator.plan import UNLIMITED
from simulator.scenario.check_outside import check_outside
from simulator.scenario.check_steps import check_steps
from simulator.scenario.check_times import check_time
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report
from simulator.scenario.resolve import Document

STATIONS_MAX = 100_000
"""Stations of one plan: pools, loops and limiters of every process."""


def check(document: Document, report: Report) -> None:
    """Reports every relation that does not hold; passes over what is ``BAD``."""
    _server(document["server"], report)
    databases, pools = document["databases"], document["pools"]
    if databases is not BAD:
        _databases(databases, pools, report)
        _machine(document["server"], databases, report)
    if pools is not BAD:
        for name, pool in pools.items():
            _pool(f"pools.{name}", pool, databases, report)
        _stations(document, report)
    check_outside(document, report)
    if document["routes"] is not BAD:
        _routes(document, report)
        _loads(document, report)
        _thresholds(document, report)


def _server(server: Any, report: Report) -> None:
    if server is BAD or not isinstance(server.get("accept"), dict):
        return
    weights, workers = server["accept"]["weights"], server["workers"]
    if weights is BAD or workers is BAD or BAD in weights:
        return
    path = "server.accept.weights"
    if len(weights) != workers:
        report(path, f"{len(weights)} weights for {workers} workers, expected one per worker")
    elif sum(weights) <= 0:
        report(path, "the weights are all 0, expected at least one above")


def _stations(document: Document, report: Report) -> None:
    server = document["server"]
    if server is BAD or BAD in (server["workers"], server["instances"], document["services"]):
        return
    each = 4 + len(document["pools"]) + len(document["services"])
    count = server["instances"] * server["workers"] * each
    if count > STATIONS_MAX:
        what = f"{server['instances'] * server['workers']} workers make {count} stations"
        report("server.workers", f"{what}, expected at most {STATIONS_MAX} (STATIONS_MAX)")


def _databases(databases: Document, pools: Any, report: Report) -> None:
    for name, database in databases.items():
        path = f"databases.{name}"
        if database is not BAD and BAD not in database.values():
            most, reserved = database["max_connections"], database["reserved"]
            if reserved >= most:
                what = f"{reserved} of {most} connections reserved, expected fewer than {most}"
                report(f"{path}.reserved", what)
        if pools is BAD or BAD in pools.values():
            continue
        if not any(pool.get("database") in (name, BAD) for pool in pools.values()):
            report(path, f"used by no pool, expected 'database: {name}' in one", "or remove it")


def _machine(server: Any, databases: Document, report: Report) -> None:
    """A database that shares the cores of its server is on one machine with it."""
    instances = BAD if server is BAD else server["instances"]
    for name, database in databases.items():
        if database is BAD or database["cores"] != "server" or instances in (BAD, 1):
            continue
        what = f"the server is {instances} instances, expected one on the database's machine"
        report(f"databases.{name}.cores", what, "give the database cores of its own")


def _pool(path: str, pool: Any, databases: Any, report: Report) -> None:
    if pool is BAD:
        return
    size, least, overflow = pool["size"], pool["min"], pool["overflow"]
    if BAD not in (size, least) and least > size:
        report(f"{path}.min", f"{least} is above the size {size}, expected min <= size")
    if BAD not in (size, overflow) and size + overflow == 0:
        report(path, "no connection at all, expected size + overflow of 1 or more")
    database = pool.get("database", BAD)
    if BAD not in (database, databases) and database not in databases:
        report.unknown(f"{path}.database", "database", database, databases)


def _routes(document: Document, report: Report) -> None:
    server, paths = document["server"], dict[str, str]()
    kind = BAD if server is BAD else server["kind"]
    for name, route in document["routes"].items():
        if route is BAD:
            continue
        path = f"routes.{name}"
        label = route.get("path", name)
        if label is not BAD and label in paths:
            what = f"{label} is the path of {paths[label]} too, expected another"
            report(f"{path}.path", what)
        elif label is not BAD:
            paths[label] = name
        if route["handler"] == "async def" and kind in ("sync", "threads"):
            hint = "or set server.preset: fastapi"
            report(f"{path}.handler", f"async def under kind {kind}, expected def", hint)
        check_steps(route, path, document, report)


def _loads(document: Document, report: Report) -> None:
    routes, shared = document["routes"], document.get("load", [])
    own = [name for name, route in routes.items() if route is not BAD and "load" in route]
    without = [name for name in routes if name not in own]
    if not shared and without and BAD not in routes.values():
        report("", f"no load for {without[0]}, expected a 'load' such as "
               "{requests: 1000, at: once}")  # fmt: skip
    if shared and routes and not without:
        report("load", "ignored, because every route has a load of its own", "remove it")
    everything = [("load", shared)]
    everything += [(f"routes.{name}.load", routes[name]["load"]) for name in own]
    total = 0
    for path, loads in everything:
        for i, load in enumerate([] if loads is BAD else loads):
            total += _requests(load, f"{path}[{i}]", report)
            if total > REQUESTS_MAX:
                what = f"about {total} requests, expected at most {REQUESTS_MAX} (REQUESTS_MAX)"
                report(f"{path}[{i}]", what, "lower the rate, the time or the count")
                return


def _requests(load: Any, path: str, report: Report) -> int:
    """About how many requests a load makes."""
    if load is BAD or BAD in load.values() or BAD in load.get("stages", ()):
        return 0
    if any(BAD in stage.values() for stage in load.get("stages", ())):
        return 0
    count: int = load.get("requests", UNLIMITED)
    if "trace" in load:
        return len(load["trace"])
    if "stages" in load:
        return min(count, _of_stages(load))
    if "users" in load:
        check_time(load["think"], f"{path}.think", report)
        return 0 if count == UNLIMITED else count
    if "rate" not in load:
        return count
    rate = units.parse_rate(load["rate"])
    if "for" in load:
        return min(count, int(rate * Fraction(units.parse_duration(load["for"]), 10**9)) + 1)
    if count / rate * 10**9 > TIME_MAX_NS:
        report(path, "lasts more than 2^61 ns, 73 years (TIME_MAX_NS), expected less")
    return count


def _of_stages(load: Any) -> int:
    rates = [load["start"], *(stage["target"] for stage in load["stages"])]
    exact = [units.parse_rate(rate) for rate in rates]
    total = Fraction(0)
    for i, stage in enumerate(load["stages"]):
        mean = (exact[i] + exact[i + 1]) / 2
        total += mean * units.parse_duration(stage["duration"]) / 10**9
    return int(total) + 1


def _thresholds(document: Document, report: Report) -> None:
    thresholds = document["thresholds"]
    if thresholds is BAD or not thresholds:
        return
    from simulator.thresholds import parse

    for metric, expressions in thresholds.items():
        said = set()
        for i, expression in enumerate([] if expressions is BAD else expressions):
            if expression is BAD:
                continue
            try:
                parse(metric, expression, tuple(document["routes"]))
            except ValueError as error:
                # A wrong metric is wrong in each of its expressions: say so once.
                if str(error) not in said:
                    said.add(str(error))
                    report.at(("thresholds", metric, i), f"thresholds.{metric}: {error}")
