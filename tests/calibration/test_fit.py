"""Overheads that are known are found again, from the client's clock alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from simulator.calibration.calibration_page import overheads_yaml
from simulator.calibration.fit import _value, fit
from simulator.calibration.machinery import ROUNDS, Machinery, machinery
from simulator.calibration.probe import Answers, Ask, Probe
from simulator.calibration.simulated import simulated
from simulator.scenario import load, loads
from simulator.scenario.presets import OVERHEADS
from simulator.units import parse_duration

SCENARIO = """
load: {{requests: 100, at: once}}
server: {{preset: {preset}{limit}}}
databases: {{few: {{max_connections: 10}}}}
pools: {{db: {{size: 5}}, more: {{size: 8, database: few}}}}
locks: {{row: {{}}}}
services: {{up: {{time: 30ms, client: httpx}}, down: {{time: 30ms, client: {other}}}}}
routes:
  a: {{path: GET /a, handler: {handler}, steps: [{step}, {call}]}}
  b: {{path: GET /b, handler: {handler}, steps: [{call2}, {{query: more, time: 30ms}}]}}
"""
STEP = "{with: db, do: [{lock: row}, {query: db, time: 30ms}]}"
ASYNC = {"preset": "fastapi", "handler": "async def", "step": STEP, "call": "{call: up}",
         "call2": "{call: down}", "other": "aiohttp",
         "limit": ", limit_concurrency: 300"}  # fmt: skip
SYNC = {"preset": "flask", "handler": "def", "step": STEP, "call": "{call: up, blocking: true}",
        "call2": "{call: down, blocking: true}", "other": "httpx", "limit": ""}  # fmt: skip
OF_WORKERS = {"worker", "sleep"}
OF_A_LOOP = [name for name in OVERHEADS if name not in ("worker", "first_request", "thread_start")]
"""What probes of a server that has served before can tell."""
OF_STEPS_S = {"query_cpu": 10e-6, "pool_hold": 50e-6, "lock_hold": 20e-6}
"""Users of a full pool come in step: what is read off them moves in steps."""


def machine(**words: str) -> Machinery:
    return machinery(loads(SCENARIO.format(**words)))


def with_overheads(of: Machinery, overheads: Any) -> Ask:
    return simulated(of.document | {"server": of.document["server"] | {"overheads": overheads}})


@pytest.mark.parametrize(
    ("words", "names"),
    [
        (ASYNC, set(OF_A_LOOP)),
        (SYNC, OF_WORKERS),
        (SYNC | {"preset": "django"}, OF_WORKERS),
    ],
    ids=["fastapi", "flask", "django"],
)
def test_the_typical_overheads_are_found_again(words: dict[str, str], names: set[str]) -> None:
    of = machine(**words)
    found = fit(of, with_overheads(of, "typical"))
    assert {value.name for value in found.values} == names
    for value in found.values:
        typical_s = parse_duration(OVERHEADS[value.name][0]) / 1e9
        # Overheads are whole nanoseconds, which counts in a scan.
        near = 1e-3 * max(typical_s, 2e-6) + OF_STEPS_S.get(value.name, 0)
        assert value.mean_s == pytest.approx(typical_s, abs=near)


def test_other_overheads_are_found_too() -> None:
    of = machine(**ASYNC)
    given = {"loop_before": "120us", "loop_after": "90us", "timer": "1ms", "pool_hold": "3ms"}
    given |= {"client_call": "900us", "client_scan": "380ns", "query_cpu": "300us"}
    given |= {"connect": "2.7ms", "connect_refused": "2ms", "refusal": "70us", "close": "600us"}
    given |= {"aiohttp_call": "400us", "aiohttp_connect": "200us"}
    found = fit(of, with_overheads(of, given)).overheads()
    for name in OF_A_LOOP:
        expected = parse_duration(given.get(name, "0s")) / 1e9
        near = 2e-9 if name == "client_scan" else 2e-6 + OF_STEPS_S.get(name, 0)
        assert found[name] == pytest.approx(expected, rel=0.01, abs=near)


def test_what_an_answer_costs_is_found_from_sleepers_who_came_one_after_another() -> None:
    """A client sends one in 167 us: so far their sleeps' ends lie apart, not their answers."""
    of = machine(**ASYNC)
    ask = with_overheads(of, {"loop_before": "120us", "loop_after": "90us"})

    def paced(probe: Probe) -> Answers:
        if probe.purpose != "stalled":
            return ask(probe)
        loads = {
            label: {"rate": "6000/s", "arrivals": "constant", "requests": load["requests"]}
            for label, load in probe.loads.items()
        }
        return ask(Probe(probe.purpose, loads))

    found = fit(of, paced).overheads()
    assert found["loop_after"] == pytest.approx(90e-6, abs=2e-6)
    assert found["loop_before"] == pytest.approx(120e-6, abs=2e-6)


def test_waking_up_is_cpu_of_a_server_with_one_user() -> None:
    """As it is of a real one: ten requests of 150 us, each after a pause, each wakes the loop."""
    of = machine(**ASYNC)
    given = {"loop_before": "100us", "loop_after": "50us", "loop_wake": "1ms"}
    load = {"users": 1, "think": "5ms", "requests": 10}
    took_s = with_overheads(of, given)(Probe("single", {"GET /nothing": load})).server_cpu_s
    assert took_s is not None
    assert 10 * (150e-6 + 0.7e-3) <= took_s <= 10 * (150e-6 + 1.3e-3)


