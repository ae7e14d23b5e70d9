"""The load generator against a small server that sleeps, fails, resets, hangs and dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from simulator.calibration.generator import (
    Budget,
    CouldNotKeepUp,
    Live,
    NotAllowed,
    Unreachable,
    drive,
)
from simulator.calibration.generator.live import LAG_MAX_NS, late
from simulator.calibration.generator.outcomes import method_and_path
from simulator.engines.reference import run
from simulator.scenario import loads
from simulator.workload import Workload
from tests.conftest import ROOT

MS = 1_000_000


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with server() as found:
        yield found


class server:  # noqa: N801
    """The badly behaved server, in a process of its own; its URL."""

    def __enter__(self) -> str:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.calibration.badly_behaved"],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()


def text(path: str, load: str, client: str = "{}", route: str = "") -> str:
    return (
        f"load: {load}\nclient: {client}\nserver: {{preset: fastapi}}\npools: {{db: {{size: 5}}}}\n"
        f"routes: {{r: {{path: GET {path}, handler: async def, steps: []{route}}}}}\n"
    )


def driven(url: str, scenario: str, **options: object) -> Live:
    """A run; one that was late on a busy machine is as good where no time is asserted."""
    plan = loads(scenario).plan
    try:
        return drive(plan, Workload(plan), url, **options)  # type: ignore[arg-type]
    except CouldNotKeepUp as error:
        return error.live


def test_a_burst_is_measured_request_by_request(url: str) -> None:
    begun: list[int] = []
    live = driven(url, text("/limited/0.05", "{requests: 20, at: once}"), begins=begun.append)
    trace = live.trace
    assert begun == [live.origin_ns]
    assert live.statuses == {"ok": 20}
    assert trace.index.tolist() == list(range(20))
    assert trace.arrival_ns.tolist() == [0] * 20
    # Five at a time, 50 ms each: never faster than that.
    assert (np.sort(trace.finish_ns) >= np.repeat([50, 100, 150, 200], 5) * MS).all()
    assert (trace.spent_ns.sum(axis=1) == trace.latency_ns).all()
    assert (trace.process == 0).all() and (live.times["pid"] > 1).all()
    assert (live.sent_ns <= live.times["a"]).all()
    assert (live.times["b"] <= trace.finish_ns).all()
    assert trace.ended == "empty" and live.partial == ""


def test_open_loads_do_not_wait_for_answers_and_count_from_the_intended_instant(url: str) -> None:
    # Request 10 stalls the whole server for 300 ms: those sent meanwhile wait for it, and say so.
    live = driven(url, text("/stall/10", "{rate: 100/s, arrivals: constant, requests: 30}"))
    latency = live.trace.latency_ns
    assert live.trace.arrival_ns.tolist() == [i * 10 * MS for i in range(30)]
    assert latency[10] >= 300 * MS
    assert (latency[11:25] >= (300 - 10 * (np.arange(11, 25) - 10)) * MS - 5 * MS).all()


def test_users_ask_at_the_indices_of_the_simulation(url: str) -> None:
    scenario = text("/sleep/0.02", "{users: 3, think: 10ms, requests: 12}")
    plan = loads(scenario).plan
    live = driven(url, scenario)
    assert live.trace.index.tolist() == run(plan, Workload(plan)).index.tolist()
    by_user = [np.flatnonzero(live.trace.index % 3 == user) for user in range(3)]
    for rows in by_user:
        gaps = live.trace.arrival_ns[rows][1:] - live.trace.finish_ns[rows][:-1]
        assert gaps.tolist() == [10 * MS] * (len(rows) - 1)


def test_a_recorded_trace_keeps_its_instants_and_routes(url: str, tmp_path: object) -> None:
    path = f"{tmp_path}/t.csv"
    with open(path, "w") as file:
        file.write("time_s,route\n0.0,a\n0.02,b\n0.05,a\n")
    live = driven(
        url,
        f"load: {{trace: {path}}}\nserver: {{preset: fastapi}}\nroutes:\n"
        "  a: {path: GET /sleep/0.01, handler: async def, steps: []}\n"
        "  b: {path: POST /fail, handler: async def, steps: []}\n",
    )
    assert live.trace.arrival_ns.tolist() == [0, 20 * MS, 50 * MS]
    assert live.trace.route.tolist() == [0, 1, 0]
    assert live.statuses == {"ok": 2, "http_500": 1}
    assert live.said == {"http_500": "oops"}


@pytest.mark.parametrize(
    ("path", "outcome"),
    [
        ("/fail", "http_500"),
        ("/shed", "limit_concurrency"),
        ("/reason", "pool_timeout:db"),
        ("/reset", "connection_reset"),
        ("/nonsense", "bad_answer"),
        ("/until-close", "ok"),
    ],
)
def test_what_an_answer_means(url: str, path: str, outcome: str) -> None:
    live = driven(url, text(path, "{requests: 3, at: once}"))
    assert live.statuses == {outcome: 3}


def test_kept_connections_are_opened_before_and_used_again(url: str) -> None:
    load = "{rate: 200/s, arrivals: constant, requests: 40}"
    kept = driven(url, text("/sleep/0", load, "{connections: {kept: 4}}"))
    new = driven(url, text("/sleep/0", load))
    assert 4 <= kept.connections < 12 and new.connections == 40
    busy = driven(url, text("/sleep/0.1", "{requests: 6, at: once}", "{connections: {kept: 4}}"))
    assert busy.connections == 6  # two more than are kept, and nobody waits


def test_a_client_that_closes_late_holds_its_connection() -> None:
    """A server that closes first learns when the client closes, too."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        closed: list[float] = []

        def serve() -> None:
            for _ in range(2):  # the first asks whether anybody listens
                sock, _ = listening.accept()
                with sock:
                    if sock.recv(4096):
                        sock.sendall(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok")
                        sock.shutdown(socket.SHUT_WR)
                        began = time.monotonic()
                        sock.recv(1)
                        closed.append(time.monotonic() - began)

        thread = threading.Thread(target=serve)
        thread.start()
        found = f"http://127.0.0.1:{listening.getsockname()[1]}"
        scenario = text("/", "{requests: 2, users: 1}", "{close_delay: 300ms}")
        live = driven(found, scenario.replace("fastapi", "flask").replace("async def", "def"),
                      time_max_ns=700 * MS)  # fmt: skip
        thread.join()
    assert live.statuses["ok"] == 1
    assert 0.25 < closed[0] < 0.6


def test_a_failed_answer_is_asked_for_again_after_its_backoff(url: str) -> None:
    client = "{retries: {max: 2, backoff: 50ms}}"
    with server() as fresh:
        live = driven(fresh, text("/flaky", "{requests: 3, at: once}", client))
    assert live.statuses == {"ok": 3}
    tries = live.trace.attempts
    assert tries.request.tolist() == [0, 0, 1, 1, 2, 2]
    assert tries.attempt.tolist() == [0, 1] * 3
    assert (tries.sent_ns[1::2] == tries.ended_ns[::2] + 50 * MS).all()


def test_timeouts_abort_and_retry_as_the_scenario_says(url: str) -> None:
    client = "{timeout: 100ms, retries: {max: 1, backoff: 50ms}}"
    live = driven(url, text("/hang", "{requests: 2, at: once}", client))
    assert live.statuses == {"client_timeout": 2}
    assert live.trace.finish_ns.tolist() == [250 * MS] * 2  # 100 + 50 + 100, as simulated
    leaves = text("/hang", "{requests: 2, at: once}", client, ", deadline: 180ms")
    assert driven(url, leaves).trace.finish_ns.tolist() == [180 * MS] * 2


def test_a_stream_tells_its_first_byte(url: str) -> None:
    live = driven(url, text("/chunks/5", "{requests: 2, at: once}"))
    assert (live.trace.first_byte_ns >= 20 * MS).all()
    assert (live.trace.finish_ns - live.trace.first_byte_ns >= 60 * MS).all()


# What goes wrong.


def test_a_server_that_dies_leaves_a_partial_trace() -> None:
    with server() as doomed:
        live = driven(doomed, text("/die/20", "{rate: 100/s, arrivals: constant, requests: 200}"))
    assert live.partial == "the server refuses connections, 50 in a row"
    assert 10 < live.statuses["ok"] <= 20
    assert live.trace.ended == "interrupted"
    assert 60 < len(live.trace) < 200


def test_a_server_that_hangs_is_cut_off_and_what_was_sent_is_in_flight(url: str) -> None:
    scenario = text("/hang", "{requests: 5, at: once}")
    live = driven(url, scenario, time_max_ns=200 * MS)
    assert live.partial == "the time of the budget was over"
    assert live.statuses == {"in_flight": 5}
    assert live.trace.finish_ns.tolist() == [-1] * 5


def test_a_run_with_an_end_is_drained_as_in_the_engine(url: str) -> None:
    load = "{rate: 50/s, arrivals: constant, for: 100ms, drain: 100ms}"
    live = driven(url, text("/hang", load))
    assert (live.statuses, live.partial) == ({"in_flight": 5}, "")
    assert live.trace.ended == "drained"
    assert 200 * MS <= live.trace.end_ns < 2000 * MS


def test_nobody_listens() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    with pytest.raises(Unreachable, match=rf"127\.0\.0\.1:{port}: Connection refused; is the"):
        driven(f"http://127.0.0.1:{port}", text("/", "{requests: 1, at: once}"))


def test_a_slow_start_is_waited_for() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        address = sock.getsockname()
    late_server = socket.socket()
    late_server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)

    def start() -> None:
        time.sleep(0.3)
        late_server.bind(address)
        late_server.listen()

    thread = threading.Thread(target=start)
    thread.start()
    scenario = text("/", "{requests: 1, at: once}")
    live = driven(f"http://127.0.0.1:{address[1]}", scenario, wait_s=5, time_max_ns=50 * MS)
    thread.join()
    late_server.close()
    assert live.statuses == {"in_flight": 1}


