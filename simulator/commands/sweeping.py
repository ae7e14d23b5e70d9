"""What ``sim sweep`` does: ask, run all points, print a table, write the CSV and the picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import console

if TYPE_CHECKING:
    from simulator.experiments.measures import Metric
    from simulator.experiments.sweep import Result, Sweep


STDOUT = Path("-")
"""A file of this name is the terminal, or the pipe."""


def asked(
    words: list[str], *, zipped: bool, seed: int | None, metric: str | None, plot: Path | None
) -> tuple[Sweep, Metric | None]:
    """The sweep and its metric, or exit 2 or 3 with what is wrong with them, before any run."""
    from simulator.experiments import measures, sweep
    from simulator.scenario import ScenarioError

    files, values = console.files_and_overrides(words)
    if len(files) > 1:
        console.usage(f"{len(files)} files, expected one: sim sweep FILE KEY=VALUES")
    try:
        question = sweep.question(files[0], values, zipped=zipped, seed=seed)
        chosen = None
        if metric is not None:
            chosen = measures.parse_metric(metric, sweep.first_valid(question).document["routes"])
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)
    except ValueError as error:
        console.usage(str(error))
    if plot is not None:
        from simulator.report import sweep_plot

        refused = sweep_plot.refusal(plot, question)
        if refused:
            console.usage(refused)
    return question, chosen


def swept(question: Sweep, jobs: int | None) -> Result:
    """All points of a sweep on ``jobs`` processes, or exit 3 where none is valid."""
    from simulator.experiments import sweep
    from simulator.scenario import ScenarioError

    used = jobs or sweep.available_cpus()
    try:
        return sweep.run(question, jobs=used, progress=console.runs_progress("points"))
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)


def print_sweep(
    result: Result, chosen: Metric | None, *, as_json: bool, csv: Path | None = None
) -> None:
    """Print the table, all numbers as JSON, or with `--csv -` the table as CSV alone."""
    from simulator.report import machine, sweep_table
    from simulator.version import VERSION

    if csv == STDOUT:
        console.show(sweep_table.as_csv(result))
    elif as_json:
        document = sweep_table.as_dict(result, version=VERSION, metric=chosen)
        console.show(machine.dumps(document).decode())
    else:
        console.show(sweep_table.render(result, version=VERSION, metric=chosen))


def write_sweep(
    result: Result, chosen: Metric | None, *, csv: Path | None, plot: Path | None
) -> None:
    """Write the table as CSV and the curve or heat map, where they are asked for."""
    if csv is not None and csv != STDOUT:
        from simulator.report import sweep_table

        with console.writing(csv):
            csv.write_text(sweep_table.as_csv(result), encoding="utf-8")
    if plot is not None and result.rows:
        from simulator.report import sweep_plot

        with console.writing(plot):
            sweep_plot.write(plot, result, metric=chosen)


def exit_code(result: Result) -> int:
    """What a sweep says to the shell."""
    if result.interrupted:
        return console.INTERRUPTED
    return console.INVALID if result.failed else console.OK
