"""The command line as a user meets it: exit codes, messages, streams, files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from simulator.version import VERSION
from tests.conftest import ROOT, Sim
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


def start(*arguments: str, **kwargs) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "cli.py"), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def test_json_has_the_same_numbers_as_the_page(sim: Sim) -> None:
    document = json.loads(sim("run", "configs/1000req.yaml", "--json").out)
    assert document["metrics"] == {
        "requests": 1000,
        "ok": 1000,
        "errors": 0,
        "in_flight": 0,
        "last_s": 100.0,
        "throughput_per_s": 10.0,
        "latency_mean_s": 52.5,
        "latency_p50_s": 50.0,
        "latency_p90_s": 90.0,
        "latency_p95_s": 95.0,
        "latency_p99_s": 100.0,
        "latency_max_s": 100.0,
    }
    assert set(document) == {
        "metrics", "routes", "intervals", "failures", "breakdown", "resources", "bottleneck",
        "thresholds", "findings", "meta",
    }  # fmt: skip
    assert document["meta"]["seed"] == 0


def test_the_same_seed_gives_the_same_bytes(sim: Sim) -> None:
    random_load = ["load={rate: 20/s, requests: 500}", "routes.get_user.steps[0].time={exp: 2s}"]
    arguments = ("run", "configs/1000req.yaml", *random_load, "--json")
    first, again, other = sim(*arguments), sim(*arguments), sim(*arguments, "--seed", "1")
    assert first.code == 0 and first.out == again.out
    assert first.out != other.out
    assert json.loads(other.out)["meta"]["seed"] == 1


def test_overrides_change_the_scenario_and_show_in_how_to_repeat_it(sim: Sim) -> None:
    result = sim("run", "configs/1000req.yaml", "pools.db.size=100", "--seed", "3")
    assert "1000 × 5s / 100 = 50s is the bound, the run took 50s" in result.out
    assert "repeat: sim run configs/1000req.yaml pools.db.size=100 --seed 3" in result.out


def test_several_files_are_run_one_after_another(sim: Sim, tmp_path: Path) -> None:
    files = ["configs/3users-sync.yaml", "configs/3users-async.yaml"]
    result = sim("run", *files, "-o", str(tmp_path))
    assert result.code == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3users-async", "3users-sync"]


def test_thresholds_fail_with_99(sim: Sim, burst: Path) -> None:
    burst.write_text(BURST + "thresholds: {latency: ['p(95)<6s', 'max<2s']}\n")
    result = sim("run", str(burst))
    assert result.code == 99
    assert "✓" in result.out and "✗" in result.out
    assert sim("run", str(burst), "--no-thresholds").code == 0
    burst.write_text(BURST + "thresholds: {latency: 'p(95)<6s'}\n")
    assert sim("run", str(burst)).code == 0


def test_an_unknown_route_in_a_threshold_is_an_error_with_the_known_names(
    sim: Sim, burst: Path
) -> None:
    burst.write_text(BURST + "thresholds: {'latency{route:raed}': 'p(95)<6s'}\n")
    result = sim("run", str(burst))
    assert result.code == 3
    assert "raed" in result.err and "read" in result.err
    assert result.out == ""


def test_nothing_is_written_unless_asked(sim: Sim, tmp_path: Path, burst: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert sim("run", str(burst)).code == 0
    assert sorted(tmp_path.iterdir()) == before


def test_out_writes_all_results(sim: Sim, burst: Path, tmp_path: Path) -> None:
    out = tmp_path / "results"
    result = sim("run", str(burst), "-o", str(out))
    assert sorted(p.name for p in out.iterdir()) == [
        "report.txt",
        "requests.csv",
        "result.json",
        "scenario.yaml",
        "visits.csv",
    ]
    assert (out / "report.txt").read_text() == result.out
    again = sim("run", str(out / "scenario.yaml"), "--json").out
    assert json.loads(again)["metrics"] == json.loads((out / "result.json").read_text())["metrics"]
    rows = (out / "requests.csv").read_text().splitlines()
    assert len(rows) == 11
    assert str(out) in result.err


def test_plot_writes_six_pictures(sim: Sim, burst: Path, tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    assert sim("run", str(burst), "--plot", str(pictures)).code == 0
    assert sorted(p.name for p in pictures.iterdir()) == [
        "ecdf.svg",
        "percentiles.svg",
        "queues.svg",
        "staircase.svg",
        "timeline.svg",
        "utilisation.svg",
    ]
    first = {p.name: p.read_bytes() for p in pictures.iterdir()}
    assert sim("run", str(burst), "--plot", str(pictures)).code == 0
    assert {p.name: p.read_bytes() for p in pictures.iterdir()} == first


def test_results_that_can_not_be_written_are_still_printed(
    sim: Sim, burst: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    result = sim("run", str(burst), "-o", str(tmp_path / "file" / "results"))
    assert result.code == 2
    assert "BOTTLENECK" in result.out
    assert "can't write" in result.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "no-such-file.yaml"], 3, "no-such-file.yaml"),
        (["run", "pools.db.size=3"], 2, "no scenario file given"),
        (["run"], 2, "Missing argument"),
        (["run", "configs/1000req.yaml", "pools.db.sise=3"], 3, "size"),
        (["run", "configs/1000req.yaml", "--seed", "-1"], 2, "--seed"),
        (["run", "configs/1000req.yaml", "--plot", "x", "--plot-format", "gif"], 2, "svg, png"),
        (["run", "configs/1000req.yaml", "--plot", "x.png"], 2, "expected the name of a folder"),
        (["examples", "1000rek"], 2, "1000req"),
        (["explain", "--rule", "SIM999"], 2, "SIM101"),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_errors_name_the_fact_and_what_was_expected(
    sim: Sim, arguments: list[str], code: int, message: str
) -> None:
    result = sim(*arguments)
    assert result.code == code
    assert message in result.err
    assert result.out == ""


def test_all_errors_of_a_file_come_at_once(sim: Sim, burst: Path) -> None:
    burst.write_text(BURST.replace("1s", "1").replace("db: {size", "db: {sise"))
    result = sim("validate", str(burst))
    assert result.code == 3
    lines = result.err.splitlines()
    assert len(lines) == 2 and all(": error: " in line for line in lines)


def test_more_requests_than_the_limit(sim: Sim, burst: Path) -> None:
    burst.write_text(BURST.replace("requests: 10", "requests: 20M"))
    result = sim("run", str(burst))
    assert result.code == 3
    assert "REQUESTS_MAX" in result.err


def test_validate_and_resolved(sim: Sim, burst: Path, tmp_path: Path) -> None:
    assert sim("validate", "configs/1000req.yaml").out.startswith("configs/1000req.yaml: valid")
    resolved = sim("validate", str(burst), "--resolved")
    again = tmp_path / "resolved.yaml"
    again.write_text(resolved.out)
    assert sim("validate", str(again), "--resolved").out == resolved.out


def test_schema_is_json(sim: Sim) -> None:
    assert json.loads(sim("schema").out)["type"] == "object"


def test_examples_list_and_print(sim: Sim) -> None:
    listed = sim("examples")
    names = [line.split()[0] for line in listed.out.splitlines()]
    assert names == sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    shown = sim("examples", "1000req").out
    assert shown == (ROOT / "configs" / "1000req.yaml").read_text()


def test_every_finding_has_its_page(sim: Sim) -> None:
    for line in sim("explain").out.splitlines():
        code = line.split()[0]
        page = sim("explain", "--rule", code).out
        assert page.startswith(f"# {code}") and len(page.splitlines()) >= 10


def test_a_deadlock_is_told() -> None:
    text = """
