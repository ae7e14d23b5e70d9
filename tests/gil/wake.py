"""How long a woken thread takes to get there: pings over a pipe between two processes."""

from __future__ import annotations

import math
import os
import random
import subprocess
import sys
import time
from statistics import median

_CHILD = """
import os, time
while True:
    sent = os.read(0, 8)
    if len(sent) < 8:
        break
    os.write(1, (time.monotonic_ns() - int.from_bytes(sent, "little")).to_bytes(8, "little"))
"""


def wake_us(pings: int = 150) -> float:
    """Mean of the exponential with the median of what a sleeper took to be there, in µs.

    The sender computes between two pings, as a thread that has the GIL does.
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", _CHILD], stdin=pipe, stdout=pipe) as child:
        assert child.stdin is not None and child.stdout is not None
        took = []
        chance = random.Random(1)
        for _ in range(pings):
            at = time.monotonic() + 0.002 + 0.004 * chance.random()
            while time.monotonic() < at:
                pass
            os.write(child.stdin.fileno(), time.monotonic_ns().to_bytes(8, "little"))
            took.append(int.from_bytes(os.read(child.stdout.fileno(), 8), "little") / 1e3)
        child.stdin.close()
    return round(median(took) / math.log(2), 1)
