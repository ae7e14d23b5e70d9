"""What the machinery costs: overheads from the answers to the probes, each with an interval.

Read off the client's clock: a burst of requests that do nothing takes n times what the loop
needs for one; answers to sleepers whose ends a long callback has gathered leave one after
another; a pool that is always full gives one connection after the other away. What drivers cost
is read off the CPU of the server, whose processes are known. The repeats of a probe say how far
each value is known.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from simulator.arrays import FloatArray
from simulator.calibration.interference import wakes_s
from simulator.calibration.machinery import (
    AIOHTTP,
    AWAIT,
    BLOCK,
    CONNECT,
    CONNECTED_QUERY_S,
    CROWD,
    CROWD_N,
    CROWD_QUERY_S,
    HTTPX,
    HTTPX_QUEUE,
    KEPT,
    NOTHING,
    POOLED,
    PROMPT,
    QUERY_S,
    QUEUE_CONNECTIONS,
    QUEUE_WAITING,
    REFUSED,
    ROUNDS,
    ROW,
    SLEEP_S,
    THREAD,
    Machinery,
    opening,
)
from simulator.calibration.probe import OK, Answers, Ask
from simulator.calibration.simulated import simulated
from simulator.record import dataclass

T_95 = {2: 12.71, 3: 4.30, 4: 8.29, 5: 5.29, 6: 4.29, 7: 3.49, 9: 3.12}
"""Half of a 95 % interval in standard errors, by repeats: Student's t for two and three; from
four on the repeat that is furthest from the median is left out, and what that does to the
errors was found by simulation (200,000 samples of a normal distribution)."""
CORRECTIONS_MAX, DAMPED_FROM = 12, 3
CLOSE_S, CLOSE_SCAN_S = 2e-6, 1e-9
"""Values that move by less are as good as the clock that they are read from; a scan is paid
thousands of times in a call."""
_PROCESSORS = os.cpu_count() or 1
FIRST = 0.1
"""The first tenth and the last of a burst's answers are not the rule."""


@dataclass(frozen=True, slots=True)
class Value:
    """One overhead, in seconds: the mean of the repeats and its 95 % interval."""

    name: str
    mean_s: float
    low_s: float
    high_s: float
    n: int

    @property
    def known(self) -> bool:
        """Whether the interval says more than "about nothing"."""
        return self.low_s > 0


@dataclass(frozen=True, slots=True)
class Fit:
    """The overheads of a machine, and what else the probes say of it."""

    values: tuple[Value, ...]
    rest: Value  # of a single request that does nothing: kernel, loopback, client; ``round_trip``
    beside: tuple[float, ...] = ()  # mean seconds of doing nothing beside a thread that computes
    gil_wake: Value | None = None  # of ``server.gil.wake``

    def overheads(self) -> dict[str, float]:
        """By key of ``server.overheads``, in seconds, none below 0."""
        return {value.name: max(value.mean_s, 0.0) for value in self.values}


def fit(machine: Machinery, ask: Ask) -> Fit:
    """The overheads of the machine that answers its probes.

    What is read off the answers is near what was meant, not equal to it: a connection is
    given back only when the loop is free. So the simulator answers the same probes with the
    values found, is read in the same way, and what it is off by is taken off (indirect
    inference: Gouriéroux, Monfort and Renault 1993).

    Raises
    ------
    ValueError
        If a probe has too few good answers to say anything.
    """
    first = found = _read_off(machine, ask)
    for done in range(CORRECTIONS_MAX):
        before = found.overheads()
        again = _read_off(machine, simulated(_with(machine, found)))
        off = {
            value.name: value.mean_s - max(there.mean_s, 0.0)
            for value, there in zip(again.values, found.values, strict=True)
        }
        after = tuple(_moved(v, -off[v.name]) for v in first.values)
        if done >= DAMPED_FROM:  # what it goes back and forth between
            pairs = zip(after, found.values, strict=True)
            after = tuple(_moved(v, (last.mean_s - v.mean_s) / 2) for v, last in pairs)
        found = replace(found, values=after)
        now = found.overheads()
        if all(abs(s - before[name]) < _close_s(name) for name, s in now.items()):
            break
    if found.beside:
        # Kernel and client are in what was measured, and not in what is simulated.
        means_s = [mean_s - max(found.rest.mean_s, 0.0) for mean_s in found.beside]
        wakes = wakes_s(_with(machine, found), means_s)
        found = replace(found, gil_wake=_value("gil_wake", wakes))
    return found


