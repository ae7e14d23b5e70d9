"""The parent of all that a served scenario runs; it ends with whoever started it.

Standard input brings one line, what to serve, and then stays open: when it closes, because
its owner is done or was killed, everything is stopped and removed. Standard output carries
one JSON line per event: ``progress``, ``ready``, ``error``.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from simulator.calibration.served import children
from simulator.calibration.served import spec as specs
from simulator.calibration.served.command import (
    Ask,
    cores_of,
    database_of,
    needs_outside,
    server_command,
    sockets_of,
)
from simulator.calibration.served.failures import NotStarted, ServeError
from simulator.calibration.served.postgres import Embedded, Wanted, forget, prepare
from simulator.scenario.lower import lower

PREFIX = "sim-serve-"
PARTS = {
    "server-0": "server",
    "outside": "server of what is called",
    "listeners": "client of the WebSockets",
}
"""What a person calls each process."""
_LOOK_S = 0.02


class Stopped(Exception):
    """Whoever asked for the service has gone, or a signal asks to end it."""


class Supervisor:
    """Starts what a scenario needs, watches it, stops it."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self.plan = lower(ask.document)
        self.folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
        self.folder.chmod(0o711)  # PostgreSQL runs as somebody else where this is root
        self.databases: dict[str, Embedded] = {}
        self.tables: tuple[tuple[str, int], ...] = ()
        self.children: dict[str, subprocess.Popen[bytes]] = {}
        self.database = "none"
        self.owner = os.getppid()  # a fork of its may hold our standard input open, too
        self.environment: dict[str, str] = {}

    def start(self) -> dict[str, Any]:
        """Start everything; gives back what is told as ``ready``."""
        dsn = self._databases()
        outside = free_port() if needs_outside(self.plan) else 0
        path = specs.write(
            self.folder,
            self.ask.document,
            seed=self.ask.seed,
            replication=self.ask.replication,
            dsn=dsn,
            outside=f"http://127.0.0.1:{outside}",
        )
        specs.Clock(self.folder / "clock")
        self.environment = {specs.ENV: str(path), **importable()}
        if outside:
            self._start_part("outside", str(outside))
        workers = self._servers()
        if count := sockets_of(self.plan):
            say("progress", text=f"opening {count} WebSockets")
            url = f"http://127.0.0.1:{self.ask.port}/-/sockets"
            self._start_part("listeners", url, str(count))
        return {
            "url": f"http://127.0.0.1:{self.ask.port}",
            "processes": self._pids(workers),
            "versions": workers[0]["versions"],
            "database": self.database,
            "dsn": dsn,
            "folder": str(self.folder),
        }

    def _servers(self) -> list[dict[str, Any]]:
        """Start uvicorn or gunicorn, once for each instance, and what balances between them."""
        server = self.plan.server
        ports = [self.ask.port]
        if server.instances > 1:
            ports = [free_port() for _ in range(server.instances)]
        say("progress", text="starting the server")
        for i, port in enumerate(ports):
            name = f"server-{i}"
            command = server_command(self.ask.document, self.plan, port)
            self._start(name, command, cores_of(self.plan, i))
        workers = self._wait("ready", server.workers * server.instances, "worker", ports)
        if server.instances > 1:
            self._start_part("balancer", str(self.ask.port), *map(str, ports))
        return workers

    def _start_part(self, name: str, *words: str) -> None:
        """Start a module of this package, and wait until it is ready."""
        self._start(name, [sys.executable, "-m", f"{__package__}.{name}", *words], None)
        self._wait(name, 1, name, [])

    def _start(self, name: str, command: list[str], cores: set[int] | None) -> None:
        log = self.folder / f"{name}.log"
        self.children[name] = children.start(
            command, log=log, environment=self.environment, cores=cores
        )

    def _pids(self, workers: list[dict[str, Any]]) -> dict[str, list[int]]:
        servers = [child.pid for name, child in self.children.items() if "server-" in name]
        others = {
            name: [child.pid] for name, child in self.children.items() if "server-" not in name
        }
        return {
            "server": servers,
            "workers": sorted(worker["pid"] for worker in workers),
            "database": [database.pid for database in self.databases.values()],
            **others,
        }

    def watch(self) -> None:
        """Return when the owner is done.

        Raises
        ------
        ServeError
            If a part of the service dies.
        """
        while not _is_over(0.2) and os.getppid() == self.owner:
            self._check()

    def stop(self) -> None:
        """Stop everything, remove the folder."""
        for child in reversed(self.children.values()):
            children.stop(child, (signal.SIGTERM, 3.0))
        for database in self.databases.values():
            database.stop()
        if self.tables:
            forget(self.ask.database, self.tables)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _databases(self) -> dict[str, str]:
        """Start what the pools need; gives back the DSN of each pool."""
        if not self.plan.pools or self.ask.database == "none":
            return {}
        wanted = {
            pool.label: database_of(self.ask.document, self.plan, pool) for pool in self.plan.pools
        }
        if self.ask.database != "embedded":
            tables = tuple({row: None for w in wanted.values() for row in w[1].tables})
            self.database = prepare(self.ask.database, tables)
            self.tables = tables
            return dict.fromkeys(wanted, self.ask.database)
        out = {}
        for pool, (name, how) in wanted.items():
            if name not in self.databases:
                out[pool] = self._embedded(name, how)
            out[pool] = self.databases[name].dsn
        return out

    def _embedded(self, name: str, how: Wanted) -> str:
        say("progress", text="starting PostgreSQL")
        database = Embedded(self.folder / f"postgresql-{len(self.databases)}", how)
        self.databases[name] = database
        self.database = f"{database.start()}, embedded"
        return database.dsn

    def _wait(self, word: str, count: int, what: str, ports: list[int]) -> list[dict[str, Any]]:
        """Wait until so many processes have told that they are ready, and ports accept."""
        ends = time.monotonic() + self.ask.deadline_s
        while True:
            for path in self._told("failed"):
                raise NotStarted(path.read_text(encoding="utf-8"))
            self._check()
            ready = self._told(word)
            if len(ready) >= count and all(map(_accepts, ports)):
                return [json.loads(path.read_text(encoding="utf-8")) for path in ready]
            if time.monotonic() > ends:
                logs = "\n".join(children.tail(path) for path in self.folder.glob("*.log"))
                s = "" if count == 1 else "s"
                raise ServeError(
                    f"{len(ready)} of {count} {what}{s} ready after {self.ask.deadline_s:g} s, "
                    f"expected all; --deadline gives more time\n{logs}".rstrip()
                )
            if _is_over(_LOOK_S):
                raise Stopped

    def _told(self, word: str) -> list[Path]:
        return [path for path in self.folder.glob(f"{word}-*") if path.suffix == ""]

    def _check(self) -> None:
        for name, child in self.children.items():
            if child.poll() is not None:
                log = children.tail(self.folder / f"{name}.log")
                part = PARTS.get(name, name.replace("-", " of instance "))
                raise ServeError(f"the {part} ended with {child.returncode}\n{log}".rstrip())
        for database in self.databases.values():
            if why := database.check():
                raise ServeError(why)


