"""A server whose inside is hidden is found out from its answers, limits exactly."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from simulator.answer import simulate
from simulator.calibration import found as writing
from simulator.calibration import shapes
from simulator.calibration.identified import (
    BLOCKS,
    COMPUTES,
    FREE,
    LIMIT,
    PACED,
    REFUSES,
    Found,
    Route,
)  # fmt: skip
from simulator.calibration.identify import identify
from simulator.calibration.observe import Record, Stopped, replayed
from simulator.calibration.probe import Answers, Probe
from simulator.scenario import loads
from tests.calibration.double import REFERENCE, hidden

SERVER = """
server: {preset: fastapi, threads: 12, overheads: typical}
pools: {db: {size: 7}, other: {size: 7}}
services:
  tokens: {time: 1ms, rate_limit: {kind: token_bucket, rate: 25/s, burst: 5, over: wait}}
  strict: {time: 1ms, rate_limit: {kind: leaky_bucket, rate: 25/s, over: wait}}
  strict2: {time: 1ms, rate_limit: {kind: leaky_bucket, rate: 25/s, over: wait}}
  bucket: {time: 1ms, rate_limit: {kind: token_bucket, rate: 25/s, burst: 10, over: reject}}
  window: {time: 1ms, rate_limit: {kind: fixed_window, limit: 10, window: 1s, over: reject}}
routes:
  sleeps: {path: GET /sleeps, handler: def, steps: [{block: 100ms}]}
  sleeps40: {path: GET /sleeps40, handler: def, steps: [{block: 40ms}]}
  query: {path: GET /query, handler: async def, steps: [{query: db, time: 30ms}]}
  query50: {path: GET /query50, handler: async def, steps: [{query: db, time: 50ms}]}
  elsewhere: {path: GET /elsewhere, handler: async def, steps: [{query: other, time: 50ms}]}
  free: {path: GET /free, handler: async def, steps: [{await: 50ms}]}
  varied:
    path: GET /varied
    handler: async def
    steps: [{await: {lognormal: {p50: 20ms, p99: 90ms}}}]
  blocks: {path: GET /blocks, handler: async def, steps: [{block: 50ms}]}
  computes: {path: GET /computes, handler: async def, steps: [{cpu: 20ms}]}
  threads: {path: GET /threads, handler: def, steps: [{cpu: 20ms}]}
  tokens: {path: GET /tokens, handler: async def, steps: [{call: tokens}]}
  strict: {path: GET /strict, handler: async def, steps: [{call: strict}]}
  strict2: {path: GET /strict2, handler: async def, steps: [{call: strict2}]}
  bucket: {path: GET /bucket, handler: async def, steps: [{call: bucket}]}
  window: {path: GET /window, handler: async def, steps: [{call: window}]}
  exp: {path: GET /exp, handler: async def, steps: [{query: db, time: {exp: 30ms}}]}
  exp_threads: {path: GET /exp_threads, handler: def, steps: [{block: {exp: 60ms}}]}
  late:
    path: GET /late
    handler: async def
    steps: [{to_thread: [{block: 50ms}]}, {to_thread: []}]
