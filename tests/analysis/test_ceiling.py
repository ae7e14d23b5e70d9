"""Where more of what limits would not help, because another resource is as short."""

from __future__ import annotations

import pytest

from simulator.answer import Answer, simulate
from simulator.scenario import loads

THREADS_AND_POOL = """\
load: {requests: 1000, at: once}
server: {preset: fastapi, threads: 50}
pools: {db: {size: 50}}
routes: {read: {handler: def, steps: [{query: db, time: 5s}]}}
"""
COMPUTING = """\
load: {requests: 500, at: once}
server: {preset: django}
routes: {report: {handler: def, steps: [{cpu: {exp: 6ms}}]}}
"""
LOCKED = """\
load: {requests: 200, at: once}
server: {preset: django}
pools: {db: {size: 10}}
locks: {row: {}}
routes:
  pay: {handler: def, steps: [{with: db, do: [{lock: row}, {query: db, time: 12ms}]}]}
"""
GIVING_UP = """\
load: {requests: 500, at: once}
pools: {db: {size: 20, acquire_timeout: 1s}}
locks: {row: {}}
routes:
  pay: {handler: async def, steps: [{with: db, do: [{lock: row}, {query: db, time: 40ms}]}]}
"""
LIMITED = """\
load: {requests: 100, at: once}
server: {preset: django}
services: {pay: {time: 10ms, rate_limit: {kind: token_bucket, rate: 5/s, burst: 1, over: wait}}}
routes: {buy: {handler: def, steps: [{call: pay}]}}
"""
FROZEN = """\
load: {requests: 500, at: once}
pools: {db: {size: 10, driver: blocking, acquire_timeout: 1s}}
routes: {read: {handler: async def, steps: [{query: db, time: 300ms}]}}
"""
SERVICE = """\
load: {requests: 100, at: once}
server: {preset: fastapi, threads: 5}
services: {pay: {time: 100ms, concurrency: 5}}
routes: {buy: {handler: def, steps: [{call: pay}]}}
"""
GIL_AND_CORES = """\
load: {requests: 100, at: once}
server: {preset: fastapi, cores: 1}
routes: {report: {handler: def, steps: [{cpu: 30ms}, {block: 50ms}]}}
"""
WORKERS_AND_CORES = """\
load: {requests: 100, at: once}
server: {preset: flask, workers: 4, cores: 4}
routes: {report: {handler: def, steps: [{cpu: 30ms}]}}
"""


def answer(text: str, *overrides: str | None) -> Answer:
    return simulate(loads(text, [one for one in overrides if one is not None]))


@pytest.mark.parametrize(
    ("text", "tried", "line"),
    [
        (
            THREADS_AND_POOL,
            ("server.threads=100", "pools.db.size=100"),
            "pool db needs 100s as well: more threads alone would wait for it.",
        ),
        (
            COMPUTING,
            ("server.workers=2", None),
            "it computes all the time: more threads would take turns at the GIL.",
        ),
        (
            LOCKED,
            ("routes.pay.steps[0].do[1].time=6ms", None),
            "lock row needs 2.4s as well: more threads alone would wait for it.",
        ),
        (
            GIVING_UP,
            ("routes.pay.steps[0].do[1].time=20ms", None),
            "lock row needs 1.8s as well: more connections alone would wait for it.",
        ),
        (
            SERVICE,
            ("services.pay.time=50ms", None),
            "service pay needs 2s as well: more threads alone would wait for it.",
        ),
        (
            GIL_AND_CORES,
            ("routes.report.steps[0].cpu=15ms", None),
            "cores need 3s as well: more processes alone would wait for them.",
        ),
        (
            WORKERS_AND_CORES,
            ("routes.report.steps[0].cpu=15ms", None),
            "cores need 750ms as well: more workers alone would wait for them.",
        ),
    ],
)
def test_what_is_tried_helps_although_another_is_as_short(
    text: str, tried: tuple[str, str | None], line: str
) -> None:
    before = answer(text)
    found = before.bottleneck
    assert (found.override, found.override_with) == tried
    assert line in found.details
    after = answer(text, *tried).summary.total
    assert (after.ok, -after.last_ns) > (before.summary.total.ok, -before.summary.total.last_ns)


def test_more_of_the_first_alone_would_not_have_helped() -> None:
    for text, alone in [
        (THREADS_AND_POOL, "server.threads=100"),
        (COMPUTING, "server.threads=2"),
        (LOCKED, "server.threads=4"),
        (SERVICE, "server.threads=10"),
        (WORKERS_AND_CORES, "server.workers=8"),
    ]:
        before, after = answer(text).summary.total, answer(text, alone).summary.total
        assert after.last_ns == before.last_ns


def test_a_rate_limit_that_the_threads_wait_for_is_named_and_nothing_is_advised() -> None:
    found = answer(LIMITED).bottleneck
    assert found.override is None
    assert "its holders wait for rate limit pay: more threads would wait there, too." in (
        found.details
    )
    assert answer(LIMITED, "server.threads=2").summary.total.last_ns == 19_810_000_000
    assert answer(LIMITED).summary.total.last_ns == 19_810_000_000


def test_a_driver_that_would_free_the_loop_for_timeouts_is_not_advised() -> None:
    assert answer(FROZEN).bottleneck.override == "server.workers=2"
    assert answer(FROZEN, "pools.db.driver=async").summary.total.errors == 460
    patient = FROZEN.replace(", acquire_timeout: 1s", "")
    assert answer(patient).bottleneck.override == "pools.db.driver=async"


def test_a_database_that_has_no_connections_left_wants_shorter_queries() -> None:
    text = THREADS_AND_POOL.replace("size: 50", "size: 50, database: pg")
    found = answer(text + "databases: {pg: {max_connections: 50, reserved: 0}}\n").bottleneck
    assert (found.override, found.override_with) == ("routes.read.steps[0].time=2.5s", None)


def test_who_would_not_wait_at_all_was_short_of_connections_all_the_same() -> None:
    text = "load: {requests: 10, at: once}\npools: {db: {size: 5, acquire_timeout: 0s}}\n"
    text += "routes: {read: {handler: async def, steps: [{query: db, time: 5s}]}}\n"
    found = answer(text).bottleneck
    assert found.sentence == "pool db (5) and its 0s timeout: 5 of 10 gave up."
    assert found.override == "pools.db.size=10"
    assert answer(text, found.override).summary.total.errors == 0


def test_a_pool_for_which_nobody_waits_is_just_enough() -> None:
    text = "load: {requests: 10, rate: 1/s, arrivals: constant}\npools: {db: {size: 5}}\n"
    text += "routes: {read: {handler: async def, steps: [{query: db, time: 5s}]}}\n"
    found = answer(text).bottleneck
    assert found.insight == "nobody has waited for a connection yet: there are just enough."
    spare = answer(text, "pools.db.size=6").bottleneck
    assert spare.sentence == "nothing: each request takes its own 5s."
    users = text.replace("requests: 10, rate: 1/s, arrivals: constant", "users: 5, for: 60s")
    assert answer(users).bottleneck.kind == "nothing"
