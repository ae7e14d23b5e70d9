"""The command line: every command on one page; options -> one library call -> print.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 bug, 2 usage,
3 invalid scenario, 4 no answer (a deadlock), 5 environment, 99 a threshold failed,
130 interrupted with partial results kept.
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
    from simulator.experiments.sweep import Sweep
    from simulator.scenario import Scenario

OK, BUG, USAGE, INVALID, NO_ANSWER, ENVIRONMENT, FAILED, INTERRUPTED = 0, 1, 2, 3, 4, 5, 99, 130
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
    trace: Annotated[
        Path | None,
        typer.Option(metavar="FILE.json", help="Write the holds for chrome://tracing, Perfetto."),
    ] = None,
    no_thresholds: Annotated[
        bool, typer.Option("--no-thresholds", help="Report thresholds, but exit 0.")
    ] = False,
) -> None:
    """Simulate: latency, where the time goes, resources, bottleneck, what to try next."""
    if plot_format not in ("svg", "png", "pdf"):
        _usage(f"--plot-format {plot_format}: expected svg, png or pdf")
    files, overrides = _split(arguments)
    if (out or plot) and len({Path(file).stem for file in files}) < len(files):
        _usage("two files of one name would write to one folder, run them one by one")
    if trace is not None and len(files) > 1:
        _usage("--trace writes one file, expected one scenario")
    codes = []
    for file in files:
        answer = _simulate(_load(file, overrides), seed)
        command = shlex.join(["sim", "run", file, *overrides])
        if seed is not None:
            command += f" --seed {seed}"
        _print_answer(answer, command, seed, as_json, out and _folder(out, file, files))
        if plot is not None:
            _draw(answer, _folder(plot, file, files), plot_format)
        if trace is not None:
            _write_trace(answer, trace)
        if answer.trace.ended == "interrupted":
            _leave(INTERRUPTED)
        code = NO_ANSWER if answer.trace.ended == "deadlock" else OK
        codes.append(code if answer.passed or no_thresholds else FAILED)
    _leave(max(codes))


@app.command()
def sweep(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE [KEY=VALUES...]",
            help="VALUES: 10,20,50 or 10..100..10 or 'linspace(1,5,9)' or 'geomspace(1,1000,4)'; "
            "one value is fixed. Without VALUES: the file's own `sweep:`.",
        ),
    ],
    zipped: Annotated[
        bool, typer.Option("--zip", help="First with first, second with second.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Processes; default: one per processor.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the scenario's.")] = None,
    metric: Annotated[
        str | None, typer.Option(help="What is found and drawn, such as latency.p99.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON.")] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the table.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.svg|png|pdf", help="Write a curve or heat map.")
    ] = None,
) -> None:
    """Run every combination of values with the same seed: a table and a picture."""
    from simulator.experiments import measures
    from simulator.experiments import sweep as sweeps
    from simulator.report import sweep_table
    from simulator.scenario import ScenarioError
    from simulator.version import VERSION

    files, words = _split(arguments)
    if len(files) > 1:
        _usage(f"{len(files)} files, expected one: sim sweep FILE KEY=VALUES")
    try:
        asked = sweeps.question(files[0], words, zipped=zipped, seed=seed)
        chosen = None
        if metric is not None:
            chosen = measures.parse_metric(metric, sweeps.first_valid(asked).document["routes"])
        refused = None if plot is None else _plot_refusal(plot, asked)
        if refused:
            _usage(refused)
        result = sweeps.run(
            asked, jobs=jobs or sweeps.available_cpus(), progress=_points_progress()
        )
    except ScenarioError as error:
        typer.echo(error, err=True)
        _leave(INVALID)
    except ValueError as error:
        _usage(str(error))
    if as_json:
        from simulator.report import machine

        document = sweep_table.as_dict(result, version=VERSION, metric=chosen)
        _print(machine.dumps(document).decode())
    else:
        _print(sweep_table.render(result, version=VERSION, metric=chosen))
    if csv is not None:
        with _writing(csv):
            csv.write_text(sweep_table.as_csv(result), encoding="utf-8")
    if plot is not None and result.rows:
        from simulator.report import sweep_plot

        with _writing(plot):
            sweep_plot.write(plot, result, metric=chosen)
    if result.interrupted:
        _leave(INTERRUPTED)
    _leave(INVALID if result.failed else OK)


@app.command()
def compare(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE... [KEY=VALUE...]",
            help="Scenarios, all against the first; or one scenario, which is compared with "
            "itself with the overrides.",
        ),
    ],
    seed: Annotated[int | None, typer.Option(min=0, help="Instead of the first's.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same numbers as JSON.")] = False,
) -> None:
    """Which of two scenarios is faster, and which waits make the difference."""
    from simulator.experiments.compare import Case, named
    from simulator.report import compare as page
    from simulator.version import VERSION

    files, overrides = _split(arguments)
    try:
        wanted = named(files, overrides)
    except ValueError as error:
        _usage(str(error))
    scenarios = [_load(file, list(own)) for _, file, own in wanted]
    used = scenarios[0].seed if seed is None else seed
    cases = []
    for (letter, file, own), scenario in zip(wanted, scenarios, strict=True):
        answer = _simulate(scenario, used)
        if answer.trace.ended == "interrupted":
            _leave(INTERRUPTED)
        cases.append(Case(letter, file, own, answer))
    if as_json:
        from simulator.report import machine

        meta = machine.Meta(seed=used, version=VERSION, engine="simpy")
        _print(machine.dumps(page.as_dict(cases, meta)).decode())
    else:
        command = shlex.join(["sim", "compare", *files, *overrides])
        command += "" if seed is None else f" --seed {seed}"
        _print(page.render(cases, command=command, version=VERSION, seed=used))
    stuck = any(case.answer.trace.ended == "deadlock" for case in cases)
    _leave(NO_ANSWER if stuck else OK)


@app.command()
def init(
    template: Annotated[str, typer.Argument(help="Which beginning.")] = "fastapi",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there.")
    ] = None,
) -> None:
    """Begin a scenario of your own from a commented template."""
    from simulator.scenario import templates

    known = templates()
    if template not in known:
        _usage(f"no template called '{template}', expected one of: {', '.join(known)}")
    text = known[template].read_text(encoding="utf-8")
    if out is None:
        _print(text)
        others = ", ".join(name for name in known if name != template)
        typer.echo(f"\nsim init {template} -o my.yaml writes it; also: {others}", err=True)
        return
    try:
        with out.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        _usage(f"{out} is there already, expected a new file")
    except OSError as error:
        _usage(f"can't write {out}: {error.strerror}")
    typer.echo(f"written: {out}\nnext: sim run {shlex.quote(str(out))}", err=True)


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


def _points_progress() -> Callable[[int, int], None]:
    """Says on a terminal's stderr how far a long sweep is."""
    if not sys.stderr.isatty():
        return lambda done, of: None
    began = time.monotonic()

    def show(done: int, of: int) -> None:
        if time.monotonic() - began > PROGRESS_AFTER_S:
            end = "\n" if done == of else ""
            typer.echo(f"\r{done} of {of} points{end}", err=True, nl=False)

    return show


def _plot_refusal(plot: Path, asked: Sweep) -> str | None:
    from simulator.report import sweep_plot

    return sweep_plot.refusal(plot, asked)


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


def _write_trace(answer: Answer, path: Path) -> None:
    from simulator.report import chrome

    with _writing(path):
        note = chrome.write(path, answer.scenario.plan, answer.trace)
    if note:
        typer.echo(f"{path}: {note}", err=True)


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
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            typer.echo(f"error: can't write to standard output: {error.strerror}", err=True)
            _leave(ENVIRONMENT)
        _leave(OK)


def _mend_streams() -> None:
    """Closed streams swallow what is written; characters that one lacks print as ``?``."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def main() -> None:
    """The console script ``sim``."""
    _mend_streams()
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
