"""What the answers to a burst, a few single requests or a few users say about a server.

Pure functions of latencies in seconds. The word *single* is the latency of a request that
is alone in the server, *cost* the time that its loop needs for a request that does nothing.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.arrays import FloatArray
from simulator.record import dataclass

FREE, WAVES, SERIAL, SHARED, PACED, REFUSED = (
    "free", "waves", "serial", "shared", "paced", "refused",
)  # fmt: skip

SLACK = 1.3
"""A burst that takes this much longer than one request still ran all at once …"""
COSTS = 4.0
"""… and so many costs of the loop per request on top of it."""
UNEVEN = 0.12
"""Steps of a staircase, nearly all, differ by no more than this part of their length."""
EVEN = 0.01
"""… and steps that differ by so little from one another are as good as even."""
INSTANT = 0.02
"""Of a single request's time: it seems to have taken none."""
REGULAR = 0.35
"""Gaps whose middle half spreads by no more than this part of their median are regular."""
STEADY = 0.15
"""Times are the same where most lie within such a part of their median."""
NOISE_S = 0.002
"""… or differ by no more than what a machine does to any request."""
TOGETHER = 0.72
"""Where half of a burst ends after this part of its makespan, it was served together."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the completions of a burst lie in time.

    ``size``: of the waves, where their sizes say one number; 0 otherwise. ``every_s``: from
    wave to wave, or from completion to completion. ``first``: how many came at once, before
    the rest was paced, or before it was refused.
    """

    kind: str
    size: int
    every_s: float
    first: int
    concurrency: float  # n · single / makespan


def shape(completions: FloatArray, refused: int, singles: FloatArray, cost_s: float) -> Shape:
    """What a burst shows; ``completions`` from its send, ascending."""
    n = len(completions)
    if refused:
        return Shape(REFUSED, 0, 0.0, n, 0.0)
    makespan, single_s = float(completions[-1]), float(np.median(singles))
    concurrency = n * float(np.mean(singles)) / makespan
    steady = is_steady(singles)
    # Of times that vary the last of many is long by itself.
    slowest = max(SLACK * float(np.max(singles)), single_s + 0.002)
    if steady and makespan <= slowest + COSTS * n * cost_s:
        return Shape(FREE, 0, 0.0, n, concurrency)
    if np.median(completions) > TOGETHER * makespan and concurrency < n / 2:
        return Shape(SHARED, 0, makespan / n, n, concurrency)
    gaps = np.diff(completions[n // 3 :])
    if len(gaps) >= 4 and _is_regular(gaps):
        every = float(np.median(gaps))
        slow, fast = float(singles.max()), float(singles.min())
        if 0.8 * fast < every < 1.2 * slow:
            return Shape(SERIAL, 1, every, 1, concurrency)
        first = _at_once(completions, every)
        # What is paced lasts as long as its gaps together: pauses between waves do not.
        paced = single_s + (n - first) * every
        if every > 2 * cost_s and abs(paced / makespan - 1) < 0.2:
            return Shape(PACED, 0, every, first, concurrency)
    if n < 6 and concurrency < 1.3:
        return Shape(SERIAL, 1, makespan / n, 1, concurrency)
    size, every_s = period(completions, 0.5 * single_s) if steady else (0, 0.0)
    return Shape(WAVES, size, every_s, size, concurrency)


def period(completions: FloatArray, least_s: float) -> tuple[int, float]:
    """The staircase: c and T where every completion is followed by the c-th next after T.

    So it is where c slots serve requests of one length, however the slots lie in phase.
    ``(0, 0.0)`` where no c up to half of the completions makes such steps.
    """
    n = len(completions)
    found = []
    for size in range(1, n // 2 + 1):
        steps = completions[size:] - completions[:-size]
        low, middle, high = np.percentile(steps, (10, 50, 90))
        if middle >= least_s and high - low <= UNEVEN * middle:
            # One slot too few: a step in each wave is none at all, which percentiles overlook.
            uneven = float(np.sqrt(np.mean((steps - middle) ** 2)))
            found.append((uneven, size, float(middle)))
    if not found:
        return 0, 0.0
    # Twice the slots make steps that vary by as much, of twice the time: the fewest are meant.
    least = 1.5 * min(found)[0]
    return next(
        (size, every) for uneven, size, every in found if uneven <= max(least, EVEN * every)
    )


def is_steady(times: FloatArray) -> bool:
    """Whether requests take about as long each time; one that is late by chance is no matter."""
    low, middle, high = np.percentile(times, (10, 50, 85))
    return bool(high - low <= max(STEADY * middle, NOISE_S))


def waves(completions: FloatArray, pause_s: float) -> tuple[list[int], float]:
    """How many completions each wave has, and the time from wave to wave (0 if there is one)."""
    cuts = np.flatnonzero(np.diff(completions) > pause_s) + 1
    parts = np.split(completions, cuts)
    starts = np.asarray([part[0] for part in parts])
    every = float(np.median(np.diff(starts))) if len(starts) > 1 else 0.0
    return [len(part) for part in parts], every


def little(users: int, throughput: float, latency_s: float) -> float:
    """Requests under way by Little's law, relative to the users: 1 where all is accounted for."""
    return throughput * latency_s / users


def limit(
    throughputs: FloatArray, served: int, times: FloatArray, single_s: float, cost_s: float
) -> tuple[float, float]:
    """Between which numbers a limit lies whose throughput has been reached: 2.5 sigma.

    A slot is held for a request's time without the loop's part of it, or with all of it. By
    chance both the mean of ``times`` and that of the ``served`` requests of a rung vary.
    """
    mean, cv = float(times.mean()), float(times.std() / max(times.mean(), 1e-9))
    top = float(throughputs.max())
    near = throughputs[throughputs > 0.9 * top]
    spread = float(near.max() - near.min()) / top if len(near) > 1 else 0.05
    chance = 2.5 * cv * math.sqrt(1 / len(times) + 1 / max(served, 1))
    slack = max(spread, chance)
    return top * max(mean, single_s - cost_s) * (1 - slack), top * single_s * (1 + slack)


def slots_in_line(finish: FloatArray, alone: FloatArray, between: tuple[float, float]) -> int:
    """How many slots served a burst whose times vary.

    In a line request i begins when the (i - c)-th ends. The c is meant with which the times
    of its requests look most like those of requests that did not wait.

    Parameters
    ----------
    finish : ndarray, shape (n,)
        By order in the line, that of sending.
    alone : ndarray
        Times of requests that did not wait.
    """
    ends, usual = np.sort(finish), float(np.median(alone))
    ranks = np.linspace(2, 98, 49)

    def spread(times: FloatArray) -> FloatArray:
        # On a scale of ratios the least times count as well as the greatest.
        return np.asarray(np.percentile(np.log(np.maximum(times, INSTANT * usual)), ranks))

    usually, distances = spread(alone), []
    for slots in range(max(1, math.floor(between[0])), math.ceil(between[1]) + 1):
        began = np.concatenate([np.zeros(slots), ends])[: len(finish)]
        seemingly = spread((finish - began)[slots:])
        distances.append((float(np.abs(seemingly - usually).mean()), slots))
    return min(distances)[1]


def _is_regular(gaps: FloatArray) -> bool:
    low, middle, high = np.percentile(gaps, (25, 50, 75))
    return bool(middle > 0 and high - low < REGULAR * middle)


def _at_once(completions: FloatArray, every_s: float) -> int:
    """How many came before the first gap that is as wide as those of the paced rest."""
    wide = np.flatnonzero(np.diff(completions) > 0.5 * every_s)
    return int(wide[0]) + 1 if len(wide) else len(completions)
