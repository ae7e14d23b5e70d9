"""Speed, as ratios within one run: ``python -m tests.benchmarks [CUSTOMERS]``.

Each engine scenario is timed in turn with a bare SimPy process model of M/M/1, pair by
pair, so that a machine whose speed drifts does not decide; the median ratio counts.
Start-up is timed as whole processes. Nothing here is asserted by a test.
"""

from __future__ import annotations

import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

import simpy

from simulator.engines.reference import run
from simulator.scenario import loads
from simulator.workload import Workload
from tests.conftest import ROOT

PAIRS = 7
RATIO_MM1, RATIO_FASTAPI = 0.7, 0.3
HELP_S, RUN_S = 0.3, 0.6

MM1 = """
load: {{rate: 80/s, arrivals: poisson, requests: {n}}}
server: {{preset: flask}}
routes: {{r: {{handler: def, steps: [{{block: {{exp: 10ms}}}}]}}}}
"""
FASTAPI = """
load: {{rate: 400/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
pools: {{db: {{size: 5}}}}
routes: {{r: {{handler: async def, steps: [{{query: db, time: {{exp: 10ms}}}}]}}}}
"""


def bare_simpy(customers: int) -> float:
    """Seconds for M/M/1 as a SimPy tutorial writes it: no accounting, no trace."""
    env = simpy.Environment()
    server = simpy.Resource(env, 1)
    draw = random.Random(1)
    latencies = []

    def customer():
        arrived = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(draw.expovariate(100))
        latencies.append(env.now - arrived)

    def source():
        for _ in range(customers):
            yield env.timeout(draw.expovariate(80))
            env.process(customer())

    env.process(source())
    began = time.perf_counter()
    env.run()
    assert len(latencies) == customers
    return time.perf_counter() - began


def ours(text: str, customers: int) -> float:
    """Seconds of the engine alone: drawing, running, and the trace."""
    plan = loads(text.format(n=customers)).plan
    workload = Workload(plan)
    began = time.perf_counter()
    trace = run(plan, workload)
    assert len(trace) == customers and not trace.outcome.any()
    return time.perf_counter() - began


def paired(name: str, measure: Callable[[], float], customers: int, goal: float) -> None:
    ratios, rates = [], []
    for _ in range(PAIRS):
        base, mine = bare_simpy(customers), measure()
        ratios.append(base / mine)
        rates.append(customers / mine)
    print(
        f"{name:24} {statistics.median(rates):9,.0f} requests/s   "
        f"{statistics.median(ratios):.2f} × bare SimPy M/M/1 "
        f"({min(ratios):.2f}–{max(ratios):.2f}; goal {goal})"
    )


def whole_process(name: str, arguments: list[str], goal_s: float) -> None:
    seconds = []
    for _ in range(PAIRS):
        began = time.perf_counter()
        command = [sys.executable, str(ROOT / "cli.py"), *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True, cwd=ROOT)
        seconds.append(time.perf_counter() - began)
    print(
        f"{name:24} {statistics.median(seconds):9.2f} s "
        f"({min(seconds):.2f}–{max(seconds):.2f}; goal {goal_s} on an idle machine)"
    )


def main(customers: int = 30_000) -> None:
    print(
        f"Python {platform.python_version()}, simpy {version('simpy')}, numpy "
        f"{version('numpy')}, {platform.machine()}; {customers:,} requests, medians of {PAIRS}"
    )
    base = statistics.median(customers / bare_simpy(customers) for _ in range(3))
    print(f"{'bare SimPy, M/M/1':24} {base:9,.0f} requests/s")
    paired("M/M/1, sync worker", lambda: ours(MM1, customers), customers, RATIO_MM1)
    paired("fastapi + pool", lambda: ours(FASTAPI, customers), customers, RATIO_FASTAPI)
    whole_process("sim --help", ["--help"], HELP_S)
    whole_process("sim run 1000req.yaml", ["run", "configs/1000req.yaml"], RUN_S)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
