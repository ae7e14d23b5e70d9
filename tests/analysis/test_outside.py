"""Verdicts about calls, rate limits, devices, faults and closed loads, on scenarios run whole."""

from __future__ import annotations

import pytest

from simulator.analysis.resources import Resource
from simulator.answer import Answer, simulate
from simulator.report import terminal
from simulator.scenario import loads


def run(text: str, *overrides: str) -> Answer:
    return simulate(loads(text, overrides))


def row(found: Answer, label: str) -> Resource:
    return next(r for r in found.summary.resources if r.label == label)


def codes(found: Answer, code: str) -> list[str]:
    return [f.message for f in found.findings if f.code == code]


HOPELESS = """\
load: {rate: 20/s, arrivals: constant, for: 5s}
server: {preset: fastapi}
services: {pay: {time: 300ms, timeout: 200ms, concurrency: 10}}
routes: {a: {handler: async def, steps: [{call: pay}]}}
"""


def test_a_timeout_below_the_time_of_the_call() -> None:
    found = run(HOPELESS)
    assert codes(found, "SIM125") == ["pay takes 300ms, its timeout is 200ms: no call can succeed"]
    assert found.bottleneck.sentence == (
        "pay takes 300ms, its timeout is 200ms: no call can succeed; 100 of 100 failed."
    )
    assert found.bottleneck.override == "services.pay.timeout=600ms"
    mended = run(HOPELESS, "services.pay.timeout=600ms")
    assert (mended.summary.total.ok, codes(mended, "SIM125")) == (100, [])


def test_the_timeout_of_the_step_itself() -> None:
    own = HOPELESS.replace("timeout: 200ms, ", "").replace("call: pay", "call: pay, timeout: 200ms")
    found = run(own).bottleneck
    assert found.override == "routes.a.steps[0].timeout=600ms"
    assert run(own, found.override).summary.total.ok == 100


def test_a_call_that_takes_just_its_timeout_succeeds() -> None:
    found = run(HOPELESS, "services.pay.timeout=300ms")
    assert (found.summary.total.ok, codes(found, "SIM125")) == (100, [])


def test_a_resource_that_nobody_has_waited_for_is_not_blamed() -> None:
    text = HOPELESS.replace("timeout: 200ms", "timeout: 900ms").replace("20/s", "30/s")
    found = run(text).bottleneck
    assert found.sentence == "nothing: each request takes its own 300ms."
    assert found.override == "load.rate=60/s"


DEVICES = """\
load: {requests: 24, at: once}
server: {preset: fastapi}
accelerators: {gpu: {batch: {max: 8}, time: 100ms, count: 2}}
routes: {a: {handler: async def, steps: [{predict: gpu}]}}
"""


def test_a_device_is_busy_however_many_are_in_its_batch() -> None:
    # The first two find an idle device each; then 8, 8 and 6: 500 ms of 2 × 300 ms.
    found = run(DEVICES)
    gpu = row(found, "accelerator gpu")
    assert (gpu.size, gpu.busy, found.summary.run_ns) == (2, 5 / 6, 300_000_000)
    assert found.bottleneck.sentence.startswith("accelerator gpu: 5 batches × 100ms / 2 = 250ms")
    assert found.bottleneck.insight == (
        "a device serves one batch at a time: 2 devices, up to 8 in each batch."
    )


CONTINUOUS = """\
load: {requests: 8, at: once}
server: {preset: fastapi}
accelerators: {llm: {continuous: {max_running: 4}, step: {base: 10ms, per_item: 2ms}}}
routes: {a: {handler: async def, steps: [{generate: llm, tokens: 10}]}}
"""


