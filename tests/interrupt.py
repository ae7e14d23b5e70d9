"""Ctrl-C on a command that runs in a terminal, at the moment at which it says a certain thing."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time

from tests.conftest import ROOT, Result

# What runs in the background of a script, as tests may, ignores Ctrl-C unless it says so.
TALKATIVE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    "import simulator.commands.progress as progress, cli; progress.AFTER_S = 0; cli.main()"
)


def interrupted(*arguments: str, at: str, pause_s: float = 0, compiled: bool = False) -> Result:
    """What `sim …` prints when it is interrupted ``pause_s`` after its progress says ``at``.

    ``compiled``: kernels are, other than in the tests' own process.
    """
    terminal, side = os.openpty()
    said = ""
    with subprocess.Popen(
        [sys.executable, "-c", TALKATIVE, *arguments],
        stdout=subprocess.PIPE,
        stderr=side,
        text=True,
        cwd=ROOT,
        env=os.environ | ({"NUMBA_DISABLE_JIT": "0"} if compiled else {}),
    ) as process:
        while at not in said and process.poll() is None:
            if select.select([terminal], [], [], 0.1)[0]:
                said += os.read(terminal, 4096).decode()
        time.sleep(pause_s)
        process.send_signal(signal.SIGINT)
        try:
            out, _ = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:  # it runs on, and waits for a reader of its terminal
            process.kill()
            raise
    if select.select([terminal], [], [], 0)[0]:
        said += os.read(terminal, 1 << 20).decode()
    os.close(side)
    os.close(terminal)
    return Result(process.returncode, out, said)
