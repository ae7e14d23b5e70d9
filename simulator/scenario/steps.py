"""The kinds of a step: one line of a handler each."""

from __future__ import annotations

from typing import Any

from simulator.scenario.kinds import BAD, Boolean, Choice, Count, Duration, Kind, Name, Schema
from simulator.scenario.node import Mapping, Node, Scalar, place, shown
from simulator.scenario.outside import RETRIES
from simulator.scenario.problem import Problems, nearest
from simulator.scenario.sections import (
    REQUIRED,
    Field,
    Lazy,
    ListOf,
    OneOrMore,
    Section,
    described,
)
from simulator.scenario.times import COUNTS, DISTRIBUTIONS, TIME

STEP: Kind = Lazy("step", lambda: _STEP, "a step such as {await: 5s}")

SOCKETS_MAX = 1_000_000
"""Sockets of one broadcast."""

_STEPS = ListOf(STEP, expected="a list of steps")


class _Cpu(Kind):
    """A time, or a mapping of a time and whether the GIL is released."""

    expected = "a time such as 3ms, or a mapping with the keys time, releases_gil"
    section = Section(
        Field("time", TIME, "How long it computes.", REQUIRED),
        Field("releases_gil", Boolean(), "As numpy, zlib or a model's forward pass do.", False),
    )

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        keys = node.entries.keys() if isinstance(node, Mapping) else set()
        if isinstance(node, Mapping) and (
            not keys & DISTRIBUTIONS.fields.keys() or keys & self.section.fields.keys()
        ):
            return self.section.read(node, path, problems)
        if not isinstance(node, Mapping) and not (
            isinstance(node, Scalar) and node.value is not None
        ):
            return self.mistaken(node, path, problems)
        time = TIME.read(node, path, problems)
        return BAD if time is BAD else {"time": time, "releases_gil": False}

    def schema(self) -> Schema:
        return {"anyOf": [TIME.schema(), self.section.schema()]}


_MEANT = {
    "sleep": "did you mean 'await' (asyncio.sleep) or 'block' (time.sleep)?",
    "wait": "did you mean 'await' (asyncio.sleep) or 'block' (time.sleep)?",
    **dict.fromkeys(("http", "request", "requests", "get"), "did you mean 'call'?"),
}
"""Words of other tools and what they are called here."""


class _Step(Kind):
    """A mapping whose one step word says what the line does."""

    expected = "a step such as {await: 5s}"

    def __init__(self, **sections: Section) -> None:
        self.sections = {name.rstrip("_"): section for name, section in sections.items()}

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Mapping):
            hint = ""
            if isinstance(node, Scalar) and node.text in self.sections:
                hint = f"did you mean {{{node.text}: ...}}?"
            return self.mistaken(node, path, problems, hint)
        words = [word for word in node.entries if word in self.sections]
        if len(words) == 1:
            return self.sections[words[0]].read(node, path, problems)
        if words:
            what = f"{' and '.join(words)} in one step, expected one of them"
            return self.wrong(node, path, problems, what, "make each a step of its own")
        known = {key for section in self.sections.values() for key in section.fields}
        for name, child in node.entries.items():
            if name not in known:
                mark = child.key or place(child)
                hint = _MEANT.get(name) or nearest(name, self.sections)
                problems.add(mark, f"{path}: unknown step '{name[:40]}'", hint)
                return BAD
        what = f"{shown(node)} without a step word, expected one of: {', '.join(self.sections)}"
        return self.wrong(node, path, problems, what)

    def schema(self) -> Schema:
        return {"oneOf": [_strict(section) for section in self.sections.values()]}


def _strict(section: Section) -> Schema:
    return {
        "type": "object",
        "properties": {field.name: described(field) for field in section.fields.values()},
        "additionalProperties": False,
        "required": [f.name for f in section.fields.values() if f.default is REQUIRED],
    }


_BRANCH = OneOrMore(STEP, expected="a step or a list of steps", least=0)

