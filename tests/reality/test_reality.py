"""The table of the README is what was measured and stored; every scenario has a case."""

from __future__ import annotations

import copy
import os

import pytest

from tests.conftest import ROOT
from tests.reality import record, table, wrk
from tests.reality.cases import CASES


def test_every_scenario_has_a_case() -> None:
    configs = {path.stem for path in (ROOT / "configs").glob("*.yaml")}
    assert {case.config for case in CASES} == configs


def test_the_stored_table_is_made_of_what_was_measured() -> None:
    assert record.TABLE.read_text(encoding="utf-8") == table.render(record.stored(record.CHECKED))


def test_the_readme_shows_the_stored_table() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert record.TABLE.read_text(encoding="utf-8").rstrip() in readme


def test_a_change_of_one_figure_changes_the_table() -> None:
    records = record.stored(record.CHECKED)
    changed = copy.deepcopy(records)
    changed["3users-def"]["figures"]["p50"]["measured"] = [9.9] * 3
    assert table.render(changed) != table.render(records)


def test_two_milliseconds_are_no_error() -> None:
    near = {"measured": [0.010], "predicted": 0.012, "error": 0.2, "judged": True}
    far = {"measured": [0.010], "predicted": 0.0121, "error": 0.21, "judged": True}
    assert list(table.errors({"figures": {"p50": near}})) == [0.0]
    assert list(table.errors({"figures": {"p50": far}})) == [0.21]


@pytest.mark.skipif(not wrk.installed(), reason=wrk.WHY_NOT)
@pytest.mark.skipif(not os.environ.get("SIM_ALONE"), reason="asks for a machine that is idle")
def test_the_generator_is_not_the_limit() -> None:
    # 50 users who wait 20 ms: the server has time to spare, so both see the server alone.
    pairs = wrk.compared(50, "{await: 20ms}")
    best = max(pairs, key=lambda pair: pair.ours[0] / pair.wrks[0])
    assert best.ours[0] / best.wrks[0] > 0.9
