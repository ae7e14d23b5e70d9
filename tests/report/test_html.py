"""The HTML report: whole, small, the same for the same run, and only our own code runs in it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from simulator.answer import simulate
from simulator.report.html import Table, render
from simulator.scenario import load
from tests.conftest import ROOT, Sim

HOSTILE = """\
name: "<script>alert(1)</script>"
description: "</title><img src=x onerror=alert(2)> & {{ 7 * 7 }}"
load: {requests: 30, at: once}
pools: {db: {size: 2}}
routes:
  read:
    path: 'GET /<script>'
    handler: async def
    steps: [{query: db, time: 1s}]
# </pre><img src=x onerror=alert(3)> </script><b>
thresholds: {latency: ['p(95)<1s']}
"""


class Elements(HTMLParser):
    """Tags with their attributes, and the texts of scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self._in_script = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")
            self._in_script = True

    def handle_endtag(self, tag: str) -> None:
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data: str) -> None:
        if self._in_script:
            self.scripts[-1] += data


def report(sim: Sim, folder: Path, scenario: str | Path, *overrides: str) -> str:
    path = folder / "report.html"
    result = sim("run", str(scenario), *overrides, "--no-thresholds", "--report", str(path))
    assert result.code in (0, 4), result.err
    return path.read_text(encoding="utf-8")


def parsed(text: str) -> Elements:
    out = Elements()
    out.feed(text)
    return out


