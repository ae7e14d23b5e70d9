"""Why a resource limits: one sentence for each way in which one can."""

from __future__ import annotations

from dataclasses import field

from simulator.analysis.bounds import Bound
from simulator.analysis.devices import accelerator_of
from simulator.analysis.exact import exact_sum
from simulator.analysis.keys import Keys
from simulator.analysis.limits import (
    connections_of,
    idle_beside_a_queue,
    is_burst,
    offered,
    only_threads,
    processes,
    requests_waiting,
    waits_for_window,
)
from simulator.analysis.routes import blocking_routes, chunks_take_threads, taken_twice
from simulator.analysis.summary import Spent, Summary
from simulator.engines.contract import CPU, FRAMEWORK
from simulator.plan import NEVER, UNLIMITED, Plan, Pool, ServerKind
from simulator.record import dataclass
from simulator.report import format
from simulator.trace import Trace

# By kind; a variant stands before the plain kind and is chosen where it applies.
_INSIGHTS = {
    "workers": "a sync worker serves one request at a time; the others wait to be accepted.",
    "threads": "a thread is held until its handler ends: with all {size} held, requests wait.",
    "threads, a chunk each": (
        "each chunk of a stream in `def` takes a thread: with all {size} held, chunks wait."
    ),
    "threads before a pool": (
        "the pool of {pool_size} never has more than {size} users at once: "
        "the threads are the limit, not the pool."
    ),
    "event loop": (
        "one loop runs one callback at a time: while one request computes, "
        "its worker's others wait."
    ),
    "event loop, blocked": (
        "a blocking call in `async def` stops the loop: no other request of its worker moves."
    ),
    "gil": "threads take turns at the GIL: more threads add no CPU, more processes do.",
    "cores": "all that computes shares {slots}: more threads or workers add no CPU.",
    "database cores": "queries share {slots} of the database: more connections add none.",
    "pool": (
        "async lets {waiting} wait at once{each}; it does not let more than {queries} run at once."
    ),
    "pool, just enough": "nobody has waited for a connection yet: there are just enough.",
    "pool of threads": "{waiting} wait at once{each} for {slots}.",
    "pool behind threads": (
        "{threads} threads share {slots}: {spare} of them can only wait for one, "
        "the other requests for a thread."
    ),
    "pool guarded by threads": (
        "{threads} threads share {slots}: only {spare} can wait for one, "
        "too few to reach its {timeout} timeout."
    ),
    "pool per worker": (
        "each worker has a pool of its own: an idle connection of one serves no request of another."
    ),
    "pool and its timeout": (
        "only those served within {timeout} get an answer; a longer timeout adds waiting, "
        "not capacity."
    ),
    "lock": "one row is written by one transaction at a time, however many connections there are.",
    "lock, redone": (
        "the first to write a row wins, the others do their whole transaction again: "
        "n at once need up to n × (n + 1) / 2 tries."
    ),
    "fault": (
        "whoever calls it meanwhile fails at once: only retries that go on for longer than "
        "the outage get through."
    ),
    "client": "the HTTP client of a process keeps {slots}: more calls at once wait for one.",
    "call timeout": "the service works on, and the caller has already given up: every time.",
    "service": "the service serves {size} at a time, whoever calls.",
    "accelerator": "a device serves one batch at a time: {devices}, up to {batch} in each batch.",
    "accelerator, window": (
        "an incomplete batch waits {window} for others: the devices have time for each alone."
    ),
    "accelerator, not full": (
        "a batch takes all who are there when a device is free: they wait for the batch before."
    ),
    "accelerator, continuous": (
        "{devices} takes up to {batch} at once, and every step costs more the more run."
    ),
    "rate limit, rejecting": (
        "what comes above the limit is refused at once: ask less, spread it, or negotiate."
    ),
    "rate limit, too late": (
        "who has waited for the limit has no time left for the answer: refuse at once, or allow "
        "a longer timeout."
    ),
    "rate limit": "the limit lets through so many, however many ask: ask less, or negotiate.",
    "limit": "whoever it turns away would have found room inside: a higher limit lets them in.",
    "errors": "no resource was short: their cause is what they say.",
    "database": (
        "every worker has its own pool: together they may open {wanted} connections, "
        "the database takes {connections}."
    ),
    "deadlock": (
        "each holds what another waits for: take them in one order, and wait for no thread "
        "while holding a connection."
    ),
    "deadlock, taken twice": (
        "a request takes a second connection while it holds one: take one (inside `with`, "
        "`query` uses it), or let fewer requests hold one than there are connections."
    ),
    "nothing, closed": "everybody waits for answers, not in queues: more users ask for more.",
    "nothing": "no resource was short: more of any changes nothing.",
    "nothing, much of": (
        "{share} of the time is {most}: what shortens it shortens the answer, "
        "more of any resource does not."
    ),
}