"""


def look_at(*names: str) -> Found:
    return identify(hidden(SERVER), [f"GET /{name}" for name in names], REFERENCE)


@pytest.mark.parametrize(
    ("name", "kind", "slots", "ms"),
    [
        ("sleeps", LIMIT, 12, 100),
        ("sleeps40", LIMIT, 12, 40),
        ("query", LIMIT, 7, 30),
        ("exp", LIMIT, 7, None),
        ("exp_threads", LIMIT, 12, None),
        ("late", LIMIT, 12, 50),
        ("free", FREE, 0, 50),
        ("varied", FREE, 0, None),
        ("blocks", BLOCKS, 1, 50),
        ("computes", COMPUTES, 1, 20),
        ("threads", COMPUTES, 1, 20),
    ],
)
def test_limits_are_exact_and_times_within_5_percent(
    name: str, kind: str, slots: int, ms: float | None
) -> None:
    (route,) = look_at(name).routes
    assert (route.kind, route.slots) == (kind, slots)
    if ms is not None:
        assert route.time_s == pytest.approx(ms / 1e3, rel=0.05)


@pytest.mark.parametrize(
    ("name", "kind", "rate", "burst", "window"),
    [
        ("tokens", PACED, 25, 5, 0),
        ("strict", PACED, 25, 1, 0),
        ("bucket", REFUSES, 25, 10, 0),
        ("window", REFUSES, 10, 10, 1),
    ],
)
def test_a_rate_limit_by_its_rate_and_what_goes_at_once(
    name: str, kind: str, rate: float, burst: int, window: float
) -> None:
    (route,) = look_at(name).routes
    assert (route.kind, route.burst) == (kind, burst)
    assert route.rate == pytest.approx(rate, rel=0.02)
    assert route.window_s == pytest.approx(window, rel=0.05)


def test_a_blocking_route_stops_all_and_threads_that_compute_do_not() -> None:
    found = look_at("blocks", "threads", "query")
    assert [route.stops_all for route in found.routes] == [True, False, False]
    assert [route.on_loop for route in found.routes] == [True, False, True]


def test_routes_of_one_limit_are_told_from_routes_with_as_large_a_one() -> None:
    assert look_at("query", "query50", "elsewhere", "exp").shared == (
        ("GET /query", "GET /query50", "GET /exp"),
    )
    assert look_at("strict", "strict2").shared == ()


def test_the_ladder_keeps_littles_law() -> None:
    found = look_at("query")
    assert len(found.rungs) >= 4
    assert all(0.9 < rung.little < 1.1 for rung in found.rungs)


def test_what_is_found_is_a_scenario_that_runs_and_is_found_again() -> None:
    first = look_at("query", "query50", "blocks", "tokens", "bucket")
    text = writing.text(first, "http://127.0.0.1:1")
    assert simulate(loads(text)).summary.total.ok > 500
    again = identify(hidden(text), ["GET /query", "GET /query50"], REFERENCE)
    assert [(r.kind, r.slots) for r in again.routes] == [(LIMIT, 7), (LIMIT, 7)]
    assert again.shared == (("GET /query", "GET /query50"),)


# Records.


def test_a_record_answers_as_the_server_did(tmp_path: Path) -> None:
    path = tmp_path / "observed.jsonl"
    record = Record(path, {"url": "somewhere"})
    labels = ["GET /query", "GET /free"]
    first = identify(record.recording(hidden(SERVER)), labels, REFERENCE)
    record.close()
    head, ask = replayed(path)
    assert head["url"] == "somewhere"
    assert identify(ask, labels, REFERENCE) == first


def test_a_record_that_was_cut_says_so(tmp_path: Path) -> None:
    path = tmp_path / "observed.jsonl"
    record = Record(path, {})
    identify(record.recording(hidden(SERVER)), ["GET /free"], REFERENCE)
    record.close()
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:5]))
    with pytest.raises(Stopped, match="partial"):
        identify(replayed(path)[1], ["GET /free"], REFERENCE)


@pytest.mark.parametrize("text", ["", "hello", '{"format": "other"}', '{"format": 1}\n{}'])
def test_another_file_is_no_record(tmp_path: Path, text: str) -> None:
    path = tmp_path / "observed.jsonl"
    path.write_text(text)
    with pytest.raises(ValueError, match="no record of sim calibrate"):
        replayed(path)


# Shapes, written by hand.

SINGLES = np.full(10, 0.1)


@pytest.mark.parametrize(
    ("ends", "kind", "size"),
    [
        ([0.1] * 20, shapes.FREE, 0),
        ([0.1] * 7 + [0.2] * 7 + [0.3] * 6, shapes.WAVES, 7),
        ([0.1 * k for k in range(1, 21)], shapes.SERIAL, 1),
        ([2.0] * 20, shapes.SHARED, 0),
        ([0.1] * 5 + [0.1 + 0.04 * k for k in range(1, 16)], shapes.PACED, 0),
    ],
)
def test_a_burst_has_a_shape(ends: list[float], kind: str, size: int) -> None:
    seen = shapes.shape(np.asarray(ends), 0, SINGLES, 0.0002)
    assert (seen.kind, seen.size) == (kind, size)


def test_a_server_that_slows_down_drifts_and_one_that_varies_does_not() -> None:
    ask, asked = hidden(SERVER), 0

    def slower(probe: Probe) -> Answers:
        nonlocal asked
        asked += 1
        answers = ask(probe)
        if probe.purpose == "single" and asked > 12:
            late = [
                s + 1.3 * (f - s) for s, f in zip(answers.sent_s, answers.finish_s, strict=True)
            ]
            return Answers(answers.route, answers.sent_s, late, answers.outcome)
        return answers

    def route(found: Found) -> Route:
        return found.route("GET /free")

    assert route(identify(slower, ["GET /free"], REFERENCE)).drifts
    assert not route(look_at("free")).drifts
    assert not look_at("varied").routes[0].drifts


def test_a_probe_is_a_scenario() -> None:
    probe = Probe("burst", {"GET /a": {"requests": 5, "at": "once"}})
    assert json.loads(probe.scenario())["client"] == {"connections": {"kept": 5}}
    assert loads(probe.scenario()).plan.routes[0].label == "GET /a"
