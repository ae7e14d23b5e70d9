"""`sim sweep`, `sim compare`, `sim init` and `sim run --trace` as a user meets them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from simulator.experiments.axes import points
from simulator.experiments.sweep import question
from simulator.scenario import ScenarioError, load, loads, templates
from tests.conftest import Sim
from tests.interrupt import interrupted

BURST = """\
load: {requests: 10, at: once}
pools: {db: {size: 2}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""


@pytest.fixture
def burst(tmp_path: Path) -> Path:
    path = tmp_path / "burst.yaml"
    path.write_text(BURST)
    return path


def test_sweep_prints_a_table_and_writes_what_is_asked(sim: Sim, tmp_path: Path) -> None:
    files = {suffix: tmp_path / f"sweep.{suffix}" for suffix in ("csv", "svg")}
    words = ["pools.db.size=50,100,1000", "--csv", str(files["csv"]), "--plot", str(files["svg"])]
    result = sim("sweep", "configs/1000req.yaml", *words)
    assert result.code == 0
    assert "    100            1000       0  25s  50s   50s      20.0/s  pool db" in result.out
    assert "FINDING  p95 falls from 95s at pools.db.size=50 to 5s at pools.db.size=1000" in (
        result.out
    )
    assert len(files["csv"].read_text().splitlines()) == 4
    assert files["svg"].read_text().startswith("<?xml")


def test_sweep_as_csv_on_stdout(sim: Sim, burst: Path) -> None:
    result = sim("sweep", str(burst), "pools.db.size=2,5", "--csv", "-")
    head, *rows = result.out.splitlines()
    assert head.startswith("pools.db.size,error,requests,ok")
    assert [row.split(",")[0] for row in rows[:2]] == ["2", "5"]
    assert not Path("-").exists()


def test_sweep_as_json(sim: Sim, burst: Path) -> None:
    document = json.loads(sim("sweep", str(burst), "pools.db.size=2,5", "--json").out)
    assert [point["metrics"]["last_s"] for point in document["points"]] == [5.0, 2.0]
    assert document["sweep"]["axes"] == {"pools.db.size": ["2", "5"]}
    assert document["meta"]["name"] == "burst"


def test_an_invalid_point_exits_3_with_the_others(sim: Sim, burst: Path) -> None:
    result = sim("sweep", str(burst), "pools.db.size=0,5")
    assert result.code == 3
    assert "invalid: pools.db: no connection at all" in result.out
    assert "    5              10       0" in result.out


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["pools.db.size=5"], 2, "has no `sweep:`, expected KEY=VALUES"),
        (["pools.db.size=5..1"], 2, "expected a range from low to high"),
        (["pools.db.size=1,2", "--metric", "speed"], 2, "unknown metric 'speed'"),
        (["pools.db.size=1,2", "--plot", "x.gif"], 2, "expected a file name that ends in"),
        (["pools.bd.size=1,2"], 3, "no 'bd' in pools, did you mean 'db'?"),
    ],
)
def test_what_sweep_refuses(
    sim: Sim, burst: Path, words: list[str], code: int, message: str
) -> None:
    result = sim("sweep", str(burst), *words)
    assert (result.code, result.out) == (code, "")
    assert message in result.err


@pytest.mark.parametrize("first", ["1s", "20s"], ids=["alone", "in processes"])
def test_ctrl_c_prints_the_points_that_are_done(tmp_path: Path, first: str) -> None:
    path = tmp_path / "slow.yaml"
    path.write_text(BURST.replace("requests: 10, at: once", "rate: 500/s, for: 1h"))
    words = ("sweep", str(path), f"load.for={first},1h,50m", "--jobs", "2")
    result = interrupted(*words, at="1 of 3 points", pause_s=2)  # then others have started
    assert result.code == 130, result.err
    assert "INTERRUPTED: 1 of 3 points were done." in result.out
    assert "Traceback" not in result.err


def test_ctrl_c_on_a_comparison_prints_the_replications_that_are_done(tmp_path: Path) -> None:
    path = tmp_path / "queue.yaml"
    path.write_text(BURST.replace("requests: 10, at: once", "rate: 1/s, requests: 200"))
    words = ("compare", str(path), "pools.db.size=1", "-n", "4000", "--jobs", "2")
    result = interrupted(*words, at="of 7998 runs", pause_s=0.5)
    assert result.code == 130, result.err
    found = re.search(r"INTERRUPTED: ([0-9]+) of 4000 replications of each were done", result.out)
    assert found and 1 <= int(found[1]) < 4000
    assert f"{found[1]} pairs of replications" in result.out or found[1] == "1"
    assert "Traceback" not in result.err


