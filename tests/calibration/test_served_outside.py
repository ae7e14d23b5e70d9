"""What a served scenario calls is real, too: services, accelerators, balancers, other servers."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest

from simulator.calibration.generator import CouldNotKeepUp, drive
from simulator.calibration.served import Running, serve
from simulator.calibration.served.on_loop import OnLoop
from simulator.plan import Broadcast
from simulator.scenario import load, loads
from simulator.workload import Workload
from tests.calibration.asking import ask, ask_many, makespan_s, within
from tests.conftest import ROOT

OUTSIDE = """
name: outside
load: {requests: 100, at: once}
services:
  quick: {time: 1400us}
  one: {time: 50ms, concurrency: 1}
  two: {time: 50ms, concurrency: 2}
  full: {time: 50ms, concurrency: 2, queue: 1}
  half: {time: 1ms, errors: 50%}
  bucket: {time: 1ms, rate_limit: {rate: 20/s, burst: 5, over: wait}}
  strict: {time: 1ms, rate_limit: {rate: 20/s, burst: 5}}
  leaky: {time: 1ms, rate_limit: {kind: leaky_bucket, rate: 50/s, over: wait}}
  window: {time: 1ms, rate_limit: {kind: sliding_window, limit: 4, window: 100ms, over: wait}}
  aiohttp: {time: 100ms, client: {preset: aiohttp, connections: 2, pool_timeout: 250ms}}
  httpx: {time: 100ms, client: {preset: httpx, connections: 2, pool_timeout: 250ms}}
  slow: {time: 1s, timeout: 50ms}
  out: {time: 1ms}
accelerators:
  gpu: {batch: {max: 4, wait: 10ms}, time: {base: 20ms, per_item: 5ms}}
  busy: {batch: {max: 1}, time: 30ms, queue: 2}
  llm: {continuous: {max_running: 4}, step: {base: 5ms, per_item: 1ms}}
  small: {continuous: {max_running: 1}, step: 20ms, queue: 0}
faults: [{service: out, at: 0s, for: 1h, outage: true}]
routes:
  quick: {handler: async def, steps: [{call: quick}]}
  requests: {handler: def, steps: [{call: quick}]}
  frozen: {handler: async def, steps: [{call: two, blocking: true}]}
  two: {handler: async def, steps: [{call: two}]}
  full: {handler: async def, steps: [{call: full}]}
  half: {handler: async def, steps: [{call: half}]}
  again: {handler: async def, steps: [{call: half, retries: {max: 9, backoff: 1ms}}]}
  bucket: {handler: async def, steps: [{call: bucket}]}
  strict: {handler: async def, steps: [{call: strict}]}
  leaky: {handler: async def, steps: [{call: leaky}]}
  window: {handler: async def, steps: [{call: window}]}
  aiohttp: {handler: async def, steps: [{call: aiohttp}]}
  httpx: {handler: async def, steps: [{call: httpx}]}
  httpx_def: {handler: def, steps: [{call: httpx}]}
  slow: {handler: async def, steps: [{call: slow}]}
  slow_def: {handler: def, steps: [{call: slow}]}
  out: {handler: async def, steps: [{call: out}]}
  predict: {handler: async def, steps: [{predict: gpu}]}
  predict_def: {handler: def, steps: [{predict: gpu}]}
  busy: {handler: async def, steps: [{predict: busy}]}
  generate: {handler: async def, steps: [{generate: llm, tokens: 5}]}
  crowded: {handler: async def, steps: [{generate: small, tokens: 5}]}
  urgent: {handler: async def, priority: 0, steps: [{call: one}]}
  patient: {handler: async def, priority: 9, steps: [{call: one}]}
  announce: {handler: async def, steps: [{broadcast: {sockets: 50, cpu: 200us}}]}
