"""Which exact formula a plan meets, and what it says; most plans meet none.

A formula holds for one load, Poisson or closed, on one route without overheads, whose steps
are pure delays and stations that hold nothing else meanwhile: a sync worker, a thread, the
event loop, a pool, a service.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from simulator.analysis.formulas import Queue, closed, erlang_b, wait_mg1, wait_mmc
from simulator.distributions import (
    Constant,
    Distribution,
    Erlang,
    Exponential,
    Gamma,
    Hyperexponential,
    Uniform,
)
from simulator.plan import (
    NEVER,
    NO_DATABASE,
    NO_STREAM,
    UNLIMITED,
    Call,
    Cpu,
    LoadKind,
    Overheads,
    Plan,
    Route,
    ServerKind,
    Step,
    Wait,
    With,
)
from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class Known:
    """What a formula says of a plan; infinite where there is no steady state."""

    name: str  # "M/M/5 (Erlang C)"
    mean_s: float  # of the latency of ok requests
    throughput: float | None = None  # of a closed load, per second
    lost: float | None = None  # share of requests that are refused


class _NoFormula(Exception):
    """The reason why a plan meets none."""


def known(plan: Plan) -> Known | str:
    """What an exact formula says, or why none applies."""
    try:
        _nothing_else(plan)
        load = plan.loads[0]
        queues, delay_s = _stations(plan, plan.routes[load.routes[0]])
        if load.kind is LoadKind.CLOSED:
            return _closed(plan, queues, delay_s)
        return _open(load.rate[0] / load.rate[1], queues, delay_s)
    except _NoFormula as reason:
        return str(reason)


def _nothing_else(plan: Plan) -> None:
    """Raise for whatever a formula does not know."""
    server, client = plan.server, plan.client
    kinds = (LoadKind.POISSON, LoadKind.CLOSED)
    checks = (
        (len(plan.loads) != 1 or len(plan.loads[0].routes) != 1, "several loads or routes"),
        (plan.loads and plan.loads[0].kind not in kinds, "arrivals that are not Poisson"),
        (server.overheads != Overheads(*[0] * len(Overheads.__slots__)), "overheads"),
        (server.workers * server.instances > 1 and server.kind is not ServerKind.SYNC, "workers"),
        (server.instances > 1, "instances behind a balancer"),
        (server.cores < UNLIMITED, "cores that are shared"),
        (server.limit_concurrency < UNLIMITED, "limit_concurrency"),
        (client.timeout_ns < NEVER or client.retries.backoff, "clients that give up or retry"),
        (client.latency != NO_STREAM or client.close_delay_ns, "a network, clients that linger"),
        (plan.faults, "faults"),
        (any(r.deadline_ns < NEVER or r.after for r in plan.routes), "deadlines, background tasks"),
    )
    for found, words in checks:
        if found:
            raise _NoFormula(words)


def _stations(plan: Plan, route: Route) -> tuple[list[Queue], float]:
    """The stations that a request passes, and its pure delay in seconds."""
    server = plan.server
    if server.kind is ServerKind.SYNC:
        return [_whole("sync workers", server.workers, plan, route)], 0.0
    if not route.on_loop:
        if server.gil and any(isinstance(step, Cpu) for step in route.steps):
            raise _NoFormula("threads that compute share the GIL")
        return [_whole("threads", server.threads, plan, route)], 0.0
    delay_s, queues = 0.0, []
    on_loop = [s for s in route.steps if isinstance(s, Cpu) or not getattr(s, "frees_loop", True)]
    if on_loop and len(route.steps) > 1:
        raise _NoFormula("a loop that is busy between other steps")
    for step in route.steps:
        if isinstance(step, Wait) and step.frees_loop:
            delay_s += plan.streams[step.time].distribution.mean_ns / 1e9
        else:
            queues.append(_station(plan, step))
    return list(_merged(queues)), delay_s


def _whole(label: str, slots: int, plan: Plan, route: Route) -> Queue:
    """A worker or thread, held through all steps: they must not wait for anything else."""
    held: list[int] = []
    for step in route.steps:
        if isinstance(step, With):
            pool = plan.pools[step.pool]
            if pool.size + pool.overflow < slots or pool.database != NO_DATABASE:
                raise _NoFormula("a thread is held while it waits for a connection")
            held += [_time(inner) for inner in step.steps]
        else:
            held.append(_time(step))
    return _queue(label, slots, [plan.streams[time].distribution for time in held])


def _time(step: Step) -> int:
    if not isinstance(step, Wait | Cpu):
        raise _NoFormula("steps that wait for something else")
    return step.time


def _station(plan: Plan, step: Step) -> Queue:
    if isinstance(step, Cpu | Wait):
        return _queue("event loop", 1, [plan.streams[step.time].distribution])
    if isinstance(step, With) and step.frees_loop and not step.serializable:
        pool = plan.pools[step.pool]
        if pool.acquire_timeout_ns < NEVER or pool.database != NO_DATABASE or pool.overflow:
            raise _NoFormula("a pool with a timeout, an overflow or a database")
        times = [plan.streams[_time(inner)].distribution for inner in step.steps]
        if any(not isinstance(inner, Wait) for inner in step.steps):
            raise _NoFormula("computing while a connection is held")
        return _queue(f"pool {pool.label}", pool.size, times)
    if isinstance(step, Call) and step.frees_loop:
        service = plan.services[step.service]
        limited = service.limits or service.connections < UNLIMITED or service.error != NO_STREAM
        if limited or step.timeout_ns < NEVER or step.retries.backoff:
            raise _NoFormula("calls with limits, errors, timeouts or retries")
        queue = _queue(
            f"service {service.label}",
            service.concurrency,
            [plan.streams[service.time].distribution],
        )
        return replace(queue, room=None if service.queue >= UNLIMITED else service.queue)
    raise _NoFormula("steps that no formula knows")


def _queue(label: str, slots: int, times: Sequence[Distribution]) -> Queue:
    mean = sum(time.mean_ns for time in times) / 1e9
    variance = sum(_cv2(time) * (time.mean_ns / 1e9) ** 2 for time in times)
    random = [time for time in times if time.mean_ns]
    exponential = len(random) == 1 and isinstance(random[0], Exponential)
    return Queue(label, slots, mean, variance / mean**2 if mean else 0.0, exponential)


def _cv2(time: Distribution) -> float:
    if isinstance(time, Constant):
        return 0.0
    if isinstance(time, Exponential):
        return 1.0
    if isinstance(time, Gamma | Hyperexponential):
        return time.cv**2
    if isinstance(time, Erlang):
        return 1 / time.k
    if isinstance(time, Uniform):
        return (time.high_ns - time.low_ns) ** 2 / 12 / time.mean_ns**2
    raise _NoFormula("times whose variance is not at hand")


def _merged(queues: Sequence[Queue]) -> Iterator[Queue]:
    """The stations, none twice: one that is visited again has no formula here."""
    labels = [queue.label for queue in queues]
    if len(set(labels)) < len(labels):
        raise _NoFormula("a station that is visited twice")
    for queue in queues:
        if queue.slots < UNLIMITED and queue.mean_s:
            yield queue


def _open(rate: float, queues: Sequence[Queue], delay_s: float) -> Known:
    if len(queues) == 1 and queues[0].room == 0:
        queue = queues[0]
        lost = erlang_b(queue.slots, rate * queue.mean_s)
        return Known(
            f"M/G/{queue.slots}/{queue.slots} (Erlang B)", delay_s + queue.mean_s, None, lost
        )
    if any(queue.room is not None for queue in queues):
        raise _NoFormula("a queue with room for some")
    if len(queues) == 1 and queues[0].slots == 1:
        queue = queues[0]
        name = {True: "M/M/1", False: "M/D/1" if queue.cv2 == 0 else "M/G/1"}[queue.exponential]
        wait = wait_mg1(rate, queue.mean_s, queue.cv2)
        return Known(f"{name} (Pollaczek–Khinchine)", delay_s + queue.mean_s + wait)
    if not all(queue.exponential for queue in queues):
        raise _NoFormula("several slots or stations with times that are not exponential")
    if not queues:
        raise _NoFormula("nothing to wait for")
    mean = sum(queue.mean_s + wait_mmc(queue.slots, rate, queue.mean_s) for queue in queues)
    each = " → ".join(f"M/M/{queue.slots}" for queue in queues)
    return Known(f"{each} ({'Erlang C' if len(queues) == 1 else 'Jackson'})", delay_s + mean)


def _closed(plan: Plan, queues: Sequence[Queue], delay_s: float) -> Known:
    load = plan.loads[0]
    if not all(queue.exponential and queue.room is None for queue in queues):
        raise _NoFormula("closed loads on times that are not exponential")
    think = 0.0 if load.think == NO_STREAM else plan.streams[load.think].distribution.mean_ns / 1e9
    throughput, response = closed(load.users, think + delay_s, queues)
    return Known(f"mean value analysis of {load.users} users", delay_s + response, throughput)
