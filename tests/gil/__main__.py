"""``python -m tests.gil``: light requests beside computing threads, measured and predicted.

Without arguments the stored measurements beside the model. ``--live [first] [last]`` measures
these rows now, some 9 s each, and stores them, but not what was measured while others used the
machine: beside computing threads the server must get nearly a core. Each row is predicted with
the wake-up time that was measured just before it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version
from statistics import median

from tests.gil.live import measure
from tests.gil.rows import STORED, predict, rows, stored

FIGURES = ("mean", "p50", "p90")
CORE_MIN = 0.9
_LIBRARIES = ("fastapi", "uvicorn", "uvloop", "httptools", "anyio")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gil", description=__doc__)
    parser.add_argument("--live", action="store_true", help="measure first, and store it")
    parser.add_argument("--requests", type=int, default=250)
    parser.add_argument("rows", type=int, nargs="*", help="first and last, from 0; all if none")
    options = parser.parse_args()
    first, last = options.rows or (0, 999)
    if options.live:
        _measure(first, last, options.requests)
    runs = stored()["rows"]
    if not runs:
        print("nothing is stored yet: python -m tests.gil --live", file=sys.stderr)
    print(f"{'ms':38} {'measured':>21} {'predicted':>23}   mean  wake")
    for row in list(rows())[first : last + 1]:
        if row.name not in runs:
            continue
        ref = {key: median(run[key] for run in runs[row.name]) for key in FIGURES}
        wake = median(run["wake"] for run in runs[row.name])
        comp = predict(row, wake_us=wake)
        off = comp["mean"] / ref["mean"] - 1
        cells = ["".join(f"{side[key]:>8.1f}" for key in FIGURES) for side in (ref, comp)]
        print(f"{row.name:36}{cells[0]}{cells[1]}  {off:+5.0%} {wake:>5.0f}us", flush=True)


def _measure(first: int, last: int, n: int) -> None:
    data = stored()
    data["machine"] = f"{os.cpu_count()} cores, {platform.machine()}, Linux {platform.release()}"
    data["versions"] = {name: version(name) for name in _LIBRARIES}
    data["versions"]["python"] = platform.python_version()
    data["date"] = time.strftime("%Y-%m-%d")
    for row in list(rows())[first : last + 1]:
        run = measure(row, n)
        if run["core"] < CORE_MIN:
            print(f"{row.name}: not kept, the server got {run['core']} of a core", file=sys.stderr)
            continue
        data["rows"].setdefault(row.name, []).append(run)
        STORED.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    main()