"""


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with serve(loads(OUTSIDE)) as service:
        service.begins(time.monotonic_ns())
        yield service


def took_s(running: Running, path: str) -> float:
    return ask(running, path).between_s("a", "b")


def burst_s(running: Running, path: str, count: int) -> float:
    return makespan_s(ask_many(running, path, count))


def outcomes(running: Running, path: str, count: int) -> Counter[str]:
    return Counter(answer.outcome for answer in ask_many(running, path, count))


def test_a_service_takes_its_time_to_a_tenth_of_a_millisecond(running: Running) -> None:
    for path in ("/quick", "/requests"):
        took = sorted(ask(running, path, i).between_s("a", "b") for i in range(15))
        assert 0.0014 < took[0] < 0.01, path


def test_a_service_has_slots_and_a_queue(running: Running) -> None:
    within(0.15, lambda: makespan_s(ask_many(running, "/two", 6)), 0.28)
    assert outcomes(running, "/full", 6) == {"ok": 3, "service_full:full": 3}
    # requests in async def: one after the other, though the service takes two.
    assert makespan_s(ask_many(running, "/frozen", 4)) > 0.2


def test_errors_are_drawn_and_retried(running: Running) -> None:
    once = [ask(running, "/half", i).outcome for i in range(20)]
    assert set(once) == {"ok", "service_error:half"}
    assert once == [ask(running, "/half", i).outcome for i in range(20)]  # by index
    assert outcomes(running, "/again", 20) == {"ok": 20}


def test_rate_limits(running: Running) -> None:
    within(0.15, lambda: makespan_s(ask_many(running, "/bucket", 8)), 0.34)  # without a burst 0.35
    assert outcomes(running, "/strict", 8) == {"ok": 5, "rate_limited:strict": 3}
    within(0.16, lambda: makespan_s(ask_many(running, "/leaky", 9)), 0.32)
    within(0.1, lambda: makespan_s(ask_many(running, "/window", 8)), 0.19)


def test_clients_have_so_many_connections(running: Running) -> None:
    # aiohttp's timeout counts from the call; httpx's begins anew at each connection freed.
    assert outcomes(running, "/aiohttp", 8) == {"ok": 6, "client_pool_timeout:aiohttp": 2}
    assert outcomes(running, "/httpx", 8) == {"ok": 8}
    within(0.3, lambda: makespan_s(ask_many(running, "/httpx_def", 6)), 0.59)


def test_calls_time_out(running: Running) -> None:
    for path in ("/slow", "/slow_def"):
        answer = ask(running, path)
        assert answer.outcome == "call_timeout:slow"
        assert 0.05 < answer.took_s < 0.9, path


def test_faults_strike_by_the_clock_of_the_run(running: Running) -> None:
    assert ask(running, "/out").outcome == "service_error:out"
    running.begins(time.monotonic_ns() + 10**12)  # the outage is yet to come
    assert ask(running, "/out").outcome == "ok"


def test_batches(running: Running) -> None:
    for path in ("/predict", "/predict_def"):
        within(0.03, partial(took_s, running, path), 0.1)  # the window, then 25 ms
        within(0.08, partial(burst_s, running, path, 8), 0.2)  # twice 40 ms
    assert outcomes(running, "/busy", 5) == {"ok": 3, "accelerator_full:busy": 2}


def test_tokens_are_streamed_step_by_step(running: Running) -> None:
    answer = ask(running, "/generate")
    assert answer.body.count(b"data: ") == 5
    assert 0.03 < answer.took_s < 0.2  # 5 × 6 ms
    within(0.045, lambda: makespan_s(ask_many(running, "/generate", 4)), 0.115)  # 5 × 9 ms


def test_who_finds_an_accelerator_full_is_told_so_before_the_stream(running: Running) -> None:
    assert outcomes(running, "/crowded", 3) == {"ok": 1, "accelerator_full:small": 2}


def test_the_most_urgent_is_served_first(running: Running) -> None:
    with ThreadPoolExecutor(4) as threads:
        patient = [threads.submit(ask, running, "/patient", i) for i in range(3)]
        time.sleep(0.02)
        urgent = ask(running, "/urgent")
        ends = sorted(each.result().received for each in patient)
    assert ends[0] < urgent.received < ends[1]


def test_a_broadcast_reaches_every_socket_at_its_cost(running: Running) -> None:
    async def heard() -> float:
        url = f"{running.url}/announce"
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            words = answer.headers["x-sim-times"].split()
            marks = dict(word.split("=") for word in words)
            return (int(marks["b"]) - int(marks["a"])) / 1e9

    assert 50 * 0.0002 < asyncio.run(heard()) < 0.5


class _Socket:
    async def send_text(self, _: str) -> None:
        """Room in its buffer."""


def test_what_one_send_takes_too_much_the_next_one_takes_less() -> None:
    """Looks at the clock, 1 to 2 us for each socket, are part of the 20; by thread time."""
    sockets = [_Socket()] * 1000
    code: Any = OnLoop.__new__(OnLoop)
    code.process = SimpleNamespace(draw_each=lambda _: lambda task, number: 20_000, sockets=sockets)
    sends = code._broadcast(Broadcast(1000, 0), -1)

    async def took_ns() -> int:
        began = time.thread_time_ns()
        await sends(None)
        return time.thread_time_ns() - began

    assert asyncio.run(took_ns()) == pytest.approx(20e6, rel=0.02)


def test_the_messages_of_a_stream_come_over_a_websocket(running: Running) -> None:
    async def heard() -> list[str]:
        url = f"{running.url}/generate".replace("http", "ws", 1)
        async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
            return [message.data async for message in socket]

    assert asyncio.run(heard()) == ["data: 0123456789abcdef\n\n"] * 5


WSGI = """
name: wsgi
load: {requests: 100, at: once}
pools: {db: {size: 1}}
services: {two: {time: 50ms, concurrency: 2}}
accelerators: {gpu: {batch: {max: 4, wait: 10ms}, time: {base: 20ms, per_item: 5ms}}}
routes:
  block: {handler: def, steps: [{block: 50ms}]}
  query: {handler: def, steps: [{query: db, time: 50ms}]}
  call: {path: POST /call, handler: def, steps: [{call: two}], after: [{block: 1s}]}
  predict: {handler: def, steps: [{predict: gpu}]}
  stream: {handler: def, steps: [{stream: {chunks: 5, every: 10ms}}]}
