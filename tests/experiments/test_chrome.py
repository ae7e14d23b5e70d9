"""Trace files: valid JSON, one lane per slot, bars of a lane never overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from simulator.answer import simulate
from simulator.report import chrome
from simulator.scenario import examples, loads

BURST = """\
name: burst
load: {requests: 3, at: once}
server: {workers: 2}
pools: {db: {size: 1}}
routes:
  read: {path: GET /read, handler: async def, steps: [{query: db, time: 1500us}]}
"""


def document(text: str) -> Any:
    answer = simulate(loads(text))
    return json.loads(chrome.dumps(answer.scenario.plan, answer.trace))


def bars(events: Any) -> list[tuple[Any, ...]]:
    """The holds; those of requests are asked for by their category."""
    return [
        (e["pid"], e["tid"], e["ts"], e["dur"], e["args"]["request"], e["args"]["waited_us"])
        for e in events["traceEvents"]
        if e["ph"] == "X" and e["cat"] != "request"
    ]


def test_a_bar_for_each_hold_in_microseconds() -> None:
    found = document(BURST)
    names = {
        e["pid"]: e["args"]["name"] for e in found["traceEvents"] if e["name"] == "process_name"
    }
    pools = {pid: name for pid, name in names.items() if name.startswith("pool")}
    assert list(pools.values()) == ["pool db, worker 0", "pool db, worker 1"]
    first, second = pools
    assert sorted(bar for bar in bars(found) if bar[0] in pools) == [
        (first, 0, 0, 1500, 0, 0),
        (first, 0, 1500, 1500, 2, 1500),
        (second, 0, 0, 1500, 1, 0),
    ]


def test_a_bar_says_which_route_and_lanes_have_names() -> None:
    found = document(BURST.replace("size: 1", "size: 2"))["traceEvents"]
    bar = next(e for e in found if e["ph"] == "X" and e["cat"] == "pool")
    assert (bar["name"], bar["args"]["route"]) == ("GET /read", "read")
    lanes = {e["args"]["name"] for e in found if e["name"] == "thread_name"}
    assert lanes == {"slot 0", "slot 1"}


def test_a_bar_of_a_request_says_what_its_time_was_spent_on() -> None:
    found = [e for e in document(BURST)["traceEvents"] if e.get("cat") == "request"]
    assert [(e["tid"], e["ts"], e["dur"], e["args"]) for e in found] == [
        (0, 0, 1500, args(0, {"hold query:db": 1500})),
        (1, 0, 1500, args(1, {"hold query:db": 1500})),
        (2, 0, 3000, args(2, {"wait pool:db": 1500, "hold query:db": 1500})),
    ]


def args(request: int, spent: dict[str, int]) -> dict[str, Any]:
    return {"request": request, "route": "read", "outcome": "ok", "spent_us": spent}


READERS = """\
load: {rate: 200/s, for: 1s}
server: {cores: 2, gil: false}
pools: {db: {size: 4}}
locks: {row: {}}
accelerators: {gpu: {count: 2, batch: {max: 4, wait: 5ms}, time: 20ms}}
routes:
  read:
    handler: async def
    steps:
      - with: db
        do: [{lock: row, shared: true}, {query: db, time: 10ms}]
  compute: {handler: def, steps: [{cpu: 5ms}, {block: 1ms}]}
  predict: {handler: async def, steps: [{predict: gpu}, {gather: [{await: 1ms}, {await: 2ms}]}]}
"""
NAMES = ("1000req-4workers", "1000req-def", "1000req-max-connections", "3users-async", "same-row")
TEXTS = {name: path.read_text() for name, _, path in examples() if name in NAMES}


@pytest.mark.parametrize("text", [READERS, *TEXTS.values()], ids=["readers", *TEXTS])
def test_bars_of_a_lane_never_overlap(text: str) -> None:
    found = document(text)
    lanes = defaultdict(list)
    for event in found["traceEvents"]:
        if event["ph"] == "X":
            begin = event["ts"]
            lanes[event["pid"], event["tid"]].append((begin, begin + event["dur"]))
    assert lanes
    for spans in lanes.values():
        spans.sort()
        for (_, end), (begin, _) in pairwise(spans):
            assert begin >= end - 1e-6 * end


def test_a_long_run_is_cut_and_says_so(tmp_path: Path) -> None:
    answer = simulate(loads(BURST))
    note = chrome.write(tmp_path / "t.json", answer.scenario.plan, answer.trace, events_max=2)
    assert note == "the first 2 of 3 holds and the first 2 of 3 requests (EVENTS_MAX)"
    assert len(bars(json.loads((tmp_path / "t.json").read_text()))) == 2
    assert chrome.write(tmp_path / "t.json", answer.scenario.plan, answer.trace) is None


def test_nanoseconds_are_kept() -> None:
    found = document(BURST.replace("1500us", "1ns"))
    assert {bar[3] for bar in bars(found)} == {0.001}
