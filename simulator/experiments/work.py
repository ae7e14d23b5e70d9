"""Which engine a whole command is for: `auto` looks at the work of all its runs together.

A process that has loaded the kernels has them for every run, so that many small runs are worth
what a large one is. What is decided rests on the question alone, never on the number of
processes, on a shard or on what is known already: any of these gives the same result.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from simulator.engine import Engine, Tell, chosen_for, events_of, prepare
from simulator.scenario import ScenarioError, loads

_LOOKED_AT = 5  # points of a grid whose work is estimated


def settled(engine: Engine, events: float, tell: Tell = lambda sentence: None) -> Engine:
    """The engine for so many events; a compiled one is loaded, and compiled where need be."""
    found = chosen_for(events, engine, tell)
    if found is Engine.COMPILED:
        prepare(tell)
    return found


def events_of_points(path: str, text: str, points: Sequence[Sequence[str]]) -> float:
    """About how many events one run of each of these points takes, by a few of them.

    Parameters
    ----------
    points : sequence of sequence of str
        The overrides of each; those that are invalid take none.
    """
    step = max(-(-len(points) // _LOOKED_AT), 1)
    looked_at = points[::step]
    events = 0
    for overrides in looked_at:
        with contextlib.suppress(ScenarioError):
            events += events_of(loads(text, overrides, path=path).plan)
    return events * len(points) / max(len(looked_at), 1)
