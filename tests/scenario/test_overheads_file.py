"""A file of overheads may say how long a woken thread takes to the GIL; the server has it."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulator.scenario import load

SCENARIO = """
load: {{requests: 1, at: once}}
server: {{{server}, overheads: mine.yaml}}
routes: {{a: {{handler: def, steps: [{{cpu: 1ms}}]}}}}
"""


def _server(folder: Path, server: str) -> dict[str, object]:
    (folder / "mine.yaml").write_text("loop_before: 90us\ngil_wake: 17us  # 95 %: 12us to 22us\n")
    (folder / "a.yaml").write_text(SCENARIO.format(server=server))
    found = load(folder / "a.yaml").document["server"]
    assert found["overheads"]["loop_before"] == "90us"
    assert "gil_wake" not in found["overheads"]
    return dict(found)


@pytest.mark.parametrize(
    ("server", "gil"),
    [
        ("preset: fastapi", {"handover": "random", "wake": "17us"}),
        ("preset: fastapi, gil: true", {"handover": "random", "wake": "17us"}),
        ("preset: fastapi, gil: {handover: fifo}", {"handover": "fifo", "wake": "17us"}),
        ("preset: fastapi, gil: {wake: 3us}", {"handover": "random", "wake": "3us"}),
        ("preset: fastapi, gil: false", False),
        ("preset: django", {"handover": "random"}),
        ("kind: threads", {"handover": "random"}),
    ],
)
def test_it_stands_where_the_scenario_says_none(tmp_path: Path, server: str, gil: object) -> None:
    assert _server(tmp_path, server)["gil"] == gil


def test_a_server_without_threads_passes_over_it(tmp_path: Path) -> None:
    assert "gil" not in _server(tmp_path, "preset: flask")
