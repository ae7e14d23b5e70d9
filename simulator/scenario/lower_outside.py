"""Client, databases, locks, services, accelerators and faults of a resolved document."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from simulator import plan as p
from simulator.distributions import Chance, UniformKey, ZipfKey
from simulator.scenario.streams import Streams, limit, until
from simulator.units import parse_duration, parse_percent, parse_rate

Document = dict[str, Any]

_LIMITS = {
    "token_bucket": p.RateLimitKind.TOKEN_BUCKET,
    "leaky_bucket": p.RateLimitKind.LEAKY_BUCKET,
    "fixed_window": p.RateLimitKind.FIXED_WINDOW,
    "sliding_window": p.RateLimitKind.SLIDING_WINDOW,
}
_TARGETS = {
    "service": (p.Target.SERVICE, "services"),
    "database": (p.Target.DATABASE, "databases"),
    "accelerator": (p.Target.ACCELERATOR, "accelerators"),
}


def lower_client(entry: Document, streams: Streams) -> p.Client:
    """The client; a latency of 0s is no stream."""
    latency, connections = entry["latency"], entry["connections"]
    return p.Client(
        timeout_ns=until(entry["timeout"]),
        retries=streams.retries("client.retries", entry["retries"]),
        latency=p.NO_STREAM if latency == "0s" else streams.time("client.latency", latency),
        kept_connections=connections["kept"] if isinstance(connections, dict) else 0,
        close_delay_ns=parse_duration(entry.get("close_delay", "0s")),
    )


def lower_database(name: str, entry: Document, server: Document) -> p.Database:
    """A database; what is reserved is taken off its limit."""
    of_server = entry["cores"] == "server"
    return p.Database(
        label=name,
        connections=entry["max_connections"] - entry["reserved"],
        cores=limit(server["cores"] if of_server else entry["cores"]),
        cores_of_server=of_server,
        queries_compute=entry["queries"] == "compute",
        deadlock_timeout_ns=parse_duration(entry["deadlock_timeout"]),
    )


def lower_lock(name: str, entry: Document, streams: Streams) -> p.RowLock:
    """A row lock, and the stream of its rows' numbers."""
    keys, given, pick = entry["keys"], entry["pick"], p.NO_STREAM
    if given == "uniform":
        pick = streams.add(f"locks.{name}.pick", UniformKey(keys))
    elif given != "fixed":
        pick = streams.add(f"locks.{name}.pick", ZipfKey(keys, float(given["zipf"])))
    return p.RowLock(name, keys, pick, entry["grant"] == "random")


_LIBRARIES = {"httpx": p.HttpLibrary.HTTPX, "aiohttp": p.HttpLibrary.AIOHTTP}
"""By preset; a client that is none of them is like httpx."""


def lower_service(name: str, entry: Document, streams: Streams) -> p.Service:
    """A service; the timeout and retries are those of its calls."""
    client, errors = entry["client"], float(parse_percent(entry["errors"]))
    if client == "none":
        client = {"connections": "none", "pool_timeout": "none"}
    path = f"services.{name}"
    return p.Service(
        label=name,
        time=streams.time(f"{path}.time", entry["time"]),
        concurrency=limit(entry["concurrency"]),
        queue=limit(entry["queue"]),
        error=streams.add(f"{path}.errors", Chance(errors)) if errors else p.NO_STREAM,
        limits=(_rate_limit(entry["rate_limit"]),) if "rate_limit" in entry else (),
        connections=limit(client["connections"]),
        connect_timeout_ns=until(client["pool_timeout"]),
        client=_LIBRARIES[client.get("preset", "httpx")],
    )


def _rate_limit(entry: Document) -> p.RateLimit:
    return p.RateLimit(
        kind=_LIMITS[entry["kind"]],
        rate=parse_rate(entry["rate"]).as_integer_ratio() if "rate" in entry else (0, 1),
        burst=entry.get("burst", 0),
        limit=entry.get("limit", 0),
        window_ns=parse_duration(entry.get("window", "0s")),
        waits=entry["over"] == "wait",
    )


def lower_accelerator(name: str, entry: Document, streams: Streams) -> p.Accelerator:
    """An accelerator: the time of a batch, or of a step where it is continuous."""
    continuous = "continuous" in entry
    key = "step" if continuous else "time"
    batch_max = entry["continuous"]["max_running"] if continuous else entry["batch"]["max"]
    time, drawn = entry[key], p.NO_STREAM
    table: tuple[int, ...] = ()
    base = per_item = "0s"
    if isinstance(time, str):
        base = time
    elif "table" in time:
        table = table_ns(time["table"], batch_max)
    elif "base" in time:
        base, per_item = time["base"], time["per_item"]
    else:
        drawn = streams.time(f"accelerators.{name}.{key}", time)
    return p.Accelerator(
        label=name,
        count=entry["count"],
        queue=limit(entry["queue"]),
        batch_max=batch_max,
        wait_ns=0 if continuous else parse_duration(entry["batch"]["wait"]),
        window_taken=not continuous and entry["batch"]["window"] == "taken",
        continuous=continuous,
        table_ns=table,
        base_ns=parse_duration(base),
        per_item_ns=parse_duration(per_item),
        time=drawn,
    )


def table_ns(table: dict[str, str], batch_max: int) -> tuple[int, ...]:
    """The time of each size from 1; a size between two entries takes that of the larger."""
    sizes = sorted(map(int, table))
    out: list[int] = []
    for size in sizes:
        out += [parse_duration(table[str(size)])] * (size - len(out))
    return tuple(out[:batch_max])


def lower_fault(entry: Document, document: Document) -> p.Fault:
    """A fault; its end is exclusive."""
    key = next(key for key in _TARGETS if key in entry)
    target, section = _TARGETS[key]
    start_ns = parse_duration(entry["at"])
    slow = Fraction(str(entry.get("slow", 1)))
    return p.Fault(
        target=target,
        index=list(document[section]).index(entry[key]),
        start_ns=start_ns,
        end_ns=start_ns + parse_duration(entry["for"]),
        outage="outage" in entry,
        slow=slow.as_integer_ratio(),
    )
