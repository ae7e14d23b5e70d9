"""How long a woken thread takes to the GIL: ``server.gil.wake``, from what a loop suffers.

A loop that lets go of the GIL beside a computing thread loses it if that thread is there in
time, and then waits a switch interval: the longer threads take to wake, the less light requests
are slowed down. How much they were is measured; which wake-up time does so the simulator tells,
which plays the same probe with many of them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from simulator.arrays import FloatArray
from simulator.calibration.machinery import BESIDE, NOTHING
from simulator.calibration.probe import Probe
from simulator.calibration.simulated import simulated

WAKES_S: FloatArray = np.geomspace(1e-6, 1e-3, 19)
"""The wake-up times that are tried; between them the logarithm is interpolated."""
REPLICATIONS = 8


def wakes_s(document: dict[str, Any], means_s: Sequence[float]) -> FloatArray:
    """For each measured mean latency the wake-up time that explains it, in seconds.

    Parameters
    ----------
    document : dict
        The service of the probes, with the overheads that were found.
    means_s : sequence of float
        Of requests that do nothing beside one computing thread, one for each repeat.
    """
    latencies = np.asarray([_mean_s(document, wake_s) for wake_s in WAKES_S])
    falling = np.minimum.accumulate(latencies)
    logs = np.interp(-np.asarray(means_s), -falling, np.log(WAKES_S))
    return np.asarray(np.exp(logs), dtype=np.float64)


def _mean_s(document: dict[str, Any], wake_s: float) -> float:
    server = json.loads(json.dumps(document["server"]))
    gil = server["gil"] if isinstance(server.get("gil"), dict) else {}
    server["gil"] = gil | {"wake": f"{round(wake_s * 1e9)}ns"}
    ask = simulated(document | {"server": server})
    probe = Probe("beside", BESIDE)
    return float(np.mean([ask(probe).of(NOTHING).ok.mean() for _ in range(REPLICATIONS)]))
