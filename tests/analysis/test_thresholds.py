"""The grammar of thresholds and what a run must show to meet them."""

from __future__ import annotations

from fractions import Fraction

import pytest

from simulator.analysis.summary import Summary, summarize
from simulator.analysis.verdicts import evaluate
from simulator.answer import simulate
from simulator.engines import contract
from simulator.scenario import loads
from simulator.thresholds import Threshold, parse
from tests.analysis.handmade import MS, Rows, S, burst, plan

ROUTES = ("get_user", "save")


def test_a_percentile_of_one_route() -> None:
    assert parse("latency{route:save}", "p(99.9) <= 1.5s", ROUTES) == Threshold(
        metric="latency",
        route="save",
        aggregate="p",
        percentile=Fraction("99.9"),
        operator="<=",
        value=Fraction(1500 * MS),
        text="latency{route:save} p(99.9) <= 1.5s",
    )


@pytest.mark.parametrize(
    ("metric", "expression", "aggregate", "operator", "value"),
    [
        ("latency", "avg<1s", "avg", "<", S),
        ("latency", "med!=0s", "med", "!=", 0),
        ("errors", "rate<1%", "rate", "<", Fraction(1, 100)),
        ("errors", "rate<0.01", "rate", "<", Fraction(1, 100)),
        ("errors", "count<5", "count", "<", 5),
        ("requests", "count>=10k", "count", ">=", 10_000),
        ("requests", "rate>600/min", "rate", ">", 10),
        ("throughput", "rate>10/s", "rate", ">", 10),
        ("in_flight", "count==0", "count", "==", 0),
        ("last", "value<1m40s", "value", "<", 100 * S),
    ],
)
def test_the_value_is_exact(
    metric: str, expression: str, aggregate: str, operator: str, value: Fraction
) -> None:
    got = parse(metric, expression, ROUTES)
    assert (got.aggregate, got.operator, got.value) == (aggregate, operator, value)


@pytest.mark.parametrize(
    ("metric", "expression", "message"),
    [
        (
            "latancy",
            "avg<1s",
            "unknown metric 'latancy', known metrics: "
            "requests, ok, errors, in_flight, throughput, last, latency, first_byte",
        ),
        (
            "latency{route:sav}",
            "avg<1s",
            "unknown route 'sav' in metric 'latency{route:sav}', known routes: get_user, save",
        ),
        ("latency{method:GET}", "avg<1s", "is not NAME or NAME{route:ROUTE}"),
        ("latency", "mean<1s", "known aggregates: avg, min, med, max, p(N)"),
        ("latency", "p<1s", "percentile 'p()' wants a number from 0 to 100, such as p(95)"),
        ("latency", "p(101)<1s", "percentile 'p(101)' wants a number from 0 to 100"),
        ("errors", "p(95)<1s", "unknown aggregate 'p(95)' of metric 'errors'"),
        ("latency", "avg=1s", "is not 'AGGREGATE OPERATOR VALUE', such as 'p(95)<100ms'"),
        ("errors", "rate<200%", "a share of '200%' is more than everything"),
        ("errors", "rate<often", "'often' is not a share"),
        ("throughput", "rate>10", "did you mean 10/s or 10/min?"),
        ("latency", "avg<5", "5"),
    ],
)
def test_what_is_wrong_is_said(metric: str, expression: str, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(metric, expression, ROUTES)
    assert message in str(caught.value)


def _summary() -> Summary:
    """Latencies of 5, 5, 10, 10, 15 and 15 s."""
    small = plan()
    return summarize(small, burst(small))


@pytest.mark.parametrize(
    ("metric", "expression", "ok", "observed"),
    [
        ("latency", "avg<=10s", True, 10 * S),
        ("latency", "avg<10s", False, 10 * S),
        ("latency", "med==10s", True, 10 * S),
        ("latency", "min>=5s", True, 5 * S),
        ("latency", "max<15s", False, 15 * S),
        ("latency", "p(33)<=5s", True, 5 * S),
        ("latency", "p(34)<=5s", False, 10 * S),
        ("latency{route:get_user}", "p(100)<=15s", True, 15 * S),
        ("last", "value<=15s", True, 15 * S),
        ("throughput", "rate>=0.4/s", True, Fraction(2, 5)),
        ("requests", "rate>0.4/s", False, Fraction(2, 5)),
        ("ok", "count==6", True, 6),
        ("errors", "rate<1%", True, 0),
        ("in_flight", "count>0", False, 0),
    ],
)
def test_the_comparison_is_exact(metric: str, expression: str, ok: bool, observed: int) -> None:
    (result,) = evaluate([parse(metric, expression, ROUTES)], _summary())
    assert result.ok is ok
    assert result.observed == Fraction(observed)


def test_an_average_of_a_third_of_a_nanosecond_is_seen() -> None:
    rows = Rows(plan())
    for finish in (1, 1, 1 + 1e-9):
        rows.request(0, finish)
    summary = summarize(rows.plan, rows.trace())
    (result,) = evaluate([parse("latency", "avg<=1s", ROUTES)], summary)
    assert (result.ok, result.observed) == (False, S + Fraction(1, 3))


def test_without_samples_a_threshold_fails() -> None:
    rows = Rows(plan())
    rows.request(0, None)
    summary = summarize(rows.plan, rows.trace(end=3))
    wanted = [("latency", "p(95)<1h"), ("last", "value<1h"), ("errors", "rate<=100%")]
    results = evaluate([parse(*pair, ROUTES) for pair in wanted], summary)
    assert [(result.ok, result.observed) for result in results] == [(False, None)] * 3


def test_an_error_rate_counts_the_requests_that_have_ended() -> None:
    rows = Rows(plan())
    rows.request(0, 1)
    rows.request(0, 1, outcome=contract.pool_timeout(0))
    rows.request(0, None)
    summary = summarize(rows.plan, rows.trace(end=3))
    (result,) = evaluate([parse("errors", "rate<=50%", ROUTES)], summary)
    assert (result.ok, result.observed) == (True, Fraction(1, 2))


def test_the_first_byte_of_a_stream_has_thresholds_of_its_own() -> None:
    """3 chunks of 10 ms: the first byte after 10, the last after 30; a query streams nothing."""
    text = """\
load: {requests: 1, at: once}
routes:
  chat: {handler: async def, steps: [{stream: {chunks: 3, every: 10ms}}]}
thresholds: {first_byte: [p(95)<=10ms, p(95)<10ms], latency: [max<=30ms]}
"""
    found = simulate(loads(text)).thresholds
    assert [(row.ok, row.observed) for row in found] == [
        (True, 10 * MS),
        (False, 10 * MS),
        (True, 30 * MS),
    ]
    plain = simulate(loads(text.replace("stream: {chunks: 3, every: 10ms}", "await: 20ms")))
    assert [row.observed for row in plain.thresholds] == [20 * MS] * 3
