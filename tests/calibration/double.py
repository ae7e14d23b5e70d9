"""A server whose inside is known: the simulator answers the probes of a hidden scenario."""

from __future__ import annotations

import json
from typing import Any

from ruamel.yaml import YAML

from simulator.calibration.probe import Ask
from simulator.calibration.simulated import simulated

REFERENCE = "GET /nothing"


def hidden(text: str) -> Ask:
    """Who answers probes of the server of this scenario, and a route that does nothing."""
    document: dict[str, Any] = YAML(typ="safe", pure=True).load(text)
    document["routes"]["nothing"] = {"path": REFERENCE, "handler": "async def", "steps": []}
    return simulated(document, slower)


def slower(routes: dict[str, Any]) -> dict[str, Any]:
    """Routes beside processes that compute: what needs a core takes longer."""
    words = json.dumps(routes).replace('"cpu": "20ms"', '"cpu": "50ms"')
    return dict(json.loads(words))
