"""A sweep that is killed again and again: ``python -m tests.crashes [KILLS] [SEED]``.

Each time `kill -9` strikes the command at a random moment of its progress, its processes end by
themselves, and `--resume` goes on. In the end the file of points and what is printed are those of
a sweep that nobody disturbed. A kill that leaves nothing to go on with is followed by a whole one.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conftest import ROOT

SCENARIO = """\
name: crashes
load: {rate: 60/s, requests: 300}
pools: {db: {size: 1}}
routes:
  read: {handler: async def, steps: [{query: db, time: {exp: 10ms}}]}
"""
SWEEP = ("load.rate=20/s..90/s..5/s", "pools.db.size=1,2", "-n", "4", "--jobs", "2")


@dataclass(frozen=True)
class Crashes:
    """What came of a series of kills."""

    kills: int
    sweeps: int  # that were finished in between
    resumed: int  # runs that found points in the file
    different: int  # sweeps whose file or output was not that of the undisturbed one
    left_behind: int  # processes that outlived a kill


def run(kills: int, seed: int = 0, sweep: tuple[str, ...] = SWEEP) -> Crashes:
    """Kill sweeps so many times, and let the last one finish."""
    chance = random.Random(seed)
    with TemporaryDirectory() as name:
        folder = Path(name)
        scenario = folder / "crashes.yaml"
        scenario.write_text(SCENARIO)
        whole, cut = folder / "whole.jsonl", folder / "cut.jsonl"
        printed = _start(scenario, whole, sweep).communicate()[0]
        lines = whole.read_bytes().count(b"\n")
        done = sweeps = resumed = different = left = 0
        while done < kills or sweeps == 0:
            had = cut.read_bytes().count(b"\n") if cut.exists() else 0
            resumed += had > 1
            process = _start(scenario, cut, sweep)
            if done < kills and _at(
                process, cut, chance.randint(had, lines), chance.uniform(0, 0.2)
            ):
                group = _group(process.pid)
                os.kill(process.pid, signal.SIGKILL)
                process.communicate()
                left += _outlive(group)
                done += 1
                continue
            out, _ = process.communicate()
            sweeps += 1
            different += out != printed or cut.read_bytes() != whole.read_bytes()
            cut.unlink()
        return Crashes(done, sweeps, resumed, different, left)


def _start(scenario: Path, out: Path, sweep: tuple[str, ...]) -> subprocess.Popen[bytes]:
    words = ["-m", "cli", "sweep", str(scenario), *sweep, "-o", str(out), "--resume"]
    return subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _at(process: subprocess.Popen[bytes], out: Path, lines: int, later_s: float) -> bool:
    """Wait until so many lines are written, and a little longer; False if it ended before."""
    while not out.exists() or out.read_bytes().count(b"\n") < lines:
        if process.poll() is not None:
            return False
        time.sleep(0.002)
    time.sleep(later_s)
    return process.poll() is None


def _group(leader: int) -> list[int]:
    """The processes of a session beside its leader."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == leader and int(entry.parent.name) != leader:
            found.append(int(entry.parent.name))
    return found


def _outlive(processes: list[int]) -> int:
    """How many of the processes are there after some seconds; these are ended."""
    for _ in range(100):
        processes = [pid for pid in processes if Path(f"/proc/{pid}").exists()]
        if not processes:
            return 0
        time.sleep(0.05)
    for pid in processes:
        os.kill(pid, signal.SIGKILL)
    return len(processes)


def main() -> int:
    kills, seed = map(int, [*sys.argv[1:], *("50", "0")[len(sys.argv) - 1 :]])
    found = run(kills, seed)
    print(found)
    return int(found.different > 0 or found.left_behind > 0)


if __name__ == "__main__":
    sys.exit(main())
