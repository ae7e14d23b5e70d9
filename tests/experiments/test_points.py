"""Sweeps in pieces: files of points, resumed, sharded and merged, killed in between."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.experiments import executors
from simulator.experiments.executors import Outcome, Task
from simulator.experiments.finding import default_metric, knee
from simulator.experiments.measures import parse_metric
from simulator.experiments.sweep import Row, question, run
from tests import crashes
from tests.conftest import Sim

QUEUE = """\
name: queue
load: {rate: 60/s, requests: 100}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""
SWEEP = ("pools.db.size=1,2,3", "load.rate=50/s,70/s", "-n", "3")


@pytest.fixture
def queue(tmp_path: Path) -> Path:
    path = tmp_path / "queue.yaml"
    path.write_text(QUEUE)
    return path


def counted(monkeypatch: pytest.MonkeyPatch) -> list[Task]:
    """The runs that are computed in this process."""
    computed, tasks = executors.compute, []

    def compute(task: Task) -> Outcome:
        tasks.append(task)
        return computed(task)

    monkeypatch.setattr(executors, "compute", compute)
    return tasks


def test_a_file_of_points_is_the_same_for_any_jobs_and_prints_the_same(
    sim: Sim, queue: Path, tmp_path: Path
) -> None:
    files = [tmp_path / f"{jobs}.jsonl" for jobs in (1, 2)]
    printed = [
        sim("sweep", str(queue), *SWEEP, "--jobs", str(jobs), "-o", str(file)).out
        for jobs, file in zip((1, 2), files, strict=True)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert printed[0] == printed[1]
    head, *lines = files[0].read_text().splitlines()
    assert json.loads(head)["replications"] == 3
    assert [json.loads(line)[0] for line in lines] == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("keep", [0, 1, 50, 700, 3000, 5000, 9000, 10**9])
def test_whatever_was_cut_off_is_computed_again(
    sim: Sim, queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: int
) -> None:
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    first = sim("sweep", str(queue), *SWEEP, "-o", str(whole))
    cut.write_bytes(whole.read_bytes()[:keep])
    points = max(cut.read_bytes().count(b"\n") - 1, 0)
    tasks = counted(monkeypatch)
    resumed = sim("sweep", str(queue), *SWEEP, "-o", str(cut), "--resume", "--jobs", "1")
    assert cut.read_bytes() == whole.read_bytes()
    assert resumed.out == first.out
    assert len(tasks) == 3 * (6 - points)


def test_shards_merge_into_the_whole(sim: Sim, queue: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.jsonl"
    first = sim("sweep", str(queue), *SWEEP, "-o", str(whole), "--json")
    parts = [tmp_path / f"{i}.jsonl" for i in (1, 2, 3, 4)]
    for i, part in enumerate(parts, 1):
        assert sim("sweep", str(queue), *SWEEP, "-o", str(part), "--shard", f"{i}/4").code == 0
    merged = tmp_path / "merged.jsonl"
    words = [str(part) for part in reversed(parts)]
    result = sim("merge", *words, "--json", "-o", str(merged))
    assert (result.code, result.out) == (0, first.out)
    assert merged.read_bytes() == whole.read_bytes()
    some = sim("merge", *words[1:])
    assert some.code == 4
    assert "1 of 6 points are missing" in some.err
    assert "5 of 6 points: the others are missing." in some.out


def test_what_does_not_belong_together_is_refused(sim: Sim, queue: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one.jsonl", tmp_path / "other.jsonl"
    assert sim("sweep", str(queue), *SWEEP, "-o", str(one)).code == 0

    def refused(*words: str) -> str:
        result = sim(*words)
        assert (result.code, result.out) == (2, "")
        return result.err

    assert f"{one} is there already, --resume goes on with it" in refused(
        "sweep", str(queue), *SWEEP, "-o", str(one)
    )
    again = ("sweep", str(queue), *SWEEP[:2], "-o", str(one), "--resume")
    assert "another replications" in refused(*again, "-n", "4")
    assert "another seed" in refused(*again, "-n", "3", "--seed", "7")
    queue.write_text(QUEUE.replace("10ms", "11ms"))
    assert "another text of the scenario" in refused(*again, "-n", "3")
    assert sim("sweep", str(queue), *SWEEP, "-o", str(other)).code == 0
    assert "of another sweep" in refused("merge", str(one), str(other))
    text = one.read_text()
    other.write_text(text.replace('"errors":0', '"errors":1', 1))
    assert "point 0 differs from the same point" in refused("merge", str(one), str(other))
    other.write_text(text.replace('"values":["1","50/s"]', '"values":["1","60/s"]'))
    assert "point 0 is not one of its sweep" in refused("merge", str(other))
    assert "not the points of a sweep" in refused("merge", str(queue))
    assert "can't read" in refused("merge", str(tmp_path / "missing.jsonl"))
    for words in (["--resume"], ["--shard", "1/2"]):
        assert "wants -o FILE" in refused("sweep", str(queue), *SWEEP, *words)
    both = ("--jobs", "2", "--cluster", "tcp://127.0.0.1:9")
    assert "--jobs and --cluster, expected one" in refused("sweep", str(queue), *SWEEP, *both)
    for shard in ("0/2", "3/2", "half"):
        assert "expected i/n such as 1/4" in refused(
            "sweep", str(queue), *SWEEP, "-o", str(other), "--shard", shard
        )


def test_a_dry_run_lists_the_points_and_runs_nothing(
    sim: Sim, queue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tasks = counted(monkeypatch)
    result = sim("sweep", str(queue), "pools.db.size=0,1,2", "-n", "20", "--dry-run")
    first, *rest = result.out.splitlines()
    assert first.startswith("pools.db.size=0   invalid: pools.db: no connection at all")
    assert rest == ["pools.db.size=1", "pools.db.size=2"]
    assert "3 of 3 points, 20 runs each; nothing was run" in result.err
    assert (result.code, tasks) == (3, [])
    part = sim("sweep", str(queue), *SWEEP, "--shard", "2/2", "-o", "unused.jsonl", "--dry-run")
    assert part.out.splitlines() == [f"pools.db.size={n} load.rate=70/s" for n in (1, 2, 3)]
    assert not Path("unused.jsonl").exists()


def test_ctrl_c_keeps_the_points_and_says_how_to_go_on(
    sim: Sim, queue: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "points.jsonl"
    computed = executors.compute

    def compute(task: Task) -> Outcome:
        if "pools.db.size=3" in task.overrides:
            raise KeyboardInterrupt
        return computed(task)

    with monkeypatch.context() as patched:
        patched.setattr(executors, "compute", compute)
        result = sim("sweep", str(queue), *SWEEP, "-o", str(out), "--jobs", "1")
    assert result.code == 130
    done = out.read_text().count("\n") - 1
    assert 2 <= done <= 4
    assert f"INTERRUPTED: {done} of 6 points were done." in result.out
    assert f"{done} points are in {out}: --resume goes on with it" in result.err
    assert sim("sweep", str(queue), *SWEEP, "-o", str(out), "--resume").code == 0


def test_kill_9_in_the_middle_and_nothing_changes() -> None:
    # `python -m tests.crashes` does so 50 times.
    found = crashes.run(2, seed=3, sweep=(*SWEEP, "--jobs", "2"))
    assert (found.kills, found.different, found.left_behind) == (2, 0, 0)


def test_replications_are_in_the_table_the_csv_and_the_json(sim: Sim, queue: Path) -> None:
    words = ["sweep", str(queue), *SWEEP]
    page = sim(*words).out
    assert page.startswith("queue   6 points × 3 replications   seed 0")
    assert "  ± p95  " in page and page.count("±") == 7
    document = json.loads(sim(*words, "--json").out)
    low, high = document["points"][0]["intervals"]["metrics"]["latency_mean_s"]
    assert low < document["points"][0]["metrics"]["latency_mean_s"] < high
    head, *rows = sim(*words, "--csv", "-").out.splitlines()
    cells = dict(zip(head.split(","), rows[0].split(","), strict=True))
    assert cells["replications"] == "3"
    assert float(cells["latency_mean_low_s"]) == pytest.approx(low, abs=1e-9)


def test_auto_gives_each_point_what_it_needs(sim: Sim, queue: Path) -> None:
    goal = "thresholds={latency: ['p(95)<50ms']}"
    words = [str(queue), "pools.db.size=1,4", goal, "-n", "auto"]
    document = json.loads(sim("sweep", *words, "--json").out)
    numbers = [point["intervals"]["replications"] for point in document["points"]]
    assert numbers[1] == 5 and numbers[0] >= 5
    verdicts = [point["thresholds"][0]["verdict"] for point in document["points"]]
    assert verdicts == ["failed", "passed"]


def test_the_band_is_drawn_where_intervals_are(sim: Sim, queue: Path, tmp_path: Path) -> None:
    words = ["sweep", str(queue), "load.rate=20/s..90/s..10/s", "-n", "4"]
    files = [tmp_path / name for name in ("one.svg", "two.svg")]
    for file in files:
        assert sim(*words, "--plot", str(file)).code == 0
    text = files[0].read_text()
    assert text == files[1].read_text()
    assert "95 % interval of p95" in text and "knee" in text


def test_the_knee() -> None:
    def of(text: str, *axes: str) -> Row | None:
        Path("knee.yaml").write_text(text)
        result = run(question("knee.yaml", list(axes)))
        return knee(result, default_metric(result))

    burst = QUEUE.replace("rate: 60/s, ", "at: once, ").replace("{exp: 10ms}", "10ms")
    found = of(burst, "pools.db.size=10,50,100,150,200")
    assert found is not None and found.values == ("100",)  # 100 requests: no more are used
    assert of(burst, "pools.db.size=10,50,100") is None  # it may go on
    # M/M/1: load / mean is largest at half of the capacity of 100/s.
    steady = QUEUE.replace("requests: 100", "requests: 3000")
    Path("knee.yaml").write_text(steady)
    result = run(question("knee.yaml", ["load.rate=10/s..90/s..20/s"]))
    row = knee(result, parse_metric("mean"))
    assert row is not None and row.values == ("50/s",)
    assert of(burst, "routes.read.handler=def,async def") is None


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("command", ["sweep", "merge"])
def test_a_file_of_another_format_is_told_with_what_to_do(
    sim: Sim, queue: Path, tmp_path: Path, command: str
) -> None:
    old = tmp_path / "old.jsonl"
    sim("sweep", str(queue), "pools.db.size=1,2", "-o", str(old))
    head, *lines = old.read_text().splitlines()
    older = json.dumps(json.loads(head) | {"format": 1, "version": "0.0.9"})
    old.write_text("\n".join([older, *(line[:90] + "]" for line in lines)]) + "\n")
    words = {
        "sweep": [str(queue), "pools.db.size=1,2", "-o", str(old), "--resume"],
        "merge": [str(old)],
    }[command]
    result = sim(command, *words)
    assert (result.code, result.out) == (2, "")
    assert "its points are of format 1, written by version 0.0.9" in result.err
    assert "Run the sweep anew into another file, without --resume: -o FILE" in result.err
