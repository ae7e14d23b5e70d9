"""Memory and time of `sim run`, whole: ``python -m tests.benchmarks.long_runs [REQUESTS] [NAME]``.

Each scenario runs in a process of its own, start-up and page included; the first line, of a tenth
of the requests, has compiled what was not compiled yet. ``said`` is what the command says
beforehand that a run takes. 10,000,000 requests take about a minute each.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from simulator.footprint import bytes_of
from simulator.scenario import loads
from tests.conftest import ROOT

SCENARIOS = {
    "M/M/1, sync worker": """
load: {{rate: 80/s, arrivals: poisson, requests: {n}}}
server: {{preset: flask}}
routes: {{r: {{handler: def, steps: [{{block: {{exp: 10ms}}}}]}}}}
""",
    "fastapi + pool, Poisson": """
load: {{rate: 400/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
pools: {{db: {{size: 5}}}}
routes: {{r: {{handler: async def, steps: [{{query: db, time: {{exp: 10ms}}}}, {{cpu: 1ms}}]}}}}
""",
    "100,000 in flight": """
load: {{rate: 10000/s, arrivals: poisson, requests: {n}}}
server: {{preset: fastapi}}
routes: {{r: {{handler: async def, steps: [{{await: {{exp: 10s}}}}]}}}}
""",
}


_RUNS = """
import os, sys
process = os.fork()
if not process:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.execv(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(process, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss, used.ru_utime + used.ru_stime)
"""
"""A small process between: Linux counts what a parent had at the fork as a peak of its child."""


def measured(text: str) -> tuple[int, float, float]:
    """Peak bytes, CPU seconds and seconds of ``sim run`` on a scenario."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "long.yaml")
        file.write_text(text)
        command = [sys.executable, "-c", "import cli; cli.main()", "run", str(file)]
        environment = os.environ | {"NUMBA_DISABLE_JIT": "0"}
        began = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-S", "-c", _RUNS, *command],
            stdout=subprocess.PIPE, env=environment, cwd=ROOT, check=True, text=True,
        )  # fmt: skip
    code, peak, spent = run.stdout.split()
    if code != "0":
        raise SystemExit(f"sim run ended with {code}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return int(peak) * unit, float(spent), time.perf_counter() - began


def rows(requests: int, name: str) -> Iterator[str]:
    for title, template in SCENARIOS.items():
        if name not in title:
            continue
        for count in (requests // 10, requests):
            text = template.format(n=count)
            peak, spent, seconds = measured(text)
            said = bytes_of(loads(text).plan, kept=False)
            yield (
                f"{title:<26}{count:>12,}{peak / 1e6:>10.0f} MB{said / 1e6:>10.0f} MB"
                f"{spent:>9.1f} s{seconds:>9.1f} s"
            )


def main(requests: str = "1000000", name: str = "") -> None:
    print(f"python {platform.python_version()}, numpy {version('numpy')}, numba {version('numba')}")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs")
    print(f"{'':<26}{'requests':>12}{'peak':>13}{'said':>13}{'CPU':>11}{'wall':>11}")
    for row in rows(int(requests), name):
        print(row, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