"""


def test_gunicorns_sync_workers_take_one_request_each() -> None:
    with serve(loads(WSGI, ["server={preset: flask, workers: 2}"])) as running:
        assert len(running.processes["workers"]) == 2
        within(0.15, lambda: makespan_s(ask_many(running, "/block", 6)), 0.28)
        answers = ask_many(running, "/query", 6)
        assert {answer.times["pid"] for answer in answers} == set(running.processes["workers"])
        assert ask(running, "/call", method="POST").took_s < 0.5
        assert ask(running, "/predict").outcome == "ok"
        assert ask(running, "/stream").body.count(b"data: ") == 5


def test_a_sync_worker_waits_for_its_client_to_close() -> None:
    scenario = load(ROOT / "configs" / "slow-closing-clients.yaml")
    with serve(scenario) as running:
        try:
            live = drive(scenario.plan, Workload(scenario.plan), running.url)
        except CouldNotKeepUp as error:  # on a busy machine; no more is asserted than order
            live = error.live
    first, second, third = sorted(at / 1e9 for at in live.trace.finish_ns.tolist())
    assert first > 0.1
    assert second - first > 0.6 and third - second > 0.6  # 500 ms for the client, 100 ms


def test_gthreads_threads_share_a_pool_of_their_process() -> None:
    with serve(loads(WSGI, ["server={preset: django, threads: 4}"])) as running:
        within(0.1, lambda: makespan_s(ask_many(running, "/block", 8)), 0.35)
        assert makespan_s(ask_many(running, "/query", 4)) > 0.2


def test_workers_and_instances() -> None:
    server = "{workers: 2, instances: 2, loop: asyncio, threads: 7, switch_interval: 2ms}"
    overrides = [f"server={server}", "routes.block.handler=async def"]
    with serve(loads(WSGI, overrides), database="none") as running:
        assert running.database == "none"
        answers = ask_many(running, "/block", 8)
        within(0.09, lambda: makespan_s(ask_many(running, "/block", 8)), 0.38)
        first, second = (set(running.processes["workers"][i::2]) for i in (0, 1))
        assert len(first | second) == 4
        assert {answer.outcome for answer in answers} == {"ok"}
        told = json.loads(ask(running, "/-/ready").body)
        assert (told["loop"], told["threads"], told["switch_interval_s"]) == ("asyncio", 7, 0.002)
        assert told["frozen_objects"] > 10_000  # no collection goes through the libraries again
        within(0.09, lambda: makespan_s(ask_many(running, "/predict", 8)), 0.35)  # shared by all