def test_more_run_at_once_before_there_are_more_devices() -> None:
    found = run(CONTINUOUS)
    assert row(found, "accelerator llm").busy == 1.0
    assert found.bottleneck.insight == (
        "1 device takes up to 4 at once, and every step costs more the more run."
    )
    override = "accelerators.llm.continuous.max_running=8"
    assert found.bottleneck.override == override
    assert run(CONTINUOUS, override).summary.run_ns < found.summary.run_ns
    alone = run(CONTINUOUS, "load={rate: 5/s, arrivals: constant, for: 10s}").bottleneck
    assert alone.sentence == "nothing: each request takes its own 120ms."
    steep = run(CONTINUOUS, "accelerators.llm.step={base: 0s, per_item: 5ms}").bottleneck
    assert steep.override == "accelerators.llm.count=2"


LIMITED = """\
load: {rate: 30/s, arrivals: constant, for: 20s}
server: {preset: fastapi}
services:
  pay:
    time: 10ms
    rate_limit: {kind: token_bucket, rate: 10/s, burst: 10, over: reject}
routes: {a: {handler: async def, steps: [{call: pay, retries: {max: 2, backoff: 100ms}}]}}
"""


def test_a_limit_that_rejects_is_a_shortage() -> None:
    found = run(LIMITED)
    assert found.bottleneck.sentence == (
        "rate limit pay admits 10/s, 30/s ask (with retries 69.1/s); 389 of 600 rejected."
    )
    assert (found.bottleneck.kind, found.bottleneck.override) == ("rate limit", None)
    assert codes(found, "SIM107") == [
        "rate limit pay: 30/s × 100ms / 1 = 3 of its capacity, so what comes above it is rejected "
        "at once"
    ]
    assert row(found, "rate limit pay").busy == pytest.approx(0.996, abs=0.001)
    lines = page(found).splitlines()
    assert next(x for x in lines if x.startswith("    rate limit pay ")).split()[3:5] == [
        "10/s",
        "99.6%",
    ]


def test_a_wait_that_uses_up_the_timeout() -> None:
    waiting = LIMITED.replace("over: reject}", "over: wait}\n    timeout: 2s").replace(
        ", retries: {max: 2, backoff: 100ms}", ""
    )
    found = run(waiting)
    assert found.bottleneck.sentence == (
        "rate limit pay lets through 10/s, 30/s ask; 229 admitted, 44 in time: the wait uses up "
        "the timeout."
    )
    assert found.bottleneck.details == ("556 of 600 failed: call timeout pay.",)
    assert found.bottleneck.insight.endswith("refuse at once, or allow a longer timeout.")
    assert found.bottleneck.override == "services.pay.rate_limit.over=reject"
    assert run(waiting, found.bottleneck.override).summary.total.ok == 209


SLOW = """\
load: {rate: 50/s, arrivals: constant, for: 30s}
server: {preset: fastapi}
pools: {db: {size: 10, acquire_timeout: 1s, database: pg}}
databases: {pg: {}}
faults: [{database: pg, at: 10s, for: 10s, slow: 5}]
routes: {a: {handler: async def, steps: [{query: db, time: 100ms}]}}
"""


def test_a_slow_fault_is_provided_for() -> None:
    found = run(SLOW)
    assert "while database pg is 5 times slower from 10s to 20s" in found.bottleneck.sentence
    failed = found.summary.total.errors
    assert failed > 200
    assert found.bottleneck.details[0] == f"{failed} of 1500 failed: pool timeout db."
    assert found.bottleneck.override is not None
    assert run(SLOW, found.bottleneck.override).summary.total.errors == 0


BEHIND = """\
load: {requests: 100, at: once}
client: {timeout: 1s, retries: {max: 2, backoff: 100ms}}
server: {preset: fastapi}
pools: {db: {size: 2}}
routes: {a: {handler: async def, steps: [{query: db, time: 200ms}]}}
"""


def test_work_after_the_end_of_the_run_is_in_no_column() -> None:
    found = run(BEHIND)
    pool = row(found, "pool db")
    assert (found.summary.run_ns, pool.wait_max_ns) == (3_200_000_000, 3_200_000_000)
    # Three attempts of most requests queue by then, but no more than 98 requests wait.
    assert pool.queue_max == 256
    assert found.bottleneck.insight.startswith("async lets 98 requests wait at once")


