"""How the connections of one client are shared among the workers of a server, as observed.

The kernel wakes whom it likes, and a worker that wakes takes all it finds: shares are
uneven and change from run to run. They are not predicted but observed, on connections that
ask for nothing but the worker's name. How fast one is opened after the other matters (a worker
that is awake takes the next one, too): so the load generator itself opens them, in a process of
its own that begins then, as before a run. Twenty opened by one that had done it before went to
one worker all but two, most times; by one that began, nine to nineteen.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from simulator.calibration.generator import CouldNotKeepUp, drive
from simulator.report.format import percent
from simulator.scenario import loads
from simulator.workload import Workload


def split(url: str, connections: int) -> tuple[int, ...]:
    """Connections by worker, the largest share first, when so many are opened at once."""
    asks: dict[str, Any] = {
        "name": "split",
        "client": {"connections": {"kept": connections}},
        "load": {"requests": connections, "at": "once"},
        "routes": {"ready": {"path": "GET /-/ready", "handler": "async def", "steps": []}},
    }
    plan = loads(json.dumps(asks)).plan
    try:
        live = drive(plan, Workload(plan), url)
    except CouldNotKeepUp as late:  # it counts who answers, not when
        live = late.live
    workers = live.times["pid"].tolist()
    if min(workers, default=-1) < 0:
        raise ConnectionError("a connection to the server was lost before it told its worker")
    return tuple(sorted(Counter(workers).values(), reverse=True))


def sentence(splits: Sequence[tuple[int, ...]]) -> str:
    """How uneven several splits were, in words."""
    busiest = sorted(shares[0] / sum(shares) for shares in splits)
    return (
        f"the busiest worker has {percent(busiest[0])} to {percent(busiest[-1])} of the "
        f"connections, {percent(median(busiest))} in the median of {len(busiest)}"
    )
