"""Comparisons: request by request where they are the same, and the difference by cause."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.answer import simulate
from simulator.experiments.compare import Case, Difference, difference, named
from simulator.report import compare as page
from simulator.scenario import loads

BURST = """\
name: burst
load: {requests: 4, at: once}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: 1s}]}
"""


def case(letter: str, text: str = BURST, *overrides: str) -> Case:
    return Case(letter, "burst.yaml", overrides, simulate(loads(text, overrides)))


def compared(text: str, *overrides: str) -> Difference:
    return difference(case("A").answer, case("B", text, *overrides).answer)


def rows(found: Difference) -> list[tuple[str, int, int, int]]:
    second = 10**9
    return [
        (
            f"{row.kind} {row.cause}",
            row.before_ns * 10 // second,
            row.after_ns * 10 // second,
            row.difference_ns * 10 // second,
        )
        for row in found.causes
    ]


def test_the_difference_by_cause_in_tenths_of_a_second() -> None:
    found = compared(BURST, "pools.db.size=2")
    # 1, 2, 3 and 4 s against 1, 1, 2 and 2 s.
    assert (found.before_ns, found.after_ns) == (2_500_000_000, 1_500_000_000)
    assert rows(found) == [("wait pool:db", 15, 5, -10), ("hold query:db", 10, 10, 0)]
    assert (found.paired, found.requests, found.faster, found.slower) == (True, 4, 3, 0)
    assert found.ratio is not None and float(found.ratio) == 0.6


def test_the_causes_add_up_to_the_difference() -> None:
    found = compared(BURST, "routes.read.handler=def", "server.threads=2", "pools.db.size=2")
    assert found.difference_ns == sum(row.difference_ns for row in found.causes)
    assert rows(found) == [
        ("wait pool:db", 15, 0, -15),
        ("wait threads", 0, 5, 5),
        ("hold query:db", 10, 10, 0),
    ]


def test_only_requests_that_are_ok_in_both_are_compared() -> None:
    found = compared(BURST.replace("size: 1", "size: 1, acquire_timeout: 1500ms"))
    assert (found.requests, found.before_ns, found.after_ns) == (2, 1_500_000_000, 1_500_000_000)
    assert page.verdict(case("A"), case("B"), found) == (
        "B is as fast as A (mean 1.5s against 1.5s over the 2 ok in both)"
    )


def test_other_arrivals_are_not_paired() -> None:
    found = compared(BURST, "load.requests=3")
    assert (found.paired, found.requests) == (False, 4)
    assert rows(found) == [("wait pool:db", 15, 10, -5), ("hold query:db", 10, 10, 0)]


def test_other_routes_are_not_paired() -> None:
    assert not compared(BURST.replace("read:", "write:")).paired


def test_random_times_are_the_same_in_both() -> None:
    text = BURST.replace("time: 1s", "time: {exp: 1s}")
    found = difference(
        simulate(loads(text, ["pools.db.size=4"])), simulate(loads(text, ["pools.db.size=9"]))
    )
    assert (found.faster, found.slower, found.difference_ns) == (0, 0, 0)


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["pools.db.size=2"], "B is 1.67 times faster than A (mean 1.5s against 2.5s)"),
        (
            ["routes.read.steps[0].time=2s"],
            "B is 2.00 times slower than A (mean 5s against 2.5s)",
        ),
        (
            ["routes.read.steps[0].time=1001ms"],
            "B is 1.001 times slower than A (mean 2.503s against 2.5s)",
        ),
        (["server.threads=7"], "B is as fast as A (mean 2.5s against 2.5s)"),
        (["routes.read.steps[0].time=0s"], "B takes no time at all (mean 0s against 2.5s)"),
    ],
)
def test_the_verdict(overrides: list[str], expected: str) -> None:
    a, b = case("A"), case("B", BURST, *overrides)
    assert page.verdict(a, b, difference(a.answer, b.answer)) == expected


def test_nothing_to_compare_with_no_ok_request() -> None:
    limited = (
        BURST.replace("size: 1", "size: 3, database: pg") + "databases: {pg: {max_connections: 4}}"
    )
    a, b = case("A"), case("B", limited)
    found = difference(a.answer, b.answer)
    assert page.verdict(a, b, found) == (
        "no request is ok in both: there are no latencies to compare"
    )


def test_the_page() -> None:
    cases = [case("A"), case("B", BURST, "pools.db.size=2")]
    text = page.render(cases, command="sim compare burst.yaml x", version="1", seed=0)
    assert text.splitlines()[5:20] == [
        "  REQUESTS                     count      ok  errors    rate    mean     p50     p95     "
        "p99     max",
        "    A  burst                       4       4       0  1.00/s    2.5s      2s       –     "
        "  –      4s",
        "    B  burst pools.db.size=2       4       4       0  2.00/s    1.5s      1s       –     "
        "  –      2s",
        "",
        "  B is 1.67 times faster than A (mean 1.5s against 2.5s).",
        "  request by request, all 4: 3 faster in B, 0 slower, 1 the same.",
        "",
        "  WHERE THE DIFFERENCE COMES FROM, mean       A       B  difference",
        "    wait  pool db                          1.5s   500ms         -1s",
        "    hold  query db                           1s      1s          0s",
        "    all                                    2.5s    1.5s         -1s",
        "",
        "  BOTTLENECK",
        "    A  pool db: 4 × 1s = 4s is the bound, the run took 4s.",
        "    B  pool db: 4 × 1s / 2 = 2s is the bound, the run took 2s.",
    ]


def test_errors_come_before_times() -> None:
    b = case("B", BURST.replace("size: 1", "size: 1, acquire_timeout: 500ms"))
    text = page.render([case("A"), b], command="", version="1", seed=0)
    assert (
        "  B answers 1 of 4 requests, A 4 of 4 (1.00/s against 1.00/s).\n  B is as fast as A"
        in text
    )
    assert "WHERE THE DIFFERENCE COMES FROM, mean over the 1 ok in both  " in text
    assert "request by request, 1 of 4, those that are ok in both: 0 faster in B" in text


def test_what_is_compared() -> None:
    assert named(["a.yaml", "b.yaml"], ["k=1"]) == (
        ("A", "a.yaml", ("k=1",)),
        ("B", "b.yaml", ("k=1",)),
    )
    assert named(["a.yaml"], ["k=1"]) == (("A", "a.yaml", ()), ("B", "a.yaml", ("k=1",)))
    with pytest.raises(ValueError, match=r"nothing to compare a\.yaml with"):
        named(["a.yaml"], [])
    with pytest.raises(ValueError, match=r"expected at most 26 \(SCENARIOS_MAX\)"):
        named(["a.yaml"] * 27, [])


def test_an_empty_run_is_not_paired(tmp_path: Path) -> None:
    found = difference(case("A").answer, case("B", BURST, "load={rate: 1/h, for: 1ms}").answer)
    assert (found.paired, found.after_ns, found.causes) == (False, None, ())
