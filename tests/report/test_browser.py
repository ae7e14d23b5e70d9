"""The report in Chromium: no error, no request, every plot has its points, text stays text.

Needs Playwright (the extra `browser`) and a Chromium that is installed, such as Debian's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Sim
from tests.report.test_html import HOSTILE, report

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as running:
        found = running.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture
def opened(browser: Any, sim: Sim, tmp_path: Path) -> Any:
    """Opens the report of a scenario; gives the page, its errors and its requests."""

    def call(scenario: str | Path, *overrides: str) -> tuple[Any, list[str], list[str]]:
        report(sim, tmp_path, scenario, *overrides)
        page = browser.new_page(viewport={"width": 1000, "height": 800})
        errors: list[str] = []
        requests: list[str] = []
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("dialog", lambda dialog: errors.append(dialog.message))
        page.on("request", lambda request: requests.append(request.url))
        page.goto((tmp_path / "report.html").as_uri())
        return page, errors, requests

    return call


@pytest.mark.parametrize("config", ["1000req", "listing-inference", "retry-storm"])
def test_it_opens_without_errors_and_asks_for_nothing(opened: Any, config: str) -> None:
    page, errors, requests = opened(f"configs/{config}.yaml")
    assert errors == []
    assert len(requests) == 1 and requests[0].startswith("file:")
    plots = page.query_selector_all("[data-chart]")
    assert len(plots) == 5
    for plot in plots:
        assert int(plot.get_attribute("data-points")) > 1, plot.get_attribute("data-chart")
        canvas = plot.query_selector("canvas").bounding_box()
        assert canvas["width"] > 300 and canvas["height"] > 100


def test_pixels_are_drawn(opened: Any) -> None:
    page, _, _ = opened("configs/1000req.yaml")
    coloured = page.evaluate(
        """() => [...document.querySelectorAll("[data-chart] canvas")].map(canvas => {
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] && Math.abs(data[i] - data[i + 2]) > 60) count++;
          return count; })"""
    )
    assert len(coloured) == 5 and min(coloured) > 200


def test_a_scenario_named_script_stays_text(opened: Any, tmp_path: Path) -> None:
    path = tmp_path / "hostile.yaml"
    path.write_text(HOSTILE)
    page, errors, requests = opened(path)
    assert errors == [] and len(requests) == 1
    assert page.inner_text("h1") == "<script>alert(1)</script>"
    assert "<img src=x onerror=alert(2)>" in page.inner_text("header")


def test_the_staircase_tells_what_is_under_the_pointer(opened: Any) -> None:
    page, _, _ = opened("configs/1000req.yaml")
    box = page.query_selector("[data-chart=staircase] canvas")
    box.scroll_into_view_if_needed()
    at = box.bounding_box()
    page.mouse.move(at["x"] + 90, at["y"] + 300)
    tip = page.inner_text("[data-chart=staircase] .tip")
    assert tip.startswith("request ") and "waits" in tip and " s, from 0 s" in tip


def test_the_report_of_several_replications_has_bands(
    browser: Any, sim: Sim, tmp_path: Path
) -> None:
    path, queue = tmp_path / "several.html", tmp_path / "queue.yaml"
    queue.write_text(
        "load: {rate: 60/s, requests: 300}\npools: {db: {size: 1}}\n"
        "routes: {read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}}\n"
    )
    assert sim("run", str(queue), "-n", "5", "--report", str(path)).code == 0
    page = browser.new_page(viewport={"width": 1000, "height": 800})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())
    shaded = page.evaluate(
        """() => { const canvas = document.querySelector("[data-chart=percentiles] canvas");
          const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          let count = 0;  // a fifth of blue, nothing behind it
          for (let i = 0; i < data.length; i += 4)
            if (data[i + 3] > 40 && data[i + 3] < 70 && data[i + 2] - data[i] > 60) count++;
          return count; }"""
    )
    assert errors == [] and shaded > 500