def _close_s(name: str) -> float:
    return CLOSE_SCAN_S if name == "client_scan" else CLOSE_S


def _with(machine: Machinery, found: Fit) -> dict[str, Any]:
    """The service of the probes, with these overheads."""
    overheads = {name: f"{round(s * 1e9)}ns" for name, s in found.overheads().items()}
    server = machine.document["server"] | {"overheads": overheads}
    return machine.document | {"server": server}


def _moved(value: Value, by_s: float) -> Value:
    return replace(
        value, mean_s=value.mean_s + by_s, low_s=value.low_s + by_s, high_s=value.high_s + by_s
    )


def _read_off(machine: Machinery, ask: Ask) -> Fit:
    seen: dict[tuple[str, str], list[Answers]] = {}
    beside: list[float] = []
    for probe in machine.probes:
        answers = ask(probe)
        if probe.purpose == "beside":
            beside.append(float(answers.of(NOTHING).ok.mean()))
            continue
        label = list(probe.loads)[-1]
        if probe.purpose == "warm up":
            continue
        if probe.purpose == "stalled":
            answers = answers.of(AWAIT)
        (_check_refused if probe.purpose == "refused" else _check)(answers, label)
        seen.setdefault((probe.purpose, label), []).append(answers)
    if machine.kind != "asgi":
        return _fit_workers(machine, seen)
    return replace(_fit_loop(machine, seen), beside=tuple(beside))


def _check(answers: Answers, label: str) -> None:
    if answers.refused:
        failed = next(outcome for outcome in answers.outcome if outcome != "ok")
        raise ValueError(
            f"{label}: {answers.refused} of {len(answers)} requests of a probe failed, {failed}: "
            "what it costs can't be said"
        )


def _check_refused(answers: Answers, label: str) -> None:
    if not answers.refused:
        raise ValueError(
            f"{label}: none of {len(answers)} requests was refused: what a refusal costs can't be "
            "said"
        )


_Seen = dict[tuple[str, str], list[Answers]]


def _fit_workers(machine: Machinery, seen: _Seen) -> Fit:
    """A process or a thread for each request: its own cost, and the sleep's overshoot."""
    worker = [_makespan(a) / len(a) for a in seen["burst", NOTHING]]
    if ("burst", BLOCK) in seen:
        line = np.asarray([_makespan(a) / len(a) for a in seen["burst", BLOCK]])
        block = line - np.asarray(worker) - machine.sleep_s
    else:
        block = (
            _singles(seen["single", BLOCK]) - _singles(seen["single", NOTHING]) - machine.sleep_s
        )
    rest = _singles(seen["single", NOTHING]) - np.asarray(worker)
    return Fit((_value("worker", worker), _value("sleep", block)), _value("round_trip", rest))


