"""`sim explain` names what limits and what limits next, in scenarios built to have them."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from simulator.analysis.bands import bands, slowest
from simulator.analysis.known import Known, known
from simulator.answer import simulate
from simulator.experiments.explain import Explanation, explain
from simulator.experiments.measures import measured
from simulator.scenario import loads
from tests.conftest import Sim

BURST = "load: {requests: 200, at: once}\n"


def route(steps: str, handler: str = "async def") -> str:
    return f"routes:\n  a: {{handler: {handler}, steps: [{steps}]}}\n"


POOL = "pools: {db: {size: 4}}\n"
PAY = "services: {pay: {time: 100ms, concurrency: 5}}\n"
QUERY, CALL = "{query: db, time: 100ms}", "{call: pay}"
TWO_POOLS = "pools: {a: {size: 4}, b: {size: 9}}\n"
LIMITED = "services: {pay: {time: 1ms, rate_limit: {kind: leaky_bucket, rate: 20/s, over: wait}}}\n"
DATABASE = "databases: {main: {max_connections: 1000, cores: 8}}\n"
ONE_ROW = "locks: {row: {}}\n"
TRANSACTION = "{with: db, do: [{lock: row}, {query: db, time: 10ms}]}"
GPU = "accelerators: {gpu: {batch: {max: 4, wait: 0s}, time: {base: 100ms, per_item: 0s}}}\n"
FLASK = "server: {preset: flask, workers: 2}\n"

TWENTY = [
    ("a pool, then nothing", POOL + route(QUERY), ["pool db", "nothing"]),
    ("two pools", TWO_POOLS + route("{query: a, time: 1s}, {query: b, time: 1s}"),
     ["pool a", "pool b", "nothing"]),
    ("two pools, the larger one is short",
     TWO_POOLS + route("{query: a, time: 1s}, {query: b, time: 5s}"),
     ["pool b", "pool a", "nothing"]),
    ("a pool, then a service", POOL + PAY + route(f"{QUERY}, {CALL}"),
     ["pool db", "service pay", "nothing"]),
    ("a service, then a pool", "pools: {db: {size: 6}}\n" + PAY + route(f"{QUERY}, {CALL}"),
     ["service pay", "pool db", "nothing"]),
    ("threads, then a pool", "pools: {db: {size: 50}}\n" + route("{query: db, time: 1s}", "def"),
     ["threads", "pool db", "nothing"]),
    ("a pool, then threads", "pools: {db: {size: 20}}\n" + route("{query: db, time: 1s}", "def"),
     ["pool db", "threads", "nothing"]),
    ("threads alone", route("{block: 1s}", "def"), ["threads", "nothing"]),
    ("sync workers, then nothing", FLASK + route("{block: 1s}", "def"), ["workers"]),
    ("a loop that is blocked", route("{block: 100ms}"), ["event loop"]),
    ("a rate limit, then nothing", LIMITED + route(CALL), ["rate limit pay", "nothing"]),
    ("a rate limit, then a pool", POOL + LIMITED + route(f"{QUERY}, {CALL}"),
     ["rate limit pay", "pool db", "nothing"]),
    ("a pool, then a rate limit",
     "pools: {db: {size: 1}}\n" + LIMITED + route(f"{QUERY}, {CALL}"),
     ["pool db", "rate limit pay", "nothing"]),
    ("one row, then the pool", POOL + ONE_ROW + route(TRANSACTION),
     ["lock row", "pool db", "nothing"]),
    ("a device, then nothing", GPU + route("{predict: gpu}"), ["accelerator gpu", "nothing"]),
    ("a device, then a pool",
     "pools: {db: {size: 8}}\n" + GPU + route(f"{QUERY}, {{predict: gpu}}"),
     ["accelerator gpu", "pool db", "nothing"]),
    ("a pool, then the database's cores",
     "pools: {db: {size: 4, database: main}}\n" + DATABASE + route(QUERY),
     ["pool db", "database cores main", "nothing"]),
    ("a database's cores, then the pool",
     "pools: {db: {size: 20, database: main}}\n" + DATABASE + route(QUERY),
     ["database cores main", "pool db", "nothing"]),
    ("a pool, then what the database accepts",
     "pools: {db: {size: 4, database: main}}\ndatabases: {main: {max_connections: 23}}\n"
     + route(QUERY), ["pool db", "database main"]),
    ("nothing at all", route("{await: 1s}"), ["nothing"]),
]  # fmt: skip


def explained(text: str) -> Explanation:
    return explain("<text>", text)


@pytest.mark.parametrize(("text", "names"), [c[1:] for c in TWENTY], ids=[c[0] for c in TWENTY])
def test_what_limits_and_what_limits_next(text: str, names: list[str]) -> None:
    found = explained(BURST + text)
    assert [link.resource for link in found.chain][: len(names)] == names
    assert names[-1] != "nothing" or len(found.chain) == len(names)


def test_each_link_is_no_slower_than_the_one_before() -> None:
    found = explained(BURST + TWENTY[1][1])
    last = [link.measured.total.last_ns for link in found.chain]
    assert last == [51 * 10**9, 24 * 10**9, 2 * 10**9]


def test_one_more_of_each_by_hand() -> None:
    roomy = PAY.replace("concurrency: 5", "concurrency: 50")
    found = explained(BURST + POOL + roomy + route(f"{QUERY}, {CALL}"))
    changed = {change.what: change.measured.total.last_ns for change in found.changes}
    ms = 10**6
    # 200 × 100 ms on 4 connections take 5 s, and the last call 100 ms more.
    assert found.chain[0].measured.total.last_ns == 5100 * ms
    assert changed["pool db 4 → 5"] == 4100 * ms
    assert changed["routes.a.steps[0].time: a tenth less"] == 4600 * ms
    assert changed["services.pay.time: a tenth less"] == 5090 * ms
    assert "service pay" in found.unwaited


def test_bands_add_up_and_the_slow_ones_wait_longer() -> None:
    answer = simulate(loads(BURST + POOL + route(QUERY)))
    everyone, *parts = bands(answer.trace)
    assert [band.requests for band in parts] == [100, 90, 8, 2]
    total_ns = sum(band.requests * band.latency_ns for band in parts)
    assert total_ns == pytest.approx(200 * everyone.latency_ns, abs=200)
    for band in (everyone, *parts):
        assert sum(band.spent_ns) == pytest.approx(band.latency_ns, abs=len(band.spent_ns))
    assert [band.latency_ns for band in parts] == sorted(band.latency_ns for band in parts)


def test_the_story_of_the_slowest() -> None:
    story = slowest(simulate(loads(BURST + POOL + route(QUERY))).trace)
    assert story is not None
    ms = 10**6
    assert [(s.begin_ns, s.end_ns, s.kind, s.label) for s in story.spans] == [
        (0, 4900 * ms, "wait", "pool db"),
        (4900 * ms, 5000 * ms, "hold", "pool db"),
    ]


def formula(text: str, *overrides: str) -> Known:
    found = known(loads(text, overrides).plan)
    assert isinstance(found, Known), found
    return found


POISSON = "load: {rate: 8/s, for: 600s}\n"
EXP = "{query: db, time: {exp: 100ms}}"


def test_the_formula_of_a_plan() -> None:
    one = POISSON + "pools: {db: {size: 1}}\n"
    assert formula(one + route(EXP)).mean_s == pytest.approx(0.5)
    assert formula(one + route(QUERY)).mean_s == pytest.approx(0.3)
    assert formula(one + route(f"{{await: 2s}}, {EXP}")).mean_s == pytest.approx(2.5)
    assert formula(one + route(EXP), "load.rate=11/s").mean_s == math.inf
    sync = "server: {preset: flask, workers: 3}\n" + route("{block: {exp: 250ms}}", "def")
    # M/M/3 at 2 erlangs: C = 4/9, so the wait is 250 ms · 4/9 and the whole 361 ms.
    assert formula(POISSON + sync).mean_s == pytest.approx(0.25 * (1 + 4 / 9))
    tandem = POISSON + "pools: {db: {size: 1}, b: {size: 1}}\n"
    assert formula(tandem + route(f"{EXP}, {EXP.replace('db', 'b')}")).mean_s == pytest.approx(1.0)
    lost = formula(
        POISSON + "services: {pay: {time: 250ms, concurrency: 2, queue: 0}}\n" + route(CALL)
    )
    assert lost.lost == pytest.approx(0.4)
    users = "load: {users: 2, think: {exp: 1s}, for: 600s}\npools: {db: {size: 1}}\n" + route(EXP)
    assert formula(users).throughput == pytest.approx(2.2 / (1.1**2 + 0.01), rel=0.01)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (BURST + POOL + route(QUERY), "arrivals that are not Poisson"),
        (POISSON + POOL + route(QUERY), "several slots or stations"),
        (POISSON + route("{cpu: 1ms}, {await: 1s}"), "a loop that is busy between other steps"),
        (POISSON + "server: {workers: 2}\n" + route("{cpu: 1ms}"), "workers"),
        (POISSON + "server: {overheads: typical}\n" + route("{cpu: 1ms}"), "overheads"),
    ],
)
def test_why_no_formula_applies(text: str, reason: str) -> None:
    found = known(loads(text).plan)
    assert isinstance(found, str) and reason in found


def test_the_simulation_agrees_with_the_formula_that_it_is_shown_beside() -> None:
    """At 600 s of M/M/1 at .5 (2,400 requests): standard error 5 %; 20 % is four of them."""
    text = "load: {rate: 4/s, for: 600s}\npools: {db: {size: 1}}\n" + route(
        "{query: db, time: {exp: 125ms}}"
    )
    answer, said = simulate(loads(text)), formula(text)
    mean = answer.summary.total.latency.mean_ns
    assert mean is not None and mean / 1e9 == pytest.approx(said.mean_s, rel=0.2)


def test_the_command(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "two.yaml"
    path.write_text(BURST + TWENTY[1][1])
    shown = sim("explain", str(path))
    assert shown.code == 0
    for words in ("TIME BY CAUSE", "BOUNDS", "FORMULA", "SENSITIVITY", "THE SLOWEST", "repeat:"):
        assert words in shown.out
    document = json.loads(sim("explain", str(path), "--json").out)
    assert [link["resource"] for link in document["bottlenecks"]] == ["pool a", "pool b", "nothing"]
    assert sim("explain", str(path)).out == shown.out
    assert sim("explain", str(path), "--rule", "SIM101").code == 2
    assert sim("explain", str(tmp_path / "none.yaml")).code == 3


def test_ctrl_c_keeps_what_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.experiments import explain as module
    from simulator.experiments import variants

    calls = 0

    def run(*arguments, **options):  # type: ignore[no-untyped-def]
        nonlocal calls
        calls += 1
        if calls > 2:
            raise KeyboardInterrupt
        return simulate(*arguments, **options)

    monkeypatch.setattr(module, "simulate", run)
    monkeypatch.setattr(variants, "simulate", run)
    found = explained(BURST + TWENTY[1][1])
    assert found.interrupted and len(found.chain) == 2 and found.bands


RANDOM = """\
load: {rate: 80/s, arrivals: poisson, for: 5s}
pools: {db: {size: 1}}
routes:
  a: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""


