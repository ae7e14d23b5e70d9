"""Every command of the README is run here, every number of it produced."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from simulator.scenario import arrivals, language, loads, outside
from simulator.scenario.sections import Section
from tests.conftest import ROOT, Sim
from tests.readme import README, executed

TEXT = README.read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.fixture
def run(sim: Sim) -> Callable[[list[str]], str]:
    def call(arguments: list[str]) -> str:
        result = sim(*arguments)
        return result.out + result.err

    return call


def test_the_output_of_each_command_is_what_it_prints(run: Callable[[list[str]], str]) -> None:
    assert executed(TEXT, run) == TEXT, "python -m tests.readme brings it up to date"


def test_a_stale_number_would_be_found(run: Callable[[list[str]], str]) -> None:
    stale = TEXT.replace("52.5s", "52.4s", 1)
    assert executed(stale, run) != stale


TABLE = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TEXT.splitlines()
    if line.startswith("| `") and ".yaml` |" in line
]


def test_the_table_has_eight_rows() -> None:
    assert len(TABLE) == 8


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row[-1])
def test_each_row_of_the_table(sim: Sim, row: list[str]) -> None:
    _, ok, p50, p95, last, limited_by, config = row
    path = f"configs/{config.strip('`')}"
    document = json.loads(sim("run", path, "--json").out)
    metrics = document["metrics"]
    assert metrics["requests"] == 1000
    assert int(ok) == metrics["ok"]
    few = metrics["ok"] < 500
    for cell, value in ((p50, metrics["latency_p50_s"]), (p95, metrics["latency_p95_s"])):
        assert cell == ("–" if few else f"{value:g}s")
    assert float(last.rstrip("s")) == pytest.approx(metrics["last_s"], abs=0.005)
    bottleneck = document["bottleneck"]
    assert limited_by.startswith(f"{bottleneck['resource']} ({bottleneck['size']})")
    errors = re.search(r"(\d+) errors", limited_by)
    assert metrics["errors"] == (int(errors.group(1)) if errors else 0)
    page = sim("run", path).out
    assert "–" in page.splitlines()[3] or not few


def test_the_yaml_blocks_are_valid_scenarios() -> None:
    for text in blocks("yaml"):
        loads(text)


def test_the_example_with_a_slo_passes_or_says_what_failed(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(blocks("yaml")[1])
    result = sim("run", str(path))
    assert result.code in (0, 99)
    assert "THRESHOLDS" in result.out


def test_the_python_block_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {})
    said = re.search(r"print\(.*\)  # (.*)", code)
    assert said is not None
    assert capsys.readouterr().out.strip() == said.group(1)


def colours(path: Path) -> list[str]:
    """The drawn shapes; the bytes differ with the version of matplotlib."""
    return re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", path.read_text(encoding="utf-8"))


def test_the_staircase_is_what_the_command_draws(sim: Sim, tmp_path: Path) -> None:
    assert sim("run", "configs/1000req.yaml", "--plot", str(tmp_path)).code == 0
    shown, drawn = ROOT / "configs" / "1000req-staircase.svg", tmp_path / "staircase.svg"
    assert colours(shown) == colours(drawn) and len(colours(shown)) >= 4
    title = "50 connections serve 1000 requests in 20 waves: the last ends at 100"
    assert all(title in path.read_text(encoding="utf-8") for path in (shown, drawn))


def test_the_curve_is_what_the_sweep_draws(sim: Sim, tmp_path: Path) -> None:
    (command,) = re.findall(r"^\$ sim (sweep .*)$", TEXT, re.MULTILINE)
    shown, drawn = ROOT / "configs" / "1000req-sweep.svg", tmp_path / "curve.svg"
    assert sim(*shlex.split(command), "--plot", str(drawn)).code == 0
    assert colours(shown) == colours(drawn) and len(colours(shown)) >= 4
    words = ("p95 falls below 150s from pools.db.size=40", "limited by threads", "p(95)")
    for path in (shown, drawn):
        assert [word for word in words if word not in path.read_text(encoding="utf-8")] == []


def test_each_scenario_is_in_the_table_of_questions() -> None:
    listed = re.findall(r"\| \[`(.+)`\]\(configs/(.+)\.yaml\) \|$", TEXT, re.MULTILINE)
    shipped = sorted(path.stem for path in (ROOT / "configs").glob("*.yaml"))
    assert listed == [(name, name) for name in shipped]


def test_each_command_is_in_the_table(sim: Sim) -> None:
    commands = re.findall(r"^  (\w+)  ", sim("--help").out, re.MULTILINE)
    assert len(commands) > 8
    assert [name for name in commands if f"| `sim {name}" not in TEXT] == []


@pytest.mark.parametrize(
    ("name", "section"),
    [
        ("load", arrivals.LOAD),
        ("client", outside.CLIENT),
        ("server", language.SERVER),
        ("pools.X", language.POOL),
        ("databases.X", language.DATABASE),
        ("locks.X", language.LOCK),
        ("services.X", outside.SERVICE),
        ("accelerators.X", outside.ACCELERATOR),
        ("faults", outside.FAULT),
    ],
)
def test_each_key_of_a_section_is_in_its_row(name: str, section: Section) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{name}` |")]
    assert [key for key in section.fields if not re.search(rf"`{key}\b", row)] == []


def test_each_install_line_is_one_line() -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 2 and all(line.startswith("python3 -m venv") for line in lines)
    assert TEXT.startswith("# ")