load: {requests: 2, at: once}
pools: {db: {size: 2}}
routes:
  r: {handler: async def, steps: [{with: db, do: [{await: 1ms}, {with: db, do: [{await: 1ms}]}]}]}
"""
    with start("run", "/dev/stdin", stdin=subprocess.PIPE) as process:
        out, err = process.communicate(text)
    assert process.returncode == 4, err
    assert "DEADLOCK" in out and "waits for" in out


def test_ctrl_c_prints_what_is_done_and_exits_130(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(BURST.replace("requests: 10, at: once", "requests: 2M, rate: 2/s"))
    result = interrupted("run", str(path), at="requests arrived")
    assert result.code == 130, result.err
    assert "INTERRUPTED" in result.out and "REQUESTS" in result.out
    assert "Traceback" not in result.err


def test_all_files_are_read_before_one_is_run(sim: Sim, burst: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(BURST.replace("time: 1s", "time: 1"))
    result = sim("run", str(burst), str(wrong), str(tmp_path / "missing.yaml"))
    assert (result.code, result.out) == (3, "")
    assert "1 has no unit" in result.err and "missing.yaml: error: cannot be read" in result.err


def test_an_override_without_a_value_is_no_file(sim: Sim, burst: Path) -> None:
    result = sim("run", str(burst), "pools.db.size")
    assert (result.code, result.out) == (2, "")
    assert result.err == (
        "error: pools.db.size is no file, expected one, or KEY=VALUE such as pools.db.size=100\n"
    )


def test_a_seed_that_no_scenario_could_have_is_refused(sim: Sim, burst: Path) -> None:
    assert sim("run", str(burst), "--seed", str(2**31)).code == 2
    assert sim("run", str(burst), "--seed", str(2**31 - 1)).code == 0


@pytest.mark.parametrize("engine", ["simpy", "compiled"])
@pytest.mark.parametrize("extra", ["", "server: {limit_concurrency: 1}"])
def test_users_whose_answers_take_no_time_would_never_end(
    sim: Sim, tmp_path: Path, extra: str, engine: str
) -> None:
    path = tmp_path / "endless.yaml"
    steps = "{await: 1s}" if extra else "{await: 0s}"
    path.write_text(
        f"load: {{users: 3, for: 10s}}\n{extra}\n"
        f"routes: {{a: {{handler: async def, steps: [{steps}]}}}}\n"
    )
    result = sim("run", str(path), "--engine", engine)
    assert (result.code, result.out) == (3, "")
    assert "a user asks more than 1000 times at 0 ns (ASKED_PER_INSTANT_MAX)" in result.err
    ends = sim("run", str(path), "load={users: 3, requests: 5000}", "--json", "--engine", engine)
    assert (ends.code, json.loads(ends.out)["metrics"]["requests"]) == (0, 5000)


def test_a_name_that_no_file_can_have(sim: Sim) -> None:
    result = sim("run", "x" * 300 + ".yaml")
    assert (result.code, result.out) == (3, "")
    assert "error: cannot be read: File name too long" in result.err


def test_the_version_and_the_nearest_example(sim: Sim) -> None:
    assert sim("--version").out == f"sim {VERSION}\n"
    result = sim("examples", "1000re")
    assert (result.code, result.err) == (
        2,
        "error: no example called '1000re', did you mean '1000req'?\n",
    )


def test_a_closed_pipe_ends_quietly() -> None:
    read, write = os.pipe()
    os.close(read)
    process = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "schema"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write)
    assert (process.returncode, process.stderr) == (0, "")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_disk_is_told() -> None:
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, str(ROOT / "cli.py"), "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert process.returncode == 5
    assert process.stderr == "error: can't write to standard output: No space left on device\n"


def test_a_terminal_without_the_characters_gets_question_marks(burst: Path) -> None:
    process = subprocess.run(
        [sys.executable, str(ROOT / "cli.py"), "run", str(burst)],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert process.returncode == 0
    assert b"BOTTLENECK" in process.stdout and b"?" in process.stdout


def test_closed_streams_do_no_harm(burst: Path) -> None:
    command = f"{sys.executable} {ROOT / 'cli.py'} run {burst} >&- 2>&-"
    assert subprocess.run(["bash", "-c", command]).returncode == 0


def test_two_files_of_one_name_do_not_overwrite_each_other(sim: Sim, tmp_path: Path) -> None:
    file = "configs/3users-sync.yaml"
    result = sim("run", file, file, "-o", str(tmp_path))
    assert result.code == 2 and list(tmp_path.iterdir()) == []


def test_a_bug_is_one_line_and_exit_1(tmp_path: Path, burst: Path) -> None:
    broken = (
        "import sys, cli, simulator.answer; simulator.answer.simulate = None;"
        f"sys.argv[1:] = ['run', {str(burst)!r}]; cli.main()"
    )
    process = subprocess.run(
        [sys.executable, "-c", broken], capture_output=True, text=True, cwd=ROOT
    )
    assert process.returncode == 1
    assert process.stderr.startswith("bug: TypeError") and "Traceback" not in process.stderr