def test_ctrl_c_before_the_second_scenario_is_done_shows_the_first(tmp_path: Path) -> None:
    short, long = tmp_path / "short.yaml", tmp_path / "long.yaml"
    short.write_text(BURST)
    long.write_text(BURST.replace("requests: 10, at: once", "requests: 2M, rate: 2/s"))
    words = ("compare", str(short), str(long), "--engine", "simpy")
    result = interrupted(*words, at="long: ")
    assert result.code == 130, result.err
    assert "INTERRUPTED: 1 of 2 scenarios were run, each once." in result.out
    assert str(short) in result.out and "Traceback" not in result.err


def test_compare_a_scenario_with_overrides(sim: Sim) -> None:
    result = sim("compare", "configs/1000req.yaml", "pools.db.size=100")
    assert result.code == 0
    assert "B is 1.91 times faster than A (mean 27.5s against 52.5s)." in result.out
    assert "repeat: sim compare configs/1000req.yaml pools.db.size=100" in result.out


def test_compare_as_json(sim: Sim) -> None:
    files = ["configs/1000req.yaml", "configs/1000req-def.yaml"]
    document = json.loads(sim("compare", *files, "--json").out)
    assert [case["metrics"]["latency_mean_s"] for case in document["scenarios"]] == [52.5, 65.0]
    (found,) = document["differences"]
    assert (found["paired"], found["difference_mean_s"]) == (True, 12.5)
    causes = [(row["cause"], row["difference_mean_s"]) for row in found["causes"]]
    assert causes == [("threads", 60.0), ("pool:db", -47.5), ("query:db", 0.0)]


def test_compare_with_nothing(sim: Sim, burst: Path) -> None:
    result = sim("compare", str(burst))
    assert result.code == 2 and "nothing to compare" in result.err


def test_init_prints_a_template_and_writes_it_once(sim: Sim, tmp_path: Path) -> None:
    printed = sim("init")
    assert printed.code == 0 and printed.out == templates()["fastapi"].read_text()
    out = tmp_path / "mine.yaml"
    assert sim("init", "flask", "-o", str(out)).code == 0
    assert sim("run", str(out)).code == 0
    again = sim("init", "django", "-o", str(out))
    assert again.code == 2 and f"{out} is there already" in again.err
    assert "flask" in out.read_text()
    unknown = sim("init", "rails")
    assert unknown.code == 2
    assert "expected one of: django, fastapi, flask, gpu, pool" in unknown.err


@pytest.mark.parametrize("name", templates())
def test_every_template_runs_and_its_sweep_is_valid(sim: Sim, name: str) -> None:
    path = str(templates()[name])
    axes = question(path, []).axes
    for values in points(axes):
        load(path, [f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True)])
    result = sim("run", path)
    assert result.code == 0, result.out
    findings = {line.split()[0] for line in result.out.splitlines() if "  SIM" in line}
    assert findings <= {"SIM111"}  # too few samples for the p99 of a rare route


def test_run_writes_a_trace_file(sim: Sim, burst: Path, tmp_path: Path) -> None:
    out = tmp_path / "trace.json"
    result = sim("run", str(burst), "--trace", str(out))
    assert result.code == 0 and f"written: {out}" in result.err
    assert json.loads(out.read_text())["otherData"] == {"scenario": "burst"}
    two = sim("run", str(burst), str(burst), "--trace", str(out))
    assert two.code == 2


def test_a_run_takes_no_notice_of_the_sweep(burst: Path) -> None:
    swept = loads(BURST + "sweep: {pools.db.size: [1, 2]}\n")
    plain = loads(BURST)
    assert swept.plan == plain.plan and swept.document == plain.document
    assert swept.sweep == {"pools.db.size": [1, 2]} and plain.sweep == {}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("pools.bd.size: [1]", "<text>:5:9: error: no 'bd' in pools, did you mean 'db'?"),
        (
            "poools.db: [1]",
            "<text>:5:9: error: sweep: unknown section 'poools', did you mean 'pools'?",
        ),
        (
            "'a[': [1]",
            "<text>:5:9: error: sweep: 'a[' is not a key, expected such as pools.db.size",
        ),
    ],
)
def test_a_sweep_key_that_names_no_place(entry: str, message: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        loads(f"{BURST}sweep: {{{entry}}}\n")
    assert str(raised.value) == message
