"""``python -m tests.gil``: light requests beside computing threads, measured and predicted.

Without arguments the stored measurements beside the model. ``--live [first] [last]`` measures
these rows now, some 9 s each, and stores them, but not what was measured while others used the
machine: beside computing threads the server must get nearly a core. Every row is predicted with
the same time that a woken thread takes, ``--wake``: at 20 µs 21 of 24 means are within 35 %.

What was traced there (each call of ``pthread_cond_signal`` and ``_timedwait`` with its instant and
core) and the model does not have: a released GIL wakes the longest wait, and who waits anew after
an interval goes to the end; but who has just asked is not asleep yet and takes it in 40 to 57 %
(the model takes anyone, so k = 16 waits too long). asyncio sends an answer twice, head and body,
and lets go each time; the second takes 7 to 40 µs, 7 if the client is awake. Before a poll that
waits there is one that does not, another release. A signal to a sleeper on another core takes the
loop 10 to 20 µs, in which it may already be lost. Runs of one row differ: 30 to 77 ms (uvloop,
k = 4, 100 ms) within an hour.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from importlib.metadata import version

from tests.gil.live import measure
from tests.gil.rows import ALLOWED, FIGURES, STORED, measured, predict, rows, stored

CORE_MIN = 0.9
_LIBRARIES = ("fastapi", "uvicorn", "uvloop", "httptools", "anyio")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.gil", description=__doc__)
    parser.add_argument("--live", action="store_true", help="measure first, and store it")
    parser.add_argument("--requests", type=int, default=250)
    parser.add_argument("--wake", type=float, default=20.0, help="µs; one for all rows")
    parser.add_argument("rows", type=int, nargs="*", help="first and last, from 0; all if none")
    options = parser.parse_args()
    first, last = options.rows or (0, 999)
    if options.live:
        _measure(first, last, options.requests)
    if not stored()["rows"]:
        print("nothing is stored yet: python -m tests.gil --live", file=sys.stderr)
    print(f"{'ms: mean, p50, p90':38} {'measured':>21} {'predicted':>23}   mean")
    held, shown = 0, [row for row in list(rows())[first : last + 1] if row.name in stored()["rows"]]
    for row in shown:
        ref, comp = measured(row), predict(row, wake_us=options.wake)
        off = comp["mean"] / ref["mean"] - 1
        held += abs(off) <= ALLOWED
        cells = ["".join(f"{side[key]:>8.1f}" for key in FIGURES) for side in (ref, comp)]
        print(f"{row.name:36}{cells[0]}{cells[1]}  {off:+5.0%}", flush=True)
    print(f"{held} of {len(shown)} means are within {ALLOWED:.0%}")


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
