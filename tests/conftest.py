"""The command line, run in this process: exit code, stdout and stderr of `sim …`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


Sim = Callable[..., Result]


@pytest.fixture
def sim(monkeypatch: pytest.MonkeyPatch) -> Sim:
    """Runs ``sim`` with these arguments in the project's root, as a README shows it."""
    import cli

    monkeypatch.chdir(ROOT)

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(cli.app, list(arguments), catch_exceptions=False)
        return Result(result.exit_code, result.stdout, result.stderr)

    return call


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that share the run of one scenario go to one process of pytest-xdist."""
    for item in items:
        params = getattr(item, "callspec", None)
        if params is None or item.path.name not in ("test_cases.py", "test_configs.py"):
            continue
        shared = next((v for v in params.params.values() if isinstance(v, str)), "")
        item.add_marker(pytest.mark.xdist_group(f"{item.path.stem}:{shared}"))
