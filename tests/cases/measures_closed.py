"""How the cases with closed loads are played and measured: users who wait and ask again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from simulator.engines.contract import OK
from tests.cases.estimate import Estimate, exactly
from tests.cases.measured import Measured
from tests.cases.play import SECOND, Figures, play


def what_if(case: str) -> Figures:
    rows: list[Estimate] = []
    for users in range(1, 11):
        run = play(case, f"load.users={users}")
        rows += [exactly(users), run.throughput(), run.mean(run.response())]
    return {"rows": rows}


def _by_route(run: Measured, routes: Iterable[str]) -> dict[str, Estimate | list[Estimate]]:
    return {
        "throughput": [run.throughput(route=route) for route in routes],
        "response": [run.mean(run.response(route=route)) for route in routes],
    }


def three_classes(case: str) -> Figures:
    return _by_route(play(case), ("db1", "db2", "admin"))


def web_server(case: str) -> Figures:
    run, classes = play(case), ("class1", "class2")
    customers = [run.over_time(run.at_once("pool ws", route=route)) for route in classes]
    return {**_by_route(run, classes), "ws_customers": customers}


def tomcat(case: str) -> Figures:
    run = play(case)
    out = {
        "throughput": run.throughput(),
        "response": run.mean(run.response()),
        "mean_wait": run.mean(run.waits()),
        "mean_queue": run.over_time(run.queueing("threads")),
    }
    sweep = [play(case, f"load.users={n}", f"load.for={time}") for n, time in SWEEP.items()]
    return {**out, "sweep.throughput": [run.throughput() for run in sweep]}


SWEEP = {10: "450s", 110: "40s", 210: "20s", 310: "20s", 410: "20s", 490: "20s"}
"""Users, and how long some 10,000 requests of theirs take."""


def e_business(case: str) -> Figures:
    run = play(case)
    return {"throughput": run.throughput(), "response": run.mean(run.response())}


def two_servers(case: str) -> Figures:
    run = play(case)
    return {
        "throughput": run.throughput(),
        "response": run.mean(run.response()),
        "utilization": run.utilization("workers"),
    }


def two_queues(case: str) -> Figures:
    run, classes = play(case), ("class1", "class2")
    out: dict[str, Estimate | list[Estimate]] = {
        f"{queue}_response": [
            run.mean(run.at_station(f"pool {queue}", route=route)) for route in classes
        ]
        for queue in ("queue1", "queue2")
    }
    return {**out, "throughput": _by_route(run, classes)["throughput"]}


def serial(case: str) -> Figures:
    """A core that is shared is busy while anybody is there."""
    run = play(case)
    return {
        "throughput": run.throughput(),
        "response": run.mean(run.response()),
        "p1_utilization": run.some(run.at_once("pool p1")),
        "t2_utilization": run.utilization("pool t2"),
    }


def threads_over_pool(case: str) -> Figures:
    run = play(case)
    return {
        "throughput": run.throughput(),
        "response": run.mean(run.response()),
        "wait_thread": run.mean(run.booked("wait", "accept queue")),
        "wait_pool": run.mean(run.booked("wait", "pool:db")),
        "cpu_time_incl_queue": run.mean(run.booked("wait", "core") + run.booked("hold", "cpu")),
        "pool_utilization": run.utilization("pool db"),
        "cpu_utilization": run.some(run.at_once("cores")),
    }


def _within_a_minute(case: str) -> list[float]:
    """Latencies in seconds of what ends before the minute is over, ascending."""
    trace = play(case, warm_up=0.0).trace
    done = (trace.outcome == OK) & (trace.finish_ns < 60 * SECOND)
    return sorted((trace.latency_ns[done] / SECOND).tolist())


def one_worker(case: str) -> Figures:
    """wrk counted 50 of those at its limit of 30 s as timeouts; which of them is chance."""
    latencies = _within_a_minute(case)
    mean = exactly(float(np.mean(latencies[:-50])))
    seconds, counts = np.unique(np.round(latencies, 6), return_counts=True)
    by_latency = dict(zip(seconds.tolist(), counts.tolist(), strict=True))
    assert set(by_latency) == {10.0, 20.0, 30.0}
    return {
        "measured.requests": exactly(len(latencies)),
        "measured.rps": exactly(len(latencies) / 60),
        "measured.mean_latency": mean,
        "measured.max_latency": exactly(latencies[-1]),
        "model.completions_strictly_before_60s": exactly(len(latencies)),
        "model.latency_counts.10": exactly(by_latency[10.0]),
        "model.latency_counts.20": exactly(by_latency[20.0]),
        "model.latency_counts.30": exactly(by_latency[30.0]),
        "model.mean_excluding_50_timeouts": mean,
    }


def four_workers(case: str) -> Figures:
    latencies = _within_a_minute(case)
    timeouts = play(case, warm_up=0.0).failed()
    return {
        "measured.requests": exactly(len(latencies)),
        "measured.rps": exactly(len(latencies) / 60),
        "measured.mean_latency": exactly(float(np.mean(latencies))),
        "measured.timeouts": exactly(timeouts.value),
    }


CLOSED: dict[str, Callable[[str], Figures]] = {
    "jmt-1class-whatif-1-10": what_if,
    "qnap-intro-2": three_classes,
    "jmt-complex-webserver": web_server,
    "pdq-aws-tomcat": tomcat,
    "pdq-ebiz": e_business,
    "lqns-20-multiserver": two_servers,
    "line-cqn-oneline": two_queues,
    "lqns-serial": serial,
    "layered-threads40-over-pool15": threads_over_pool,
    "fastapi-sync-10s-wrk-1worker": one_worker,
    "fastapi-sync-10s-wrk-4workers": four_workers,
}
