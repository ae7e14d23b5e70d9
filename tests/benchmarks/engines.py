"""The compiled engine against SimPy's: ``python -m tests.benchmarks.engines [REQUESTS]``.

Both run the same plan and workload in turn, pair by pair; medians of CPU time count. No ratio
is printed unless the two traces are equal to the last nanosecond. What compiling, or loading
what was compiled before, takes is told apart. ``tests.benchmarks.peers`` has other simulators.

Behind each ratio stands where the compiled engine's time goes: the kernels, and the host beside
them. Measured in a calm minute on 2 virtual CPUs (AMD EPYC), in ns of each of 50,000 requests:

| | all | kernels | draws | trace | the rest: laying out, returns to the host |
|---|---|---|---|---|---|
| M/M/1, sync worker | 230 | 127 | 45 | 21 | 37 |
| a burst, pool of 50 | 540 | 450 | 0 | 26 | 64 |
| threads + pool | 360 | 245 | 46 | 31 | 38 |
| GIL-bound threads | 650 | 455 | 96 | 49 | 50 |
| dashboard with gather | 780 | 610 | 80 | 55 | 35 |
| closed users | 630 | 440 | 46 | 75 | 69 |

A draw takes 12 ns, 7 of them in NumPy's generator; a row or a visit of the trace some 10 to 15.
By ``perf`` a quarter to a third of the kernels is choosing and entering instructions, a tenth the
heap; the rest is spread over what the instructions do. What made them faster: functions that
only the entry calls are compiled as its own (``jit._own_copies``; kernels a third less, threads
668 → 466 ns), rows of users are put where they belong at once and causes that nobody has are
never touched (closed users 910 → 600). What did not: functions inlined by force (as long to
compile as all without), a comparison without jumps in the heap (LLVM puts them back).

The spread of a ratio is memory: a burst of 50,000 touches 40 MB that no run before has left to
it, and a virtual machine may take many times as long to come by fresh pages as at another time
(80 to 3,200 ns of system time a request, measured; SimPy's engine meets it only once). So a
median may be far below the best pair, of the burst above all.

A million in flight take 3.4 to 4.4 times as long a request as a thousand; the goal is missed.
By ``perf`` 35 to 41 % go to the heap of 32 MB, whose two lowest levels are in no cache and whose
pages are in no table of addresses; 15 to 19 % to the first touch of 0.8 GB of records; 15 to 25 %
to tasks that have long left the cache. Tried: a task's words in the order of their use (kept:
337 → 303 ns with a thousand in flight, no gain with a million), nodes at the beginning of a line
and lines fetched beforehand (the waits move to the fetches: 1,270 ns against 1,240), eight
children of a node instead of four (1,310). Not tried: a queue that keeps what is far off apart.
"""

from __future__ import annotations

import gc
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from unittest.mock import patch

os.environ["NUMBA_DISABLE_JIT"] = "0"

from simulator.engines import reference
from simulator.engines.compiled import engine, jit, kernel
from simulator.plan import Plan
from simulator.scenario import loads
from simulator.trace import first_difference
from simulator.workload import Workload

PAIRS = 5
GOAL = 40

SCENARIOS = {
    "M/M/1, sync worker": """
load: {{rate: 80/s, arrivals: poisson, requests: {n}}}
server: {{preset: flask}}
routes: {{r: {{handler: def, steps: [{{block: {{exp: 10ms}}}}]}}}}
""",
    "a burst, pool of 50": """
load: {{requests: {n}, at: once}}
server: {{preset: fastapi}}
pools: {{db: {{size: 50}}}}
routes: {{r: {{handler: async def, steps: [{{query: db, time: 5s}}]}}}}
""",
    "fastapi + pool, Poisson": """
load: {{rate: 400/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
pools: {{db: {{size: 5}}}}
routes: {{r: {{handler: async def, steps: [{{query: db, time: {{exp: 10ms}}}}]}}}}
""",
    "threads + pool": """
load: {{rate: 400/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
pools: {{db: {{size: 5}}}}
routes: {{r: {{handler: def, steps: [{{query: db, time: {{exp: 10ms}}}}]}}}}
""",
    "GIL-bound threads": """
load: {{rate: 90/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
routes:
  burn: {{handler: def, steps: [{{cpu: {{exp: 20ms}}}}], weight: 1}}
  light: {{handler: async def, steps: [{{cpu: 200us}}], weight: 2}}
""",
    "dashboard with gather": """
load: {{rate: 50/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
services: {{a: {{time: {{exp: 30ms}}}}, b: {{time: 50ms}}, c: {{time: {{exp: 20ms}}}}}}
routes: {{r: {{handler: async def, steps: [{{gather: [{{call: a}}, {{call: b}}, {{call: c}}]}}]}}}}
""",
    "closed users": """
load: {{users: 50, think: {{exp: 100ms}}, requests: {n}}}
server: {{preset: fastapi}}
pools: {{db: {{size: 5}}}}
routes: {{r: {{handler: async def, steps: [{{cpu: 1ms}}, {{query: db, time: {{exp: 10ms}}}}]}}}}
""",
    "batching": """
load: {{rate: 300/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
accelerators: {{gpu: {{batch: {{max: 8, wait: 10ms}}, time: {{base: 5ms, per_item: 1ms}}}}}}
routes: {{r: {{handler: async def, steps: [{{predict: gpu}}]}}}}
""",
}