def test_ctrl_c_keeps_what_was_measured(url: str) -> None:
    threading.Timer(2.0, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
    live = driven(url, text("/sleep/0", "{rate: 50/s, arrivals: constant, for: 30s}"))
    assert live.partial == "interrupted"
    assert 0 < live.statuses["ok"] < 1000


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://192.0.2.1", "not on this machine, nothing was sent; --allow-remote"),
        ("https://127.0.0.1", "expected http://host:port"),
        ("127.0.0.1:80", "expected http://host:port"),
    ],
)
def test_where_nothing_is_sent(url: str, said: str) -> None:
    with pytest.raises(NotAllowed, match=said):
        driven(url, text("/", "{requests: 1, at: once}"))


# The budget.


@pytest.mark.parametrize(
    ("load", "said"),
    [
        ("{requests: 30, at: once}", ["requests<=20: the load has 30", "30 are sent within one"]),
        ("{requests: 30, users: 2}", ["requests<=20: the load has 30"]),
        ("{rate: 25/s, arrivals: constant, requests: 20}", ["rate<=10/s: 20 are sent within one"]),
        ("{rate: 1/s, arrivals: constant, for: 12s}", ["time<=10s: requests arrive for 12s"]),
        ("{users: 11, for: 5s}", ["rate<=10/s: 11 users may all ask in one second"]),
    ],
)
def test_a_load_beyond_the_budget_is_not_sent(load: str, said: list[str]) -> None:
    budget = Budget.parse("requests<=20, rate<=10/s, time<=10s")
    with pytest.raises(NotAllowed, match=r"nothing was sent") as caught:
        driven("http://127.0.0.1:1", text("/", load), budget=budget)
    assert [part in str(caught.value) for part in said] == [True] * len(said)