def test_what_a_person_wrote_stays_text(sim: Sim, tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(HOSTILE)
    text = report(sim, tmp_path, path)
    elements = parsed(text)
    assert len(elements.scripts) == 3
    assert "img" not in {tag for tag, _ in elements.tags}
    assert not [a for _, attributes in elements.tags for a in attributes if a.startswith("on")]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "{{ 7 * 7 }}" in text and "49" not in re.findall(r"<p>(.*?)</p>", text)[0]
    data = json.loads(elements.scripts[0])
    assert data["percentiles"]["lines"][0]["label"] == "GET /<script>"


def test_an_unescaped_text_would_be_found() -> None:
    assert "img" in {tag for tag, _ in parsed("<p><img src=x onerror=alert(2)></p>").tags}


@pytest.mark.parametrize(
    "config", ["1000req", "listing-inference", "retry-storm", "websocket-broadcast", "3users-async"]
)
def test_it_is_small_and_asks_for_nothing(sim: Sim, tmp_path: Path, config: str) -> None:
    text = report(sim, tmp_path, f"configs/{config}.yaml")
    assert len(text.encode()) < 500_000
    elements = parsed(text)
    named = [
        v for _, attributes in elements.tags for k, v in attributes.items() if k in ("src", "href")
    ]
    assert [value for value in named if value and not value.startswith("#L")] == []
    policy = next(a["content"] for tag, a in elements.tags if a.get("http-equiv"))
    assert policy and policy.startswith("default-src 'none'")
    assert "Permission is hereby granted" in text  # uPlot's licence goes with it


def test_the_data_are_those_of_the_run(sim: Sim, tmp_path: Path) -> None:
    data = json.loads(parsed(report(sim, tmp_path, "configs/1000req.yaml")).scripts[0])
    assert set(data) == {"percentiles", "timeline", "queues", "utilisation", "staircase"}
    queue = data["queues"]
    (line,) = queue["lines"]
    assert dict(zip(queue["x"], line["y"], strict=True))[0.0] == 950
    assert dict(zip(queue["x"], line["y"], strict=True))[50.0] == 450
    assert sum(data["timeline"]["lines"][0]["y"]) == 1000
    stairs = data["staircase"]
    holds = [box for box in stairs["boxes"] if box[4] >= 0]
    # 20 waves of 50, each a twentieth of the way across.
    assert [box[:4] for box in holds] == [
        [50 * wave, 50 * wave + 49, 500 * wave, 500 * (wave + 1)] for wave in range(20)
    ]
    latency = data["percentiles"]["lines"][0]["y"]
    assert latency[0] == 5 and max(y for y in latency if y is not None) == 100


def test_the_same_run_has_the_same_bytes(sim: Sim, tmp_path: Path) -> None:
    assert len({report(sim, tmp_path, "configs/listing-inference.yaml") for _ in range(2)}) == 1


def test_findings_point_at_their_lines(sim: Sim, tmp_path: Path) -> None:
    text = report(sim, tmp_path, "configs/1000req.yaml")
    assert '<a href="#L7">line 7</a>' in text
    assert '<span id="L7" class="marked">' in text


def test_one_scenario_and_a_place_to_write(sim: Sim, tmp_path: Path) -> None:
    both = sim("run", "configs/1000req.yaml", "configs/same-row.yaml", "--report", "x.html")
    assert both.code == 2 and "--report writes one file, expected one scenario" in both.err
    nowhere = sim("run", "configs/1000req.yaml", "--report", str(tmp_path / "no" / "x.html"))
    assert nowhere.code == 2 and "can't write" in nowhere.err


def test_the_assets_are_in_the_package() -> None:
    listed = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '"simulator.report" = ["assets/*"]' in listed


FAILING = """\
name: failing
load: {requests: 100, at: once}
pools: {db: {size: 1, acquire_timeout: 2s}}
routes: {read: {handler: async def, steps: [{query: db, time: 1s}]}}
"""


def test_many_failures_make_a_bad_verdict_unless_the_thresholds_allow_them(
    sim: Sim, tmp_path: Path
) -> None:
    path = tmp_path / "failing.yaml"
    path.write_text(FAILING)
    assert 'class="verdict bad"' in report(sim, tmp_path, path)
    allowed = "thresholds={errors: ['rate<99%']}"
    assert 'class="verdict good"' in report(sim, tmp_path, path, allowed)
    assert 'class="verdict good"' in report(sim, tmp_path, path, "pools.db.size=100")


def test_what_is_tried_next_can_be_pasted_into_a_shell(sim: Sim, tmp_path: Path) -> None:
    text = report(sim, tmp_path, "configs/thread-pool-deadlock.yaml")
    assert "&#39;routes.get_user.handler=async def&#39;</code>" in text


def test_a_run_without_length_has_no_empty_sections(sim: Sim, tmp_path: Path) -> None:
    text = report(sim, tmp_path, "configs/pool-times-workers.yaml")
    assert 'id="verdict"' in text and 'class="verdict bad"' in text
    assert not [
        name for name in ("timeline", "time", "resources") if f'<section id="{name}"' in text
    ]


def test_the_last_bar_has_room(sim: Sim, tmp_path: Path) -> None:
    data = json.loads(parsed(report(sim, tmp_path, "configs/1000req.yaml")).scripts[0])
    timeline = data["timeline"]
    assert (timeline["x"][-1], timeline["end"]) == (98, 100)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_told(sim: Sim) -> None:
    shown = sim("run", "configs/1000req.yaml", "--report", "/dev/full")
    assert shown.code == 5
    assert "can't write /dev/full: No space left on device" in shown.err


def test_what_was_measured_stands_beside_what_was_predicted() -> None:
    answer = simulate(load(str(ROOT / "configs" / "3users-async.yaml")))
    rows = (("makespan", "502ms", "", "501ms", "", "+0.2%", "10%", "ok"), ("<b>p50</b>",) * 8)
    table = Table(("FIGURE", *"abcdefg"), rows, "A real service did as predicted: at worst +0.2%")
    text = render(
        answer, command="sim check x", version="0", seed=0, source="", resolved="", measured=table
    )
    assert "<h2>A real service did as predicted: at worst +0.2%</h2>" in text
    assert "<td>502ms</td>" in text and "&lt;b&gt;p50&lt;/b&gt;" in text
    without = render(answer, command="", version="0", seed=0, source="", resolved="")
    assert 'id="measured"' in text and 'id="measured"' not in without


def test_a_rate_limit_has_no_slots_that_could_serve(sim: Sim, tmp_path: Path) -> None:
    text = report(sim, tmp_path, "configs/rate-limited-api.yaml")
    assert "<h2>rate limit geocoder lets 60 requests through: the last ends at 2.1s</h2>" in text
    assert "one hold of a slot" not in text


def test_who_is_sent_again_waits_more_than_once(sim: Sim, tmp_path: Path) -> None:
    text = report(sim, tmp_path, "configs/retry-storm.yaml")
    found = re.search(r"<h2>threads: up to ([0-9]+) attempts wait at once</h2>", text)
    assert found and int(found[1]) > 4500  # of 4500 requests
    assert '"attempts that wait"' in text
