"""The formulas against published figures, and against the balance of a Markov chain."""

from __future__ import annotations

import pytest

from simulator.analysis.formulas import Queue, closed, erlang_b, erlang_c, wait_mg1, wait_mmc


def test_published_figures() -> None:
    # Erlang's tables: 10 circuits, 5 erlangs: 1.84 % are lost; 5 agents, 4 erlangs: 55.4 % wait.
    assert erlang_b(10, 5.0) == pytest.approx(0.0184, abs=5e-5)
    assert erlang_c(5, 4.0) == pytest.approx(0.5541, abs=5e-5)
    assert erlang_c(2, 3.0) == 1.0
    assert wait_mmc(1, 0.5, 1.0) == pytest.approx(1.0)
    assert wait_mmc(1, 1.0, 1.0) == float("inf")
    assert wait_mg1(0.5, 1.0, 1.0) == pytest.approx(1.0)
    assert wait_mg1(0.5, 1.0, 0.0) == pytest.approx(0.5)
    assert wait_mg1(1.0, 1.0, 0.0) == float("inf")


def repairman(users: int, think_s: float, slots: int, mean_s: float) -> tuple[float, float]:
    """By the balance equations of the birth and death chain of requests at the station."""
    weight = [1.0]
    for n in range(users):
        weight.append(weight[-1] * ((users - n) / think_s) / (min(n + 1, slots) / mean_s))
    total = sum(weight)
    throughput = sum(w * min(n, slots) / mean_s for n, w in enumerate(weight)) / total
    return throughput, users / throughput - think_s


@pytest.mark.parametrize("users", [1, 2, 5, 40])
@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_mean_value_analysis_is_exact(users: int, slots: int) -> None:
    station = Queue("", slots, 0.3, 1.0, True)
    assert closed(users, 2.0, [station]) == pytest.approx(repairman(users, 2.0, slots, 0.3))


def test_two_stations_by_hand() -> None:
    # Two users, no thinking, 1 s and 2 s: 4 states, throughput (by their balance) 3 / 7.
    stations = [Queue("", 1, 1.0, 1.0, True), Queue("", 1, 2.0, 1.0, True)]
    throughput, response = closed(2, 0.0, stations)
    assert throughput == pytest.approx(3 / 7)
    assert response == pytest.approx(14 / 3)
