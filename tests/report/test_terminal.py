"""The page that a person reads."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from simulator.analysis.bottleneck import bottleneck
from simulator.analysis.summary import summarize
from simulator.analysis.verdicts import evaluate
from simulator.engines import contract
from simulator.plan import NEVER, LoadKind, Plan, Route, ServerKind
from simulator.report.terminal import (
    load_words,
    render,
    server_words,
    with_override,
)
from simulator.thresholds import parse
from simulator.trace import Stuck, Trace
from tests.analysis.handmade import MS, Rows, S, asgi, burst, plan, pool
from tests.plans import load, route


@dataclass(frozen=True)
class Found:
    code: str
    message: str
    place: str


def page(small: Plan, trace: Trace, *, thresholds: tuple[tuple[str, str], ...] = ()) -> str:
    summary = summarize(small, trace)
    found = bottleneck(small, trace, summary)
    results = evaluate([parse(*pair, ["get_user"]) for pair in thresholds], summary)
    findings = [Found("SIM105", "acquire without a timeout", "small.yaml:7:3")]
    return render(
        small, summary, found, results, findings, command="sim run small.yaml", version="sim 1.0"
    )


def test_the_whole_page() -> None:
    small = plan(count=20)
    wanted = (("latency", "p(95)<1m"), ("errors", "rate<1%"), ("throughput", "rate>10/s"))
    assert (
        page(small, burst(small, 20), thresholds=wanted)
        == """\
small   asgi, 1 worker, loop + 40 threads   20 requests at once   seed 0

  REQUESTS      count      ok  errors    rate    mean     p50     p95     p99     max
    GET /user      20      20       0   0.4/s   27.5s     25s     50s       –     50s

  WHERE THE TIME GOES, mean per finished request
    wait  pool db      22.5s    82%  ████████████████
    hold  query db        5s    18%  ████

  RESOURCES    size    busy  queue max  wait mean  wait p95  wait max
    pool db       2    100%         18      22.5s       45s       45s

  BOTTLENECK  pool db: 20 × 5s / 2 = 50s is the bound, the run took 50s.
    async lets 18 requests wait at once; it does not let more than 2 queries run at once.
    next: sim run small.yaml pools.db.size=4

  THRESHOLDS
    ✓ latency p(95)<1m   observed 50s
    ✓ errors rate<1%   observed 0%
    ✗ throughput rate>10/s   observed 0.4/s

  FINDINGS
    SIM105  small.yaml:7:3  acquire without a timeout

  repeat: sim run small.yaml   sim 1.0, overheads: none
