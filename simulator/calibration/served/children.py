"""Processes that don't outlive who started them.

A child is told by the kernel when its parent dies (Linux); elsewhere it watches its parent's
number. Each has a process group of its own, so that what it started goes with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_WATCH_S = 0.5
FILES = 65_536
"""Open files that a child may have, where the system allows so many: each socket is one."""


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Ask for this signal when the parent of this process dies, even by SIGKILL."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
        if os.getppid() != parent:
            os.kill(os.getpid(), number)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_WATCH_S)
        os.kill(os.getpid(), number)

    threading.Thread(target=watch, daemon=True).start()


def start(
    command: Sequence[str | Path],
    *,
    log: Path,
    environment: dict[str, str] | None = None,
    user: tuple[int, int] | None = None,
    death: int = signal.SIGKILL,
    cores: set[int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a process group of its own; what it says goes to ``log``.

    Parameters
    ----------
    user : (uid, gid), optional
        Whom to run it as.
    death : int
        The signal that it gets if this process dies.
    cores : set of int, optional
        The processors that it and its children may use.
    """

    def prepare() -> None:
        # After the change of user, which would clear it. This process has one thread.
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(death))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = FILES if most == resource.RLIM_INFINITY else min(most, FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, most))
        if cores is not None:
            os.sched_setaffinity(0, cores)

    with log.open("ab") as out:
        return subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env={**os.environ, **(environment or {})},
            process_group=0,
            preexec_fn=prepare,
            cwd="/" if user else None,
            user=user[0] if user else None,
            group=user[1] if user else None,
            extra_groups=[] if user else None,
        )


def stop(child: subprocess.Popen[bytes], *signals: tuple[int, float]) -> None:
    """Ask it to end by each signal in turn, waiting so many seconds; then kill its group."""
    for number, patience_s in signals:
        if child.poll() is not None:
            break
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(patience_s)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(5)


def tail(log: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    try:
        text = log.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(text.strip().splitlines()[-lines:])
