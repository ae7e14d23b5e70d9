"""The terminal's side of a command: exit codes, what is printed where, progress, streams.

Results go to stdout, everything else to stderr. A closed pipe ends quietly; a disk that is
full is told. How far a command is, see ``progress``, stands in a line that goes away.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import typer

OK, BUG, USAGE, INVALID, NO_ANSWER, ENVIRONMENT, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 99, 130
_STATUS_WIDTH = 78
_status = False  # whether such a line stands on the terminal


def leave(code: int) -> NoReturn:
    """End the command with this exit code."""
    raise typer.Exit(code)


def usage(message: str) -> NoReturn:
    """End the command: what was asked for can't be meant."""
    typer.echo(f"error: {message}", err=True)
    leave(USAGE)


def tell(message: object, *, newline: bool = True) -> None:
    """Write what is no result, to stderr."""
    _clear_status()
    typer.echo(message, err=True, nl=newline)


def status(text: str) -> None:
    """Write a line that the next one, or what is told or shown after it, takes the place of."""
    global _status
    typer.echo(f"\r{text[:_STATUS_WIDTH]:<{_STATUS_WIDTH}}", err=True, nl=False)
    _status = True


def keep_status() -> None:
    """What such a line says stays: it is the last of its kind."""
    global _status
    if _status:
        _status = False
        typer.echo("", err=True)


def _clear_status() -> None:
    global _status
    if _status:
        _status = False
        typer.echo(f"\r{'':<{_STATUS_WIDTH}}\r", err=True, nl=False)


def show(text: str) -> None:
    """Write a result to stdout at once; a reader who has closed the pipe has seen enough."""
    _clear_status()
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            tell(f"error: can't write to standard output: {error.strerror}")
            leave(ENVIRONMENT)
        leave(OK)


@contextmanager
def writing(path: Path, *, told: bool = True) -> Iterator[None]:
    """Around what writes to ``path``: says that it is written, or why it can't be."""
    try:
        yield
    except OSError as error:
        # A disk that is full is known when the file is closed, which no longer has a name.
        tell(f"error: can't write {error.filename or path}: {error.strerror}")
        leave(ENVIRONMENT if error.errno == errno.ENOSPC else USAGE)
    if told:
        tell(f"written: {path}")


def files_and_overrides(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Split a command's words: what holds ``=`` and is no file is an override."""
    overrides = [word for word in arguments if "=" in word and not os.path.exists(word)]
    files = [word for word in arguments if word not in overrides]
    if not files:
        usage("no scenario file given, only overrides: sim run FILE KEY=VALUE")
    for word in files:
        if not word:
            usage("a file without a name, expected a scenario file")
        if not word.endswith((".yaml", ".yml", ".json")) and not os.path.exists(word):
            usage(f"{word} is no file, expected one, or KEY=VALUE such as pools.db.size=100")
    return files, overrides


def print_version(wanted: bool) -> None:
    """Print the version and end, where that is wanted."""
    if wanted:
        from simulator.version import VERSION

        show(f"sim {VERSION}\n")
        leave(OK)


def run(app: typer.Typer) -> NoReturn:
    """Run the command line: an exit code for whatever happens, never a traceback."""
    mend_streams()
    try:
        code = app(prog_name="sim", standalone_mode=False)
    except (KeyboardInterrupt, typer.Abort):
        sys.exit(INTERRUPTED)
    except Exception as error:
        if hasattr(error, "show") and hasattr(error, "exit_code"):  # a usage error
            error.show()
            sys.exit(error.exit_code)
        if os.environ.get("SIM_DEBUG"):
            raise
        tell(
            f"bug: {type(error).__name__}: {error}\n"
            f"to see where: SIM_DEBUG=1 {shlex.join(['sim', *sys.argv[1:]])}"
        )
        sys.exit(BUG)
    sys.exit(code)


def mend_streams() -> None:
    """Closed streams swallow what is written; characters that one lacks print as ``?``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
