"""The command line, run in this process: exit code, stdout and stderr of `sim …`."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).resolve().parents[1]

# Kernels run as plain Python in the tests' own process: the same lines, nothing to compile.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")


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
