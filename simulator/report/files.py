"""The files of `-o DIR`: results, one row per request, one row per visit, the scenario.

Of several replications the tables have all, one after the other, each row with its number.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from simulator.arrays import IntArray
from simulator.plan import Plan
from simulator.report import format, machine
from simulator.trace import NOT_FINISHED, NOT_GRANTED, Trace


def write(
    directory: str | Path,
    *,
    document: dict[str, Any],
    page: str,
    scenario_text: str,
    tables: Callable[[Path], None],
) -> tuple[Path, ...]:
    """The paths of the files written; the directory is made if it is missing.

    Times are exact decimal seconds; a cell is empty where a time does not exist.

    Parameters
    ----------
    document : dict
        Of ``machine.as_dict``.
    page : str
        Of ``terminal.render``.
    scenario_text : str
        The scenario that was run, overrides included.
    tables : callable
        Writes the files of ``TABLES`` into a folder.
    """
    folder = Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    contents = {
        "result.json": machine.dumps(document),
        "report.txt": page.encode(),
        "scenario.yaml": scenario_text.encode(),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    tables(folder)
    return tuple(folder / name for name in (*contents, *TABLES))


def write_tables(folder: Path, plan: Plan, trace: Trace) -> None:
    """Write the tables of one run."""
    for name, write_table in TABLES.items():
        write_table(folder / name, plan, trace, replication=None)


def join_tables(folder: Path, parts: Mapping[str, Sequence[Path]]) -> None:
    """Put the tables of several replications one below the other, with one head."""
    for name, paths in parts.items():
        with (folder / name).open("wb") as whole:
            for number, path in enumerate(paths):
                with path.open("rb") as part:
                    head = part.readline()
                    whole.write(b"" if number else head)
                    shutil.copyfileobj(part, whole)


def write_requests(path: Path, plan: Plan, trace: Trace, *, replication: int | None) -> None:
    """Write a row per request; ``replication`` is the number in their first column, if any."""
    _write_csv(path, *_request_columns(plan, trace), replication)


def write_visits(path: Path, plan: Plan, trace: Trace, *, replication: int | None) -> None:
    """Write a row per visit to a station; the same."""
    _write_csv(path, *_visit_columns(trace), replication)


TABLES = {"requests.csv": write_requests, "visits.csv": write_visits}
"""The tables of a run, and what writes them."""


def _request_columns(plan: Plan, trace: Trace) -> tuple[list[str], list[list[str]]]:
    finished = trace.finish_ns != NOT_FINISHED
    names = [
        "index",
        "route",
        "process",
        "arrival_s",
        "finish_s",
        "latency_s",
        "outcome",
        *(f"{cause.kind}_{_word(cause.name)}_s" for cause in trace.causes),
    ]
    columns = [
        _numbers(np.arange(len(trace), dtype=np.int64)),
        _labels([route.name for route in plan.routes], trace.route),
        _numbers(trace.process, hidden=-1),
        _seconds(trace.arrival_ns),
        _seconds(trace.finish_ns, finished),
        _seconds(trace.latency_ns, finished),
        _labels(trace.outcomes, trace.outcome),
        *(_seconds(trace.spent_ns[:, i]) for i in range(len(trace.causes))),
    ]
    return names, columns


def _visit_columns(trace: Trace) -> tuple[list[str], list[list[str]]]:
    visits = trace.visits
    granted = visits.granted_ns != NOT_GRANTED
    processes = np.asarray([s.process for s in trace.stations], dtype=np.int64)
    names = ["station", "process", "request", "slot"]
    names += ["queued_s", "granted_s", "released_s", "work_s"]
    columns = [
        _labels([station.label for station in trace.stations], visits.station),
        _numbers(processes[visits.station]),
        _numbers(visits.request, hidden=-1),
        _numbers(visits.slot, hidden=NOT_GRANTED),
        _seconds(visits.queued_ns),
        _seconds(visits.granted_ns, granted),
        _seconds(visits.released_ns),
        _seconds(visits.work_ns),
    ]
    return names, columns


def _write_csv(
    path: Path, names: Sequence[str], columns: Iterable[Sequence[str]], replication: int | None
) -> None:
    before = [] if replication is None else [str(replication)]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([*(["replication"] if before else []), *names])
        writer.writerows([*before, *row] for row in zip(*columns, strict=True))


def _word(name: str) -> str:
    return name.replace(":", "_").replace(" ", "_")


def _labels(labels: Sequence[str], indices: IntArray) -> list[str]:
    return [labels[i] for i in indices.tolist()]


def _numbers(values: IntArray, hidden: int | None = None) -> list[str]:
    return ["" if value == hidden else str(value) for value in values.tolist()]


def _seconds(values: IntArray, shown: np.ndarray | None = None) -> list[str]:
    # Few distinct times fill most columns: each is written out once.
    distinct, inverse = np.unique(values, return_inverse=True)
    texts = [format.seconds(ns) for ns in distinct.tolist()]
    cells = [texts[i] for i in inverse.tolist()]
    if shown is None:
        return cells
    return [cell if show else "" for cell, show in zip(cells, shown.tolist(), strict=True)]