def _fit_loop(machine: Machinery, seen: _Seen) -> Fit:
    loop = np.asarray([_makespan(a) / len(a) for a in seen["burst", NOTHING]])
    after = np.asarray([_spacing(a) for a in seen["stalled", AWAIT]])
    after = np.minimum(after, loop)
    threads = np.asarray([_makespan(a) / len(a) for a in seen["burst", THREAD]])
    nothing, threaded = _singles(seen["single", NOTHING]), _singles(seen["single", THREAD])
    steady = _singles(seen["steady", NOTHING])
    late = np.asarray([float(np.median(a.ok)) for a in seen["single", NOTHING]]) - nothing
    values = [
        _value("loop_before", loop - after),
        _value("loop_after", after),
        _value("loop_wake", nothing - steady),
        _value("thread_hop", threads - loop),
        _value("timer", _singles(seen["single", AWAIT]) - nothing - SLEEP_S),
        _value("sleep", _singles(seen["single", BLOCK]) - threaded - SLEEP_S),
    ]
    values += _fit_holds(machine, seen, loop, threads)
    if ("burst", ROW) in seen:
        turns = np.asarray([_turn(a) for a in seen["burst", ROW]])
        values.append(_value("lock_hold", turns - QUERY_S))
    if ("single", CONNECT) in seen:
        alone = seen["single", CONNECT]
        fresh = _singles(alone) - nothing - CONNECTED_QUERY_S
        # One alone shows the sum of opening and closing, and what its first query is slower by. Of
        # many at once it is the opening: work, for which backends and driver share processors.
        crowd = [_makespan(a) - CROWD_QUERY_S for a in seen["burst", CROWD]]
        opens = _value("connect", np.asarray(crowd) * _PROCESSORS / CROWD_N)
        values += [opens, _value("close", fresh - opens.mean_s)]  # together what one alone takes
        # The standard deviation beyond that of a request that does nothing is half of the delay.
        more = _variances(alone) - _variances(seen["single", NOTHING]).mean()
        values.append(_value("connect_delay", 2 * np.sqrt(np.maximum(more, 0.0))))
    if ("refused", REFUSED) in seen:
        # All that came share the processors; those that were served are some of them.
        each = [_last(a) * _PROCESSORS / len(a) for a in seen["refused", REFUSED]]
        values.append(_value("connect_refused", each))
    if ("refused", NOTHING) in seen:
        values.append(_value("refusal", [_last(a) / len(a) for a in seen["refused", NOTHING]]))
    values += _fit_calls(seen, loop)
    return Fit(tuple(values), _value("round_trip", late + steady - loop))


def _fit_holds(
    machine: Machinery, seen: _Seen, loop: FloatArray, threads: FloatArray
) -> Iterator[Value]:
    """What a query costs beyond its time: its driver's CPU, and the hold of its connection.

    A full pool of one connection shows all of it, of a loop and a backend that get cold during
    each query. Queries of no time, one after the other, are warm: what is not the server's CPU is
    round trips. What else the CPU of a cold one is, its driver needs after a pause; the rest of
    what it takes longer is the backend's.
    """
    pools = machine.pools.items()
    full = [n / _throughput(a, 2 * n) - s for label, (n, s) in pools for a in seen["full", label]]
    if ("full", POOLED) not in seen:
        if full:
            yield _value("pool_hold", full)
        return
    on_loop = machine.document["routes"]["pooled"]["handler"] == "async def"
    pooled = np.asarray([_computed(a) for a in seen["full", POOLED]])
    computed = _value("query_cpu", pooled - (loop if on_loop else threads))
    yield computed
    if not on_loop:
        yield _value("pool_hold", full)
        return
    cold = [a for label in machine.pools for a in seen["single", label]]
    prompt, nothing = seen["steady", PROMPT], seen["steady", NOTHING]
    hold = _value("pool_hold", _waited(prompt) - _waited(nothing))
    first = _value("nothing", [_computed(a) for a in seen["single", NOTHING]])  # cold once, too
    wake = _value("query_wake", [_computed(a) - first.mean_s - computed.mean_s for a in cold])
    yield hold
    yield wake
    yield _value("backend_wake", np.asarray(full) - hold.mean_s - wake.mean_s)


