"""How well a sweep uses two cores: ``python -m tests.benchmarks.sweep [PAIRS] [REQUESTS]``.

64 points × 20 replications, alone and with two processes in turn, so that a machine whose speed
drifts does not decide. The ideal is half of the time; the median of the pairs counts. Starting
the processes is part of it. Wanted: 0.85 of the ideal speed-up. Nothing here is a test.
"""

from __future__ import annotations

import statistics
import sys
import time

from simulator.experiments.axes import parse
from simulator.experiments.sweep import Sweep, run

WANTED = 0.85
SCENARIO = """\
name: benchmark
load: {{rate: 60/s, requests: {requests}}}
pools: {{db: {{size: 1}}}}
routes:
  read: {{handler: async def, steps: [{{query: db, time: {{exp: 10ms}}}}]}}
"""


def seconds(sweep: Sweep, jobs: int) -> float:
    """How long the sweep takes."""
    began = time.perf_counter()
    result = run(sweep, jobs=jobs, alone_s=0)
    assert len(result.rows) == 64 and not result.failed
    return time.perf_counter() - began


def main() -> int:
    """Print each pair and the median; 1 if that is below what is wanted."""
    pairs, requests = map(int, [*sys.argv[1:], *("5", "500")[len(sys.argv) - 1 :]])
    axes = (parse("load.rate=" + ",".join(f"{20 + i}/s" for i in range(64))),)
    sweep = Sweep("benchmark.yaml", SCENARIO.format(requests=requests), axes, replications=20)
    shares = []
    for _ in range(pairs):
        alone, together = seconds(sweep, 1), seconds(sweep, 2)
        shares.append(alone / together / 2)
        print(
            f"alone {alone:6.2f} s, two processes {together:6.2f} s: {shares[-1]:.3f}", flush=True
        )
    median = statistics.median(shares)
    print(f"64 points × 20 replications: {median:.3f} of the ideal speed-up, wanted {WANTED}")
    return int(median < WANTED)


if __name__ == "__main__":
    sys.exit(main())
