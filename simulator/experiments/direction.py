"""Whether more of a key makes it harder to meet a goal: load and work do, resources do not."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from simulator.experiments.finding import LOAD_KEY
from simulator.scenario import Scenario

Harder = Literal["load", "work", ""]

_WORK_KEY = re.compile(
    r"(routes|services|accelerators)\..*\b(time|cpu|await|block|every|step|chunks|tokens|errors)\b"
    r"|server\.overheads\."
)
"""Keys that say how much work a request is."""


def harder(key: str, scenarios: Sequence[Scenario]) -> Harder:
    """What a key is more of, if that is harder to serve; ``vars.x`` is what it stands for.

    Parameters
    ----------
    scenarios : sequence of Scenario
        With different values of the key: ``vars.x`` stands for what differs between them.
    """
    if LOAD_KEY.search(key):
        return "load"
    if _WORK_KEY.match(key):
        return "work"
    leaves = [set(_leaves(scenario.document)) for scenario in scenarios]
    meant = {path for one in leaves for path, _ in one ^ leaves[0]}
    if any(LOAD_KEY.search(path) for path in meant):
        return "load"
    return "work" if meant and all(_WORK_KEY.match(path) for path in meant) else ""


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """The dotted paths of all values that are no collections, and these as text."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{path}[{i}]")
    else:
        yield path, str(value)
