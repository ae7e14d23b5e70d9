"""Static findings: each rule fires where it should, and says the numbers."""

from __future__ import annotations

import pytest

from simulator.scenario import findings, loads, rule, rules


def found(routes: str, rest: str = "", load: str = "{requests: 10, at: once}") -> list[str]:
    """``CODE line:col message`` of each finding; SIM105 only where a test asks for it."""
    text = f"load: {load}\n{rest}\nroutes:\n{routes}"
    return [
        f"{f.code} {f.place.removeprefix('<text>:')} {f.message}"
        for f in findings(loads(text))
        if f.code != "SIM105"
    ]


def test_blocking_call_in_async_def() -> None:
    assert found("  a: {handler: async def, steps: [{block: 250ms}]}") == [
        "SIM101 4:35 block of 250ms in `async def a` freezes the event loop: every other "
        "request of the process stands still meanwhile"
    ]
    assert found("  a: {handler: def, steps: [{block: 250ms}]}") == []
    assert found("  a: {handler: async def, steps: [{to_thread: [{block: 1s}]}]}") == []


def test_blocking_driver_in_async_def() -> None:
    pools = "pools: {db: {driver: blocking}}"
    (line,) = found("  a: {handler: async def, steps: [{query: db, time: 1ms}]}", pools)
    assert line.startswith("SIM101 4:35 the blocking driver of pool db in `async def a`")


def test_cpu_on_the_loop_counts_by_stretch() -> None:
    assert found("  a: {handler: async def, steps: [{cpu: 6ms}, {cpu: 6ms}]}") == [
        "SIM102 4:35 12ms of cpu in `async def a` holds the event loop, more than 10ms"
    ]
    assert found("  a: {handler: async def, steps: [{cpu: 6ms}, {await: 1s}, {cpu: 6ms}]}") == []
    assert found("  a: {handler: async def, steps: [{cpu: 10ms}]}") == []
    assert found("  a: {handler: def, steps: [{cpu: 20ms}]}") == []


def test_fewer_threads_than_connections() -> None:
    steps = "steps: [{query: db, time: 1ms}]"
    assert found(f"  a: {{handler: def, {steps}}}", "pools: {db: {size: 50}}") == [
        "SIM103 2:20 40 threads for the 50 connections of pool db in each worker: "
        "10 are never used at once"
    ]
    assert found(f"  a: {{handler: def, {steps}}}", "pools: {db: {size: 40}}") == []
    assert found(f"  a: {{handler: async def, {steps}}}", "pools: {db: {size: 50}}") == []


def test_pools_times_workers_over_max_connections() -> None:
    route = "  a: {handler: async def, steps: [{query: db, time: 1ms}]}"
    rest = "server: {workers: 4}\npools: {db: {size: 25, database: pg}}\ndatabases: {pg: {}}"
    assert found(route, rest) == [
        "SIM104 3:20 4 workers × 25 connections of pool db = 100, but pg accepts 97"
    ]
    assert found(route, rest.replace("25", "24")) == []


@pytest.mark.parametrize(
    ("pool", "handler", "codes"),
    [
        ("{}", "async def", ["SIM105"]),
        ("{acquire_timeout: 2s}", "async def", []),
        ("{size: 40}", "def", []),
        ("{size: 39}", "def", ["SIM105"]),
    ],
)
def test_acquire_without_a_timeout(pool: str, handler: str, codes: list[str]) -> None:
    scenario = loads(
        f"load: {{requests: 100, at: once}}\npools: {{db: {pool}}}\n"
        f"routes: {{a: {{handler: {handler}, steps: [{{query: db, time: 1ms}}]}}}}\n"
    )
    assert [f.code for f in findings(scenario)] == codes


@pytest.mark.parametrize(
    ("rest", "route", "message"),
    [
        (
            "pools: {db: {size: 50}}",
            "  a: {handler: async def, steps: [{query: db, time: 300ms}]}",
            "pool db: 200/s × 300ms / 50 = 1.2",
        ),
        ("", "  a: {handler: async def, steps: [{cpu: 5ms}]}", "event loop: 200/s × 5ms / 1 = 1"),
        (
            "services: {s: {time: 9ms, client: httpx}}\nserver: {overheads: {client_call: 5ms}}",
            "  a: {handler: async def, steps: [{call: s}]}",
            "event loop: 200/s × 5ms / 1 = 1",
        ),
        ("", "  a: {handler: def, steps: [{block: 1s}]}", "threads: 200/s × 1s / 40 = 5"),
        (
            "server: {preset: flask, workers: 4}",
            "  a: {handler: def, steps: [{block: 1s}]}",
            "workers: 200/s × 1s / 4 = 50",
        ),
        (
            "server: {workers: 2, accept: {weights: [3, 1]}}",
            "  a: {handler: async def, steps: [{block: 10ms}]}",
            "event loop: 150/s × 10ms / 1 = 1.5 of its capacity in the busiest worker",
        ),
        (
            "pools: {db: {size: 100}}\nlocks: {row: {}}",
            "  a: {handler: async def, steps: [{with: db, do: [{lock: row}, {await: 10ms}]}]}",
            "lock row: 200/s × 10ms / 1 = 2",
        ),
    ],
)
def test_offered_load_over_capacity(rest: str, route: str, message: str) -> None:
    message += "" if "capacity" in message else " of its capacity"
    lines = [x for x in found(route, rest, "{rate: 200/s, for: 1m}") if x.startswith("SIM107")]
    assert lines == [
        f"SIM107 1:1 {message}, so its queue grows for the 60s of the load and percentiles "
        "depend on the length of the run"
    ]
    assert not any("SIM107" in x for x in found(route, rest, "{rate: 1/min, for: 10m}"))


