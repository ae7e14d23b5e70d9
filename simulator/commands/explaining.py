"""What ``sim explain`` does: the page of a finding, or why a scenario is as it is."""

from __future__ import annotations

from simulator.commands import console, engines, progress


def print_rules(rule: str | None) -> None:
    """Print the page of a finding by its code; without one, list them all."""
    from simulator.scenario import rule as rule_of
    from simulator.scenario import rules

    if rule is None:
        for known in rules():
            console.show(f"{known.code}  {known.title}\n")
        return
    try:
        console.show(rule_of(rule).page.rstrip() + "\n")
    except KeyError as error:
        console.usage(str(error.args[0]))


def print_explanation(words: list[str], *, seed: int | None, engine: str, as_json: bool) -> int:
    """Print why a scenario is as it is; gives back the exit code."""
    from simulator.commands.running import repeat
    from simulator.engines.contract import LimitError
    from simulator.experiments.explain import explain
    from simulator.experiments.sweep import read
    from simulator.report import explain as report
    from simulator.report import machine
    from simulator.scenario import ScenarioError
    from simulator.version import VERSION

    files, overrides = console.files_and_overrides(words)
    if len(files) > 1:
        console.usage(f"{len(files)} files, expected one: sim explain FILE KEY=VALUE")
    try:
        found = explain(
            files[0],
            read(files[0]),
            overrides,
            seed=seed,
            engine=engines.named(engine),
            tell=console.tell,
            progress=progress.changes(),
            arrived=progress.requests,
        )
    except (ScenarioError, LimitError) as error:
        console.tell(error)
        return console.INVALID
    if as_json:
        console.show(machine.dumps(report.as_dict(found, version=VERSION)).decode())
    else:
        command = repeat("explain", words, seed)
        console.show(report.render(found, command=command, version=VERSION))
    if found.interrupted:
        return console.INTERRUPTED
    return console.NO_ANSWER if found.answer.trace.ended == "deadlock" else console.OK
