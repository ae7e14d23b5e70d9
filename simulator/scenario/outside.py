"""The keys of what stands around the server: client, services, accelerators, faults."""

from __future__ import annotations

import re
from typing import Any

from simulator.scenario.kinds import (
    BAD,
    Boolean,
    Choice,
    Count,
    Duration,
    Kind,
    Name,
    Number,
    Rate,
    Schema,
    percent,
)
from simulator.scenario.node import Mapping, Node
from simulator.scenario.presets import CLIENTS
from simulator.scenario.problem import Problems
from simulator.scenario.sections import REQUIRED, Field, Named, Section, WordOr
from simulator.scenario.times import TIME

RETRIES_MAX = 100
"""Retries of one call, request or transaction."""
SLOTS_MAX = 1_000_000
"""Slots of a service, connections of a client, places of a queue."""
BATCH_MAX = 10_000
"""Items of one batch, or sequences that run at the same time."""
DEVICES_MAX = 10_000
"""Devices of one accelerator."""

_NUMBER_OF_RETRIES = Count(0, RETRIES_MAX)

RETRIES = WordOr(
    _NUMBER_OF_RETRIES,
    Section(
        Field("max", _NUMBER_OF_RETRIES, "How often to try again; 0 for never.", REQUIRED),
        Field(
            "backoff",
            WordOr(
                Duration(),
                Section(
                    Field("base", Duration(), "The wait before the first retry.", REQUIRED),
                    Field("factor", Number(1, 100), "Each wait is so many times the last.", 2),
                    Field(
                        "jitter",
                        Boolean(),
                        "Full jitter: each wait is drawn evenly between 0 and its value.",
                        True,
                    ),
                ),
            ),
            "The wait before a retry: always the same, or growing.",
            "0s",
        ),
    ),
    expected="a count such as 3, or {max, backoff}",
)

RATE_LIMIT = Section(
    Field(
        "kind",
        Choice("token_bucket", "leaky_bucket", "fixed_window", "sliding_window"),
        "token_bucket: `burst` tokens, full at first, refilled at `rate`; leaky_bucket: one "
        "every 1 / rate; fixed_window: `limit` in each `window`; sliding_window: `limit` in "
        "any `window` that ends now.",
        "token_bucket",
    ),
    Field("rate", Rate(), "Buckets: calls admitted per time."),
    Field("burst", Count(1, SLOTS_MAX), "token_bucket: tokens when full."),
    Field("limit", Count(1, SLOTS_MAX), "Windows: calls admitted in each."),
    Field("window", Duration(positive=True), "Windows: their length."),
    Field("over", Choice("wait", "reject"), "What happens to calls over it.", "reject"),
    expected="a rate limit",
)

HTTP_CLIENT = WordOr(
    Choice("none", *CLIENTS),
    Section(
        Field("preset", Choice(*CLIENTS), "Documented defaults of a real client."),
        Field(
            "connections",
            Count(1, SLOTS_MAX, or_none=True),
            "Connections of each worker process; one more call waits for one.",
        ),
        Field(
            "pool_timeout",
            Duration(or_none=True),
            "How long a call waits for a connection before it fails; or none.",
        ),
    ),
)

SERVICE = Section(
    Field("time", TIME, "How long it serves one call.", REQUIRED),
    Field(
        "concurrency", Count(1, SLOTS_MAX, or_none=True), "Calls that it serves at once.", "none"
    ),
    Field(
        "queue",
        Count(0, SLOTS_MAX, or_none=True),
        "How many calls may wait for a slot; one more is rejected.",
        "none",
    ),
    Field("errors", percent(), "Share of the calls that fail, after their time.", "0%"),
    Field("rate_limit", RATE_LIMIT, "What it admits per time; default: everything."),
    Field("client", HTTP_CLIENT, "The HTTP client of each worker that calls it.", "none"),
    Field(
        "timeout",
        Duration(or_none=True, positive=True),
        "Default of its calls: how long an attempt may take, waits included; or none.",
        "none",
    ),
    Field("retries", RETRIES, "Default of its calls: when to try again.", 0),
    expected="a service",
)


