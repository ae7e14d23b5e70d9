"""How each case is played and measured: the keys of its ``expected``, as estimates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.cases.estimate import exactly
from tests.cases.measures_closed import CLOSED
from tests.cases.measures_services import OUTSIDE
from tests.cases.play import MINUTE, SECOND, Figures, play


def burst(case: str) -> Figures:
    """All that can be said of a burst, exactly."""
    run = play(case, warm_up=0.0)
    latency, makespan = run.latencies(), run.makespan()
    count = len(latency)
    rank = {p: latency[-(-count * p // 100) - 1] for p in (50, 95, 99)}
    at_one_instant = np.unique(run.trace.finish_ns, return_counts=True)[1]
    return {
        "makespan": exactly(makespan),
        "latencies": [exactly(value) for value in latency],
        "mean_latency": exactly(latency.mean()),
        "min_latency": exactly(latency[0]),
        "completions_per_instant": exactly(at_one_instant.max()),
        "p50_nearest_rank": exactly(rank[50]),
        "p95_nearest_rank": exactly(rank[95]),
        "p99_nearest_rank": exactly(rank[99]),
        "mean_wait": exactly(run.waits().mean()),
        "mean_lock_wait": exactly(run.waits().mean()),
        "throughput": exactly(count / makespan),
    }


def queue(
    case: str, station: str, *, unit_ns: int = SECOND, warm_up: float = 0.1, batches: int = 20
) -> Figures:
    """A single station with an unbounded queue."""
    run = play(case, unit_ns=unit_ns, warm_up=warm_up, batches=batches)
    return {
        "mean_wait": run.mean(run.waits()),
        "mean_response": run.mean(run.response()),
        "p95_response": run.percentile(run.response(), 95),
        "p99_response": run.percentile(run.response(), 99),
        "mean_in_system": run.over_time(run.in_system()),
        "utilization": run.utilization(station),
        "p_wait": run.share(run.waits() > 0),
    }


def fanout_4(case: str) -> Figures:
    run = play(case)
    concurrent = run.response(route="concurrent")
    return {
        "mean_concurrent": run.mean(concurrent),
        "p95_concurrent": run.percentile(concurrent, 95),
        "mean_sequential": run.mean(run.response(route="sequential")),
    }


def fanout_100(case: str) -> Figures:
    run = play(case, warm_up=0.0)
    return {"p_request_slow": run.share(run.response() > 0.5)}


def md128(case: str) -> Figures:
    """The queue, and what 128 servers do at most: 128 waves of a burst, served without a gap."""
    run = play(case)
    full = play(case, "load={requests: 16384, at: once}")
    return {
        "mean_wait": run.mean(run.waits()),
        "mean_response": run.mean(run.response()),
        "p_all_busy": run.share(run.waits() > 0),
        "max_throughput": exactly(len(full.trace) / full.makespan()),
    }


def batch_arrivals(case: str) -> Figures:
    """The customers are the queries, two of each request."""
    run = play(case)
    return {
        "mean_in_system": run.over_time(run.at_once("pool q")),
        "mean_response": run.mean(run.at_station("pool q")),
    }


def overloaded(case: str) -> Figures:
    run = play(case)
    begin, end = 10 * SECOND, 50 * SECOND
    growth = run.in_queue("workers", end) - run.in_queue("workers", begin)
    return {
        "throughput": exactly(run.finished_between(begin, end) / 40),
        "queue_growth_per_s": exactly(growth / 40),
    }


def loss(case: str) -> Figures:
    run = play(case)
    return {"p_block": run.failed(), "throughput": run.throughput()}


def places(case: str) -> Figures:
    run = play(case)
    return {
        "mean_in_system": run.over_time(run.in_system()),
        "p_reject": run.failed(),
        "mean_response_accepted": run.mean(run.response()),
        "state_probabilities": run.in_states(4),
    }


def gas_station(case: str) -> Figures:
    run = play(case, unit_ns=MINUTE)
    return {"mean_in_system": run.over_time(run.in_system())}


def round_robin(case: str) -> Figures:
    """Sigma is the share of arrivals that find their server busy (GI/M/1)."""
    run = play(case)
    return {"mean_response": run.mean(run.response()), "sigma": run.share(run.waits() > 0)}


def dealt_or_queued(case: str) -> Figures:
    shortest = play(case)
    dealt = play(case, "server.balancer=random")
    central = play(case, "server={kind: sync, workers: 2}")
    return {
        "mean_response": shortest.mean(shortest.response()),
        "random_split": dealt.mean(dealt.response()),
        "central_queue": central.mean(central.response()),
    }


def slowdown(case: str) -> Figures:
    run = play(case)
    return {f"mean_{name}": run.mean(run.response(route=name)) for name in ("short", "long")}


def fork_join(case: str) -> Figures:
    run = play(case)
    return {"mean_response": run.mean(run.response())}


def fork_join_branches(case: str) -> Figures:
    run = play(case)
    return {label: run.mean(run.at_station(f"pool {label}")) for label in ("branch1", "branch2")}


def pool_timeout(case: str) -> Figures:
    run = play(case)
    return {
        "p_timeout": run.failed(),
        "p_immediate": run.share(run.waits() == 0),
        "mean_wait_served": run.mean(run.waits(ok=True)),
        "mean_wait_all": run.mean(run.waits()),
        "throughput": run.throughput(),
    }


def open_sockets(case: str) -> Figures:
    """From an empty start: 6 mean lifetimes of warm-up, then 4 windows of some 1.2."""
    run = play(case, warm_up=0.55, batches=4)
    at, number = run.in_system()
    instants = np.arange(run.edges_ns[0], run.edges_ns[-1], 10 * SECOND)
    sampled = number[np.searchsorted(at, instants, "right") - 1].astype(np.float64)
    return {
        "mean_open": run.over_time((at, number)),
        "p999_open": run.percentile(sampled, 99.9),
    }


def jackson(case: str) -> Figures:
    run = play(case, unit_ns=MINUTE)
    nodes = ("pool cold", "pool hot", "pool till")
    return {
        "response": [run.mean(run.at_station(node)) for node in nodes],
        "utilization": [run.utilization(node) for node in nodes],
        "mean_total_in_system": run.over_time(run.in_system()),
        "end_to_end_mean": run.mean(run.response()),
    }


MEASURES: dict[str, Callable[[str], Figures]] = {
    "seed-1000x5s-dbpool50": burst,
    "seed-3-sync-one-worker": burst,
    "seed-3-async": burst,
    "seed-3-sync-db-2s": burst,
    "blocking-in-async-1000x5s": burst,
    "fastapi-def-threadpool40": burst,
    "async-unlimited-1000x5s": burst,
    "row-lock-100-writers": burst,
    "fanout-4-uniform": fanout_4,
    "fanout-100-tail-at-scale": fanout_100,
    "ciw-mm1-5-8": lambda case: queue(case, "workers"),
    "ciw-bank-mm4": lambda case: queue(case, "workers", unit_ns=MINUTE),
    "line-mm3-24": lambda case: queue(case, "threads"),
    # At 99 % what was queued is forgotten after some 40,000 requests: few and long batches.
    "pdq-spam-farm-mm4": lambda case: queue(case, "workers", warm_up=0.2, batches=8),
    "md1-08": lambda case: queue(case, "workers"),
    "virkki-md128": md128,
    "me2-1": lambda case: queue(case, "workers"),
    "mx-m-1-batch2": batch_arrivals,
    "pyjmt-mm1": lambda case: queue(case, "pool q"),
    "robertz-overloaded": overloaded,
    "erlang-b-10-5": loss,
    "simmer-mm23": places,
    "simmer-gas-station-2": gas_station,
    "line-lb-roundrobin": round_robin,
    "lb-jsq-2": dealt_or_queued,
    "ciw-ps-4-9": lambda case: queue(case, "threads"),
    "mm1-lps-3": lambda case: queue(case, "threads"),
    "ps-conditional-slowdown": slowdown,
    "forkjoin-2": fork_join,
    "line-fj-basic-open": fork_join_branches,
    "pool-timeout-overload": pool_timeout,
    "websocket-mm-inf": open_sockets,
    "ciw-cafe-jackson": jackson,
    **CLOSED,
    **OUTSIDE,
}