def _fit_calls(seen: _Seen, loop: FloatArray) -> Iterator[Value]:
    """What HTTP clients cost, beyond the loop's part of a request."""
    if ("opening", opening(HTTPX, 0)) in seen:
        calls = np.asarray([_makespan(a) / len(a) for a in _opened(seen, HTTPX)])
        queue = [_makespan(a) - len(a) * calls.mean() for a in _opened(seen, HTTPX_QUEUE)]
        # Each who waits comes and goes: one pair more or less with each connection.
        pairs = QUEUE_CONNECTIONS * QUEUE_WAITING * (QUEUE_WAITING + 1)
        yield _value("client_call", calls - loop)
        yield _value("client_scan", np.asarray(queue) / pairs)
    if ("burst", AIOHTTP) in seen:
        calls = np.asarray([_makespan(a) / len(a) for a in seen["burst", AIOHTTP]])
        yield _value("aiohttp_call", calls - loop)
        opened = np.asarray([_makespan(a) / len(a) for a in _opened(seen, AIOHTTP)])
        yield _value("aiohttp_connect", opened - calls)


def _opened(seen: _Seen, label: str) -> list[Answers]:
    """What came of a client's first burst, round by round."""
    return [seen["opening", opening(label, i)][0] for i in range(ROUNDS)]


def _singles(repeats: Iterable[Answers]) -> FloatArray:
    """The median latency of each repeat."""
    return np.asarray([float(np.median(answers.ok_handed)) for answers in repeats])


def _variances(repeats: Sequence[Answers]) -> FloatArray:
    """The mean square of what each repeat's latencies are off the median of all."""
    median = np.median(np.concatenate([answers.ok_handed for answers in repeats]))
    return np.asarray([float(np.mean((a.ok_handed - median) ** 2)) for a in repeats])


def _makespan(answers: Answers) -> float:
    return float(answers.completions[-1])


def _last(answers: Answers) -> float:
    """Seconds until the last was refused."""
    pairs = zip(answers.finish_s, answers.outcome, strict=True)
    return max(finish for finish, outcome in pairs if outcome != OK)


def _spacing(answers: Answers) -> float:
    """Seconds from answer to answer of a burst, once the loop comes to them."""
    ends = answers.completions
    skipped = int(len(ends) * FIRST)
    inner = ends[skipped : len(ends) - skipped]
    return float(inner[-1] - inner[0]) / (len(inner) - 1)


def _turn(answers: Answers) -> float:
    """Seconds from answer to answer of requests that all want the same row."""
    ends = answers.completions
    return float(ends[-1] - ends[0]) / (len(ends) - 1)


def _waited(repeats: Iterable[Answers]) -> FloatArray:
    """The mean time of each repeat's requests in which its server did not compute."""
    return np.asarray([float(a.ok_handed.mean()) - _computed(a) for a in repeats])


def _computed(answers: Answers) -> float:
    """What a request of a loop without a pause costs it: its CPU, or what the client sees of it.

    The two differ where a database and the client want the same processors.
    """
    if answers.server_cpu_s is not None:
        return answers.server_cpu_s / len(answers)
    return 1 / _throughput(answers, 2 * KEPT)


def _throughput(answers: Answers, users: int) -> float:
    """Of users who ask at once again, between their first round and their last."""
    ends = answers.completions
    return (len(ends) - 2 * users) / float(ends[-users - 1] - ends[users - 1])


def _value(name: str, repeats: Sequence[float] | FloatArray) -> Value:
    """The mean of repeats without the most extreme one, and its interval."""
    values = np.asarray(repeats, dtype=np.float64)
    given = len(values)
    if given >= 4:  # one repeat that something else disturbed
        middle = np.median(values)
        values = np.delete(values, int(np.argmax(np.abs(values - middle))))
    n, mean = len(values), float(values.mean())
    if n < 2:
        return Value(name, mean, -math.inf, math.inf, n)
    errors = T_95[max(known for known in T_95 if known <= given)]
    half = errors * float(values.std(ddof=1)) / math.sqrt(n)
    return Value(name, mean, mean - half, mean + half, n)
