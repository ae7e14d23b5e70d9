"""What a run needs of memory is said beforehand, and refused where it is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from simulator.commands import room
from simulator.engines.compiled import jit
from simulator.footprint import bytes_of
from simulator.scenario import load, loads
from tests.benchmarks.long_runs import SCENARIOS, measured
from tests.conftest import Sim

GIB = 1 << 30
LISTING = ("configs/read-heavy-listing.yaml", "load.for=1500s")  # 300,000 requests


@pytest.mark.skipif(not jit.is_installed() or not hasattr(os, "wait4"), reason="no Numba")
def test_memory_grows_by_what_is_said_for_each_request() -> None:
    few, many = (SCENARIOS["M/M/1, sync worker"].format(n=n) for n in (500_000, 1_500_000))
    measured(few.replace("500000", "1000"))  # whatever has to be compiled takes memory, too
    (peak_few, *_), (peak_many, *_) = measured(few), measured(many)
    said_few, said_many = (bytes_of(loads(text).plan, kept=False) for text in (few, many))
    assert peak_many < said_many * 1.05, (peak_many, said_many)
    grown, said = peak_many - peak_few, said_many - said_few
    assert 0 < grown < 1.2 * said, (grown, said)
    kept = bytes_of(loads(many).plan, kept=True) - bytes_of(loads(few).plan, kept=True)
    assert grown < kept / 3, "visits are kept after all"


def test_ten_million_requests_are_said_to_fit_in_2_gb() -> None:
    for template in SCENARIOS.values():
        assert bytes_of(loads(template.format(n=10_000_000)).plan, kept=False) < 2e9


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "takes about 0.5 GB of memory; this machine has 0.2 GB left: lower load.requests"),
        (("-o", "out"), "every visit is kept (-o, --plot, --trace and --report show them)"),
        (("load.warmup=1s",), "every visit is kept (load.warmup)"),
    ],
)
def test_a_run_that_does_not_fit_is_refused(
    options: tuple[str, ...],
    words: str,
    sim: Sim,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(room, "available", lambda: 200_000_000)
    options = tuple(str(tmp_path / word) if word == "out" else word for word in options)
    result = sim("run", *LISTING, *options)
    assert result.code == 5 and result.out == ""
    assert words in result.err


def test_what_takes_much_is_said_beforehand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = load(LISTING[0], [LISTING[1]])
    assert room.folding_for(scenario, kept=False) is not None
    assert room.folding_for(scenario, kept=True) is None
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(room, "MUCH", GIB // 4)
    room.folding_for(scenario, kept=False)
    assert capsys.readouterr().err == "note: read-heavy-listing: takes about 0.5 GB of memory\n"


def test_small_runs_keep_their_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available", lambda: 1)
    assert room.folding_for(load("configs/1000req.yaml"), kept=False) is None


def test_this_machine_has_some_memory() -> None:
    there = room.available()
    assert there is None or there > GIB // 8
