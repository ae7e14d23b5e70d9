"""The command line: every command on one page; options -> one library call -> print.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 bug, 2 usage,
3 invalid scenario, 99 a threshold failed, 130 interrupted with partial results kept.
"""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

if TYPE_CHECKING:
    from simulator.answer import Answer
    from simulator.scenario import Scenario

OK, BUG, USAGE, INVALID, FAILED, INTERRUPTED = 0, 1, 2, 3, 99, 130
PROGRESS_AFTER_S = 2.0

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Predict when each request finishes, where it waited and what limits the whole.",
)

Arguments = Annotated[
    list[str],
    typer.Argument(
        metavar="FILE... [KEY=VALUE...]",
        help="Scenario files, then overrides such as pools.db.size=100.",
    ),
]


@app.command()
def run(
    arguments: Arguments,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the scenario's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")] = False,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="DIR", help="Write all results as files."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write six pictures of the run.")
    ] = None,
    plot_format: Annotated[str, typer.Option(help="svg, png or pdf.")] = "svg",
    no_thresholds: Annotated[
        bool, typer.Option("--no-thresholds", help="Report thresholds, but exit 0.")
    ] = False,
) -> None:
    """Simulate: latency, where the time goes, resources, bottleneck, what to try next."""
    if plot_format not in ("svg", "png", "pdf"):
        _usage(f"--plot-format {plot_format}: expected svg, png or pdf")
    files, overrides = _split(arguments)
    codes = []
    for file in files:
        answer = _simulate(_load(file, overrides), seed)
        command = shlex.join(["sim", "run", file, *overrides])
        if seed is not None:
            command += f" --seed {seed}"
        _print_answer(answer, command, seed, as_json, out and _folder(out, file, files))
        if plot is not None:
            _draw(answer, _folder(plot, file, files), plot_format)
        if answer.trace.ended == "interrupted":
            _leave(INTERRUPTED)
        codes.append(OK if answer.passed or no_thresholds else FAILED)
    _leave(max(codes))


@app.command()
def validate(
    arguments: Arguments,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print it with every default filled in.")
    ] = False,
) -> None:
    """Check scenarios without running them: errors, then findings."""
    from simulator.scenario import ScenarioError, dumps, findings, load

    files, overrides = _split(arguments)
    code = OK
    for file in files:
        try:
            scenario = load(file, overrides)
        except ScenarioError as error:
            typer.echo(error, err=True)
            code = INVALID
            continue
        if resolved:
            _print(dumps(scenario.document))
            continue
        _print(f"{file}: valid\n")
        for found in findings(scenario):
            hint = f"; {found.hint}" if found.hint else ""
            _print(f"{found.place}: {found.severity} {found.code}: {found.message}{hint}\n")
    _leave(code)


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for completion and hover text in editors."""
    import json

    from simulator.scenario import json_schema

    _print(json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n")


@app.command()
def examples(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, to redirect into a file.")
    ] = None,
) -> None:
    """List the scenarios that come with the simulator, each a question with its answer."""
    from simulator.scenario import examples as listed

    known = {known: (question, path) for known, question, path in listed()}
    if name is None:
        width = max(map(len, known))
        for known_name, (question, _) in known.items():
            _print(f"{known_name:{width}}  {question}\n")
        typer.echo("\nsim examples NAME > my.yaml, then: sim run my.yaml", err=True)
    elif name in known:
        _print(known[name][1].read_text(encoding="utf-8"))
    else:
        _usage(f"no example called '{name}', expected one of: {', '.join(known)}")


@app.command()
def explain(
    rule: Annotated[str | None, typer.Option(help="The page of a finding, such as SIM104.")] = None,
) -> None:
    """Explain a finding by its code; without one, list them all."""
    from simulator.scenario import rule as rule_of
    from simulator.scenario import rules

    if rule is None:
        for known in rules():
            _print(f"{known.code}  {known.title}\n")
        return
    try:
        _print(rule_of(rule).page.rstrip() + "\n")
    except KeyError as error:
        _usage(str(error.args[0]))


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Files and overrides: what holds ``=`` and is no file is an override."""
    overrides = [a for a in arguments if "=" in a and not os.path.exists(a)]
    files = [a for a in arguments if a not in overrides]
    if not files:
        _usage("no scenario file given, only overrides: sim run FILE KEY=VALUE")
    return files, overrides


def _load(file: str, overrides: list[str]) -> Scenario:
    from simulator.scenario import ScenarioError, load

    try:
        return load(file, overrides)
    except ScenarioError as error:
        typer.echo(error, err=True)
        _leave(INVALID)


def _simulate(scenario: Scenario, seed: int | None) -> Answer:
    from simulator.answer import simulate
    from simulator.engines.contract import LimitError

    try:
        return simulate(scenario, seed=seed, progress=_progress(scenario))
    except LimitError as error:
        typer.echo(f"{scenario.path}: error: {error}", err=True)
        _leave(INVALID)


def _progress(scenario: Scenario) -> Callable[[int], None]:
    """Says on a terminal's stderr how far a long run is."""
    if not sys.stderr.isatty():
        return lambda arrived: None
    began = time.monotonic()

    def show(arrived: int) -> None:
        elapsed = time.monotonic() - began
        if elapsed > PROGRESS_AFTER_S:
            text = f"\r{scenario.name}: {arrived:,} requests arrived, {elapsed:.0f} s"
            typer.echo(text, err=True, nl=False)

    return show


def _print_answer(
    answer: Answer, command: str, seed: int | None, as_json: bool, out: Path | None
) -> None:
    from simulator.report import terminal
    from simulator.version import VERSION

    scenario = answer.scenario
    results = (scenario.plan, answer.summary, answer.bottleneck, answer.thresholds, answer.findings)
    used = scenario.seed if seed is None else seed
    page = terminal.render(
        *results,
        command=command,
        version=VERSION,
        preset=scenario.document["server"]["preset"],
        seed=used,
    )
    if not as_json:
        _print(page)
        if out is None:
            return
    from simulator.report import files, machine
    from simulator.scenario import dumps

    meta = machine.Meta(seed=used, version=VERSION, engine="simpy")
    document = machine.as_dict(*results, meta=meta)
    if as_json:
        _print(machine.dumps(document).decode())
    if out is not None:
        text = dumps(scenario.document | {"seed": used})
        with _writing(out):
            files.write(
                out, scenario.plan, answer.trace, document=document, page=page, scenario_text=text
            )


def _draw(answer: Answer, folder: Path, plot_format: str) -> None:
    from simulator.report import plots

    results = (answer.scenario.plan, answer.trace, answer.summary, answer.bottleneck)
    with _writing(folder):
        plots.write(folder, *results, format=plot_format)


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        _usage(f"can't write {error.filename}: {error.strerror}")
    typer.echo(f"written: {folder}", err=True)


def _folder(folder: Path, file: str, files: list[str]) -> Path:
    """Where results of one of several files go: a folder of its name each."""
    return folder / Path(file).stem if len(files) > 1 else folder


def _usage(message: str) -> NoReturn:
    typer.echo(f"error: {message}", err=True)
    _leave(USAGE)


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)


def _print(text: str) -> None:
    """Write to stdout at once; a reader who has closed the pipe has seen enough."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        _leave(OK)


def main() -> None:
    """The console script ``sim``."""
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
        typer.echo(
            f"bug: {type(error).__name__}: {error}\n"
            f"to see where: SIM_DEBUG=1 {shlex.join(['sim', *sys.argv[1:]])}",
            err=True,
        )
        sys.exit(BUG)
    sys.exit(code)


if __name__ == "__main__":
    main()