def test_sensitivities_have_intervals_where_chance_has_a_part() -> None:
    found = explained(RANDOM)
    assert {change.measured.trust.replications for change in found.changes} == {5}
    times = next(c for c in found.changes if c.override.startswith("routes.a.steps"))
    assert times.mean.interval is not None and times.mean.share is not None
    assert times.mean.interval.low < times.mean.share < times.mean.interval.high < 0
    # The same by hand: replication r of both has the same draws.
    from simulator.experiments.paired import Side, change, sample_of

    def side(*overrides: str) -> Side:
        runs = [simulate(loads(RANDOM, overrides), replication=r) for r in range(5)]
        samples = tuple(sample_of(measured(run)) for run in runs)
        return Side("", "", "", 0, samples, False, "")

    by_hand = change(side(), side(times.override), "", "mean")
    assert by_hand is not None and by_hand.ratio is not None and by_hand.ratio_interval is not None
    assert times.mean.share == by_hand.ratio - 1
    assert times.mean.interval.low == by_hand.ratio_interval.low - 1
    # In pairs chance mostly cancels: means of as many runs lie further apart by themselves.
    alone = side().interval("", "mean")
    assert alone is not None
    spread = alone.half(by_hand.before) / by_hand.before
    assert times.mean.interval.half(times.mean.share) < spread / 2


def test_without_chance_there_is_nothing_to_be_unsure_of() -> None:
    found = explained(BURST + POOL + route(QUERY))
    assert all(c.mean.interval is None and c.p95.interval is None for c in found.changes)
    assert {change.measured.trust.replications for change in found.changes} == {1}


def test_what_would_take_long_is_judged_by_the_batches_of_one_run(
    monkeypatch: pytest.MonkeyPatch, sim: Sim, tmp_path: Path
) -> None:
    from simulator.experiments import sensitivity

    path = tmp_path / "random.yaml"
    path.write_text(RANDOM.replace("80/s", "60/s").replace("5s", "20s"))
    assert "5 replications of each in pairs" in sim("explain", str(path)).out
    monkeypatch.setattr(sensitivity, "EVENTS_MAX", 0)
    page = sim("explain", str(path)).out
    assert "by the requests of one run in pairs, in batches" in page and "replications" not in page
