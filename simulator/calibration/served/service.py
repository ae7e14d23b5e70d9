"""``serve``: a scenario as a running service, for as long as a ``with`` block lasts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from simulator.calibration.served.failures import NotServable, NotStarted, ServeError
from simulator.calibration.served.installed import check_installed
from simulator.calibration.served.postgres import limits, shown
from simulator.calibration.served.refusals import refusals
from simulator.calibration.served.spec import Clock
from simulator.record import dataclass
from simulator.scenario import Scenario

START_S = 60.0
"""How long a service may take to start."""
STOP_S = 20.0
"""How long it may take to end before it is killed."""


@dataclass(frozen=True, slots=True)
class Running:
    """A service that runs."""

    url: str
    pid: int  # the parent of all its processes
    processes: dict[str, list[int]]  # by part: server, workers, database, outside
    versions: dict[str, str]
    database: str  # its name and version, or none
    dsn: dict[str, str]  # by pool
    folder: Path  # logs and sockets; removed at the end
    _child: subprocess.Popen[str]
    _clock: Clock

    def begins(self, at_ns: int) -> None:
        """Let the run's clock, by which faults strike, begin at this ``time.monotonic_ns``."""
        self._clock.begins(at_ns)

    def failure(self) -> str | None:
        """Why the service runs no more; None while it does."""
        if self._child.poll() is None:
            return None
        assert self._child.stdout is not None
        for line in self._child.stdout:
            told = json.loads(line)
            if told["event"] == "error":
                return str(told["text"])
        return f"the service was ended from outside, with {self._child.returncode}"


@contextmanager
def serve(
    scenario: Scenario,
    *,
    seed: int | None = None,
    replication: int = 0,
    port: int = 0,
    database: str = "embedded",
    deadline_s: float = START_S,
    allow_remote: bool = False,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Running]:
    """Run a scenario as a real service on 127.0.0.1 while the block lasts.

    Parameters
    ----------
    seed : int, optional
        Of the draws; default: the scenario's.
    replication : int
        Of the draws.
    port : int
        0: any that is free.
    database : str
        ``embedded``, ``none`` (a semaphore and a sleep) or a DSN.
    deadline_s : float
        How long the start may take.
    allow_remote : bool
        Whether a DSN may name another machine.
    progress : callable
        Called with what is being started.

    Raises
    ------
    NotServable
        With all that can't be served.
    NotStarted
        If a pool can't open its connections, as a simulated service is not started.
    ServeError
        If the port is taken, the server dies or hangs at its start, PostgreSQL is missing.
    """
    reasons = refusals(scenario, database=database)
    if reasons:
        raise NotServable(reasons)
    check_installed(scenario, database)
    if database not in ("embedded", "none"):
        check_dsn(scenario, database, allow_remote=allow_remote)
    ask = {
        "document": scenario.document,
        "seed": scenario.seed if seed is None else seed,
        "replication": replication,
        "port": _free(port),
        "database": database,
        "deadline_s": deadline_s,
    }
    child = _start()
    try:
        yield _running(child, ask, deadline_s, progress)
    finally:
        _stop(child)


def check_dsn(scenario: Scenario, dsn: str, *, allow_remote: bool) -> None:
    """Whether a database of the user's own is where and what the scenario says.

    Raises
    ------
    ServeError
        If it is another machine's, can't be reached, or has other limits than the scenario.
    """
    from psycopg import ProgrammingError
    from psycopg.conninfo import conninfo_to_dict

    try:
        host = str(conninfo_to_dict(dsn).get("host") or "")
    except ProgrammingError as error:
        raise ServeError(
            f"--database {shown(dsn)}: {str(error).strip()}; expected embedded, none or a DSN "
            "such as postgresql://me@localhost/test"
        ) from error
    if not allow_remote and not (host in ("", "localhost", "127.0.0.1", "::1") or host[0] == "/"):
        raise ServeError(f"{shown(dsn)} is not on this machine: --allow-remote if you mean it")
    if not scenario.plan.databases:
        return
    found = limits(dsn)
    for name, entry in scenario.document["databases"].items():
        wanted = entry["max_connections"], entry["reserved"]
        if wanted != found:
            raise ServeError(
                f"databases.{name}: max_connections {wanted[0]}, reserved {wanted[1]}, but "
                f"{shown(dsn)} has {found[0]}, {found[1]}: change one of them"
            )


def _start() -> subprocess.Popen[str]:
    from simulator.calibration.served.supervisor import importable

    return subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.supervisor"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C reaches the owner alone, who then lets it end
        env={**os.environ, **importable()},
    )


def _running(
    child: subprocess.Popen[str],
    ask: dict[str, Any],
    deadline_s: float,
    progress: Callable[[str], None],
) -> Running:
    stdin, stdout = _pipes(child)
    with contextlib.suppress(BrokenPipeError):  # then its output says more
        stdin.write(json.dumps(ask) + "\n")
        stdin.flush()
    for line in stdout:
        told = json.loads(line)
        event = told.pop("event")
        if event == "progress":
            progress(told["text"])
        elif event == "error":
            raise (ServeError if told["started"] else NotStarted)(told["text"])
        else:
            folder = Path(told.pop("folder"))
            clock = Clock(folder / "clock")
            return Running(pid=child.pid, folder=folder, _child=child, _clock=clock, **told)
    raise ServeError(f"the service's supervisor ended with {child.wait()}")


def _stop(child: subprocess.Popen[str]) -> None:
    stdin, stdout = _pipes(child)
    with contextlib.suppress(BrokenPipeError):
        stdin.close()
    # A second Ctrl-C must not leave anything running: it is heard when all has ended.
    interrupted = False
    ends = time.monotonic() + STOP_S
    while child.poll() is None and time.monotonic() < ends:
        try:
            child.wait(max(0.0, ends - time.monotonic()))
        except subprocess.TimeoutExpired:
            break
        except KeyboardInterrupt:
            interrupted = True
    if child.poll() is None:
        child.send_signal(signal.SIGKILL)  # its children get theirs from the kernel
        child.wait()
    stdout.close()
    if interrupted:
        raise KeyboardInterrupt


def _pipes(child: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert child.stdin is not None and child.stdout is not None
    return child.stdin, child.stdout


def _free(port: int) -> int:
    """The port, or one that is free; raises if it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
            probe.listen(1)
        except OSError as error:
            raise ServeError(
                f"port {port} of 127.0.0.1 can't be used: {error.strerror}; choose another "
                "with --port, or none for any that is free"
            ) from error
        return int(probe.getsockname()[1])
