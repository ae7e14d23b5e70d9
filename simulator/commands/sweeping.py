"""What ``sim sweep`` and ``sim merge`` do: ask, run all points, print, write table and picture."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from simulator.commands import console, engines, progress, running

if TYPE_CHECKING:
    from simulator.experiments.executors import Executor
    from simulator.experiments.measures import Metric
    from simulator.experiments.points_file import PointsFile
    from simulator.experiments.sweep import Result, Shard, Sweep


STDOUT = Path("-")
"""A file of this name is the terminal, or the pipe."""


def asked(
    words: list[str],
    *,
    zipped: bool,
    seed: int | None,
    number: str,
    metric: str | None,
    plot: Path | None,
    engine: str,
) -> tuple[Sweep, Metric | None]:
    """The sweep and its metric, or exit 2 or 3 with what is wrong with them, before any run."""
    from simulator.experiments import measures, sweep
    from simulator.scenario import ScenarioError

    files, values = console.files_and_overrides(words)
    if len(files) > 1:
        console.usage(f"{len(files)} files, expected one: sim sweep FILE KEY=VALUES")
    times, chosen_engine = running.replications(number), engines.named(engine)
    try:
        question = sweep.question(
            files[0],
            values,
            zipped=zipped,
            seed=seed,
            replications=times,
            engine=chosen_engine,
        )
        chosen = None
        if metric is not None:
            chosen = measures.parse_metric(metric, sweep.first_valid(question).document["routes"])
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)
    except ValueError as error:
        console.usage(str(error))
    refuse_plot(plot, question)
    return question, chosen


def refuse_plot(plot: Path | None, question: Sweep) -> None:
    """Exit 2 where the sweep can't be drawn into this file."""
    if plot is not None:
        from simulator.report import sweep_plot

        refused = sweep_plot.refusal(plot, question)
        if refused:
            console.usage(refused)


def shard_of(text: str | None, out: Path | None, resume: bool) -> Shard | None:
    """The part of ``--shard i/n``, or exit 2; a part, and what is resumed, is kept in a file."""
    if resume and out is None:
        console.usage("--resume wants -o FILE: the file that it goes on with")
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        console.usage(f"--shard {text}: expected i/n such as 1/4, the first of four parts")
    if out is None:
        console.usage("--shard wants -o FILE, for sim merge to put the parts together")
    return int(match[1]), int(match[2])


def dry_run(question: Sweep, shard: Shard | None) -> int:
    """Print the points and how many runs they are; gives back the exit code."""
    from simulator.experiments.executors import first_problem
    from simulator.experiments.replications import LOOKS
    from simulator.experiments.sweep import numbers_of
    from simulator.scenario import ScenarioError, loads

    numbers, every = numbers_of(question, shard), question.points
    times = str(question.replications or f"{LOOKS[0]} to {LOOKS[-1]}")
    code = console.OK
    for number in numbers:
        overrides = question.overrides(every[number])
        error = ""
        try:
            loads(question.text, overrides, path=question.path)
        except ScenarioError as problem:
            error, code = f"   invalid: {first_problem(problem)}", console.INVALID
        console.show(f"{' '.join(overrides)}{error}\n")
    console.tell(f"{len(numbers)} of {len(every)} points, {times} runs each; nothing was run")
    return code


def swept(
    question: Sweep,
    *,
    jobs: int | None,
    cluster: str | None,
    shard: Shard | None,
    out: Path | None,
    resume: bool,
) -> Result:
    """All points of a sweep, or exit 3 where none is valid, 5 without the cluster."""
    from simulator.experiments import sweep
    from simulator.experiments.executors import available_cpus
    from simulator.scenario import ScenarioError

    if cluster is not None and jobs is not None:
        console.usage("--jobs and --cluster, expected one: a cluster's workers are its own")
    try:
        file = None if out is None else _opened(out, question, resume)
        result = sweep.run(
            question,
            jobs=jobs or available_cpus(),
            executor=_executor(cluster),
            shard=shard,
            known=file.known if file else None,
            done=file.add if file else lambda number, row: None,
            progress=progress.points(),
            tell=console.tell,
        )
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)
    except OSError as error:
        console.usage(f"can't write {error.filename or out}: {error.strerror}")
    if file is not None:
        file.close(not result.interrupted)
        if result.interrupted:
            console.tell(f"{len(result.rows)} points are in {out}: --resume goes on with it")
        else:
            console.tell(f"written: {out}")
    return result


def _opened(out: Path, question: Sweep, resume: bool) -> PointsFile:
    from simulator.experiments.points_file import PointsError, PointsFile

    try:
        return PointsFile(out, question, resume=resume)
    except PointsError as error:
        console.usage(str(error))


def _executor(cluster: str | None) -> Executor | None:
    if cluster is None:
        return None
    from simulator.experiments.cluster import Cluster, ClusterError

    try:
        return Cluster(cluster)
    except ClusterError as error:
        console.tell(f"error: {error}")
        console.leave(console.ENVIRONMENT)


def merged(files: list[Path], out: Path | None) -> Result:
    """The points of several files put together, or exit 2 where they don't belong together."""
    from simulator.experiments import points_file

    try:
        header, rows = points_file.merged(files)
        result = points_file.result_of(header, rows)
        if out is not None:
            with console.writing(out):
                points_file.write(out, header, rows)
    except points_file.PointsError as error:
        console.usage(str(error))
    except OSError as error:
        console.usage(f"can't read {error.filename}: {error.strerror}")
    missing = result.asked - len(result.rows)
    if missing:
        console.tell(f"{missing} of {result.asked} points are missing")
    return result


def metric_of(result: Result, text: str | None) -> Metric | None:
    """The metric of this name, or exit 2."""
    from simulator.experiments.measures import parse_metric

    if text is None:
        return None
    found = next((row.measured for row in result.rows if row.measured is not None), None)
    try:
        return parse_metric(text, [name for name, _ in found.routes] if found else ())
    except ValueError as error:
        console.usage(str(error))


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
    """What a sweep says to the shell: of points that are missing there is no answer."""
    if result.interrupted:
        return console.INTERRUPTED
    if len(result.rows) < result.asked:
        return console.NO_ANSWER
    return console.INVALID if result.failed else console.OK