def timed(run: Callable[[], object]) -> float:
    """Seconds of this process's CPU: both engines use one thread, and a machine is shared."""
    gc.collect()  # what the other one left behind
    began = time.process_time()
    run()
    return time.process_time() - began


def in_kernels(plan: Plan) -> float:
    """Which part of a run's CPU time the kernels take."""
    inside, run = [0.0], kernel.run

    def watched(words: list[int]) -> int:
        began = time.process_time()
        status = run(words)
        inside[0] += time.process_time() - began
        return status

    with patch.object(kernel, "run", watched):
        whole = timed(lambda: engine.run(plan, Workload(plan)))
    return inside[0] / whole


def compared(name: str, text: str, requests: int) -> None:
    """One line: requests per second of both engines, and the ratio if their traces agree."""
    plan: Plan = loads(text.format(n=requests)).plan
    ref = reference.run(plan, Workload(plan))
    comp = engine.run(plan, Workload(plan))
    different = first_difference(ref, comp)
    if different is not None:
        print(f"{name:26} no ratio, the traces differ: {different}")
        return
    slow, fast = [], []
    for _ in range(PAIRS):
        workload = Workload(plan)
        slow.append(timed(lambda: reference.run(plan, workload)))  # noqa: B023
        workload = Workload(plan)
        fast.append(timed(lambda: engine.run(plan, workload)))  # noqa: B023
    ratios = [a / b for a, b in zip(slow, fast, strict=True)]
    print(
        f"{name:26} {requests / statistics.median(slow):10,.0f}  "
        f"{requests / statistics.median(fast):12,.0f}   {statistics.median(ratios):5.1f} × "
        f"({min(ratios):.1f}–{max(ratios):.1f}; goal {GOAL}), "
        f"{1e9 * statistics.median(fast) / requests:.0f} ns, {in_kernels(plan):.0%} in the kernels"
    )


IN_FLIGHT = """
load: {{rate: {many}/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
routes: {{r: {{handler: async def, steps: [{{await: {{uniform: [500ms, 1500ms]}}}}]}}}}
"""


def in_flight(requests: int = 3_000_000) -> None:
    """Time per request, each of as many events, with a thousand and with a million in flight."""
    times = {}
    for many in (1_000, 1_000_000):
        plan = loads(IN_FLIGHT.format(many=many, n=requests)).plan
        took = [timed(lambda: engine.run(plan, Workload(plan))) for _ in range(3)]  # noqa: B023
        times[many] = statistics.median(took) / requests
    few, much = times.values()
    print(
        f"10⁶ in flight: {much * 1e9:.0f} ns a request, 10³: {few * 1e9:.0f} ns, "
        f"{much / few:.1f} × (goal 3)"
    )


def main(requests: int = 50_000) -> None:
    known = "kept from before" if jit.is_kept() else "compiled anew"
    compiling = timed(engine.compile_kernels)
    print(
        f"Python {platform.python_version()}, simpy {version('simpy')}, numpy {version('numpy')}, "
        f"numba {version('numba')}, {platform.machine()}; {requests:,} requests, medians of {PAIRS}"
    )
    print(f"kernels {known}: {compiling:.1f} s, not counted below\n")
    print(f"{'requests per CPU second':26} {'SimPy':>10}  {'compiled':>12}")
    for name, text in SCENARIOS.items():
        compared(name, text, requests)
    in_flight()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all this: {peak:,.0f} MB")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