def test_an_overload_with_a_timeout_or_a_last_request_is_bounded() -> None:
    route = "  a: {handler: async def, steps: [{query: db, time: 300ms}]}"
    rest = "server: {workers: 2}\npools: {db: {size: 20, acquire_timeout: 2s}}"
    assert [x for x in found(route, rest, "{rate: 200/s, for: 1m}") if "SIM107" in x] == [
        "SIM107 1:1 pool db: 100/s × 300ms / 20 = 1.5 of its capacity in each worker, so "
        "requests wait up to its timeout of 2s and the excess fails"
    ]
    short = found(route, "pools: {db: {size: 20}}", "{rate: 200/s, requests: 100}")
    assert any("so its queue grows for the 500ms of the load and" in line for line in short)


def test_pool_taken_twice() -> None:
    steps = "[{with: db, do: [{with: db, do: []}]}]"
    assert found(f"  a: {{handler: async def, steps: {steps}}}", "pools: {db: {size: 7}}") == [
        "SIM108 4:51 a takes a second connection of pool db while it holds one: once 7 "
        "requests hold the 7, none goes on"
    ]


def test_thread_and_pool_in_two_orders() -> None:
    routes = (
        "  a: {handler: def, steps: [{query: db, time: 1ms}]}\n"
        "  b: {handler: async def, steps: [{with: db, do: [{to_thread: [{block: 1ms}]}]}]}\n"
    )
    (line,) = found(routes, "pools: {db: {}}")
    assert line == (
        "SIM108 5:51 b takes threads while it holds pool db, a the other way round: each can "
        "wait for the other without an end"
    )


def test_independent_calls_in_sequence() -> None:
    assert found("  a: {handler: async def, steps: [{await: 30ms}, {await: 50ms}]}") == [
        "SIM109 4:35 2 calls one after another take 80ms, at the same time 50ms"
    ]
    pools = "pools: {db: {}}"
    inside = "[{with: db, do: [{query: db, time: 1ms}, {query: db, time: 1ms}]}]"
    assert found(f"  a: {{handler: async def, steps: {inside}}}", pools) == []


def test_offered_load_over_rate_limit_rows_and_devices() -> None:
    def overloaded(rest: str, steps: str) -> list[str]:
        route = f"  a: {{handler: async def, steps: [{steps}]}}"
        lines = found(route, rest, "{rate: 200/s, for: 1m}")
        return [line.split(",")[0] for line in lines if line.startswith("SIM107")]

    limited = "services: {pay: {time: 1ms, rate_limit: {rate: 100/s, burst: 5, over: %s}}}"
    assert overloaded(limited % "wait", "{call: pay}") == [
        "SIM107 1:1 rate limit pay: 200/s × 10ms / 1 = 2 of its capacity"
    ]
    assert overloaded(limited % "reject", "{call: pay}") == [
        "SIM107 1:1 rate limit pay: 200/s × 10ms / 1 = 2 of its capacity"
    ]
    device = "accelerators: {gpu: {batch: {max: 8}, time: {base: 40ms, per_item: 5ms}}}"
    assert overloaded(device, "{predict: gpu}") == [
        "SIM107 1:1 accelerator gpu: 200/s × 80ms / 8 = 2 of its capacity"
    ]
    rows = "pools: {db: {size: 100}}\nlocks: {row: {keys: 100, pick: %s}}"
    steps = "{with: db, do: [{lock: row}, {await: 100ms}]}"
    assert overloaded(rows % "uniform", steps) == []
    assert overloaded(rows % "fixed", steps) == [
        "SIM107 1:1 lock row: 200/s × 100ms / 1 = 20 of its capacity"
    ]
    assert overloaded(rows % "{zipf: 1}", steps) == [
        "SIM107 1:1 lock row: 200/s × 100ms / 5 = 4 of its capacity"
    ]


SERVICE = "services: {pay: {time: 10ms, timeout: 1s, retries: %s}}"
CALLS = "  a: {handler: async def, steps: [{call: pay}]}"


