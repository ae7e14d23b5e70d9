"""First byte and memory, in text and in JSON."""

from __future__ import annotations

from typing import Any

from simulator.answer import Answer, simulate
from simulator.report import machine, terminal
from simulator.scenario import loads

STREAMS = """\
load: {requests: %d, at: once}
server: {preset: %s}
routes:
  chat: {path: POST /chat, handler: %s, steps: [{await: 1s}, {stream: {chunks: 3, every: 2s}}]}
  user: {path: GET /user, handler: def, load: {requests: 100, at: once}, steps: [{cpu: 1ms}]}
"""


def run(count: int, preset: str = "fastapi", handler: str = "async def") -> Answer:
    return simulate(loads(STREAMS % (count, preset, handler)))


def text(found: Answer) -> list[str]:
    parts = (found.scenario.plan, found.summary, found.bottleneck, found.thresholds)
    page = terminal.render(*parts, found.findings, command="sim run x.yaml", version="1")
    return page.splitlines()


def document(found: Answer) -> dict[str, Any]:
    parts = (found.scenario.plan, found.summary, found.bottleneck, found.thresholds)
    meta = machine.Meta(seed=0, version="1", engine="reference")
    return machine.as_dict(*parts, found.findings, meta=meta)


def test_first_byte_of_the_routes_that_stream() -> None:
    found = run(100)
    lines = text(found)
    at = lines.index("  FIRST BYTE       p50     p95     p99")
    assert lines[at + 1 : at + 3] == ["    POST /chat      3s      3s      3s", ""]
    written = document(found)
    assert {k: v for k, v in written["metrics"].items() if k.startswith("first")} == {
        "first_byte_p50_s": 3.0,
        "first_byte_p90_s": 3.0,
        "first_byte_p95_s": 3.0,
        "first_byte_p99_s": 3.0,
    }
    assert written["routes"]["chat"]["first_byte_p50_s"] == 3.0
    assert "first_byte_p50_s" not in written["routes"]["user"]


def test_memory_of_connections_and_threads() -> None:
    found = run(10_000)
    line = (
        "    memory: 10,100 connections at once × 65 KiB = 641 MiB, 40 threads × 16 KiB = 640 KiB"
    )
    assert line in text(found)
    assert document(found)["memory"] == {
        "connections_max": 10_100,
        "connection_bytes": 66_560,
        "threads_max": 40,
        "thread_bytes": 16_384,
        "total_bytes": 10_100 * 66_560 + 40 * 16_384,
    }


def test_memory_without_another_resource_stands_alone() -> None:
    alone = """\
load: {requests: 2, at: once}
routes: {chat: {handler: async def, steps: [{stream: {chunks: 1, every: 1s}}]}}
"""
    lines = text(simulate(loads(alone)))
    at = lines.index("  RESOURCES")
    assert lines[at + 1] == "    memory: 2 connections at once × 65 KiB = 130 KiB"


def test_memory_without_streams_is_not_worth_a_line() -> None:
    plain = (
        "load: {requests: %d, at: once}\nroutes: {a: {handler: async def, steps: [{await: 1s}]}}"
    )
    assert simulate(loads(plain % 100)).summary.memory is None
    assert simulate(loads(plain % 1000)).summary.memory is None
    assert "memory" not in document(simulate(loads(plain % 100)))
