"""The speed of other simulators, each on its own queue: ``python -m tests.benchmarks.peers [N]``.

One queue, N customers: arrivals 80/s, service 10 ms, one server, first come first served.
Service is exponential; AsyncFlow has constant times only, so its queue is M/D/1. Before a
speed is printed the mean that the peer has simulated is held against the exact one, within
five standard errors. Nothing here is needed by the project: what is not installed is named,
with the pinned version that this was written for. What a peer compiles is not counted.
"""

from __future__ import annotations

import heapq
import importlib
import math
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

os.environ["NUMBA_DISABLE_JIT"] = "0"

import numpy as np

from simulator.engines import reference
from simulator.engines.compiled import engine
from simulator.plan import Plan
from simulator.scenario import loads
from simulator.workload import Workload

RATE, MEAN_S = 80.0, 0.01
BUSY = RATE * MEAN_S
ERRORS = 5
REPEATS = 3
OURS = """
load: {{rate: 80/s, arrivals: poisson, requests: {n}}}
server: {{preset: flask}}
routes: {{r: {{handler: def, steps: [{{block: {{exp: 10ms}}}}]}}}}
"""

# The exact mean time in the system, by Pollaczek and Khinchine.
MM1_S = MEAN_S / (1 - BUSY)
MD1_S = MEAN_S + BUSY * MEAN_S / (2 * (1 - BUSY))


@dataclass(frozen=True, slots=True)
class Peer:
    """One simulator and its queue; ``simulate(n)`` gives the mean time in the system in s."""

    title: str
    package: str
    pinned: str
    simulate: Callable[[int], float]
    exact_s: float = MM1_S
    scale: int = 1  # how many times as many customers, for those that are done too soon


def simpy_mm1(customers: int) -> float:
    """As SimPy's tutorial writes it."""
    simpy: Any = importlib.import_module("simpy")
    env = simpy.Environment()
    server = simpy.Resource(env, 1)
    draw = random.Random(1)
    latencies: list[float] = []

    def customer() -> Any:
        arrived = env.now
        with server.request() as turn:
            yield turn
            yield env.timeout(draw.expovariate(1 / MEAN_S))
        latencies.append(env.now - arrived)

    def source() -> Any:
        for _ in range(customers):
            yield env.timeout(draw.expovariate(RATE))
            env.process(customer())

    env.process(source())
    env.run()
    return statistics.fmean(latencies)


def ciw_mm1(customers: int) -> float:
    ciw: Any = importlib.import_module("ciw")
    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(RATE)],
        service_distributions=[ciw.dists.Exponential(1 / MEAN_S)],
        number_of_servers=[1],
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(customers)
    records = simulation.get_all_records()
    return statistics.fmean(r.exit_date - r.arrival_date for r in records)


def happysim_mm1(customers: int) -> float:
    happy: Any = importlib.import_module("happysimulator")
    latency: Any = importlib.import_module("happysimulator.distributions").ExponentialLatency
    sink = happy.Sink()
    server = happy.Server("server", service_time=latency(MEAN_S), downstream=sink)
    source = happy.Source.poisson(rate=RATE, target=server)
    end = happy.Instant.from_seconds(customers / RATE)
    happy.Simulation(sources=[source], entities=[server, sink], end_time=end).run()
    return float(sink.average_latency())


def asyncflow_md1(customers: int) -> float:
    """A server of one core whose endpoint computes for 10 ms, behind a network of 1 µs."""
    asyncflow: Any = importlib.import_module("asyncflow")
    parts: Any = importlib.import_module("asyncflow.components")
    workload: Any = importlib.import_module("asyncflow.workload")
    settings: Any = importlib.import_module("asyncflow.settings")
    simpy: Any = importlib.import_module("simpy")
    users = workload.RVConfig(mean=RATE, distribution="normal", variance=1e-12)
    each = workload.RVConfig(mean=60)
    step = {"kind": "cpu_bound_operation", "step_operation": {"cpu_time": MEAN_S}}
    server = parts.Server(
        id="server",
        server_resources={"cpu_cores": 1},
        endpoints=[parts.Endpoint(endpoint_name="r", steps=[step])],
    )
    latency = workload.RVConfig(mean=1e-6, distribution="exponential")
    ways = [("source", "client"), ("client", "server"), ("server", "client")]
    edges = [
        parts.Edge(id=f"{a}-{b}", source=a, target=b, latency=latency, dropout_rate=0)
        for a, b in ways
    ]
    flow = (
        asyncflow.AsyncFlow()
        .add_generator(
            workload.RqsGenerator(
                id="source", avg_active_users=users, avg_request_per_minute_per_user=each
            )
        )
        .add_client(parts.Client(id="client"))
        .add_servers(server)
        .add_edges(*edges)
        .add_simulation_settings(
            settings.SimulationSettings(
                total_simulation_time=round(customers / RATE), sample_period_s=0.1
            )
        )
    )
    runner = asyncflow.SimulationRunner(
        env=simpy.Environment(), simulation_input=flow.build_payload()
    )
    result = runner.run()
    result.get_latency_stats()
    return statistics.fmean(result.latencies)


