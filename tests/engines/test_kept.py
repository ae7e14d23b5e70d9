"""What is kept of compiled kernels: for whom it counts, and who may be in the way."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from simulator import engine
from simulator.engines.compiled import engine as host
from simulator.engines.compiled import jit
from tests.conftest import ROOT
from tests.interrupt import interrupted

pytestmark = pytest.mark.skipif(not jit.is_installed(), reason="no Numba")

LEAF = "from simulator.engines.compiled.jit import kernel\n@kernel\ndef leaf(m):\n    return {}\n"
TOP = (
    "import numpy\nfrom simulator.engines.compiled.jit import entry\nfrom leaf import leaf\n"
    "@entry\ndef top(m):\n    return leaf(m)\n"
    "print(top(numpy.zeros(1, dtype=numpy.int64)), 'kept' if top.stats.cache_hits else 'new')\n"
)


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """A folder with a kernel that gives back 1, and one that it calls."""
    folder = tmp_path / "kernels"
    folder.mkdir()
    (folder / "top.py").write_text(TOP)
    (folder / "leaf.py").write_text(LEAF.format(1))
    return folder


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(jit, "PLAIN", False)
    return tmp_path / "cache"


def run_kernels(folder: Path, cache: Path, *, count: int = 1) -> list[str]:
    environment = os.environ | {"NUMBA_DISABLE_JIT": "0", "XDG_CACHE_HOME": str(cache)}
    environment["PYTHONPATH"] = f"{ROOT}{os.pathsep}{folder}"
    running = [
        subprocess.Popen(
            [sys.executable, str(folder / "top.py")],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    return [process.communicate()[0].strip() for process in running]


def test_an_edited_leaf_is_compiled_anew(kernels: Path, cache: Path) -> None:
    assert run_kernels(kernels, cache) == ["1 new"]
    assert run_kernels(kernels, cache) == ["1 kept"]
    (kernels / "leaf.py").write_text(LEAF.format(2))
    assert not jit.is_kept(kernels / "top.py")
    assert run_kernels(kernels, cache) == ["2 new"]


def test_who_compile_at_once_are_in_nobody_s_way(kernels: Path, cache: Path) -> None:
    assert {line.split()[0] for line in run_kernels(kernels, cache, count=4)} == {"1"}
    assert run_kernels(kernels, cache, count=2) == ["1 kept", "1 kept"]


def test_another_copy_and_a_newer_file_are_not_kept(kernels: Path, cache: Path) -> None:
    # Numba keeps what it compiles by the file's path, its size and its last change.
    top, copy = kernels / "top.py", kernels.with_name("copy")
    run_kernels(kernels, cache)
    assert jit.is_kept(top)
    shutil.copytree(kernels, copy)
    assert not jit.is_kept(copy / "top.py")
    assert run_kernels(copy, cache) == ["1 new"]
    assert jit.is_kept(copy / "top.py") and jit.is_kept(top)
    os.utime(top, (1, 1))
    assert not jit.is_kept(top)
    assert run_kernels(kernels, cache) == ["1 new"]
    assert jit.is_kept(top)


def test_nothing_is_written_beside_the_sources(kernels: Path, cache: Path) -> None:
    before = sorted(kernels.rglob("*.nb*"))
    kernels.chmod(0o555)
    try:
        assert run_kernels(kernels, cache) == ["1 new"]
        assert run_kernels(kernels, cache) == ["1 kept"]
    finally:
        kernels.chmod(0o755)
    assert sorted(kernels.rglob("*.nb*")) == before == []


def test_a_cache_that_cannot_be_written_to_is_none(
    kernels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    for_a_run = tmp_path / "for a run"
    for_a_run.mkdir()
    monkeypatch.setenv("TMPDIR", str(for_a_run))
    assert run_kernels(kernels, in_the_way) == ["1 new"]
    assert run_kernels(kernels, in_the_way) == ["1 new"]
    assert list(for_a_run.iterdir()) == []
    # The command says that it compiles each time, and not that anything is kept.
    monkeypatch.setenv("XDG_CACHE_HOME", str(in_the_way))
    monkeypatch.setattr(jit, "PLAIN", False)
    monkeypatch.setattr(engine, "_PREPARED", [])
    monkeypatch.setattr(host, "compile_kernels", lambda: None)
    told: list[str] = []
    engine.prepare(told.append)
    assert len(told) == 2 and told[0].startswith("compiling the engine")
    assert told[1] == f"compiled in 0 s, for this run only: {jit.folder()} can't be written to"


def test_ctrl_c_in_compiled_kernels_keeps_what_is_done(tmp_path: Path) -> None:
    path = tmp_path / "long.yaml"
    path.write_text(
        "load: {rate: 80/s, arrivals: poisson, requests: 10M}\n"
        "server: {preset: flask}\n"
        "routes: {r: {handler: def, steps: [{block: {exp: 10ms}}]}}\n"
    )
    words = ("run", str(path), "--engine", "compiled", "--json")
    result = interrupted(*words, at="requests arrived", compiled=True)
    assert result.code == 130, result.err
    assert "Traceback" not in result.err
    done = json.loads(result.out)
    assert done["meta"]["engine"] == "compiled"
    assert 0 < done["metrics"]["ok"] <= done["metrics"]["requests"] < 10_000_000
