"""Sweeps: the same rows for any number of processes, what is invalid stays in its row."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from simulator.experiments import executors
from simulator.experiments.axes import AxisError
from simulator.experiments.executors import Outcome, Task
from simulator.experiments.finding import default_metric, finding
from simulator.experiments.measures import Metric, parse_metric
from simulator.experiments.sweep import Result, question, run
from simulator.report import sweep_table
from simulator.scenario import ScenarioError

BURST = """\
name: burst
vars: {workers: 1}
load: {requests: 20, at: once}
server: {workers: '${workers}'}
pools: {db: {size: 2}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""
RANDOM = BURST.replace("at: once", "rate: 4/s").replace("time: 1s", "time: {exp: 500ms}")


@pytest.fixture
def burst(tmp_path: Path) -> Path:
    path = tmp_path / "burst.yaml"
    path.write_text(BURST)
    return path


def swept(path: Path, *arguments: str, **options: bool) -> Result:
    return run(question(str(path), arguments, **options))


def numbers(result: Result, metric: str = "max") -> list[tuple[str, ...]]:
    parsed = parse_metric(metric)
    return [(*row.values, parsed.text(parsed.of(row.measured))) for row in result.rows]


def test_a_grid_in_the_order_of_its_keys(burst: Path) -> None:
    result = swept(burst, "pools.db.size=2,4", "vars.workers=1,2")
    assert numbers(result) == [
        ("2", "1", "10s"),
        ("2", "2", "5s"),
        ("4", "1", "5s"),
        ("4", "2", "3s"),
    ]
    assert [row.measured and row.measured.limited_by for row in result.rows] == ["pool db"] * 4


def test_zipped_keys_go_together(burst: Path) -> None:
    result = swept(burst, "pools.db.size=2,4", "vars.workers=1,2", zipped=True)
    assert numbers(result) == [("2", "1", "10s"), ("4", "2", "3s")]


def test_a_key_with_one_value_is_fixed(burst: Path) -> None:
    result = swept(burst, "pools.db.size=5,10", "load.requests=10")
    assert result.sweep.fixed == ("load.requests=10",)
    assert numbers(result) == [("5", "2s"), ("10", "1s")]


def test_the_sweep_of_the_file_is_taken_where_none_is_asked(burst: Path) -> None:
    burst.write_text(BURST + "sweep: {pools.db.size: 5..10..5, routes.read.handler: [async def]}\n")
    assert numbers(swept(burst)) == [("5", "async def", "4s"), ("10", "async def", "2s")]
    assert numbers(swept(burst, "pools.db.size=4")) == [("async def", "5s")]
    assert numbers(swept(burst, "vars.workers=1,2")) == [("1", "10s"), ("2", "5s")]


def test_nothing_to_sweep_says_what_to_write(burst: Path) -> None:
    with pytest.raises(AxisError, match="has no `sweep:`, expected KEY=VALUES such as"):
        question(str(burst), ["pools.db.size=4"])


def test_a_key_given_twice_is_refused(burst: Path) -> None:
    with pytest.raises(AxisError, match=r"pools\.db\.size is given twice"):
        question(str(burst), ["pools.db.size=4", "pools.db.size=1,2"])


def test_an_invalid_point_keeps_the_others(burst: Path) -> None:
    result = swept(burst, "pools.db.size=0,2,1.5")
    assert numbers(result) == [("0", "–"), ("2", "10s"), ("1.5", "–")]
    assert [row.error is None for row in result.rows] == [False, True, False]
    assert result.rows[0].error == (
        "pools.db: no connection at all, expected size + overflow of 1 or more"
    )
    assert result.failed


def test_a_sweep_that_is_invalid_everywhere_is_an_error(burst: Path) -> None:
    with pytest.raises(ScenarioError, match="no 'bd' in pools"):
        swept(burst, "pools.bd.size=1,2")


def test_64_points_are_the_same_bytes_for_any_number_of_processes(tmp_path: Path) -> None:
    path = tmp_path / "random.yaml"
    path.write_text(RANDOM)
    asked = question(str(path), ["pools.db.size=1..8", "vars.workers=1..8"])
    alone, two, three = (run(asked, jobs=jobs, alone_s=0) for jobs in (1, 2, 3))
    assert len(alone.rows) == 64
    documents = [sweep_table.as_dict(result, version="1") for result in (alone, two, three)]
    assert documents[0] == documents[1] == documents[2]
    pages = {sweep_table.render(result, version="1") for result in (alone, two, three)}
    assert len(pages) == 1 and len({sweep_table.as_csv(r) for r in (alone, two, three)}) == 1


def test_all_points_see_the_same_arrivals_and_times(tmp_path: Path) -> None:
    path = tmp_path / "random.yaml"
    path.write_text(RANDOM)
    wide = swept(path, "pools.db.size=100,200,300")
    assert len({row.measured.total for row in wide.rows if row.measured}) == 1


def test_a_point_is_what_a_run_gives(burst: Path) -> None:
    from simulator.answer import simulate
    from simulator.report import machine
    from simulator.scenario import load

    answer = simulate(load(burst, ["pools.db.size=4"]))
    meta = machine.Meta(seed=0, version="1", engine="simpy")
    document = machine.as_dict(
        answer.scenario.plan,
        answer.summary,
        answer.bottleneck,
        answer.thresholds,
        answer.findings,
        meta=meta,
    )
    point = sweep_table.as_dict(swept(burst, "pools.db.size=4,5"), version="1")["points"][0]
    expected = {name: document["metrics"][name] for name in point["metrics"]}
    assert point["metrics"] == expected
    assert len(expected) == 12


def test_ctrl_c_keeps_the_points_that_are_done(
    burst: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed = executors.compute

    def compute(task: Task) -> Outcome:
        if task.overrides == ("pools.db.size=5",):
            raise KeyboardInterrupt
        return computed(task)

    monkeypatch.setattr(executors, "compute", compute)
    result = swept(burst, "pools.db.size=2,4,5,10")
    assert numbers(result) == [("2", "10s"), ("4", "5s")]
    assert result.interrupted
    page = sweep_table.render(result, version="1")
    assert "  INTERRUPTED: 2 of 4 points were done." in page


@pytest.mark.parametrize(
    ("thresholds", "values", "expected"),
    [
        ("", "2,4,10,20", "p95 falls from 10s at pools.db.size=2 to 1s at pools.db.size=20"),
        ("", "10,4,20,2", "p95 falls from 10s at pools.db.size=2 to 1s at pools.db.size=20"),
        ("", "2,20,50", "p95 falls from 10s to 1s at pools.db.size=20 and stays there"),
        ("", "20,50", "p95 stays at 1s at every point"),
        ("p(95)<3s", "2,4,10,20", "p95 falls below 3s from pools.db.size=10"),
        ("p(95)<2s", "2,4,20", "p95 falls below 2s from pools.db.size=20, the last point"),
        ("p(95)<3s", "2,4", "p95 < 3s at no point: the best is 5s at pools.db.size=4"),
        ("p(95)<3s", "10,20", "p95 < 3s at every point, at worst 2s at pools.db.size=10"),
        ("max>=5s", "2,4,10,20", "max >= 5s up to pools.db.size=4, no further"),
    ],
)
def test_the_finding(burst: Path, thresholds: str, values: str, expected: str) -> None:
    if thresholds:
        burst.write_text(BURST + f"thresholds: {{latency: '{thresholds}'}}\n")
    result = swept(burst, f"pools.db.size={values}")
    assert finding(result, default_metric(result)) == expected


def test_the_finding_of_words_and_of_two_keys(burst: Path) -> None:
    words = swept(burst, "routes.read.handler=async def,def", "server.threads=1")
    assert finding(words, default_metric(words)) == (
        "p95 is lowest, 10s, at routes.read.handler=async def; "
        "at worst 19s at routes.read.handler=def"
    )
    grid = swept(burst, "pools.db.size=2,4", "vars.workers=1,2")
    assert finding(grid, default_metric(grid)) == (
        "p95 is lowest, 3s, at pools.db.size=4, vars.workers=2; "
        "at worst 10s at pools.db.size=2, vars.workers=1"
    )


def test_points_where_most_fail_do_not_meet_a_threshold(burst: Path) -> None:
    burst.write_text(
        BURST.replace("size: 2", "size: 2, acquire_timeout: 3s")
        + "thresholds: {latency: 'p(50)<4s'}\n"
    )
    result = swept(burst, "pools.db.size=1,2,10,20")
    assert numbers(result, "p50") == [("1", "–"), ("2", "–"), ("10", "1s"), ("20", "1s")]
    assert finding(result, default_metric(result)) == (
        "p50 falls below 4s from pools.db.size=10; up to pools.db.size=2 60% to 80% fail"
    )


SHORT = """\
load: {rate: 10/s, arrivals: constant, for: 20s}
pools: {db: {size: 2, acquire_timeout: 300ms}}
routes: {read: {handler: async def, steps: [{query: db, time: 100ms}]}}
"""


def test_from_which_load_on_most_requests_fail(burst: Path) -> None:
    burst.write_text(SHORT)
    result = swept(burst, "load.rate=10/s,20/s,60/s,80/s")
    assert finding(result, default_metric(result)) == (
        "p95 holds up to load.rate=20/s: 100ms there; from load.rate=60/s on 66% to 75% fail"
    )
    burst.write_text(SHORT + "thresholds: {latency: 'p(95)<200ms'}\n")
    result = swept(burst, "load.rate=10/s,20/s,60/s")
    assert finding(result, default_metric(result)) == (
        "p95 < 200ms up to load.rate=20/s, no further; at load.rate=60/s 66% fail"
    )


def test_points_that_tie_and_points_that_are_missing(burst: Path) -> None:
    burst.write_text(SHORT)
    result = swept(burst, "load.rate=80/s,10/s", "pools.db.size=2,4")
    assert finding(result, default_metric(result)) == (
        "p95 is lowest, 100ms, at 2 of 4 points, e.g. load.rate=10/s, pools.db.size=2; at worst "
        "400ms at load.rate=80/s, pools.db.size=4; 75% fail at 1 of 4 points, e.g. "
        "load.rate=80/s, pools.db.size=2"
    )
    result = swept(burst, "load.rate=30/s,10/s", "pools.db.size=2,4")
    assert finding(result, default_metric(result)).startswith(
        "p95 is lowest, 100ms, at 3 of 4 points, e.g. load.rate=30/s, pools.db.size=4; at worst "
    )


def test_the_table(burst: Path) -> None:
    result = swept(burst, "pools.db.size=0,2,4")
    assert sweep_table.render(result, version="1").splitlines() == [
        "burst   3 points   seed 0",
        "",
        "  pools.db.size    ok  errors  p50  p95  p99  throughput  bottleneck",
        "    0              invalid: pools.db: no connection at all, expected size + overflow of "
        "1 or more",
        "    2              20       0   5s  10s    –      2.00/s  pool db",
        "    4              20       0   3s   5s    –      4.00/s  pool db",
        "",
        "  FINDING  p95 falls from 10s at pools.db.size=2 to 5s at pools.db.size=4.",
        "",
        f"  repeat: sim sweep {burst} pools.db.size=0,2,4   1, the same draws at every point",
    ]


def test_the_csv(burst: Path) -> None:
    result = swept(burst, "pools.db.size=0,2")
    assert sweep_table.as_csv(result).splitlines() == [
        "pools.db.size,error,requests,ok,errors,in_flight,last_s,throughput_per_s,"
        "latency_mean_s,latency_p50_s,latency_p90_s,latency_p95_s,latency_p99_s,latency_max_s,"
        "replications,latency_mean_low_s,latency_mean_high_s,latency_p95_low_s,latency_p95_high_s,"
        "bottleneck,thresholds_ok,engine",
        '0,"pools.db: no connection at all, expected size + overflow of 1 or more"' + "," * 20,
        "2,,20,20,0,0,10,2.0,5.5,5,9,10,10,10,1,,,,,pool db,,simpy",
    ]


def test_metrics_by_name(burst: Path) -> None:
    result = swept(burst, "pools.db.size=2,4")
    point = result.rows[0].measured
    metrics = ["p95", "latency.mean", "latency{route:read}.max", "throughput", "ok", "last"]
    values = [parse_metric(text, ["read"]).of(point) for text in metrics]
    assert values == [10**10, 5_500_000_000, 10**10, Fraction(2), 20, 10**10]
    assert parse_metric("latency{route:read}", ["read"]) == Metric("latency", "read", "p95")
    assert parse_metric("latency{route:read}", ["read"]).words == "p95 of read"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("speed", "unknown metric 'speed', known metrics: latency.p95 "),
        ("latency.p42", "unknown metric 'latency.p42'"),
        ("ok.p95", "unknown metric 'ok.p95'"),
        (
            "latency{route:raed}",
            "unknown route 'raed' in 'latency{route:raed}', known routes: read",
        ),
    ],
)
def test_unknown_metrics(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_metric(text, ["read"])
    assert str(raised.value).startswith(message)