"""
    )


def test_percentiles_are_hidden_where_more_than_half_failed() -> None:
    small = plan(pools=(pool(1, timeout_ns=3 * S),))
    rows = Rows(small)
    rows.request(0, 5)
    for _ in range(2):
        rows.request(0, 3, {contract.wait_for_pool(0): 3}, outcome=contract.pool_timeout(0))
    text = page(small, rows.trace())
    assert "GET /user       3       1       2   0.2/s      5s       –" in text
    assert "  FAILURES            count   share\n    pool timeout db       2     67%\n" in text


def test_several_routes_have_a_total() -> None:
    routes = tuple(route(name) for name in ("read", "write"))
    rows = Rows(plan(routes=routes))
    for index in (0, 0, 1):
        rows.request(0, 1 + index, route=index)
    lines = page(rows.plan, rows.trace()).splitlines()
    at = next(i for i, line in enumerate(lines) if "REQUESTS" in line)
    assert [line.split()[:3] for line in lines[at + 1 : at + 4]] == [
        ["read", "2", "2"],
        ["write", "1", "1"],
        ["total", "3", "3"],
    ]


@pytest.mark.parametrize(
    ("ended", "text"),
    [
        ("interrupted", "INTERRUPTED: this is what was done so far. 1 of 2 have an outcome."),
        ("deadlock", "DEADLOCK: the run stopped because no request could go on. 1 of 2"),
        ("drained", "DRAINED: the load ended and the time to finish is over"),
    ],
)
def test_a_run_that_is_not_complete_says_so_at_the_top(ended: str, text: str) -> None:
    rows = Rows(plan())
    rows.request(0, 1)
    rows.request(0, None)
    shown = page(rows.plan, rows.trace(end=2, ended=ended))
    assert shown.splitlines()[2].startswith(f"  {text}")
    assert "errors  in flight" in shown


def test_requests_in_flight_are_named_beside_percentiles_and_thresholds() -> None:
    rows = Rows(plan())
    rows.request(0, 1)
    rows.request(0, None)
    shown = page(rows.plan, rows.trace(end=2), thresholds=(("latency", "p(95)<1s"),))
    assert "    times are those of ok requests; 1 is in flight at the end and in none of" in shown
    assert "  THRESHOLDS   over ok requests; 1 is in flight at the end and in none of them" in shown


def test_the_longest_queue_of_several_workers_is_of_each() -> None:
    rows = Rows(plan(server=asgi(2), pools=(pool(1),)))
    for i in range(3):
        rows.request(0, 5 * (i // 2) + 5, process=i % 2)
        rows.visit("pool db", i, 0, 5 * (i // 2), 5 * (i // 2) + 5, process=i % 2)
    (line,) = (line for line in page(rows.plan, rows.trace()).splitlines() if "2 × 1" in line)
    assert line == "    pool db   2 × 1     75%    ≤1 each     1.667s        5s        5s"


def test_waits_per_request_are_said_to_be() -> None:
    rows = Rows(plan())
    rows.request(0, 3, {contract.EVENT_LOOP: 1})
    rows.visit("event loop", 0, 0, 1, 3)
    rows.visit("pool db", 0, 1, 1, 3)
    shown = page(rows.plan, rows.trace())
    assert "\n    waits per request: event loop; of the others per visit\n" in shown


def test_a_wait_without_an_end_is_infinite() -> None:
    rows = Rows(plan(pools=(pool(1),)))
    rows.request(0, None)
    rows.visit("pool db", 0, 0, None, 0.003)
    station = [s.label for s in rows.plan.stations].index("pool db")
    stuck = (Stuck(0, (station,), station),)
    shown = page(rows.plan, rows.trace(0.003, "deadlock", stuck))
    assert "    pool db       1      0%          1          ∞         ∞         ∞\n" in shown


def test_a_long_verdict_goes_on_below() -> None:
    rows = Rows(plan(server=asgi(4), pools=(pool(24),)))
    for i in range(100):
        rows.request(0, 5 * (i // 24) + 5)
        rows.visit("pool db", i, 0, 5 * (i // 24), 5 * (i // 24) + 5, slot=i % 24)
    assert max(map(len, page(rows.plan, rows.trace()).splitlines())) <= 100


def test_a_name_cannot_forge_lines_or_move_the_cursor() -> None:
    named = Route("GET /\x1b[2J\nBOTTLENECK  none", "get_user", True, (), (), NEVER, 0)
    small = plan(routes=(named,))
    text = page(small, burst(small))
    assert "\x1b" not in text
    assert "GET /?[2J?BOTTLENECK  none" in text


def test_an_overhead_in_use_is_named() -> None:
    server = asgi()
    used = replace(server, overheads=replace(server.overheads, timer_ns=300_000))
    small = plan(server=used)
    assert page(small, burst(small)).endswith("sim 1.0, overheads: timer 300us\n")


def test_the_server_in_words() -> None:
    kinds = (ServerKind.SYNC, ServerKind.THREADS, ServerKind.ASGI)
    plans = [plan(server=asgi(4, 8, kind)) for kind in kinds]
    assert [server_words(each) for each in plans] == [
        "sync, 4 workers",
        "threads, 4 workers of 8 threads",
        "asgi, 4 workers, loop + 8 threads",
    ]
    assert server_words(plans[0], "flask") == "flask, 4 workers"


def test_the_load_in_words() -> None:
    loads = (
        load(LoadKind.BURST, 1),
        load(LoadKind.POISSON, 10**7, 180 * S, (200, 1)),
        load(LoadKind.CONSTANT, 500, rate=(3, 2)),
    )
    assert load_words(plan(loads=loads)) == (
        "1 request at once + 200/s poisson for 180s + 1.5/s constant, 500 requests"
    )


def test_an_override_replaces_the_one_of_its_key() -> None:
    command = "sim run 'my file.yaml' pools.db.size=2 seed=1"
    assert with_override(command, "pools.db.size=4") == (
        "sim run 'my file.yaml' seed=1 pools.db.size=4"
    )


def test_a_small_share_still_has_a_bar() -> None:
    rows = Rows(plan())
    rows.request(0, 1, {contract.AWAIT: 1 - 2 * MS / S, contract.CPU: 2 * MS / S})
    assert "    hold  cpu         2ms   0.2%  ▏\n" in page(rows.plan, rows.trace())


def test_a_long_finding_goes_on_below() -> None:
    small = plan()
    summary = summarize(small, burst(small))
    found = Found("SIM101", "it freezes the event loop " * 5, "configs/small.yaml:13:9")
    text = render(
        small,
        summary,
        bottleneck(small, burst(small), summary),
        (),
        [found],
        command="sim run small.yaml",
        version="sim 1.0",
    )
    assert (
        """
    SIM101  configs/small.yaml:13:9
            it freezes the event loop it freezes the event loop it freezes the event loop it freezes
            the event loop it freezes the event loop
"""
        in text
    )
