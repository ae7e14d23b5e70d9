"""Exact formulas of queues, beside which a simulation can be held.

Rates are per second, times in seconds. Sources: Erlang 1917 (B and C); Pollaczek 1930 and
Khinchine 1932 (M/G/1); Reiser and Lavenberg 1980 (mean value analysis, here with stations
of several servers); Jackson 1957 and Burke 1956 (stations one after another).
"""

from __future__ import annotations

from collections.abc import Sequence

from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class Queue:
    """A station where requests wait in order: slots, and the time that one is held.

    ``mean_s`` and ``cv2`` (the variance over the squared mean) are of the hold, all visits
    of a request together being one. ``room``: how many may wait; None without a limit.
    """

    label: str
    slots: int
    mean_s: float
    cv2: float
    exponential: bool
    room: int | None = None


def erlang_b(slots: int, offered: float) -> float:
    """Share of arrivals that find all slots taken and leave (M/G/c/c)."""
    blocked = 1.0
    for c in range(1, slots + 1):
        blocked = offered * blocked / (c + offered * blocked)
    return blocked


def erlang_c(slots: int, offered: float) -> float:
    """Share of arrivals that wait in M/M/c; 1 where it is not stable."""
    if offered >= slots:
        return 1.0
    blocked = erlang_b(slots, offered)
    return blocked / (1 - offered / slots * (1 - blocked))


def wait_mmc(slots: int, rate: float, mean_s: float) -> float:
    """Mean wait in M/M/c (Erlang C); infinite where it is not stable."""
    free = slots / mean_s - rate
    return erlang_c(slots, rate * mean_s) / free if free > 0 else float("inf")


def wait_mg1(rate: float, mean_s: float, cv2: float) -> float:
    """Mean wait in M/G/1 (Pollaczek and Khinchine); infinite where it is not stable."""
    busy = rate * mean_s
    return rate * mean_s**2 * (1 + cv2) / (2 * (1 - busy)) if busy < 1 else float("inf")


def closed(users: int, think_s: float, queues: Sequence[Queue]) -> tuple[float, float]:
    """Throughput and mean response time of users who think and then visit each queue once.

    Exact for exponential holds; ``think_s`` (and pure delays in it) may have any distribution.

    Returns
    -------
    tuple of float
        Requests per second, and seconds.
    """
    # Of each queue the probabilities of 0 … c - 1 requests being there, with n users in all.
    there = [[1.0] + [0.0] * (queue.slots - 1) for queue in queues]
    length = [0.0] * len(queues)
    throughput, response = 0.0, 0.0
    for n in range(1, users + 1):
        stays = []
        for queue, mean, probability in zip(queues, length, there, strict=True):
            idle = sum((queue.slots - 1 - j) * p for j, p in enumerate(probability[:-1]))
            stays.append(queue.mean_s / queue.slots * (1 + mean + idle))
        response = sum(stays)
        throughput = n / (think_s + response)
        for i, queue in enumerate(queues):
            before = there[i]
            load = throughput * queue.mean_s
            after = [0.0] + [load / j * before[j - 1] for j in range(1, queue.slots)]
            busy = sum((queue.slots - j) * after[j] for j in range(1, queue.slots))
            after[0] = max(1 - (load + busy) / queue.slots, 0.0)
            there[i], length[i] = after, throughput * stays[i]
    return throughput, response