_STEP: _Step = _Step(
    cpu=Section(
        Field("cpu", _Cpu(), "Compute: holds the thread or the loop, and the GIL.", REQUIRED)
    ),
    await_=Section(
        Field("await", TIME, "asyncio.sleep, an async client: the loop is free.", REQUIRED)
    ),
    block=Section(
        Field(
            "block",
            TIME,
            "time.sleep, requests.get: holds its thread; in async def it freezes the loop.",
            REQUIRED,
        )
    ),
    query=Section(
        Field(
            "query",
            Name("pool"),
            "Take a connection of this pool, run a query, give it back; inside `with` of "
            "the pool the held connection is used.",
            REQUIRED,
        ),
        Field("time", TIME, "How long the query runs.", REQUIRED),
    ),
    with_=Section(
        Field("with", Name("pool"), "Take a connection of this pool for the steps.", REQUIRED),
        Field(
            "isolation",
            Choice("read_committed", "repeatable_read", "serializable"),
            "Of the transaction: above read_committed the first to update a row wins, and "
            "the others fail and are tried again.",
            "read_committed",
        ),
        Field("retries", RETRIES, "How often a transaction that lost is done again; default 0."),
        Field("do", _STEPS, "Steps while the connection is held.", REQUIRED),
    ),
    lock=Section(
        Field(
            "lock",
            Name("lock"),
            "SELECT ... FOR UPDATE: held to the end of the innermost `with`.",
            REQUIRED,
        ),
        Field("shared", Boolean(), "FOR SHARE: several readers may hold the row.", False),
    ),
    call=Section(
        Field("call", Name("service"), "An HTTP call of this service.", REQUIRED),
        Field(
            "timeout",
            Duration(or_none=True, positive=True),
            "How long an attempt may take, waits included; default: the service's.",
        ),
        Field("retries", RETRIES, "When to try again; default: the service's."),
        Field(
            "blocking",
            Boolean(),
            "requests, not httpx: in async def it freezes the loop.",
            False,
        ),
    ),
    predict=Section(
        Field("predict", Name("accelerator"), "Wait for a batch, be part of it.", REQUIRED)
    ),
    generate=Section(
        Field("generate", Name("accelerator"), "Generate tokens, which are streamed.", REQUIRED),
        Field("tokens", COUNTS, "How many tokens.", REQUIRED),
    ),
    stream=Section(
        Field(
            "stream",
            Section(
                Field("chunks", COUNTS, "How many chunks.", REQUIRED),
                Field("every", TIME, "The wait before each chunk.", "0s"),
                Field("cpu", TIME, "Compute for each chunk.", "0s"),
                Field(
                    "direction",
                    Choice("out", "in"),
                    "out: a StreamingResponse, SSE, a WebSocket's messages; in: an upload.",
                    "out",
                ),
                expected="a stream",
            ),
            "Send or receive chunks; a sync iterator on an ASGI server takes a thread for each.",
            REQUIRED,
        )
    ),
    broadcast=Section(
        Field(
            "broadcast",
            Section(
                Field("sockets", Count(1, SOCKETS_MAX), "Open WebSockets.", REQUIRED),
                Field("cpu", TIME, "Compute for sending to one of them.", REQUIRED),
                expected="a broadcast",
            ),
            "Send one message to every open WebSocket.",
            REQUIRED,
        )
    ),
    gather=Section(
        Field(
            "gather",
            ListOf(_BRANCH, expected="a list of branches", least=1),
            "asyncio.gather: branches at the same time, each a step or a list of steps.",
            REQUIRED,
        )
    ),
    to_thread=Section(
        Field("to_thread", _STEPS, "run_in_threadpool: in a thread of the limiter.", REQUIRED)
    ),
)

STEP_WORDS = tuple(_STEP.sections)


def word(step: dict[str, Any]) -> str:
    """The step word of a step in the resolved document."""
    return next(iter(step))