class _SizeTable(Kind):
    """Times by size of the batch."""

    expected = "a mapping of sizes to times such as {1: 2ms, 4: 3ms}"
    sizes = Named(Duration(), expected=expected, least=1, names="^[1-9][0-9]{0,4}$")

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        wrong = False
        for name, child in node.entries.items() if isinstance(node, Mapping) else ():
            if not re.fullmatch("[1-9][0-9]{0,4}", name) or int(name) > BATCH_MAX:
                what = f"{name[:40]!r} is not a size, expected 1 to {BATCH_MAX} (BATCH_MAX)"
                self.wrong(child, path, problems, what)
                wrong = True
        return BAD if wrong else self.sizes.read(node, path, problems)

    def schema(self) -> Schema:
        return self.sizes.schema()


class BatchTime(Kind):
    """A time, or what it is for each size of a batch."""

    expected = "a time such as 20ms, {base, per_item} or {table: {1: 2ms, 4: 3ms}}"
    linear = Section(
        Field("base", Duration(), "Time of any batch, whatever its size.", REQUIRED),
        Field("per_item", Duration(), "Time of each item, added to base.", REQUIRED),
    )
    table = Section(
        Field(
            "table",
            _SizeTable(),
            "Time by size of the batch; a size between two takes that of the larger.",
            REQUIRED,
        )
    )

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        for section in (self.linear, self.table):
            if isinstance(node, Mapping) and node.entries.keys() & section.fields.keys():
                return section.read(node, path, problems)
        return TIME.read(node, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [TIME.schema(), self.linear.schema(), self.table.schema()]}


_BATCH_TIME = BatchTime()

ACCELERATOR = Section(
    Field(
        "batch",
        Section(
            Field("max", Count(1, BATCH_MAX), "Items of a batch, at most.", REQUIRED),
            Field("wait", Duration(), "How long the first item waits for others.", "0s"),
            Field(
                "window",
                Choice("arrival", "taken"),
                "What the wait counts from: the arrival of the oldest item (Triton), or the "
                "instant at which an idle device takes it (the usual loop over asyncio.Queue).",
                "arrival",
            ),
        ),
        "A device takes whole batches; default {max: 1}.",
    ),
    Field(
        "continuous",
        Section(
            Field(
                "max_running", Count(1, BATCH_MAX), "Sequences that run at the same time.", REQUIRED
            )
        ),
        "Continuous batching: sequences join and leave at every step (vLLM).",
    ),
    Field("time", _BATCH_TIME, "Time of a batch, for `batch`; a distribution is drawn per batch."),
    Field(
        "step",
        _BATCH_TIME,
        "Time of a step that takes all running sequences one token further, for `continuous`.",
    ),
    Field("count", Count(1, DEVICES_MAX), "Devices.", 1),
    Field(
        "queue",
        Count(0, SLOTS_MAX, or_none=True),
        "How many requests may wait; one more is rejected.",
        "none",
    ),
    expected="an accelerator",
)

CLIENT = Section(
    Field(
        "timeout",
        Duration(or_none=True, positive=True),
        "How long the client waits for an answer; the work goes on without it.",
        "none",
    ),
    Field("retries", RETRIES, "Whether it tries again after a timeout or a failed answer.", 0),
    Field("latency", TIME, "The network's time in one direction.", "0s"),
    Field(
        "connections",
        WordOr(
            Choice("new"),
            Section(
                Field("kept", Count(1, SLOTS_MAX), "Open from the start, and kept.", REQUIRED),
            ),
        ),
        "new: one for each request; {kept: n}: so many, open from the start.",
        "new",
    ),
    Field(
        "close_delay",
        Duration(),
        "How long after an answer it closes the connection; gunicorn's sync worker waits for "
        "it, up to 2 s.",
    ),
    expected="a client",
)

FAULT = Section(
    Field("service", Name("service"), "The service that it strikes."),
    Field("database", Name("database"), "The database that it strikes."),
    Field("accelerator", Name("accelerator"), "The accelerator that it strikes."),
    Field("at", Duration(), "When it begins.", "0s"),
    Field("for", Duration(positive=True), "How long it lasts.", REQUIRED),
    Field("outage", Boolean(), "Everything that begins in it fails at once."),
    Field("slow", Number(1, 1e6, above=True), "What begins in it takes so many times as long."),
    expected="a fault",
)
