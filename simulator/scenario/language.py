"""The language: every section and key, its kind, its meaning and its default.

This table is the one source of the reader, of the JSON Schema and of the
documentation of keys. Defaults that depend on others (a preset, the kind of
server) are ``LATER`` and filled in by ``resolve``.
"""

from __future__ import annotations

from typing import Any

from simulator.plan import UNLIMITED
from simulator.scenario import presets
from simulator.scenario.arrivals import LOADS
from simulator.scenario.kinds import (
    Boolean,
    Choice,
    Count,
    Duration,
    Kind,
    Matching,
    Name,
    Number,
    Schema,
    Text,
    size,
)
from simulator.scenario.node import Mapping, Node, Scalar, Sequence
from simulator.scenario.outside import ACCELERATOR, CLIENT, FAULT, SERVICE
from simulator.scenario.overheads_file import PATTERN as OVERHEADS_FILE
from simulator.scenario.presets import OVERHEADS, OVERHEADS_OF_OTHERS, POOLS, SERVERS
from simulator.scenario.problem import Problems
from simulator.scenario.sections import (
    LATER,
    REQUIRED,
    Field,
    ListOf,
    Named,
    OneOrMore,
    Section,
    WordOr,
)
from simulator.scenario.steps import STEP

INSTANCES_MAX = 1000
"""Machines behind a balancer."""
CORES_MAX = 10_000
"""Cores of an instance or of a database."""
WORKERS_MAX = 10_000
"""Worker processes."""
SLOTS_MAX = 1_000_000
"""Threads of a process, connections of a pool or of a database."""

PRIORITY_MAX = 1000
"""The least urgent priority."""

_SLOTS = Count(0, SLOTS_MAX)
_STEPS = ListOf(STEP, expected="a list of steps")


class _Anything(Kind):
    """Any value, for vars: read as plain data."""

    expected = "a value"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Mapping):
            return {k: self.read(child, path, problems) for k, child in node.entries.items()}
        if isinstance(node, Sequence):
            return [self.read(child, path, problems) for child in node.items]
        return node.value if isinstance(node, Scalar) else None

    def schema(self) -> Schema:
        return {}


_OVERHEADS_WORD = Choice("none", "typical", file=OVERHEADS_FILE)
OVERHEAD_FIELDS = (
    Field("from", _OVERHEADS_WORD, "Where those come from that are not given; default none."),
    *(
        Field(name, Duration(), doc, LATER if name in OVERHEADS_OF_OTHERS else "0s")
        for name, (_, doc) in OVERHEADS.items()
    ),
)

_SERVER_HINTS = {
    "uvicorn": "uvicorn is what preset: fastapi runs on",
    "starlette": "did you mean fastapi, which is the same server?",
    "gunicorn": "did you mean flask (its sync workers) or django (its gthread workers)?",
}
_POOL_HINTS = {
    "psycopg2": "psycopg2 is a driver: preset: sqlalchemy, driver: blocking",
}