@dataclass(frozen=True, slots=True)
class Case:
    """A bottleneck that was found, with all that its advice may need."""

    plan: Plan
    trace: Trace
    summary: Summary
    kind: str
    label: str
    bound: Bound | None
    timed_out: bool = False
    special: str = ""  # the variant of its sentence, where that is decided already
    keys: Keys = field(default_factory=Keys)

    @property
    def pool(self) -> Pool | None:
        """The pool of this case, if it is about one."""
        pools = self.plan.pools
        return next((pool for pool in pools if self.label == f"pool {pool.label}"), None)

    @property
    def most(self) -> Spent | None:
        """What most of the time goes into."""
        return next(iter(self.summary.breakdown), None)


def insight(case: Case) -> str:
    """One sentence: why this resource limits."""
    pool, most = case.pool, case.most
    size = case.bound.size if case.bound else (connections_of(pool) if pool else 0)
    largest = largest_pool(case)
    wanted, connections = _connections(case)
    spec = accelerator_of(case.plan, case.label)
    noun = "core" if case.kind == "cores" else "connection"
    return _INSIGHTS[variant(case)].format(
        size=size,
        threads=case.plan.server.threads,
        slots=format.count(size, noun),
        queries="1 query" if size == 1 else f"{size} queries",
        spare=case.plan.server.threads - size,
        pool_size=connections_of(largest) if largest else 0,
        waiting=format.count(requests_waiting(case.trace, case.label), "request"),
        each=" in one worker" if processes(case.plan) > 1 else "",
        timeout=format.duration(pool.acquire_timeout_ns) if pool else "",
        wanted=wanted,
        connections=connections,
        share=format.percent(most.share) if most else "",
        most=most.cause.replace(":", " ", 1) if most else "",
        devices=format.count(spec.count, "device") if spec else "",
        batch=spec.batch_max if spec else 0,
        window=format.duration(spec.wait_ns) if spec else "",
    )


def variant(case: Case) -> str:
    """The key of the sentence that applies."""
    if case.special:
        return case.special
    if case.kind == "pool":
        return _pool_variant(case)
    if case.kind == "threads" and case.bound:
        pool = largest_pool(case)
        if pool and connections_of(pool) > case.bound.size:
            return "threads before a pool"
        if chunks_take_threads(case.plan):
            return "threads, a chunk each"
    spec = accelerator_of(case.plan, case.label)
    if case.kind == "accelerator" and spec is not None and spec.continuous:
        return "accelerator, continuous"
    bound = case.bound if case.kind == "accelerator" else None
    if bound is not None and waits_for_window(case.plan, case.trace, bound):
        return "accelerator, window"
    if bound is not None and bound.least_ns < bound.bound_ns and not is_burst(case.trace):
        return "accelerator, not full" if (offered(case.trace, bound) or 1) < 1 else case.kind
    if case.kind == "event loop" and case.bound:
        computed = exact_sum(case.trace.spent_ns[:, CPU]) + exact_sum(
            case.trace.spent_ns[:, FRAMEWORK]
        )
        work_ns = case.bound.work_mean_ns * case.bound.visits
        if computed * 2 < work_ns and blocking_routes(case.plan):
            return "event loop, blocked"
    if case.kind == "deadlock" and case.pool and taken_twice(case.plan, case.pool) > 1:
        return "deadlock, taken twice"
    if case.kind == "nothing" and case.most and case.most.share < 0.995:
        return "nothing, much of"
    if case.label.startswith("database cores"):
        return "database cores"
    return case.kind if case.kind in _INSIGHTS else "nothing"


def largest_pool(case: Case) -> Pool | None:
    """The largest of the pools that were used."""
    visited = {row.label for row in case.summary.resources}
    pools = [pool for pool in case.plan.pools if f"pool {pool.label}" in visited]
    return max(pools, key=connections_of, default=None)


def _pool_variant(case: Case) -> str:
    if case.timed_out:
        return "pool and its timeout"
    server = case.plan.server
    size = case.bound.size if case.bound else 0
    threaded = only_threads(case.plan)
    if threaded and size < server.threads < UNLIMITED and server.kind is not ServerKind.SYNC:
        timeout = case.pool.acquire_timeout_ns if case.pool else NEVER
        failed = case.summary.total.errors > 0
        return "pool behind threads" if failed or timeout >= NEVER else "pool guarded by threads"
    if processes(case.plan) > 1 and idle_beside_a_queue(case.trace, case.label):
        return "pool per worker"
    if not requests_waiting(case.trace, case.label):
        return "pool, just enough"
    return "pool of threads" if threaded else "pool"


def _connections(case: Case) -> tuple[int, int]:
    """Connections that all pools may open to this case's database, and what it takes."""
    plan = case.plan
    for i, database in enumerate(plan.databases):
        if case.label == f"database {database.label}":
            pools = [pool for pool in plan.pools if pool.database == i]
            return processes(plan) * sum(map(connections_of, pools)), database.connections
    return 0, 0
