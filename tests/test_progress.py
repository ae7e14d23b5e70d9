"""How far a command is: on a terminal, after two seconds, with the time left; piped, nothing."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from simulator.commands import console, progress
from simulator.scenario import load
from tests.conftest import ROOT, Sim

QUEUE = """\
name: queue
load: {rate: 60/s, requests: 3000}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
thresholds: {latency: ['p(95)<200ms']}
"""


@pytest.fixture
def queue(tmp_path: Path) -> str:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return str(path)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody watches, and wonders from the first instant."""
    monkeypatch.setattr(progress, "asked_for", lambda: True)
    monkeypatch.setattr(progress, "AFTER_S", -1.0)


def at(monkeypatch: pytest.MonkeyPatch, instants: Iterable[float]) -> None:
    monkeypatch.setattr(progress, "asked_for", lambda: True)
    monkeypatch.setattr(progress.time, "monotonic", itertools.chain(instants).__next__)


def lines(err: str) -> list[str]:
    """What one after another stands in the line, without what only clears it."""
    return [words for line in err.replace("\n", "\r").split("\r") if (words := line.strip())]


def test_points_say_how_many_are_done_and_how_long_the_rest_takes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(monkeypatch, [0.0, 1.0, 4.0, 12.0])
    said = progress.points()
    said(1, 12, 0.1)  # after a second nobody wonders yet
    said(4, 12, 0.25)
    said(12, 12, 1.0)
    err = capsys.readouterr().err
    assert lines(err) == ["4 of 12 points, about 12 s left", "12 of 12 points, 12 s"]
    assert err.endswith("\n")


def test_a_first_point_that_takes_long_is_under_way(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "asked_for", lambda: True)
    monkeypatch.setattr(progress, "AFTER_S", 0.05)
    said = progress.points()
    said(0, 12, 0.0)
    time.sleep(0.5)
    said(1, 12, 0.1)
    quick = progress.points()
    quick(0, 9, 0.0)
    quick(9, 9, 1.0)
    time.sleep(0.2)
    assert lines(capsys.readouterr().err) == [
        "0 of 12 points, the first is under way",
        "1 of 12 points, about 5 s left",
    ]


def test_requests_of_a_run_say_how_many_there_will_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(monkeypatch, [0.0, 1.0, 3.0, 9.0])
    said = progress.requests(load(str(ROOT / "configs" / "1000req.yaml")))
    for arrived in (10, 250, 1000):
        said(arrived)
    assert lines(capsys.readouterr().err) == [
        "1000req: 250 of about 1,000 requests arrived, about 9 s left",
        "1000req: 1,000 requests arrived, 9 s",
    ]


def test_changes_and_trials_say_about_how_many_there_will_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at(monkeypatch, [0.0, 4.0, 0.0, 4.0, 5.0, 6.0])
    progress.changes()("pool db 50 → 51", 4, 20)
    tried, ran = progress.trials()
    trial: Any = SimpleNamespace(values=("50",), passed=True)
    tried(trial, 7)  # of seven undecided three trials decide all
    ran(2, 5)
    tried(trial, 0)
    assert lines(capsys.readouterr().err) == [
        "4 of about 20 runs, about 16 s left: pool db 50 → 51",
        "50 passes, 7 values undecided",
        "1 of about 4 trials, about 12 s left",
        "trial 2: 2 of 5 runs",
        "50 passes, 0 values undecided",
        "2 of about 2 trials, about 0 s left",
    ]


COMMANDS = {
    "run": (["run", "load.requests=12k"], "of about 12,000 requests arrived, about"),
    "run -n": (["run", "-n", "5"], "3 of 4 runs, about"),
    "sweep": (["sweep", "pools.db.size=1,2", "-n", "5"], "1 of 2 points, about"),
    "compare": (["compare", "pools.db.size=2", "-n", "5"], "of 8 runs, about"),
    "size": (["size", "pools.db.size=1..8"], "2 of about"),
    "size -n": (["size", "pools.db.size=1..8", "-n", "5"], "trial 1: 4 of 4 runs"),
    "explain": (["explain"], "7 of about"),
}


@pytest.mark.usefixtures("watched")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_that_may_take_long_says_how_far_it_is(
    sim: Sim, queue: str, name: str
) -> None:
    (command, *words), wanted = COMMANDS[name]
    shown = sim(command, queue, *words, "--engine", "simpy")
    assert wanted in shown.err, shown.err
    assert " s left" in shown.err


@pytest.mark.parametrize("name", COMMANDS)
def test_nothing_when_piped(
    sim: Sim, queue: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "AFTER_S", -1.0)
    (command, *words), _ = COMMANDS[name]
    assert sim(command, queue, *words, "--engine", "simpy").err == ""


def test_the_line_goes_away_before_what_comes_next(capsys: pytest.CaptureFixture[str]) -> None:
    console.status("3 of 4")
    console.tell("note")
    first, cleared, rest = capsys.readouterr().err.lstrip("\r").split("\r")
    assert first.strip() == "3 of 4" and not cleared.strip() and len(cleared) == len(first)
    assert rest == "note\n"
