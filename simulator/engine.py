"""Which engine runs a plan: the readable one, or the compiled one where it is worth it.

Both give the same trace. Loading the compiled engine takes about a second, compiling it for
the first time on a machine about a minute: ``auto`` leaves small runs to SimPy.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import Enum

from simulator.plan import (
    NEVER,
    Branch,
    Cpu,
    Gather,
    Load,
    LoadKind,
    Plan,
    Step,
    Stream,
    ToThread,
    Wait,
    With,
)
from simulator.trace import Folding, Trace
from simulator.workload import Workload


class Engine(Enum):
    """What the command line calls the engines."""

    AUTO = "auto"
    SIMPY = "simpy"
    COMPILED = "compiled"


EVENTS_WHEN_KEPT = 100_000
"""Events from which on loading compiled kernels is sooner done than running SimPy."""
EVENTS_WHEN_NOT = 4_000_000
"""The same where they are still to be compiled."""
CLOSED_S = 0.001
"""The shortest time that a user is taken to spend on a request, for an estimate."""

_PREPARED: list[bool] = []  # not empty once this process has the kernels: to look takes 20 ms

Tell = Callable[[str], None]


def _silent(_: str) -> None:
    pass


def run(
    plan: Plan,
    workload: Workload,
    *,
    engine: Engine = Engine.AUTO,
    progress: Callable[[int], None] = lambda arrived: None,
    tell: Tell = _silent,
    folding: Folding | None = None,
) -> tuple[Trace, Engine]:
    """The trace of a plan, and which engine made it.

    Parameters
    ----------
    engine : Engine
        ``AUTO`` decides by the number of events to be expected.
    tell : callable
        Called with a sentence where something takes long, or is done otherwise than asked.
    folding : Folding, optional
        What takes visits that need not be kept, if the engine is the compiled one.

    Raises
    ------
    LimitError
        The run reached a named limit.
    """
    from simulator.engines import reference

    if chosen(plan, engine, tell) is Engine.COMPILED:
        from simulator.engines.compiled.failures import NotCompiled

        try:
            return _compiled(plan, workload, progress, tell, folding), Engine.COMPILED
        except NotCompiled as error:
            tell(f"note: SimPy runs this one, the compiled engine can't: {error}")
    return reference.run(plan, workload, progress=progress), Engine.SIMPY


def chosen(plan: Plan, engine: Engine, tell: Tell = _silent) -> Engine:
    """The engine that is used: ``SIMPY`` or ``COMPILED``."""
    if engine is Engine.SIMPY:
        return engine
    return chosen_for(events_of(plan), engine, tell)


def chosen_for(events: float, engine: Engine, tell: Tell = _silent) -> Engine:
    """The engine for so many events, be they of one run or of all runs of a command."""
    if engine is Engine.SIMPY or (engine is Engine.AUTO and events < EVENTS_WHEN_KEPT):
        return Engine.SIMPY
    from simulator.engines.compiled import jit

    if jit.PLAIN and not (jit.DISABLED and engine is Engine.COMPILED):
        if engine is Engine.COMPILED or not jit.DISABLED:
            tell(
                "note: SimPy runs this one; Numba would be some forty times as fast: "
                "pip install 'concurrency-simulator[compiled]'"
            )
        return Engine.SIMPY
    worth_it = EVENTS_WHEN_KEPT if jit.is_kept() else EVENTS_WHEN_NOT
    if engine is Engine.AUTO and events < worth_it:
        return Engine.SIMPY
    return Engine.COMPILED


def _compiled(
    plan: Plan,
    workload: Workload,
    progress: Callable[[int], None],
    tell: Tell,
    folding: Folding | None,
) -> Trace:
    from simulator.engines.compiled import engine

    prepare(tell)
    return engine.run(plan, workload, progress=progress, folding=folding)


def prepare(tell: Tell = _silent) -> None:
    """Load the kernels; compile them where that was never done on this machine."""
    from simulator.engines.compiled import engine, jit

    if jit.PLAIN or _PREPARED:
        return
    if jit.is_kept():
        engine.compile_kernels()
    else:
        tell("compiling the engine, once on this machine: about a minute …")
        began = time.perf_counter()
        engine.compile_kernels()
        kept = f"kept in {jit.folder()}"
        if not jit.is_kept():
            kept = f"for this run only: {jit.folder()} can't be written to"
        tell(f"compiled in {time.perf_counter() - began:.0f} s, {kept}")
    _PREPARED.append(True)


def events_of(plan: Plan) -> int:
    """About how many events a run of this plan takes: requests times what each one does."""
    of_routes = [2 + _events_of(route.steps + route.after) for route in plan.routes]
    total = 0.0
    for load in plan.loads:
        weights = load.weights or [1 / len(load.routes)] * len(load.routes)
        mean = sum(w * of_routes[r] for w, r in zip(weights, load.routes, strict=True))
        total += requests_of(load, plan) * mean
    return int(total)


def requests_of(load: Load, plan: Plan) -> float:
    """About how many requests a load sends."""
    until_s = load.until_ns / 1e9
    if load.kind is LoadKind.RECORDED:
        return len(load.recorded)
    if load.kind is LoadKind.STAGES:
        rates = [(s.from_rate, s.to_rate, s.duration_ns / 1e9) for s in load.stages]
        return sum((a / b + c / d) / 2 * s for (a, b), (c, d), s in rates)
    expected: float = load.count
    if load.kind is LoadKind.CLOSED and load.until_ns < NEVER:
        takes_s = CLOSED_S + _mean_s(plan, load.think)
        takes_s += min(_takes_s(plan, plan.routes[route].steps) for route in load.routes)
        expected = min(expected, load.users * until_s / takes_s)
    elif load.until_ns < NEVER and load.rate[0]:
        expected = min(expected, until_s * load.rate[0] / load.rate[1])
    return expected


def _events_of(steps: tuple[Step, ...]) -> int:
    """About how many events the steps of a request take."""
    count = 0
    for step in steps:
        count += 1
        if isinstance(step, With | ToThread):
            count += _events_of(step.steps)
        elif isinstance(step, Gather):
            count += sum(_events_of(_steps_of(branch)) for branch in step.branches)
        elif isinstance(step, Stream):
            count += 10  # how many chunks is drawn
    return count


def _takes_s(plan: Plan, steps: tuple[Step, ...]) -> float:
    """About how long these steps take if nobody is in the way, at least."""
    total = 0.0
    for step in steps:
        if isinstance(step, Cpu | Wait):
            total += _mean_s(plan, step.time)
        elif isinstance(step, With | ToThread):
            total += _takes_s(plan, step.steps)
        elif isinstance(step, Stream):
            chunks = _mean_s(plan, step.chunks) * 1e9
            total += chunks * (_mean_s(plan, step.every) + _mean_s(plan, step.cpu))
    return total


def _mean_s(plan: Plan, stream: int) -> float:
    return plan.streams[stream].distribution.mean_ns / 1e9 if stream >= 0 else 0.0


def _steps_of(branch: Branch) -> tuple[Step, ...]:
    return branch.steps
