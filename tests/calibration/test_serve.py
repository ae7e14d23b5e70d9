"""The scenario as a real service: what runs is real, and nothing of it stays behind."""

from __future__ import annotations

import itertools
import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

from simulator.calibration.served import Running, serve
from simulator.scenario import loads

POOL = """
load: {requests: 20, at: once}
pools: {db: {size: 5}}
routes:
  get_user:
    path: GET /user
    handler: async def
    steps: [{query: db, time: 100ms}]
"""


def get(running: Running, path: str, index: int) -> tuple[int, dict[str, int]]:
    """The status and the times of an answer."""
    request = urllib.request.Request(running.url + path, headers={"x-sim-index": str(index)})
    with urllib.request.urlopen(request) as answer:
        assert json.load(answer) == {"index": index}
        words = answer.headers["x-sim-times"].split()
    return answer.status, {name: int(at) for name, at in (word.split("=") for word in words)}


def test_a_pool_of_five_serves_twenty_queries_in_four_waves() -> None:
    with serve(loads(POOL)) as running:
        assert running.database.startswith("PostgreSQL ")
        began = time.monotonic_ns()
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda i: get(running, "/user", i), range(20)))
    assert {status for status, _ in answers} == {200}
    ends = sorted((times["f"] - began) / 1e9 for _, times in answers)
    waves = [ends[i : i + 5] for i in range(0, 20, 5)]
    assert all(wave[-1] - wave[0] < 0.05 for wave in waves)
    assert all(after[0] - before[0] > 0.1 for before, after in itertools.pairwise(waves))
    assert {times["pid"] for _, times in answers} == set(running.processes["workers"])
