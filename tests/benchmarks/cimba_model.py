"""M/M/1 as a model of Cimba Python, which compiles a class from its source file."""

from __future__ import annotations

import cimba as cb
import numpy as np
from cimba import inputs


class MM1(cb.Model):
    gap: cb.Input[float] = inputs.dist.exponential(mean=1 / 80)
    service: cb.Input[float] = inputs.dist.exponential(mean=1 / 100)
    queue: cb.Container
    mean_queue: cb.Output[float]

    @cb.process
    def arrivals(self):
        while True:
            cb.hold(self.gap.next())
            self.queue.put(1)

    @cb.process
    def server(self):
        while True:
            self.queue.get(1)
            cb.hold(self.service.next())

    @cb.on_end
    def measure(self):
        self.mean_queue = self.queue.mean_level()


def mean_queue(duration_s: float) -> float:
    """The mean number of those who wait."""
    model = MM1()
    window = cb.Window(duration=duration_s)
    results = cb.Experiment(model, replications=1, window=window, seed=1).run()
    return float(np.mean(results[model].mean_queue))
