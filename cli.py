"""The command line: every command on one page; options -> one library call -> print.

Results go to stdout, everything else to stderr. Exit codes: 0 fine, 1 bug, 2 usage,
3 invalid scenario, 4 no answer (a deadlock), 5 environment, 99 a threshold failed,
130 interrupted with partial results kept.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from simulator.commands import (
    calibrating,
    checking,
    comparing,
    console,
    engines,
    explaining,
    running,
    scenarios,
    serving,
    sizing,
    starting,
    sweeping,
)
from simulator.commands.options import (
    SEED,
    Arguments,
    AsJson,
    Budget,
    Compared,
    Conditions,
    Curve,
    EngineName,
    Goals,
    Jobs,
    Limits,
    Metric,
    Number,
    Prices,
    SearchedKeys,
    Seed,
    SweptKeys,
    Table,
)

app = typer.Typer(
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    help="Predict when each request finishes, where it waited and what limits the whole.",
)


@app.callback()
def begin(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=console.print_version, is_eager=True, help="Print it, end."
        ),
    ] = False,
) -> None:
    """What stands before a command."""


@app.command()
def run(
    arguments: Arguments,
    number: Number = "1",
    jobs: Jobs = None,
    seed: Seed = None,
    as_json: AsJson = False,
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
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report to be shared.")
    ] = None,
    no_thresholds: Annotated[
        bool, typer.Option("--no-thresholds", help="Report thresholds, but exit 0.")
    ] = False,
    engine: EngineName = "auto",
) -> None:
    """Simulate: latency, where the time goes, resources, bottleneck, what to try next."""
    files, overrides = console.files_and_overrides(arguments)
    running.refuse(
        files, plot_format, folders=(out, plot), single={"--trace": trace, "--report": report}
    )
    wanted = 1 if number == "1" else running.replications(number)
    codes = []
    for file, scenario in zip(files, running.all_loaded(files, overrides), strict=True):
        chosen = engines.settled(engine, [scenario], wanted).value
        answer = running.simulated(scenario, seed, chosen, kept=any((out, plot, trace, report)))
        folder = running.folder_of(out, file, files)
        command = running.repeat("run", [file, *overrides], seed, number)
        with running.keeping(wanted, folder, drawn=any((plot, report))) as keep:
            how = {"seed": seed, "keep": keep}
            several = running.replicated(
                answer, overrides, number=wanted, jobs=jobs, engine=chosen, **how
            )
            running.print_answer(
                answer, several, command=command, as_json=as_json, out=folder, **how
            )
            drawn = running.drawn(several, keep)
        pictures = running.folder_of(plot, file, files)
        if pictures is not None:
            running.draw(answer, pictures, plot_format, drawn)
        if trace is not None:
            running.write_trace(answer, trace, several)
        if report is not None:
            running.write_report(answer, report, command=command, seed=seed, several=drawn)
        codes.append(running.exit_code(answer, several, thresholds=not no_thresholds))
        if codes[-1] == console.INTERRUPTED:
            break
    console.leave(max(codes))


@app.command()
def sweep(
    arguments: SweptKeys,
    zipped: Annotated[
        bool, typer.Option("--zip", help="First with first, second with second.")
    ] = False,
    number: Number = "1",
    jobs: Jobs = None,
    cluster: Annotated[
        str | None, typer.Option(metavar="tcp://HOST:PORT", help="Run on a Dask cluster.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", metavar="FILE", help="Keep each point as soon as it is done."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the file of -o.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N parts; see sim merge.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the points and run nothing.")
    ] = False,
    seed: Seed = None,
    metric: Metric = None,
    as_json: AsJson = False,
    csv: Table = None,
    plot: Curve = None,
    engine: EngineName = "auto",
) -> None:
    """Run every combination of values with the same draws: a table and a picture."""
    question, chosen = sweeping.asked(
        arguments,
        zipped=zipped,
        seed=seed,
        number=number,
        metric=metric,
        plot=plot,
        engine=engine,
    )
    part = sweeping.shard_of(shard, out, resume)
    if dry_run:
        console.leave(sweeping.dry_run(question, part))
    result = sweeping.swept(
        question, jobs=jobs, cluster=cluster, shard=part, out=out, resume=resume
    )
    sweeping.print_sweep(result, chosen, as_json=as_json, csv=csv)
    sweeping.write_sweep(result, chosen, csv=csv, plot=plot)
    console.leave(sweeping.exit_code(result))


@app.command()
def merge(
    files: Annotated[list[Path], typer.Argument(help="What sim sweep --shard wrote with -o.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write all points there.")
    ] = None,
    metric: Metric = None,
    as_json: AsJson = False,
    csv: Table = None,
    plot: Curve = None,
) -> None:
    """Put the parts of a sweep together: the same table as of the whole."""
    result = sweeping.merged(files, out)
    chosen = sweeping.metric_of(result, metric)
    sweeping.refuse_plot(plot, result.sweep)
    sweeping.print_sweep(result, chosen, as_json=as_json, csv=csv)
    sweeping.write_sweep(result, chosen, csv=csv, plot=plot)
    console.leave(sweeping.exit_code(result))


@app.command()
def compare(
    arguments: Compared,
    number: Number = "1",
    jobs: Jobs = None,
    fail_if: Conditions = None,
    seed: Annotated[int | None, typer.Option(**SEED, help="Instead of the first's.")] = None,
    as_json: AsJson = False,
    engine: EngineName = "auto",
) -> None:
    """Which of two scenarios is faster, and which waits make the difference."""
    files, overrides = console.files_and_overrides(arguments)
    code = comparing.compared(
        files,
        overrides,
        number=number,
        jobs=jobs,
        fail_if=fail_if or [],
        seed=seed,
        engine=engine,
        as_json=as_json,
    )
    console.leave(code)


@app.command()
def size(
    arguments: SearchedKeys,
    slo: Goals = None,
    limits: Limits = None,
    cost: Prices = None,
    number: Number = "1",
    jobs: Jobs = None,
    seed: Seed = None,
    as_json: AsJson = False,
    engine: EngineName = "auto",
) -> None:
    """Find the smallest value that meets the goals, or the highest load that keeps them."""
    question = sizing.asked(
        arguments,
        slo=slo or [],
        limits=limits or [],
        cost=cost or [],
        seed=seed,
        number=number,
        engine=engine,
    )
    console.leave(sizing.print_found(sizing.found(question, jobs), as_json=as_json))


@app.command()
def serve(
    arguments: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE [KEY=VALUE...]",
            help="A scenario, then overrides such as pools.db.size=100.",
        ),
    ],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="On 127.0.0.1; 0: any that is free.")
    ] = 8000,
    database: Annotated[
        str, typer.Option(metavar="embedded|none|DSN", help="Which PostgreSQL, if any.")
    ] = "embedded",
    seed: Seed = None,
    deadline: Annotated[
        float, typer.Option(min=1, help="How long the start may take, in seconds.")
    ] = 60,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="A DSN may name another machine.")
    ] = False,
) -> None:
    """Run the scenario as a real service: FastAPI or gunicorn, with a real PostgreSQL."""
    options = {"port": port, "database": database, "seed": seed, "deadline_s": deadline}
    console.leave(serving.served(arguments, **options, allow_remote=allow_remote))


@app.command()
def calibrate(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE] [KEY=VALUE...]",
            help="A scenario to serve; without one the small app, or the server at --url.",
        ),
    ] = None,
    serve_it: Annotated[bool, typer.Option("--serve", help="Serve it on 127.0.0.1.")] = False,
    url: Annotated[str | None, typer.Option(help="A server that runs already.")] = None,
    routes: Annotated[list[str] | None, typer.Option(help="Such as 'GET /a'.")] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="DIR", help="Write all results as files.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="observe, fit or check: one step, from the files in -o.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs of each load of the check.")] = 3,
    scale: Annotated[str, typer.Option(help="All times of FILE times this, such as 0.1.")] = "1",
    database: Annotated[str, typer.Option(help="embedded, none or a DSN.")] = "embedded",
    budget: Budget = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="The load may leave this machine.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure a server, fit its overheads or find its limits, check that on other loads."""
    asked = calibrating.Asked(
        arguments or [], serve=serve_it, url=url, routes=routes or [], out=out, only=only,
        runs=runs, scale=scale, database=database, budget=budget, allow_remote=allow_remote,
    )  # fmt: skip
    console.leave(calibrating.calibrated(asked, as_json=as_json))


