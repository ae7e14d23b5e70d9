"""What ``sim run`` does with a scenario: load, simulate, print, write.

Everything heavy is imported where it is used: ``sim --help`` loads neither NumPy nor SimPy.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.commands import console, progress, room

if TYPE_CHECKING:
    from simulator.answer import Answer
    from simulator.experiments.replications import Replicated
    from simulator.report.html import Table
    from simulator.report.kept import Kept
    from simulator.report.several import Several
    from simulator.scenario import Scenario


def refuse(
    files: list[str],
    plot_format: str,
    *,
    folders: tuple[Path | None, ...],
    single: dict[str, Path | None],
) -> None:
    """Exit 2 where what is asked for could not be written.

    Parameters
    ----------
    folders : tuple
        Those that get a folder for each file.
    single : dict
        Options that write one file.
    """
    if plot_format not in ("svg", "png", "pdf"):
        console.usage(f"--plot-format {plot_format}: expected svg, png or pdf")
    for folder in folders:
        if folder is not None and folder.suffix in (".svg", ".png", ".pdf", ".json", ".csv"):
            console.usage(f"{folder}: several files are written, expected the name of a folder")
    if any(folders) and len({Path(file).stem for file in files}) < len(files):
        console.usage("two files of one name would write to one folder, run them one by one")
    for option, path in single.items():
        if path is not None and len(files) > 1:
            console.usage(f"{option} writes one file, expected one scenario")


def loaded(file: str, overrides: list[str]) -> Scenario:
    """The scenario of a file, or exit 3 with all its errors."""
    from simulator.scenario import ScenarioError, load

    try:
        return load(file, overrides)
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)


def all_loaded(files: list[str], overrides: list[str]) -> list[Scenario]:
    """The scenarios of all files, or exit 3 with the errors of all, before any is run."""
    from simulator.scenario import ScenarioError, load

    scenarios = []
    for file in files:
        try:
            scenarios.append(load(file, overrides))
        except ScenarioError as error:
            console.tell(error)
    if len(scenarios) < len(files):
        console.leave(console.INVALID)
    return scenarios


def simulated(
    scenario: Scenario, seed: int | None, engine: str = "auto", *, kept: bool = True
) -> Answer:
    """The answer of a scenario, or exit 3 where it exceeds a limit; 5 without enough memory.

    ``kept``: whether every visit is asked for.
    """
    from simulator.answer import simulate
    from simulator.engine import Engine
    from simulator.engines.contract import LimitError

    try:
        chosen = Engine(engine)
    except ValueError:
        console.usage(f"--engine {engine}: expected auto, simpy or compiled")
    folding = room.folding_for(scenario, kept=kept)
    how: dict[str, Any] = {
        "progress": progress.requests(scenario),
        "tell": console.tell,
        "folding": folding,
    }
    try:
        return simulate(scenario, seed=seed, engine=chosen, **how)
    except LimitError as error:
        console.tell(f"{scenario.path}: error: {error}")
        console.leave(console.INVALID)


def replications(text: str) -> int:
    """How many replications ``-n`` asks for; ``AUTO`` for as many as it takes."""
    from simulator.experiments.replications import AUTO, REPLICATIONS_MAX

    if text == "auto":
        return AUTO
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= REPLICATIONS_MAX):
        console.usage(f"-n {text}: expected auto or a number from 1 to {REPLICATIONS_MAX}")
    return int(text)


def replicated(
    answer: Answer,
    overrides: list[str],
    *,
    seed: int | None,
    number: int,
    jobs: int | None,
    engine: str,
    keep: Kept | None = None,
) -> Replicated | None:
    """More runs of a scenario that was run once; None where one is enough.

    Exit 3 where one exceeds a limit.
    """
    if number == 1 or answer.trace.ended == "interrupted":
        return None
    from simulator.engine import Engine
    from simulator.engines.contract import LimitError
    from simulator.experiments.executors import ALONE_S, Local, available_cpus
    from simulator.experiments.replications import LOOKS, Case, replicate
    from simulator.experiments.sweep import read

    path = answer.scenario.path
    chosen = Engine(engine)
    case = Case(path, read(path), tuple(overrides), seed, engine=chosen, keep=keep)
    expected = (number or LOOKS[0]) - 1
    try:
        with (
            Local(jobs or available_cpus(), expected, ALONE_S[chosen]) as executor,
            console.writing(Path(keep.folder if keep else path), told=False),
        ):
            return replicate(answer, case, number, executor, progress=progress.runs("runs"))
    except LimitError as error:
        console.tell(f"{path}: error: {error}")
        console.leave(console.INVALID)


def repeat(command: str, words: list[str], seed: int | None, number: str = "1") -> str:
    """The command line that gives the same result again."""
    line = shlex.join(["sim", command, *words])
    line += "" if number == "1" else f" -n {number}"
    return line if seed is None else f"{line} --seed {seed}"


def folder_of(folder: Path | None, file: str, files: list[str]) -> Path | None:
    """Where results of one of several files go: a folder of its name each."""
    return folder and (folder / Path(file).stem if len(files) > 1 else folder)


def print_answer(
    answer: Answer,
    several: Replicated | None,
    *,
    command: str,
    seed: int | None,
    as_json: bool,
    out: Path | None,
    keep: Kept | None = None,
) -> None:
    """Print the page or the JSON of a run, or of several; write both and the tables to ``out``."""
    from simulator.report import replications, terminal
    from simulator.version import VERSION

    scenario = answer.scenario
    results = (scenario.plan, answer.summary, answer.bottleneck, answer.thresholds, answer.findings)
    used = scenario.seed if seed is None else seed
    trust: dict[str, Any] = {"trust": answer.trust, "warmup": answer.warmup}
    if several is not None and len(several.runs) > 1:
        page = replications.render(several, command=command, version=VERSION, seed=used)
    else:
        how: dict[str, Any] = {"command": command, "version": VERSION, "seed": used, **trust}
        page = terminal.render(*results, preset=scenario.server_preset, **how)
    if not as_json:
        console.show(page)
        if out is None:
            return
    from simulator.report import files, machine
    from simulator.scenario import dumps

    engine = answer.engine.value if several is None else several.together.engine
    meta = machine.Meta(seed=used, version=VERSION, engine=engine)
    if several is None:
        document = machine.as_dict(*results, meta=meta, **trust)
    else:
        document = replications.as_dict(several, meta=meta)
    if as_json:
        console.show(machine.dumps(document).decode())
    if out is not None:
        text = dumps(scenario.document | {"seed": used})
        tables = _tables(answer, several, keep)
        with console.writing(out):
            files.write(out, document=document, page=page, scenario_text=text, tables=tables)


def _tables(
    answer: Answer, several: Replicated | None, keep: Kept | None
) -> Callable[[Path], None]:
    """What writes the tables: of all replications, one below the other, where there are several."""
    from simulator.report import files

    if keep is None or several is None or len(several.runs) == 1:
        return lambda folder: files.write_tables(folder, answer.scenario.plan, answer.trace)
    parts = [keep.tables(replication) for replication in range(len(several.runs))]
    joined = dict(zip(files.TABLES, zip(*parts, strict=True), strict=True))
    return lambda folder: files.join_tables(folder, joined)


@contextmanager
def keeping(number: int, out: Path | None, *, drawn: bool) -> Iterator[Kept | None]:
    """Where what is shown of every replication goes until it is shown; None where nothing is.

    Parameters
    ----------
    out : Path, optional
        Where tables go that have the rows of all.
    drawn : bool
        Whether pictures are made of them.
    """
    if number == 1 or not (out or drawn):
        yield None
        return
    from tempfile import TemporaryDirectory

    from simulator.report.kept import Kept

    if out is not None:
        with console.writing(out, told=False):
            out.mkdir(parents=True, exist_ok=True)
    # Beside the tables: that they fit on this disk is wanted anyway.
    with TemporaryDirectory(prefix=".replications-", dir=out, ignore_cleanup_errors=True) as place:
        yield Kept(place, curves=drawn, rows=out is not None)


def drawn(several: Replicated | None, keep: Kept | None) -> Several | None:
    """What pictures show of all replications; None where there is one."""
    if several is None or keep is None or not keep.curves or len(several.runs) == 1:
        return None
    from simulator.report.several import several_of

    return several_of(several, keep.latencies(len(several.runs)))


def draw(answer: Answer, folder: Path, plot_format: str, several: Several | None = None) -> None:
    """Write the pictures of a run, or of several, into a folder."""
    from simulator.report import plots

    results = (answer.scenario.plan, answer.trace, answer.summary, answer.bottleneck)
    with console.writing(folder):
        plots.write(folder, *results, format=plot_format, several=several)


def write_report(
    answer: Answer,
    path: Path,
    *,
    command: str,
    seed: int | None,
    measured: Table | None = None,
    several: Several | None = None,
) -> None:
    """Write the report of a run, with what a real service did where it was measured."""
    from simulator.report import html
    from simulator.scenario import dumps
    from simulator.version import VERSION

    scenario = answer.scenario
    used = scenario.seed if seed is None else seed
    page = html.render(
        answer,
        command=command,
        version=VERSION,
        seed=used,
        source=scenario.text,
        resolved=dumps(scenario.document | {"seed": used}),
        measured=measured,
        several=several,
    )
    with console.writing(path):
        path.write_text(page, encoding="utf-8")


def write_trace(answer: Answer, path: Path, several: Replicated | None = None) -> None:
    """Write the holds of a run for chrome://tracing; says what was left out, if anything."""
    from simulator.report import chrome

    with console.writing(path):
        note = chrome.write(path, answer.scenario.plan, answer.trace)
    if several is not None and len(several.runs) > 1:
        console.tell(f"{path}: replication 1 of {len(several.runs)}")
    if note:
        console.tell(f"{path}: {note}")


def exit_code(answer: Answer, several: Replicated | None, *, thresholds: bool) -> int:
    """What a run, or several, say to the shell: a failed threshold wins over a deadlock."""
    if answer.trace.ended == "interrupted" or (several and several.interrupted):
        return console.INTERRUPTED
    if thresholds and not (several or answer).passed:
        return console.FAILED
    ended = several.together.ended if several else answer.trace.ended
    return console.NO_ANSWER if ended == "deadlock" else console.OK