def test_what_a_cold_loop_costs_is_told_from_timers_and_pools() -> None:
    """Each pause draws it from .7 to 1.3 of its mean: what 60 medians of 12 are off by, 6 %."""
    of = machine(**ASYNC)
    given = {"loop_before": "120us", "loop_after": "90us", "loop_wake": "700us", "timer": "150us"}
    given |= {"pool_hold": "400us", "query_cpu": "300us", "sleep": "80us"}
    given |= {"query_wake": "350us", "backend_wake": "600us"}
    found = fit(of, with_overheads(of, given)).overheads()
    for name, took in given.items():
        assert found[name] == pytest.approx(parse_duration(took) / 1e9, abs=0.06 * 700e-6)


def test_what_delays_the_opening_of_a_connection_is_found() -> None:
    """48 single requests show it, in the double and where it is read: two standard errors."""
    of = machine(**ASYNC)
    given = {"connect": "3.5ms", "close": "1ms", "connect_delay": "900us"}
    machinery = {"loop_before": "120us", "loop_wake": "700us"}
    found = fit(of, with_overheads(of, given | machinery)).overheads()
    assert found["connect"] == pytest.approx(3.5e-3, rel=0.02)
    assert found["connect_delay"] == pytest.approx(900e-6, rel=2 * (2 / (2 * 48)) ** 0.5)
    assert found["close"] == pytest.approx(1e-3, abs=2 * 450e-6 * (2 / 48) ** 0.5)


@pytest.mark.parametrize("wake_us", [5, 30])
def test_how_long_a_woken_thread_takes_is_found_from_what_a_loop_suffers(wake_us: int) -> None:
    computes = """
load: {requests: 10, at: once}
server: {preset: fastapi}
routes: {a: {handler: def, steps: [{cpu: 100ms}]}, b: {handler: async def, steps: []}}
"""
    of = machinery(loads(computes))
    server = of.document["server"] | {"overheads": "typical", "gil": {"wake": f"{wake_us}us"}}
    found = fit(of, simulated(of.document | {"server": server})).gil_wake
    assert found is not None
    assert found.low_s <= wake_us * 1e-6 <= found.high_s
    assert found.mean_s == pytest.approx(wake_us * 1e-6, rel=0.25)


def test_without_computing_threads_nobody_is_asked_for_it() -> None:
    assert all(probe.purpose != "beside" for probe in machine(**ASYNC).probes)
    assert fit(machine(**ASYNC), with_overheads(machine(**ASYNC), "none")).gil_wake is None


def test_an_interval_holds_what_noise_hides() -> None:
    """500 fits of one value under noise of 10 %: its 95 % interval has it 475 times or so.

    The bounds are four standard deviations off (false alarm: 1 in 15,000).
    """
    chance = np.random.Generator(np.random.Philox(key=5))
    held = 0
    for _ in range(500):
        value = _value("timer", 1e-3 * (1 + 0.1 * chance.standard_normal(5)))
        held += value.low_s <= 1e-3 <= value.high_s
    assert 455 <= held <= 495


def test_what_is_written_is_what_a_scenario_takes(tmp_path: Path) -> None:
    of = machine(**ASYNC)
    text = overheads_yaml(fit(of, with_overheads(of, "typical")), ["of a test"])
    (tmp_path / "mine.yaml").write_text(text)
    (tmp_path / "a.yaml").write_text("load: {requests: 1, at: once}\nserver: {overheads: mine.yaml}"
                                     "\nroutes: {a: {handler: async def, steps: []}}")  # fmt: skip
    plan = load(tmp_path / "a.yaml").plan
    assert plan.server.overheads.loop_before_ns == 280_000
    assert plan.server.overheads.pool_hold_ns == pytest.approx(1_200_000, rel=0.05)
    assert "95 %: 280.0us to 280.0us, 4 repeats" in text


def test_a_probe_that_failed_is_told() -> None:
    of = machine(**ASYNC)
    ask = with_overheads(of, "typical")

    def failing(probe: Probe) -> Answers:
        answers = ask(probe)
        outcome = ["http_500"] * len(answers) if probe.purpose == "single" else answers.outcome
        return Answers(answers.route, answers.sent_s, answers.finish_s, outcome)

    with pytest.raises(ValueError, match="12 of 12 requests of a probe failed, http_500"):
        fit(of, failing)


def test_httpx_is_probed_on_clients_that_have_no_connection_yet() -> None:
    """Of calls that come at once all are sent to the first idle connection, all but one in vain."""
    of = machine(**ASYNC)
    steps = {route["path"]: route["steps"] for route in of.document["routes"].values()}
    asked = [
        (probe.purpose, steps[label][0]["call"])
        for probe in of.probes
        for label in probe.loads
        if label.startswith("GET /httpx")
    ]
    clients = [client for _, client in asked]
    assert len(clients) == len(set(clients)) == 2 * (ROUNDS + 1)
    assert [purpose for purpose, _ in asked].count("opening") == 2 * ROUNDS
