"""Pictures, reports and tables of several replications: means with bands, or one that is named."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from simulator.analysis.confidence import over_replications
from simulator.experiments import executors
from simulator.experiments.executors import Task
from simulator.report.curves import STRETCHED, curves, latencies
from tests.analysis.handmade import burst, plan, pool
from tests.conftest import Sim
from tests.report.test_html import parsed

TWO = """\
name: two
load: {rate: 50/s, requests: 300}
pools: {db: {size: 1}}
routes:
  read: {weight: 9, path: GET /read, handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
  file: {path: POST /file, handler: async def, steps: [{query: db, time: {exp: 30ms}}]}
thresholds: {latency: ['p(95)<200ms']}
"""


@pytest.fixture
def two(tmp_path: Path) -> Path:
    path = tmp_path / "two.yaml"
    path.write_text(TWO)
    return path


def test_what_is_kept_of_a_replication_is_its_percentiles() -> None:
    from simulator.analysis.summary import summarize

    small = plan(count=20, pools=(pool(1),))
    kept = latencies(summarize(small, burst(small, 20, size=1)))[""]
    # Answers after 5, 10, … 100 s; nothing is known beyond 1 / (1 - p) = 21.
    assert len(kept) == len(STRETCHED) + 1 and kept[0] == 5 * 10**9
    assert kept[np.searchsorted(STRETCHED, 2.0)] == 55 * 10**9
    assert ((kept == -1) == np.append(STRETCHED > 21, False)).all()
    assert kept[-1] == 100 * 10**9


def test_a_curve_is_the_mean_of_its_replications_and_its_band_their_interval() -> None:
    ms = 10**6
    kept = [{"": np.full(len(STRETCHED) + 1, ms * k, dtype=np.int64)} for k in (10, 20, 60)]
    kept[2][""][5:-1] = -1  # a short one: its tail is not known
    (curve,) = curves({"": "total"}, kept, {"": [1.0, 1.0, 0.5]})
    band = over_replications([10.0 * ms, 20.0 * ms, 60.0 * ms])
    assert band is not None and len(curve.stretched) == 5
    assert set(curve.latency_ns.mean) == {30.0 * ms}
    assert set(curve.latency_ns.low) == {band.low} and set(curve.latency_ns.high) == {band.high}
    # Within 15 ms one of three has all its answers; within 60 ms all have theirs, one just half.
    shares = dict(zip((curve.within_ns / ms).round(), curve.answered.mean, strict=False))
    assert shares[15.0] == pytest.approx(1 / 3)
    assert curve.answered.mean[-1] == pytest.approx(2.5 / 3)
    assert curve.answered.high.max() <= 1.0
    assert curves({"": "total"}, [{}, *kept], {"": [0.0, 1.0, 1.0, 0.5]}) == []


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes are started however little there is to do."""
    monkeypatch.setattr(executors, "ALONE_S", dict.fromkeys(executors.ALONE_S, 0.0))


@pytest.mark.usefixtures("processes")
def test_pictures_are_of_all_or_name_the_one(sim: Sim, two: Path, tmp_path: Path) -> None:
    for jobs in ("1", "2"):
        shown = sim("run", str(two), "-n", "6", "--jobs", jobs, "--plot", str(tmp_path / jobs))
        assert shown.code == 0, shown.err
    drawn = {path.stem: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert drawn == {path.stem: path.read_bytes() for path in (tmp_path / "2").iterdir()}
    assert len(drawn) == 6
    for name, content in drawn.items():
        of_all = name in ("percentiles", "ecdf")
        words = " ".join(re.findall(r"<!-- (.*?) -->", content.decode()))  # a title has two lines
        assert ("means over 6 replications" in words) == of_all, name
        assert ("(replication 1 of 6)" in words) != of_all, name
    alone = sim("run", str(two), "--plot", str(tmp_path / "alone"))
    assert alone.code == 0
    assert "replication" not in (tmp_path / "alone" / "timeline.svg").read_text()


def test_a_report_has_means_and_bands(sim: Sim, two: Path, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    shown = sim("run", str(two), "-n", "6", "--report", str(path), "-o", str(tmp_path / "out"))
    assert shown.code == 0, shown.err
    text = path.read_text(encoding="utf-8")
    assert len(text.encode()) < 500_000
    document = json.loads((tmp_path / "out" / "result.json").read_text())
    data = json.loads(parsed(text).scripts[0])
    lines = data["percentiles"]["lines"]
    assert [line["label"] for line in lines] == ["GET /read", "POST /file", "total"]
    for line in lines:
        known = [i for i, y in enumerate(line["y"]) if y is not None]
        assert all(line["low"][i] <= line["y"][i] <= line["high"][i] for i in known)
        assert any(line["low"][i] < line["y"][i] for i in known)
    total = lines[-1]["y"][int(np.searchsorted(data["percentiles"]["x"], 20.0))]
    assert total / 1e3 == pytest.approx(document["metrics"]["latency_p95_s"], rel=0.05)
    assert text.count('<tr class="spread">') == 4
    assert f"{document['metrics']['requests']}" in text
    assert "(replication 1 of 6)</h2>" in text and "6 replications" in text
    assert "so in 6 of 6 replications" in text
    assert '<td class="spread">±' in text
    assert 'class="passed">✓ latency p(95)&lt;200ms' in text


@pytest.mark.usefixtures("processes")
def test_tables_have_the_rows_of_all_replications(sim: Sim, two: Path, tmp_path: Path) -> None:
    for name, words in {"1": [], "4": ["-n", "4"], "jobs": ["-n", "4", "--jobs", "2"]}.items():
        assert sim("run", str(two), *words, "-o", str(tmp_path / name)).code == 0
    assert sorted(path.name for path in (tmp_path / "4").iterdir()) == sorted(
        ["report.txt", "requests.csv", "result.json", "scenario.yaml", "visits.csv"]
    )
    for table in ("requests.csv", "visits.csv"):
        content = (tmp_path / "4" / table).read_bytes()
        assert content == (tmp_path / "jobs" / table).read_bytes()
        with (tmp_path / "4" / table).open(newline="") as file:
            rows = list(csv.DictReader(file))
        with (tmp_path / "1" / table).open(newline="") as file:
            alone = list(csv.DictReader(file))
        assert "replication" not in alone[0]
        first = [dict(row) for row in rows if row["replication"] == "1"]
        assert [{k: v for k, v in row.items() if k != "replication"} for row in first] == alone
        counts = Counter(row["replication"] for row in rows)
        assert list(counts) == ["1", "2", "3", "4"]
        if table == "requests.csv":
            assert set(counts.values()) == {300}
            assert len({row["arrival_s"] for row in rows if row["index"] == "7"}) == 4


def test_one_that_is_left_to_no_chance_has_tables_of_one_run(sim: Sim, tmp_path: Path) -> None:
    assert sim("run", "configs/1000req.yaml", "-n", "9", "-o", str(tmp_path / "a")).code == 0
    assert (tmp_path / "a" / "requests.csv").read_text().startswith("index,route,")


def test_after_ctrl_c_there_are_the_rows_of_what_was_done(
    sim: Sim, two: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = executors.compute

    def compute(task: Task) -> executors.Outcome:
        if task.replication == 3:
            raise KeyboardInterrupt
        return computed(task)

    monkeypatch.setattr(executors, "compute", compute)
    out, report = tmp_path / "out", tmp_path / "r.html"
    words = ("-n", "9", "--jobs", "1", "-o", str(out), "--report", str(report))
    assert sim("run", str(two), *words).code == 130
    with (out / "requests.csv").open(newline="") as file:
        assert {row["replication"] for row in csv.DictReader(file)} == {"1", "2", "3"}
    assert not [path for path in out.iterdir() if path.name.startswith(".")]
    assert "INTERRUPTED: 3 of 9 replications were done." in report.read_text()
    assert "means over 3 replications" in report.read_text()


def test_a_trace_file_says_which_one_it_is_of(sim: Sim, two: Path, tmp_path: Path) -> None:
    shown = sim("run", str(two), "-n", "3", "--trace", str(tmp_path / "t.json"))
    assert shown.code == 0 and "t.json: replication 1 of 3" in shown.err
