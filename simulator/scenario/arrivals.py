"""The keys of a load: a burst, a rate, stages, users, a recorded trace."""

from __future__ import annotations

from typing import Any

from simulator.plan import UNLIMITED
from simulator.scenario.kinds import (
    Choice,
    Count,
    Duration,
    Kind,
    Number,
    Rate,
    Schema,
    Text,
)
from simulator.scenario.node import Node, Scalar, Sequence
from simulator.scenario.problem import Problems
from simulator.scenario.sections import REQUIRED, Field, ListOf, OneOrMore, Section, WordOr
from simulator.scenario.times import CV_MAX, TIME

USERS_MAX = 1_000_000
"""Users of one closed load."""
STAGES_MAX = 1000
"""Stages of one load."""
ROWS_MAX = 1_000_000
"""Requests of one recorded trace."""

_STAGE = Section(
    Field("duration", Duration(positive=True), "How long the stage lasts.", REQUIRED),
    Field("target", Rate(or_zero=True), "The rate at its end, reached in a straight line; "
          "0/s for none.", REQUIRED),
    expected="a stage",
)  # fmt: skip


class _Row(Kind):
    """An instant and a route."""

    expected = "a list of a time and a route such as [1.5s, get_user]"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Sequence) or len(node.items) != 2:
            return self.mistaken(node, path, problems)
        at, route = node.items
        return [
            Duration().read(at, f"{path}[0]", problems),
            Text().read(route, f"{path}[1]", problems),
        ]

    def schema(self) -> Schema:
        pair = [Duration().schema(), Text().schema()]
        return {"type": "array", "prefixItems": pair, "minItems": 2, "maxItems": 2}


class _Warmup(Duration):
    """A time, or the word ``auto``."""

    def __init__(self) -> None:
        super().__init__(or_none=True)
        self.expected = f"auto, {self.expected}"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar) and node.value == "auto":
            return "auto"
        return super()._read(node, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [{"const": "auto"}, super().schema()]}


class _FileOrRows(Kind):
    """The name of a file of recorded arrivals, or the arrivals themselves."""

    expected = "a file name or a list of [time, route]"

    def __init__(self) -> None:
        self.rows = ListOf(_Row(), expected=self.expected, least=1, most=ROWS_MAX)

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar):
            return Text().read(node, path, problems)
        return self.rows.read(node, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [Text().schema(), self.rows.schema()]}


LOAD = Section(
    Field("requests", Count(1, UNLIMITED - 1), "How many requests; may be spelt 10k."),
    Field("at", Choice("once"), "A burst: all requests arrive at time 0."),
    Field("rate", Rate(), "Open arrivals at this rate, which never wait for completions."),
    Field(
        "arrivals",
        WordOr(
            Choice("poisson", "constant"),
            Section(
                Field(
                    "gamma",
                    Section(
                        Field(
                            "cv",
                            Number(0, CV_MAX, above=True),
                            "Coefficient of variation of the gaps: above 1 is burstier than "
                            "Poisson.",
                            REQUIRED,
                        )
                    ),
                    "Independent gaps from a gamma distribution.",
                    REQUIRED,
                )
            ),
        ),
        "How they arrive; default poisson.",
    ),
    Field(
        "stages",
        ListOf(_STAGE, expected="a list of {duration, target}", least=1, most=STAGES_MAX),
        "A rate that goes from one target to the next, as in k6.",
    ),
    Field("start", Rate(or_zero=True), "The rate before the first stage; default 0/s."),
    Field(
        "users",
        Count(1, USERS_MAX),
        "A closed load: so many users, each of whom waits for the answer, thinks, asks again.",
    ),
    Field("think", TIME, "How long a user thinks between an answer and the next request; "
          "default 0s."),
    Field("ramp", Duration(), "The users begin one after another over this time; default 0s."),
    Field(
        "trace",
        _FileOrRows(),
        "Recorded arrivals: a CSV file with the header time_s,route (or time_s, where there is "
        "one route), relative to the scenario; or a list of [time, route].",
    ),
    Field("for", Duration(positive=True), "Arrivals stop then."),
    Field(
        "drain",
        Duration(or_none=True),
        "How long after the last arrival requests in flight may end; default 30s.",
    ),
    Field(
        "warmup",
        _Warmup(),
        "Requests that arrive before do not count, because the service is still filling up; "
        "auto finds it by MSER-5; default none.",
    ),
    expected="a load",
    synonyms={"duration": "for", "count": "requests", "rps": "rate", "vus": "users"},
)  # fmt: skip
LOADS = OneOrMore(LOAD, expected="a load such as {requests: 1000, at: once}, or a list of them")