SERVER = Section(
    Field(
        "preset",
        Choice(*SERVERS, hints=_SERVER_HINTS),
        "Documented defaults of a real server.",
        "fastapi",
    ),
    Field(
        "kind",
        Choice("sync", "threads", "asgi"),
        "sync: one request per process (gunicorn sync); threads: a process pushes to its "
        "threads (gthread); asgi: an event loop and a limiter of threads (uvicorn).",
    ),
    Field("workers", Count(1, WORKERS_MAX), "Processes; default 1."),
    Field(
        "threads",
        Count(1, SLOTS_MAX),
        "Threads of each process: server threads, or tokens of AnyIO's limiter.",
    ),
    Field(
        "accept",
        WordOr(
            Choice("round_robin", "random"),
            Section(
                Field(
                    "weights",
                    ListOf(Number(0, 1e9), expected="a list of weights", least=1),
                    "Share of each worker, in their order.",
                    REQUIRED,
                )
            ),
        ),
        "Which process gets an arriving connection; default round_robin.",
    ),
    Field("loop", Choice("uvloop", "asyncio"), "The event loop; default uvloop."),
    Field(
        "gil",
        WordOr(
            Boolean(),
            Section(
                Field(
                    "handover",
                    Choice("random", "fifo"),
                    "Which waiting thread gets the GIL.",
                    "random",
                ),
                Field(
                    "wake",
                    Duration(),
                    "Mean time until a woken thread gets there: a loop that lets go of the GIL "
                    "for less often wins it back; default 12us.",
                ),
            ),
        ),
        "Whether threads of one process share a GIL; false for free-threaded builds.",
    ),
    Field(
        "switch_interval",
        Duration(positive=True),
        "sys.setswitchinterval: how long a thread waits before it asks for the GIL; default 5ms.",
    ),
    Field("instances", Count(1, INSTANCES_MAX), "Machines behind the balancer.", 1),
    Field(
        "balancer",
        Choice("round_robin", "random", "least_connections", "two_choices"),
        "Which instance gets a request; two_choices: of two at random the one with fewer "
        "in flight.",
        "round_robin",
    ),
    Field(
        "cores",
        Count(1, CORES_MAX, or_none=True),
        "Cores of each instance, shared by its processes; none: enough for all.",
        "none",
    ),
    Field(
        "backlog",
        Count(1, SLOTS_MAX, or_none=True),
        "Connections that wait to be accepted; the SYN of one more is tried again after 1, 3, 7 s.",
        presets.BACKLOG,
    ),
    Field(
        "limit_concurrency",
        Count(1, SLOTS_MAX, or_none=True),
        "uvicorn: connections of a process at which it answers 503; default none.",
    ),
    Field(
        "timeout",
        Duration(or_none=True, positive=True),
        "gunicorn: a sync worker that is busy for longer is killed; default 30s.",
    ),
    Field(
        "memory",
        Section(
            Field("connection", size(), "Memory of an open connection.", presets.CONNECTION_BYTES),
            Field("thread", size(), "Resident memory of a thread.", presets.THREAD_BYTES),
        ),
        "What is counted for the report of memory.",
        {"connection": presets.CONNECTION_BYTES, "thread": presets.THREAD_BYTES},
    ),
    Field(
        "overheads",
        WordOr(_OVERHEADS_WORD, Section(*OVERHEAD_FIELDS)),
        "What the machinery costs: none, typical (measured on a named machine), your own, or "
        "the file of them that sim calibrate wrote; default none.",
        "none",
    ),
)

POOL = Section(
    Field(
        "preset",
        Choice(*POOLS, hints=_POOL_HINTS),
        "Documented defaults of a real pool.",
        "asyncpg",
    ),
    Field("size", _SLOTS, "Connections kept by each worker process."),
    Field("overflow", _SLOTS, "Connections beyond size, closed after use."),
    Field("min", _SLOTS, "Connections opened when the process starts; 0 grows on demand."),
    Field(
        "acquire_timeout",
        Duration(or_none=True),
        "How long a request waits for a connection before it fails; or none.",
    ),
    Field(
        "driver",
        Choice("async", "blocking"),
        "A blocking driver in async def freezes the loop from acquire to release.",
        "async",
    ),
    Field("database", Name("database"), "The database whose connection limit applies."),
    expected="a pool",
    synonyms={
        "pool_size": "size",
        "max_size": "size",
        "min_size": "min",
        "max_overflow": "overflow",
        "pool_timeout": "acquire_timeout",
        "timeout": "acquire_timeout",
    },
)

DATABASE = Section(
    Field("preset", Choice("postgresql"), "Documented defaults of a database.", "postgresql"),
    Field("max_connections", Count(1, SLOTS_MAX), "Connections that it accepts.", 100),
    Field("reserved", _SLOTS, "Of these, kept back for superusers.", 3),
    Field(
        "cores",
        Count(1, CORES_MAX, or_none=True, words=("server",)),
        "Cores that its queries and the connections being opened share; none: each has its own; "
        "server: those of the server, on whose machine it is.",
        "none",
    ),
    Field(
        "queries",
        Choice("compute", "wait"),
        "Whether queries share the cores with the connections that are opened, or wait for "
        "something else, as pg_sleep does.",
        "compute",
    ),
    Field(
        "deadlock_timeout",
        Duration(positive=True),
        "How long a lock is waited for before a cycle is looked for.",
        "1s",
    ),
    expected="a database",
)