def test_retries_amplify() -> None:
    amplified = (
        "SIM110 4:35 up to 4 attempts of each call of pay, and one that timed out after 1s "
        "still runs: where it is slow there are up to 4 times as many in flight"
    )
    assert found(CALLS, SERVICE % 3) == [f"{amplified}; the retries come at once"]
    steady = SERVICE % "{max: 3, backoff: 100ms}"
    assert found(CALLS, steady) == [f"{amplified}; the retries come 100ms later in step"]
    assert found(CALLS, SERVICE % "{max: 3, backoff: {base: 100ms}}") == [amplified]
    assert found(CALLS, SERVICE % 0) == []
    client = "client: {timeout: 2s, retries: 1}"
    (line,) = found("  a: {handler: async def, steps: [{await: 1s}]}", client)
    assert line.startswith("SIM110 2:32 up to 2 attempts of each request, and one that timed out")


def test_more_processes_than_cores() -> None:
    route = "  a: {handler: def, steps: [{cpu: 300ms}, {block: 100ms}]}"
    (line,) = found(route, "server: {workers: 8, cores: 4}")
    assert line == (
        "SIM112 2:19 8 workers on 4 cores, and a computes for 300ms of 400ms: 4 requests compute "
        "at once, more workers only share"
    )
    assert found(route, "server: {workers: 4, cores: 4}") == []
    # What is nested counts: it computes for 5 ms of 14.
    nested = "  a: {handler: def, steps: [{cpu: 5ms}, {with: db, do: [{query: db, time: 9ms}]}]}"
    pools = "pools: {db: {acquire_timeout: 1s}}\nserver: {workers: 2, cores: 1}"
    assert [line for line in found(nested, pools) if "SIM112" in line] == []
    more = nested.replace("9ms", "4ms")
    (line,) = [line for line in found(more, pools) if "SIM112" in line]
    assert "a computes for 5ms of 9ms: 1 request computes at once, more workers" in line
    waits = "  a: {handler: def, steps: [{cpu: 1ms}, {block: 100ms}]}"
    assert found(waits, "server: {workers: 8, cores: 4}") == []


def test_few_client_connections() -> None:
    rest = "services: {pay: {time: 10ms, client: httpx}}"
    assert found(CALLS, rest, "{requests: 1000, at: once}") == [
        "SIM113 2:38 about 1000 calls of pay at once in each worker, whose HTTP client has 100 "
        "connections: the others wait for one, up to 5s"
    ]
    assert found(CALLS, rest, "{requests: 100, at: once}") == []
    assert found(CALLS.replace("async def", "def"), rest, "{requests: 1000, at: once}") == []


def test_limit_concurrency_counts_idle_connections() -> None:
    route = "  a: {handler: async def, steps: [{await: 1s}]}"
    rest = "client: {connections: {kept: 200}}\nserver: {workers: 2, limit_concurrency: %d}"
    counts = "counts connections, idle ones too, and the client keeps 100 open to each worker"
    assert found(route, rest % 150) == [f"SIM114 3:41 limit_concurrency 150 {counts}"]
    assert found(route, rest % 100) == [
        f"SIM114 3:41 limit_concurrency 100 {counts}: every request is answered with 503"
    ]


def test_streaming_from_def_inside_a_connection_can_deadlock() -> None:
    steps = "[{with: db, do: [{query: db, time: 1ms}, {stream: {chunks: 10, every: 1ms}}]}]"
    rest = "pools: {db: {size: 10}}"
    (line,) = found(f"  a: {{handler: def, steps: {steps}}}", rest)
    assert line.startswith("SIM108 4:69 a takes threads while it holds pool db, a the other way")
    assert found(f"  a: {{handler: async def, steps: {steps}}}", rest) == []


def test_blocking_call_of_a_service_in_async_def() -> None:
    route = "  a: {handler: async def, steps: [{call: pay, blocking: true}]}"
    (line,) = found(route, "services: {pay: {time: 10ms}}")
    assert line.startswith("SIM101 4:35 the blocking call of pay in `async def a` freezes")


def test_broadcast_computes_on_the_loop() -> None:
    route = "  a: {handler: async def, steps: [{broadcast: {sockets: 10k, cpu: 20us}}]}"
    assert found(route) == [
        "SIM102 4:35 200ms of cpu in `async def a` holds the event loop, more than 10ms"
    ]


def test_every_rule_has_a_page() -> None:
    assert [r.code for r in rules()] == [f"SIM{n}" for n in range(101, 127)]
    for each in rules():
        assert each.page.startswith(f"# {each.code}: ")
        assert "```yaml" in each.page
        assert "To mend it" in each.page
    assert rule("sim104").title == "pools × workers over max_connections"
    with pytest.raises(KeyError, match="unknown rule SIM999, expected one of: SIM101"):
        rule("SIM999")
