"""`sim calibrate`: what it asks for, what it says when a server fails, what it keeps."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from simulator.calibration import found as writing
from simulator.calibration.agreement import Agreement, Row, _agree
from simulator.calibration.calibration_page import verdict
from simulator.calibration.identified import FREE, Found, Route
from simulator.calibration.lessons import listed_routes, serving_app
from simulator.calibration.observe import Record
from simulator.calibration.predicting import with_split
from simulator.calibration.splits import sentence
from simulator.engines.reference import run
from simulator.scenario import load, loads
from simulator.workload import Workload
from tests.calibration.test_generator import server
from tests.conftest import ROOT, Sim


@pytest.fixture(scope="module")
def bad() -> Iterator[str]:
    with server() as url:
        yield url


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "expected --serve or --url URL, one of the two"),
        (("--serve", "--url", "http://127.0.0.1:1"), "one of the two"),
        (("--serve", "--only", "look"), "--only look: expected one of: observe, fit, check"),
        (("--serve", "--only", "fit"), "--only needs -o DIR"),
        (("a.yaml", "b.yaml", "--serve"), "2 files, expected one"),
        (("--serve", "--budget", "much"), "--budget 'much', expected such as"),
    ],
)
def test_what_can_not_be_meant(sim: Sim, words: tuple[str, ...], said: str) -> None:
    result = sim("calibrate", *words)
    assert result.code == 2
    assert said in result.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--url", "http://93.184.215.14"), "is not on this machine, nothing was sent"),
        (("--url", "http://93.184.215.14", "--routes", "GET /"), "is not on this machine"),
        (("--url", "http://127.0.0.1:1"), "/openapi.json can't be read"),
        (("--url", "http://127.0.0.1:1", "--routes", "GET /a"), "is the server running?"),
    ],
)
def test_a_server_that_can_not_be_asked(sim: Sim, words: tuple[str, ...], said: str) -> None:
    result = sim("calibrate", *words)
    assert result.code == 5
    assert said in result.err


def test_a_server_that_dies_leaves_a_record_that_is_said_to_be_partial(
    sim: Sim, tmp_path: Path
) -> None:
    with server() as url:
        result = sim(
            "calibrate", "--url", url, "--routes", "GET /die/3", "--routes", "GET /sleep/0.01",
            "-o", str(tmp_path),
        )  # fmt: skip
    assert result.code == 5
    assert "connect" in result.err or "refuses" in result.err
    assert f"kept, partial: {tmp_path / 'observed.jsonl'}" in result.err
    lines = (tmp_path / "observed.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["url"] == url
    assert sorted(path.name for path in tmp_path.iterdir()) == ["observed.jsonl"]


def test_a_server_that_hangs_is_left_when_the_time_of_the_budget_is_over(
    sim: Sim, bad: str, tmp_path: Path
) -> None:
    budget = "requests<=20k,rate<=5000/s,time<=2s"
    result = sim(
        "calibrate", "--url", bad, "--routes", "GET /hang", "--budget", budget,
        "-o", str(tmp_path),
    )  # fmt: skip
    assert result.code == 5
    assert "the time of the budget was over" in result.err
    assert "kept, partial" in result.err


def test_a_full_disk_is_told(
    sim: Sim, bad: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = Record._line

    def full(self: Record, document: dict[str, object]) -> None:
        if "probe" in document:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "observed.jsonl"))
        written(self, document)

    monkeypatch.setattr(Record, "_line", full)
    result = sim("calibrate", "--url", bad, "--routes", "GET /sleep/0.01", "-o", str(tmp_path))
    assert result.code == 5
    assert "observed.jsonl: No space left on device" in result.err


def test_an_app_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("raise RuntimeError('no database')\n")
    with pytest.raises(Exception, match="no database"), serving_app("broken:app", folder=tmp_path):
        pass


def test_the_small_app_names_its_routes() -> None:
    with serving_app() as url:
        found, skipped = listed_routes(url, allow_remote=False)
    assert {"GET /sleep/def", "GET /pool", "GET /predict"} <= set(found)
    assert set(skipped) == {"POST /row/{key}", "GET /fan-out/{how}", "GET /stream/{kind}"}


def test_the_small_app_can_be_read() -> None:
    lines = (ROOT / "simulator/calibration/app.py").read_text().splitlines()
    assert len(lines) <= 150


# What an error is blamed on.

ROUTE = Route("GET /a", FREE, (0.05,))


def _found(**words: object) -> Found:
    route = Route("GET /a", FREE, (0.05,), **words)  # type: ignore[arg-type]
    return Found((route,), (), 0.0002, 0.0005, (), 1.1)


OFF = Row("60 %", "p50", (1.0, 1.0, 1.0), (1.5, 1.5, 1.5), agrees=False)
GOOD = Row("60 %", "p50", (1.0, 1.0, 1.0), (1.01, 1.01, 1.01), agrees=True)


@pytest.mark.parametrize(
    ("found", "rows", "late", "partial", "passed", "said"),
    [
        (_found(), (GOOD,), 0, "", True, "agrees"),
        (_found(), (OFF,), 0, "", False, "the model is wrong at: 60 %; the server was steady"),
        (_found(drift=1.4, drifts=True), (OFF,), 0, "", False, "the server drifts: GET /a"),
        (_found(), (OFF,), 2, "", False, "the model is not refuted"),
        (_found(), (GOOD,), 0, "the server died", False, "partial: the server died"),
    ],
)
def test_what_an_error_is_blamed_on(
    found: Found, rows: tuple[Row, ...], late: int, partial: str, passed: bool, said: str
) -> None:
    verdict_is, words = verdict(found, Agreement(rows, (), late, partial))
    assert verdict_is is passed
    assert said in words


@pytest.mark.parametrize(
    ("measured", "predicted", "agrees"),
    [
        ((1.0, 1.0, 1.0), (1.09, 1.09, 1.09), True),
        ((1.0, 1.0, 1.0), (1.11, 1.11, 1.11), False),
        ((0.9, 1.0, 1.2), (1.1, 1.3, 1.5), True),  # the intervals meet
        ((0.9, 1.0, 1.05), (1.1, 1.3, 1.5), False),
        ((0.001, 0.001, 0.001), (0.0029, 0.0029, 0.0029), True),
        ((0.001, 0.001, 0.001), (0.0031, 0.0031, 0.0031), False),
    ],
)
def test_two_sides_agree_within_10_percent_2_ms_or_their_intervals(
    measured: tuple[float, ...], predicted: tuple[float, ...], agrees: bool
) -> None:
    assert _agree("p50", measured, predicted) is agrees


def test_a_prediction_takes_an_observed_split_of_the_connections() -> None:
    text = "load: {requests: 9, at: once}\nserver: {preset: fastapi, workers: 3}\n"
    plan = loads(text + "routes: {a: {handler: async def, steps: [{await: 1s}]}}").plan
    split = with_split(plan, (6, 3))
    assert split.server.accept_weights == (6 / 9, 3 / 9, 0.0)
    trace = run(split, Workload(split))
    assert set(trace.process.tolist()) == {0, 1}
    said = "the busiest worker has 67% to 100% of the connections, 83% in the median of 2"
    assert sentence([(6, 3), (9,)]) == said


def test_a_scenario_of_what_was_found_is_written_as_one_that_loads(tmp_path: Path) -> None:
    path = tmp_path / "found.yaml"
    path.write_text(writing.text(_found(), "http://127.0.0.1:8000"))
    plan = load(path).plan
    assert plan.routes[0].label == "GET /a"
    assert path.read_text().startswith("# What sim calibrate found at http://127.0.0.1:8000;")


def test_the_readme_shows_the_small_app_as_it_is() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("### Your machine, and a server that runs already")[2]
    shown = section.partition("```py\n")[2].partition("```")[0]
    assert shown.count("@app.") >= 5
    assert shown in (ROOT / "simulator/calibration/app.py").read_text(encoding="utf-8")