LOCK = Section(
    Field("keys", Count(1, SLOTS_MAX), "How many rows there are.", 1),
    Field(
        "pick",
        WordOr(
            Choice("fixed", "uniform"),
            Section(
                Field(
                    "zipf",
                    Number(0, 10, above=True),
                    "The i-th row is picked with a weight of 1 / i^s.",
                    REQUIRED,
                )
            ),
        ),
        "Which row a request wants; default uniform, or fixed where there is one row.",
    ),
    Field("grant", Choice("fifo", "random"), "Which waiter gets a released row.", "fifo"),
    expected="a lock",
)

ROUTE = Section(
    Field(
        "path",
        Matching(r"^[A-Z]{3,7} /[^\s]{0,200}$", "a method and a path such as GET /user"),
        "As reports print the route; default: its name.",
    ),
    Field("handler", Choice("def", "async def"), "How the function is defined.", REQUIRED),
    Field(
        "weight",
        Number(0, 1e9, above=True),
        "Share of the common load, beside the other routes; default 1.",
    ),
    Field("load", LOADS, "A load of its own; the common load then passes it by."),
    Field(
        "deadline",
        Duration(or_none=True, positive=True),
        "When the client leaves for good, counted from the first arrival of the request.",
        "none",
    ),
    Field(
        "priority",
        Count(0, PRIORITY_MAX),
        "At services and accelerators; the lowest number is served first.",
        0,
    ),
    Field("steps", _STEPS, "What the handler does.", REQUIRED),
    Field("after", _STEPS, "Background tasks, after the response is sent.", []),
    expected="a route",
)

SCENARIO = Section(
    Field("name", Text(), "Short name for reports; default: the file's."),
    Field("description", Text(), "What the scenario is about.", ""),
    Field("seed", Count(0, UNLIMITED - 1), "Start of all randomness.", 0),
    Field("extends", Text(), "A file to start from: mappings merge, the rest replaces."),
    Field(
        "vars",
        Named(_Anything(), expected="a mapping of names to values"),
        "Values by name, used elsewhere as '${name}'.",
    ),
    Field("load", LOADS, "How requests arrive: one load or a list of them."),
    Field("client", CLIENT, "Who sends the requests."),
    Field("server", SERVER, "The processes, loops and threads."),
    Field("pools", Named(POOL, expected="a mapping of pools"), "Connection pools by name.", {}),
    Field(
        "databases", Named(DATABASE, expected="a mapping of databases"), "Databases by name.", {}
    ),
    Field(
        "locks",
        Named(LOCK, expected="a mapping of locks"),
        "Rows that one transaction at a time can hold, by name.",
        {},
    ),
    Field(
        "services",
        Named(SERVICE, expected="a mapping of services"),
        "What handlers call over the network, by name.",
        {},
    ),
    Field(
        "accelerators",
        Named(ACCELERATOR, expected="a mapping of accelerators"),
        "Devices that serve batches, by name.",
        {},
    ),
    Field(
        "routes",
        Named(ROUTE, expected="a mapping of at least one route", least=1),
        "Handlers by the name of their function.",
        REQUIRED,
    ),
    Field(
        "thresholds",
        Named(
            OneOrMore(Text(), expected="an expression such as 'p(95)<100ms', or a list"),
            expected="a mapping of metrics to expressions",
            names=r"^\S{1,200}$",
        ),
        "Metric -> expressions that must hold, in k6's grammar.",
        {},
    ),
    Field(
        "sweep",
        Named(
            OneOrMore(_Anything(), expected="a list of values, or a range such as 10..100..10"),
            expected="a mapping of keys such as pools.db.size to lists of values",
            names=r"^\S{1,200}$",
        ),
        "Key -> the values that `sim sweep` gives it; a run takes no notice of them.",
        {},
    ),
    Field(
        "faults",
        ListOf(FAULT, expected="a list of faults"),
        "Times in which something fails or is slow.",
        [],
    ),
    expected="a scenario",
)
