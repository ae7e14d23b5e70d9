"""When the devices of accelerators work: all visits of one batch share their device.

A slot is a place in a batch: device · batch_max + place. A device works from the grant of
a batch to its release, however many are in it; with continuous batching while anything runs.
"""

from __future__ import annotations

import numpy as np

from simulator.arrays import IntArray
from simulator.plan import Accelerator, Plan
from simulator.record import dataclass
from simulator.trace import NOT_GRANTED, Visits


@dataclass(frozen=True, slots=True)
class DeviceTime:
    """The busy spans of all devices of one accelerator; spans of one device never overlap."""

    begin_ns: IntArray
    end_ns: IntArray
    served: int  # visits in them

    def within_ns(self, start_ns: int, end_ns: int) -> IntArray:
        """How long each span lasts between two instants."""
        begin = np.clip(self.begin_ns, start_ns, end_ns)
        return np.clip(self.end_ns, start_ns, end_ns) - begin


def accelerator_of(plan: Plan, label: str) -> Accelerator | None:
    """The accelerator of a station's label, "accelerator gpu"."""
    return next((a for a in plan.accelerators if label == f"accelerator {a.label}"), None)


def device_time(spec: Accelerator, visits: Visits) -> DeviceTime:
    """The busy spans of an accelerator out of the visits to it."""
    granted = visits.granted_ns != NOT_GRANTED
    device = visits.slot[granted] // spec.batch_max
    begin, end = visits.granted_ns[granted], visits.released_ns[granted]
    order = np.lexsort((begin, device))
    begins: list[int] = []
    ends: list[int] = []
    last = -1
    columns = (device[order].tolist(), begin[order].tolist(), end[order].tolist())
    for who, start, stop in zip(*columns, strict=True):
        # Batches that follow at once are spans of their own.
        within = who == last and (start < ends[-1] or start == begins[-1])
        if within:
            ends[-1] = max(ends[-1], stop)
        else:
            begins.append(start)
            ends.append(stop)
        last = who
    return DeviceTime(
        np.asarray(begins, dtype=np.int64), np.asarray(ends, dtype=np.int64), int(granted.sum())
    )
