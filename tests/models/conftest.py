"""Every model runs on our clock and on a stock SimPy environment."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import simpy

from models import Clock


@pytest.fixture(params=[Clock, simpy.Environment], ids=["Clock", "simpy"])
def env(request: pytest.FixtureRequest) -> simpy.Environment:
    make: Callable[[], simpy.Environment] = request.param
    return make()


@pytest.fixture
def log() -> list[tuple[object, ...]]:
    return []
