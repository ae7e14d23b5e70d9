"""``python -m tests.reality.wrk``: a second load generator, in C, asks the same server.

If the generator were the limit, wrk would get more out of the server, or see lower latencies.
Both run closed loops of the same number of users without thinking; alternately, five times.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from simulator.calibration.generator import Budget, CouldNotKeepUp, Live, drive
from simulator.calibration.measuring import TRIES
from simulator.calibration.served import serve
from simulator.scenario import Scenario, loads
from simulator.workload import Workload

SECONDS, PAIRS = 2, 5
WHY_NOT = "wrk is not installed: apt-get install wrk"


@dataclass(frozen=True, slots=True)
class Pair:
    """Requests per second and median latency in seconds, of the generator and of wrk."""

    ours: tuple[float, float]
    wrks: tuple[float, float]


def installed() -> bool:
    """Whether there is a second generator here."""
    return shutil.which("wrk") is not None


def compared(users: int, step: str) -> list[Pair]:
    """Both against a served route of one step.

    A run that the generator refuses as late is done again, as ``sim check`` does it: something
    else may have had the processor.
    """
    scenario = loads(
        f"load: {{users: {users}, for: {SECONDS}s}}\n"
        f"client: {{connections: {{kept: {users}}}}}\nserver: {{preset: fastapi}}\n"
        f"routes: {{work: {{path: GET /work, handler: async def, steps: [{step}]}}}}\n"
    )
    out = []
    with serve(scenario) as running:
        for _ in range(PAIRS):
            live = _driven(scenario, running.url)
            latency = live.trace.latency_ns[live.trace.outcome == 0] / 1e9
            ours = (len(latency) / SECONDS, float(median(latency)))
            out.append(Pair(ours, _wrk(running.url, users)))
    return out


def _driven(scenario: Scenario, url: str) -> Live:
    budget = Budget.parse("requests<=100k,rate<=20000/s")
    for _ in range(TRIES - 1):
        with suppress(CouldNotKeepUp):
            return drive(scenario.plan, Workload(scenario.plan), url, budget=budget)
    return drive(scenario.plan, Workload(scenario.plan), url, budget=budget)


def _wrk(url: str, users: int) -> tuple[float, float]:
    command = ["wrk", "-t1", f"-c{users}", f"-d{SECONDS}s", "--latency", "-H", "x-sim-index: 0"]
    said = subprocess.run([*command, f"{url}/work"], capture_output=True, text=True, check=True)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", said.stdout)
    half = re.search(r"50%\s+([\d.]+)(us|ms|s)", said.stdout)
    assert rate and half, said.stdout
    return float(rate[1]), float(half[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[half[2]]


def main() -> None:
    """Print both, for a route that does nothing and for one that sleeps."""
    if not installed():
        raise SystemExit(WHY_NOT)
    for users, step in ((16, ""), (50, "{await: 20ms}")):
        pairs = compared(users, step)
        for name in ("ours", "wrks"):
            rates, halves = zip(*(getattr(pair, name) for pair in pairs), strict=True)
            print(
                f"{users} users, {step or 'nothing':14} {name:5} "
                f"{median(rates):7.0f}/s  p50 {median(halves) * 1e3:6.2f} ms"
            )


if __name__ == "__main__":
    main()
