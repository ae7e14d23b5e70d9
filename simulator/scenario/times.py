"""The kinds of a time: a constant or a distribution, as an engineer knows it."""

from __future__ import annotations

from typing import Any

from simulator.scenario.kinds import Count, Duration, Kind, Number, Schema, Text
from simulator.scenario.node import Node, Scalar
from simulator.scenario.problem import Problems
from simulator.scenario.sections import (
    REQUIRED,
    Field,
    Lazy,
    ListOf,
    OneKey,
    Section,
    WordOr,
)

VALUES_MAX = 50_000
"""Values of one empirical distribution."""
CV_MAX = 100.0
"""Coefficient of variation of a distribution."""

_SOME = Duration(positive=True)
_MEAN = Field("mean", _SOME, "Mean time.", REQUIRED)
_CV = Field("cv", Number(0, CV_MAX, above=True), "Coefficient of variation: sd / mean.", REQUIRED)


class FileOrValues(Kind):
    """The name of a file of measured times, or the times themselves."""

    expected = "a file name or a list of durations"

    def __init__(self) -> None:
        self.values = ListOf(Duration(), expected="a list of durations", least=1, most=VALUES_MAX)

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar):
            return Text().read(node, path, problems)
        return self.values.read(node, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [Text().schema(), self.values.schema()]}


def _quantiles(name: str, doc: str) -> Field:
    p50 = Field("p50", _SOME, "Median.", REQUIRED)
    p99 = Field("p99", _SOME, "99th percentile.", REQUIRED)
    return Field(name, Section(p50, p99), doc)


TIME: Kind = Lazy("time", lambda: _TIME, "a duration such as 5ms or a distribution")

_MIX = Section(
    Field("p", Number(0, 1), "Probability of this part.", REQUIRED),
    Field("time", TIME, "The time, in this part.", REQUIRED),
)

DISTRIBUTIONS = OneKey(
    Field("exp", _SOME, "Exponential with this mean."),
    _quantiles("lognormal", "Log-normal through its median and 99th percentile."),
    Field("gamma", Section(_MEAN, _CV), "Gamma with this mean and coefficient of variation."),
    Field(
        "erlang",
        Section(_MEAN, Field("k", Count(1, 1000), "Number of phases.", REQUIRED)),
        "Sum of k exponential phases, together of this mean.",
    ),
    Field(
        "hyperexp",
        Section(
            _MEAN,
            Field("cv", Number(1, CV_MAX, above=True), "Coefficient of variation.", REQUIRED),
        ),
        "Two exponential phases with balanced means; cv above 1.",
    ),
    Field(
        "uniform",
        ListOf(Duration(), expected="a list of two durations", least=2, most=2),
        "Evenly between two times.",
    ),
    Field(
        "normal",
        Section(_MEAN, Field("sd", Duration(), "Standard deviation.", REQUIRED)),
        "Normal with this mean and standard deviation, cut at 0.",
    ),
    _quantiles("pareto", "Pareto through its median and 99th percentile; heavy-tailed."),
    Field(
        "empirical",
        FileOrValues(),
        "Measured times, each as likely: a file with a duration in each line, or with "
        "seconds below the header time_s; or a list.",
    ),
    Field(
        "mix",
        ListOf(_MIX, expected="a list of {p, time}", least=1, most=100),
        "One of several times, each with its probability.",
    ),
    expected="a distribution such as {exp: 20ms}",
)

_TIME: Kind = WordOr(Duration(), DISTRIBUTIONS, expected="a duration such as 5ms or a distribution")

COUNT_MAX = 10_000_000
"""Tokens of one answer, chunks of one stream; and the mean of a drawn count."""

COUNTS: Kind = WordOr(
    Count(1, COUNT_MAX),
    OneKey(
        Field(
            "geometric",
            Number(1, COUNT_MAX),
            "Geometric with this mean: each one is as likely to be the last.",
        ),
        expected="a distribution such as {geometric: 180}",
    ),
    expected="a whole number such as 180 or {geometric: 180}",
)