CORES = """\
load: {requests: 20, at: once}
server: {preset: fastapi, workers: 4, cores: 2}
routes: {a: {handler: def, steps: [{cpu: 50ms}]}}
"""


def test_cores_have_a_queue_and_requests_their_whole_work() -> None:
    found = run(CORES)
    # The GIL lets one thread of each of the four workers compute.
    assert row(found, "cores").queue_max == 2
    assert found.bottleneck.sentence.startswith("cores: 20 × 50ms / 2 = 500ms is the bound")


CLOSED = """\
load: {users: 50, think: 1s, for: 60s}
server: {preset: fastapi}
pools: {db: {size: 5}}
routes: {a: {handler: async def, steps: [{query: db, time: 200ms}]}}
"""


def test_users_beyond_the_knee() -> None:
    found = run(CLOSED).bottleneck
    assert found.sentence.startswith(
        "pool db: it serves 25/s at most, 50 users with 1s of thinking and 200ms each could ask "
        "for 41.7/s; 25/s were ok, "
    )
    assert found.override == "pools.db.size=9"


def test_users_below_the_knee() -> None:
    found = run(CLOSED, "load.users=20").bottleneck
    assert found.sentence.startswith(
        "nothing is short: 20 users with 1s of thinking and 200ms each ask for 16.7/s, "
    )
    assert found.override == "load.users=30"


def test_chunks_of_a_stream_in_threads() -> None:
    text = """\
load: {requests: 100, at: once}
server: {preset: fastapi}
routes: {a: {handler: def, steps: [{stream: {chunks: 10, every: 100ms}}]}}
"""
    assert run(text).bottleneck.insight == (
        "each chunk of a stream in `def` takes a thread: with all 40 held, chunks wait."
    )


def page(found: Answer) -> str:
    scenario = found.scenario
    parts = (scenario.plan, found.summary, found.bottleneck, found.thresholds, found.findings)
    return terminal.render(*parts, command="sim run x", version="1", preset=scenario.server_preset)


@pytest.mark.parametrize(
    ("server", "words"),
    [
        ("{kind: sync, workers: 2}", "sync, 2 workers"),
        ("{kind: threads, threads: 4}", "threads, 1 worker of 4 threads"),
        ("{preset: flask, workers: 2}", "flask, 2 workers"),
        (
            "{instances: 3, balancer: least_connections}",
            "fastapi, 1 worker, loop + 40 threads, 3 instances behind least_connections",
        ),
    ],
)
def test_the_server_that_was_asked_for(server: str, words: str) -> None:
    text = "load: {requests: 2, at: once}\nroutes: {a: {handler: def, steps: [{block: 1s}]}}"
    found = run(f"{text}\nserver: {server}")
    assert page(found).split("   ")[1] == words


def test_users_and_their_requests_are_in_the_header() -> None:
    found = run(CLOSED, "load={users: 5, think: 1s, requests: 20, for: 60s}")
    assert page(found).split("   ")[2] == "5 users for 60s, 20 requests"


@pytest.mark.parametrize(
    ("load", "found"),
    [("{requests: 10, at: once}", []), ("{users: 10, requests: 20}", []),
     ("{requests: 11, at: once}", ["SIM105"]), ("{rate: 1/s, requests: 2}", ["SIM105"])],
)  # fmt: skip
def test_no_timeout_is_wanted_where_nobody_can_wait(load: str, found: list[str]) -> None:
    text = f"load: {load}\npools: {{db: {{size: 10}}}}\n"
    text += "routes: {a: {handler: async def, steps: [{query: db, time: 1s}]}}"
    assert [f.code for f in run(text).findings if f.code == "SIM105"] == found
