"""A real Dask cluster on this machine, and a worker that is killed in the middle of a sweep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Sim

SCENARIO = """\
name: spread
load: {rate: 60/s, requests: 200}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""
SWEEP = ("load.rate=20/s..90/s..10/s", "-n", "5")
WORKER = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--host", "127.0.0.1")
# A worker slows down, so that there is a middle in which it can be killed.
SLOW = """\
import time, simulator.experiments.executors as executors

def slow(*args, **kwargs):
    time.sleep(0.05)
    return executors.at_once(*args, **kwargs)

if not hasattr(executors, "at_once"):  # Dask runs this twice
    executors.at_once, executors.simulate = executors.simulate, slow
"""


def dask(module: str, *words: str, preload: Path | None = None) -> subprocess.Popen[bytes]:
    extra = ("--preload", str(preload)) if preload else ()
    return subprocess.Popen(
        [sys.executable, "-m", f"distributed.cli.{module}", *words, *extra],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its two workers."""
    where, preload = tmp_path / "scheduler.json", tmp_path / "slow.py"
    preload.write_text(SLOW)
    words = ("--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", str(where))
    processes = [dask("dask_scheduler", *words)]
    try:
        deadline = time.monotonic() + 60
        while not where.exists() or not where.read_text().strip():
            assert time.monotonic() < deadline, "the scheduler did not start"
            time.sleep(0.1)
        address = json.loads(where.read_text())["address"]
        processes += [dask("dask_worker", address, *WORKER, preload=preload) for _ in range(2)]
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def test_a_worker_is_killed_in_the_middle_and_nothing_changes(
    sim: Sim, tmp_path: Path, cluster: tuple[str, list[subprocess.Popen[bytes]]]
) -> None:
    address, workers = cluster
    scenario, here, there = (tmp_path / n for n in ("spread.yaml", "here.jsonl", "there.jsonl"))
    scenario.write_text(SCENARIO)
    local = sim("sweep", str(scenario), *SWEEP, "-o", str(here))
    words = [str(scenario), *SWEEP, "-o", str(there), "--cluster", address]
    process = subprocess.Popen(
        [sys.executable, "-m", "cli", "sweep", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    while not there.exists() or there.read_bytes().count(b"\n") < 3:  # the header, two points
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    workers[0].send_signal(signal.SIGKILL)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert there.read_bytes() == here.read_bytes()
    assert out == local.out


def test_no_scheduler_is_the_environment_s_fault(
    sim: Sim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from simulator.experiments import cluster

    monkeypatch.setattr(cluster, "WAIT_S", 0.2)
    scenario = tmp_path / "spread.yaml"
    scenario.write_text(SCENARIO)
    for address in ("tcp://127.0.0.1:9", "nonsense"):
        result = sim("sweep", str(scenario), *SWEEP, "--cluster", address)
        assert (result.code, result.out) == (5, "")
        assert f"no scheduler answers at {address}" in result.err


def test_what_is_not_installed_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    from simulator.experiments.cluster import Cluster, ClusterError

    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install 'concurrency-simulator\[cluster\]'"):
        Cluster("tcp://127.0.0.1:9")
