"""Which engine a command runs on, by `--engine` and by all the runs that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from simulator.commands import console

if TYPE_CHECKING:
    from simulator.engine import Engine
    from simulator.scenario import Scenario


def named(name: str) -> Engine:
    """The engine of this name, or exit 2."""
    from simulator.engine import Engine

    try:
        return Engine(name)
    except ValueError:
        console.usage(f"--engine {name}: expected auto, simpy or compiled")


def settled(name: str, scenarios: Sequence[Scenario], number: int) -> Engine:
    """The engine for ``number`` runs (0: as many as it takes) of each of these scenarios."""
    if number == 1 and len(scenarios) == 1:
        return named(name)  # the run itself decides
    from simulator.engine import events_of
    from simulator.experiments import work
    from simulator.experiments.replications import LOOKS

    events = sum(events_of(scenario.plan) for scenario in scenarios) * (number or LOOKS[0])
    return work.settled(named(name), events, console.tell)