def test_users_stop_where_the_budget_ends(url: str) -> None:
    scenario = text("/sleep/0", "{users: 1, think: 1ms, for: 20s}")
    few = driven(url, scenario, budget=Budget(requests=20))
    assert (few.partial, len(few.trace)) == ("the 20 requests of the budget were sent", 20)
    slow = driven(url, scenario, budget=Budget(rate=Fraction(50)))
    assert slow.partial == "users asked more often than the budget's 50/s"


def test_budgets_are_parsed_strictly() -> None:
    assert str(Budget.parse("rate<=90/min")) == "requests<=20000,rate<=1.5/s,time<=120s"
    assert Budget.parse("requests<=1k, time<=90s") == Budget(1000, Fraction(2000), 90 * 10**9)
    for wrong in ("rate<=5", "requests<=-1", "requests=5", "users<=5", "time<=5"):
        with pytest.raises(ValueError, match="expected"):
            Budget.parse(wrong)


# Whether it could keep up.


def test_a_late_generator_is_refused_with_its_figures(url: str) -> None:
    live = driven(url, text("/sleep/0.02", "{requests: 10, at: once}"))
    on_time = replace(live, excess_ns=np.zeros(10, dtype=np.int64))
    assert late(on_time) == ""
    late_one = replace(live, excess_ns=np.asarray([0] * 9 + [LAG_MAX_NS + 20_000_000]))
    assert "10 sends, 1 % of them over 25ms late (5ms allowed)" in late(late_one)
    busy = replace(on_time, wall_ns=2 * 10**9, cpu_ns=19 * 10**8)
    assert "was the limit" in late(busy) and "95% of a core" in late(busy)


def test_a_generator_that_is_stopped_for_a_while_refuses_its_run(url: str) -> None:
    scenario = text("/sleep/0", "{rate: 200/s, arrivals: constant, for: 2s}")
    plan = loads(scenario).plan

    def stall(_: int) -> None:
        found = subprocess.run(
            ["pgrep", "-P", str(os.getpid()), "-f", "calibration.generator"],
            capture_output=True, text=True,
        )  # fmt: skip
        for pid in found.stdout.split():
            os.kill(int(pid), signal.SIGSTOP)
            time.sleep(0.2)
            os.kill(int(pid), signal.SIGCONT)

    with pytest.raises(CouldNotKeepUp, match="could not keep up: 400 sends, 1 % of them over"):
        drive(plan, Workload(plan), url, progress=stall)


def test_paths_of_routes() -> None:
    assert method_and_path("POST /pay/{id}", "pay") == ("POST", "/pay/{id}")
    assert method_and_path("pay", "pay") == ("GET", "/pay")