def say(event: str, **told: Any) -> None:
    """Tell the owner of an event; one who doesn't listen any more has gone."""
    line = json.dumps({"event": event, **told}) + "\n"
    try:
        sys.stdout.write(line)
        sys.stdout.flush()
    except OSError as error:
        raise Stopped from error


def main() -> None:
    """Serve what standard input asks for until it closes."""

    def stopped(*_: Any) -> None:
        raise Stopped

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, stopped)
    supervisor = None
    try:
        supervisor = Supervisor(Ask(**json.loads(sys.stdin.readline())))
        remove_left_behind()
        say("ready", **supervisor.start())
        supervisor.watch()
    except Stopped:
        pass
    except ServeError as error:
        say("error", text=str(error), started=not isinstance(error, NotStarted))
    except OSError as error:
        say("error", text=f"{error.filename or 'the service'}: {error.strerror}", started=True)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        if supervisor is not None:
            supervisor.stop()


def remove_left_behind() -> None:
    """Remove the folders of supervisors that were killed before they could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*-*"):
        pid = folder.name.removeprefix(PREFIX).split("-")[0]
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            shutil.rmtree(folder, ignore_errors=True)
        except (ValueError, PermissionError):
            continue


def _is_over(seconds: float) -> bool:
    """Whether standard input has closed; waits so long for it."""
    readable, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(readable) and not os.read(sys.stdin.fileno(), 4096)


def free_port() -> int:
    """A port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def importable() -> dict[str, str]:
    """An environment in which children find this package from any folder."""
    root = str(Path(__file__).resolve().parents[3])
    known = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": f"{root}{os.pathsep}{known}" if known else root}


if __name__ == "__main__":
    main()