def cimba_mm1() -> Callable[[int], float]:
    """Two processes and the queue between them; its mean length says the wait, by Little's law."""
    model = importlib.import_module("tests.benchmarks.cimba_model")

    def run(customers: int) -> float:
        return float(model.mean_queue(customers / RATE)) / RATE + MEAN_S

    return run


def heap_loop() -> Callable[[int], float]:
    """M/M/1 as a compiled loop over a heap of events: no model, no accounting, no trace."""
    numba: Any = importlib.import_module("numba")

    def loop(customers: int, gaps: Any, services: Any) -> float:
        events = [(gaps[0], 0)]
        waiting, at, arrived, left, total = 0, 0.0, 1, 0, 0.0
        arrivals = np.empty(customers)
        arrivals[0] = gaps[0]
        while len(events) > 0:
            at, what = heapq.heappop(events)
            if what == 0:
                waiting += 1
                if arrived < customers:
                    arrivals[arrived] = at + gaps[arrived]
                    heapq.heappush(events, (arrivals[arrived], 0))
                    arrived += 1
                if waiting == 1:
                    heapq.heappush(events, (at + services[left], 1))
            else:
                total += at - arrivals[left]
                left += 1
                waiting -= 1
                if waiting > 0:
                    heapq.heappush(events, (at + services[left], 1))
        return total / customers

    compiled = numba.njit(loop)
    rng = np.random.Generator(np.random.Philox(1))

    def run(customers: int) -> float:
        gaps = rng.standard_exponential(customers) / RATE
        return float(compiled(customers, gaps, rng.standard_exponential(customers) * MEAN_S))

    return run


def ours(run: Callable[..., Any]) -> Callable[[int], float]:
    """An engine of ours, drawing and the whole trace included."""
    plans: dict[int, Plan] = {}

    def simulate(customers: int) -> float:
        plan = plans.setdefault(customers, loads(OURS.format(n=customers)).plan)
        return float(run(plan, Workload(plan)).latency_ns.mean()) / 1e9

    return simulate


def peers() -> list[Peer]:
    return [
        Peer("bare SimPy", "simpy", "4.1.2", simpy_mm1),
        Peer("Ciw", "ciw", "3.2.7", ciw_mm1),
        Peer("happysim", "happysim", "0.2.5", happysim_mm1),
        Peer("AsyncFlow, M/D/1", "asyncflow-sim", "0.1.1", asyncflow_md1, MD1_S),
        Peer("Cimba Python", "cimba", "0.9.6", _late(cimba_mm1), scale=50),
        Peer("a bare heap loop, Numba", "numba", "0.68.1", _late(heap_loop), scale=50),
        Peer("this, SimPy engine", "simpy", "4.1.2", ours(reference.run)),
        Peer("this, compiled engine", "numba", "0.68.1", ours(engine.run), scale=50),
    ]


def _late(make: Callable[[], Callable[[int], float]]) -> Callable[[int], float]:
    """Made when it is first called: it needs what may not be installed."""
    made: list[Callable[[int], float]] = []

    def simulate(customers: int) -> float:
        if not made:
            made.append(make())
        return made[0](customers)

    return simulate


def tolerance_s(peer: Peer, customers: int) -> float:
    """Five standard errors of the mean over so many customers of M/M/1 (M/D/1 has smaller ones).

    The asymptotic variance of the mean wait is that of Whitt (1989), Planning queueing
    simulations, Management Science 35 (11): ρ (2 + 5ρ - 4ρ² + ρ³) / ((1-ρ)⁴ µ²).
    """
    r = BUSY
    variance = r * (2 + 5 * r - 4 * r**2 + r**3) / (1 - r) ** 4 * MEAN_S**2
    return ERRORS * math.sqrt((variance + MEAN_S**2) / customers)


def measured(peer: Peer, customers: int) -> str:
    """The line of a peer: its speed, or why there is none."""
    try:
        installed = version(peer.package)
    except PackageNotFoundError:
        return f"{peer.title:26} not installed: pip install {peer.package}=={peer.pinned}"
    title = f"{peer.title} ({installed})"
    if installed != peer.pinned:
        title += f", written for {peer.pinned}"
    customers *= peer.scale
    off = peer.simulate(customers) - peer.exact_s  # compiles, where there is something to compile
    if abs(off) > tolerance_s(peer, customers):
        return f"{title:38} no speed: its mean is off by {1e3 * off:.2f} ms"
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        peer.simulate(customers)
        seconds.append(time.process_time() - began)
    return (
        f"{title:38} {customers / statistics.median(seconds):12,.0f}  "
        f"mean {1e3 * (off + peer.exact_s):5.2f} ms, exactly {1e3 * peer.exact_s:.0f}"
    )


def main(customers: int = 20_000) -> None:
    print(
        f"Python {platform.python_version()}, {platform.machine()}; {customers:,} customers, "
        f"{50 * customers:,} of what is compiled; customers per CPU second, median of {REPEATS}"
    )
    for peer in peers():
        print(measured(peer, customers), flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
