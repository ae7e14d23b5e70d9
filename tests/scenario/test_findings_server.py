"""Findings about users, streams, probes, connections and shares: each where it should be."""

from __future__ import annotations

import pytest

from tests.scenario.test_findings import found

POLL = "  a: {handler: def, steps: [{block: 2s}]}"


def test_more_users_than_threads() -> None:
    assert found(POLL, load="{users: 100, for: 1m}") == [
        "SIM107 1:15 100 users, but (0s of thinking + 2s) × 40 / 2s = 40 of them keep threads "
        "busy: with more its queue gets longer, not its throughput higher"
    ]
    assert found(POLL, load="{users: 40, for: 1m}") == []
    # Who thinks for 3 s out of 5 is 2/5 of a user.
    assert found(POLL, load="{users: 100, think: 3s, for: 1m}") == []
    (line,) = found(POLL, load="{users: 101, think: 3s, for: 1m}")
    assert "(3s of thinking + 2s) × 40 / 2s = 100 of them" in line


def test_users_of_several_workers_and_of_a_shared_row() -> None:
    assert found(POLL, "server: {workers: 2}", "{users: 80, for: 1m}") == []
    steps = "[{with: db, do: [{lock: row}, {query: db, time: 10ms}]}]"
    rest = "pools: {db: {size: 50}}\nlocks: {row: {}}\nserver: {workers: 2}"
    load = "{users: 20, think: 90ms, for: 1m}"
    (line,) = found(f"  a: {{handler: async def, steps: {steps}}}", rest, load)
    assert "(90ms of thinking + 10ms) × 1 / 10ms = 10 of them keep lock row busy" in line


STREAM = "  a: {handler: %s, steps: [{stream: {chunks: 10, every: 1s}}]}"


@pytest.mark.parametrize(
    ("server", "handler", "load", "text"),
    [
        ("{preset: django, threads: 8}", "def", "{requests: 9, at: once}",
         "about 9 streams of a at once in each worker, and each holds a thread to its end: "
         "they share 8 threads"),
        ("{preset: fastapi}", "def", "{rate: 5/s, for: 1m}",
         "about 50 streams of a at once in each worker, and each chunk takes a thread: "
         "they share 40 threads"),
        ("{preset: django, threads: 8}", "def", "{requests: 8, at: once}", ""),
        ("{preset: fastapi}", "async def", "{requests: 1000, at: once}", ""),
    ],
)  # fmt: skip
def test_more_streams_than_threads(server: str, handler: str, load: str, text: str) -> None:
    lines = found(STREAM % handler, f"server: {server}", load)
    lines = [line for line in lines if line.startswith("SIM115")]
    assert lines == ([f"SIM115 4:{35 - 6 * (handler == 'def')} {text}"] if text else [])


PROBE = """\
  report: {handler: %s, load: {rate: %s, for: 1m}, steps: [{block: 4s}]}
  health: {handler: %s, load: {rate: 12/min, for: 1m}, deadline: 1s, steps: []}
  root: {handler: async def, steps: []}
"""


@pytest.mark.parametrize(
    ("report", "rate", "health", "text"),
    [
        ("def", "9/s", "def", "shares 40 threads with report, 4s each: once all are held it waits"),
        ("async def", "1/min", "async def",
         "its loop stands still for 4s while report blocks or computes"),
        ("def", "1/s", "def", ""),
        ("def", "9/s", "async def", ""),
    ],
)  # fmt: skip
def test_a_probe_behind_slow_handlers(report: str, rate: str, health: str, text: str) -> None:
    lines = [
        line.split(" ", 2)[2]
        for line in found(PROBE % (report, rate, health))
        if line.startswith("SIM117")
    ]
    assert lines == ([f"health fails after 1s, and {text}"] if text else [])


def test_a_connection_for_each_request() -> None:
    route = "  a: {handler: async def, steps: [{query: db, time: 1ms}]}"
    pools = "pools: {db: {size: %d, overflow: 5}}"
    assert found(route, pools % 0) == [
        "SIM118 2:20 pool db keeps no connection: each request opens one and closes it"
    ]
    costs = "\nserver: {overheads: {connect: 5.4ms, close: 3.3ms}}"
    (line,) = found(route, pools % 0 + costs)
    assert line.endswith("opens one and closes it, 5.4ms and 3.3ms")
    assert found(route, pools % 1) == []


def test_a_sync_worker_waits_for_its_client_to_close() -> None:
    rest = "client: {close_delay: 5s}\nserver: {preset: %s}"
    assert found("  a: {handler: def, steps: [{block: 1s}]}", rest % "flask") == [
        "SIM119 2:23 a sync worker waits for its client to close: 2s after each answer, in which "
        "it serves nobody"
    ]


@pytest.mark.parametrize(
    ("accept", "what"),
    [
        ("random", "2 workers accept at random"),
        ("{weights: [3, 1]}", "the busiest of 2 workers accepts 75% of the requests"),
        ("{weights: [1, 1]}", ""),
        ("round_robin", ""),
    ],
)
def test_uneven_shares(accept: str, what: str) -> None:
    rest = f"server: {{workers: 2, accept: {accept}}}"
    text = "its own threads and pools have a queue while those of others stand idle"
    column = 30 if accept == "random" else 22
    expected = [f"SIM120 2:{column} {what}: {text}"] if what else []
    assert found("  a: {handler: async def, steps: [{await: 1s}]}", rest) == expected


def test_cpu_in_threads_beside_a_loop() -> None:
    routes = """\
  light: {handler: async def, steps: [{await: 1ms}]}
  burn: {handler: def, steps: [{cpu: %s}]}
"""
    assert found(routes % "20ms") == [
        "SIM122 5:32 20ms of cpu in a thread of burn holds the GIL: each time the loop of light "
        "wants it, it waits a switch interval of 5ms"
    ]
    assert found(routes % "{time: 20ms, releases_gil: true}") == []
    assert found(routes % "4ms") == []