@app.command()
def check(
    arguments: Arguments,
    overheads: Annotated[
        str | None, typer.Option(metavar="F.yaml", help="What sim calibrate wrote of this machine.")
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs; their median is compared.")] = 3,
    tolerance: Annotated[
        str | None, typer.Option(help="Such as 5%; default: by what the run is bound by.")
    ] = None,
    scale: Annotated[str, typer.Option(help="All times times this, such as 0.1.")] = "1",
    database: Annotated[str, typer.Option(help="embedded, none or a DSN.")] = "embedded",
    budget: Budget = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report to be shared.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Serve it for real, measure it, and compare with the prediction; 99 if it is off."""
    files, overrides = console.files_and_overrides(arguments)
    chosen = checking.options(
        overheads=overheads, runs=runs, tolerance=tolerance, scale=scale, database=database,
        budget=budget,
    )  # fmt: skip
    console.leave(checking.check_all(files, overrides, chosen, as_json=as_json, report=report))


@app.command()
def init(
    template: Annotated[str, typer.Argument(help="Which beginning.")] = "fastapi",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", metavar="FILE", help="Write it there.")
    ] = None,
    from_app: Annotated[
        str | None,
        typer.Option(metavar="MODULE:APP", help="From a FastAPI app, which is imported."),
    ] = None,
) -> None:
    """Begin a scenario of your own from a commented template, or from your FastAPI app."""
    starting.begin(template, from_app, out)


@app.command()
def validate(
    arguments: Arguments,
    resolved: Annotated[
        bool, typer.Option("--resolved", help="Print it with every default filled in.")
    ] = False,
) -> None:
    """Check scenarios without running them: errors, then findings."""
    console.leave(scenarios.validated(arguments, resolved=resolved))


@app.command()
def schema() -> None:
    """Print the JSON Schema of a scenario, for completion and hover text in editors."""
    scenarios.print_schema()


@app.command()
def examples(
    name: Annotated[
        str | None, typer.Argument(help="Print this one, to redirect into a file.")
    ] = None,
) -> None:
    """List the scenarios that come with the simulator, each a question with its answer."""
    scenarios.print_examples(name)


@app.command()
def explain(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE [KEY=VALUE...]]", help="A scenario, then overrides."),
    ] = None,
    rule: Annotated[str | None, typer.Option(help="The page of a finding, such as SIM104.")] = None,
    seed: Seed = None,
    as_json: AsJson = False,
    engine: EngineName = "auto",
) -> None:
    """Say why: time by cause, bounds, what a little more of each resource changes, what is next.

    Without a file: list all findings, or print the page of one.
    """
    if arguments and rule is not None:
        console.usage("a scenario and --rule, expected one of them")
    if not arguments:
        explaining.print_rules(rule)
        return
    console.leave(
        explaining.print_explanation(arguments, seed=seed, engine=engine, as_json=as_json)
    )


def main() -> None:
    """The console script ``sim``."""
    console.run(app)


if __name__ == "__main__":
    main()
