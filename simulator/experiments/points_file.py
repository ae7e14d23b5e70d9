"""The points of a sweep in a file, a line of JSON each, so that it can go on where it stopped.

The first line says which sweep it is, each other one what came of a point. A line is written
as soon as its point is computed; what was cut off in the middle of one is computed again. When
all points are there the lines are put into their order, so that the file is the same to the
byte however it came about.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from pathlib import Path
from typing import Any

from simulator.experiments.axes import Axis
from simulator.experiments.codec import decode, encode
from simulator.experiments.sweep import Result, Row, Sweep, first_valid, numbers_of
from simulator.record import dataclass
from simulator.scenario import dumps
from simulator.version import VERSION

FORMAT = 2
"""Counts up when the meaning of a line changes."""


class PointsError(ValueError):
    """Why a file of points can't be gone on with, or merged."""


@dataclass(frozen=True, slots=True)
class Header:
    """Which sweep a file is of."""

    format: int
    version: str
    name: str
    seed: int
    digest: str  # of the scenario's text and of what it resolves to
    path: str
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]
    zipped: bool
    own_seed: int | None
    replications: int

    @property
    def sweep(self) -> Sweep:
        """The sweep, without the scenario's text."""
        return Sweep(
            self.path, "", self.axes, self.fixed, self.zipped, self.own_seed, self.replications
        )


def header_of(sweep: Sweep) -> Header:
    """The header of a sweep; the digest covers files that the scenario names, too."""
    scenario = first_valid(sweep)
    whole = f"{sweep.text}\0{dumps(scenario.document)}".encode()
    return Header(
        format=FORMAT,
        version=VERSION,
        name=scenario.name,
        seed=scenario.seed if sweep.seed is None else sweep.seed,
        digest=blake2b(whole, digest_size=16).hexdigest(),
        path=sweep.path,
        axes=sweep.axes,
        fixed=sweep.fixed,
        zipped=sweep.zipped,
        own_seed=sweep.seed,
        replications=sweep.replications,
    )


class PointsFile:
    """A file that points are added to.

    Parameters
    ----------
    path : Path
        Made anew where it is missing.
    resume : bool
        Whether to go on with one that is there.

    Raises
    ------
    PointsError
        If it is there and must not be, or is of another sweep.
    OSError
        If it can't be read or written.
    """

    def __init__(self, path: Path, sweep: Sweep, *, resume: bool) -> None:
        self._path = path
        header = header_of(sweep)
        self.known: dict[int, Row] = {}
        if path.exists():
            if not resume:
                raise PointsError(f"{path} is there already, --resume goes on with it")
            whole = _cut(path)
            if whole:
                found, self.known = _read(path, whole)
                _same(path, found, header)
        self._header = header
        fresh = not path.exists() or not path.stat().st_size
        self._file = path.open("a", encoding="utf-8")
        if fresh:
            self._write(_line(encode(header)))

    def add(self, number: int, row: Row) -> None:
        """Write a point, at once."""
        self.known[number] = row
        self._write(_row_line(number, row))

    def close(self, complete: bool) -> None:
        """Close the file; if nothing is missing its lines are put in order."""
        self._file.close()
        if complete:
            write(self._path, self._header, self.known)

    def _write(self, line: str) -> None:
        self._file.write(line)
        self._file.flush()


def write(path: Path, header: Header, rows: Mapping[int, Row]) -> None:
    """Write a file of points in their order: all of it, or nothing if it is cut off."""
    lines = [_line(encode(header)), *(_row_line(n, rows[n]) for n in sorted(rows))]
    beside = path.with_name(f".{path.name}.new")
    beside.write_text("".join(lines), encoding="utf-8")
    os.replace(beside, path)


def merged(paths: Sequence[Path]) -> tuple[Header, dict[int, Row]]:
    """The points of several files of one sweep.

    Raises
    ------
    PointsError
        If the files are of different sweeps, or contradict one another.
    OSError
        If one can't be read.
    """
    header: Header | None = None
    rows: dict[int, Row] = {}
    for path in paths:
        found, points = _read(path, path.read_text(encoding="utf-8"))
        if header is not None:
            _same(path, found, header)
        header = found
        for number, row in points.items():
            if not _same_numbers(rows.setdefault(number, row), row):
                raise PointsError(
                    f"{path}: point {number} differs from the same point of another file"
                )
    assert header is not None
    return header, rows


def result_of(header: Header, rows: Mapping[int, Row]) -> Result:
    """The points as the sweep itself would have given them."""
    sweep = header.sweep
    ordered = tuple(rows[number] for number in sorted(rows))
    return Result(sweep, header.name, header.seed, ordered, False, len(numbers_of(sweep)))


def _same_numbers(one: Row, other: Row) -> bool:
    """Whether two rows say the same, whichever engine ran them."""
    if one.measured is None or other.measured is None:
        return one == other
    engine = one.measured.engine
    return one == replace(other, measured=replace(other.measured, engine=engine))


def _cut(path: Path) -> str:
    """The whole lines of a file; what was cut off behind them is taken away."""
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with path.open("r+b") as file:
            file.truncate(len(whole))
    return whole.decode("utf-8")


def _read(path: Path, text: str) -> tuple[Header, dict[int, Row]]:
    first, *lines = text.splitlines() or [""]
    _refuse_other_format(path, first)
    try:
        header = decode(Header, json.loads(first))
        rows: dict[int, Row] = {}
        for line in lines:
            number, row = json.loads(line)
            rows[int(number)] = decode(Row, row)
    except (ValueError, TypeError) as error:
        raise PointsError(
            f"{path}: not the points of a sweep, expected what sim sweep -o writes ({error})"
        ) from None
    every = header.sweep.points
    for number, row in rows.items():
        if number >= len(every) or every[number] != row.values:
            raise PointsError(f"{path}: point {number} is not one of its sweep")
    return header, rows


def _refuse_other_format(path: Path, first: str) -> None:
    """That a file of points, if it is one, is of the format that is read here."""
    try:
        header = json.loads(first)
        found, version = header["format"], header["version"]
    except (ValueError, TypeError, KeyError, IndexError):
        return  # no such file at all: what reads it says so
    if found != FORMAT:
        raise PointsError(
            f"{path}: its points are of format {found}, written by version {version}; version "
            f"{VERSION} goes on with format {FORMAT} only. Run the sweep anew into another file, "
            "without --resume: -o FILE"
        )


def _same(path: Path, found: Header, expected: Header) -> None:
    """That two headers are of one sweep; says what differs."""
    names = {
        "version": "version of the simulator",
        "digest": "text of the scenario, or of a file it names",
        "own_seed": "seed",
        "axes": "values",
    }
    for name in Header.__slots__:
        if name == "path":
            continue  # the same file may be named in many ways
        if getattr(found, name) != getattr(expected, name):
            what = names.get(name, name)
            raise PointsError(f"{path}: of another sweep, which has another {what}")


def _row_line(number: int, row: Row) -> str:
    return _line([number, encode(row)])


def _line(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")) + "\n"
