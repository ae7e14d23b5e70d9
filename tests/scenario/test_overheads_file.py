"""Overheads that come from somewhere: a file, which may tell the GIL's wake-up time, or a word."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from simulator.scenario import ScenarioError, load
from simulator.scenario.overheads_file import round_trip_ns
from simulator.scenario.presets import OVERHEADS

SCENARIO = """
load: {{requests: 1, at: once}}
server: {{{server}, overheads: mine.yaml}}
routes: {{a: {{handler: def, steps: [{{cpu: 1ms}}]}}}}
"""


def _server(folder: Path, server: str) -> dict[str, object]:
    (folder / "mine.yaml").write_text("loop_before: 90us\ngil_wake: 17us  # 95 %: 12us to 22us\n")
    (folder / "a.yaml").write_text(SCENARIO.format(server=server))
    found = load(folder / "a.yaml").document["server"]
    assert found["overheads"]["loop_before"] == "90us"
    assert "gil_wake" not in found["overheads"]
    return dict(found)


@pytest.mark.parametrize(
    ("server", "gil"),
    [
        ("preset: fastapi", {"handover": "random", "wake": "17us"}),
        ("preset: fastapi, gil: true", {"handover": "random", "wake": "17us"}),
        ("preset: fastapi, gil: {handover: fifo}", {"handover": "fifo", "wake": "17us"}),
        ("preset: fastapi, gil: {wake: 3us}", {"handover": "random", "wake": "3us"}),
        ("preset: fastapi, gil: false", False),
        ("preset: django", {"handover": "random"}),
        ("kind: threads", {"handover": "random"}),
    ],
)
def test_it_stands_where_the_scenario_says_none(tmp_path: Path, server: str, gil: object) -> None:
    assert _server(tmp_path, server)["gil"] == gil


def test_a_server_without_threads_passes_over_it(tmp_path: Path) -> None:
    assert "gil" not in _server(tmp_path, "preset: flask")


def test_the_round_trip_of_its_client_is_told_and_none_of_the_servers(tmp_path: Path) -> None:
    file = tmp_path / "trip.yaml"
    file.write_text("sleep: 1ms\nround_trip: 814.7us\n")
    assert round_trip_ns(file) == 814_700
    assert "round_trip" not in _overheads(tmp_path, "trip.yaml")
    file.write_text("sleep: 1ms\n")
    assert round_trip_ns(file) == 0


def _overheads(folder: Path, given: str, *overrides: str) -> dict[str, str]:
    (folder / "mine.yaml").write_text("loop_before: 90us\nsleep: 1ms\n")
    text = "load: {requests: 1, at: once}\nroutes: {a: {handler: def, steps: []}}\n"
    (folder / "a.yaml").write_text(f"{text}server: {{overheads: {given}}}\n")
    found = load(folder / "a.yaml", list(overrides)).document["server"]["overheads"]
    return {key: value for key, value in found.items() if value != "0s"}


TYPICAL = {key: value for key, (value, _) in OVERHEADS.items() if value != "0s"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("{from: typical, sleep: 2ms}", TYPICAL | {"sleep": "2ms"}),
        (
            "{from: mine.yaml, sleep: 2ms}",
            {"loop_before": "90us", "refusal": "90us", "sleep": "2ms"},
        ),
        ("{from: none, sleep: 2ms}", {"sleep": "2ms"}),
    ],
)
def test_own_values_stand_before_those_they_come_from(
    tmp_path: Path, given: str, expected: dict[str, str]
) -> None:
    assert _overheads(tmp_path, given) == expected


@pytest.mark.parametrize(
    ("given", "rest"),
    [("typical", TYPICAL), ("mine.yaml", {"loop_before": "90us", "refusal": "90us"}), ("none", {})],
)
def test_an_override_of_one_leaves_the_others(
    tmp_path: Path, given: str, rest: dict[str, str]
) -> None:
    found = _overheads(tmp_path, given, "server.overheads.sleep=2ms")
    assert found == rest | {"sleep": "2ms"}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("{from: usual}", "server.overheads.from: unknown usual, expected none, typical"),
        ("{from: none.yaml}", "server.overheads: none.yaml: cannot be read"),
        ("{from: chain.yaml}", "from: in a file of overheads"),
        ("{gil_wake: 3us}", "server.overheads: unknown key 'gil_wake'"),
        ("{round_trip: 3us}", "server.overheads: unknown key 'round_trip'"),
        ("trip.yaml", "round_trip: soon"),
    ],
)
def test_what_it_can_not_come_from(tmp_path: Path, given: str, said: str) -> None:
    (tmp_path / "chain.yaml").write_text("from: chain.yaml\n")
    (tmp_path / "trip.yaml").write_text("round_trip: soon\n")
    with pytest.raises(ScenarioError, match=re.escape(said)):
        _overheads(tmp_path, given)
