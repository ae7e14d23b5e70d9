"""What ``sim compare`` does: runs, and results of earlier runs, side by side."""

from __future__ import annotations

from string import ascii_uppercase
from typing import TYPE_CHECKING

from simulator.commands import console, running

if TYPE_CHECKING:
    from simulator.experiments.compare import Case
    from simulator.experiments.conditions import Condition
    from simulator.experiments.paired import Side


def compared(
    files: list[str],
    overrides: list[str],
    *,
    number: str,
    jobs: int | None,
    fail_if: list[str],
    seed: int | None,
    as_json: bool,
) -> int:
    """Run all with one seed, print them side by side; gives back the exit code."""
    given = [file for file in files if file.endswith(".json")]
    results = _stored(given)
    cases = _cases(files, overrides, results, seed)
    if cases is None:
        return console.INTERRUPTED
    routes = [list(case.answer.scenario.plan.routes) for case in cases[:1]]
    known = [route.name for route in routes[0]] if routes else _routes(results)
    conditions = _conditions(fail_if, known)
    command = running.repeat("compare", [*files, *overrides], seed, number)
    for text in fail_if:
        import shlex

        command += f" --fail-if {shlex.quote(text)}"
    used = seed if seed is not None else _seed(cases, results)
    wanted = running.replications(number)
    if number == "1" and results:
        wanted = max(len(side.samples) for side in results)
    sides = _sides(cases, results, wanted, jobs, used, conditions)
    if sides is None:
        return console.INTERRUPTED
    ordered = _in_order(files, sides)
    return _print(cases, ordered, conditions, command, used, as_json=as_json, several=wanted != 1)


def _stored(paths: list[str]) -> list[Side]:
    from simulator.experiments.sides import StoredError, stored

    found = []
    for path in paths:
        try:
            found.append(stored("?", path))
        except StoredError as error:
            console.tell(error)
    if len(found) < len(paths):
        console.leave(console.INVALID)
    return found


def _cases(
    files: list[str], overrides: list[str], results: list[Side], seed: int | None
) -> list[Case] | None:
    """The scenarios and the first run of each; None after Ctrl-C."""
    from simulator.experiments.compare import Case, named

    try:
        if results:
            scenarios = [file for file in files if not file.endswith(".json")]
            pairs = [("?", file, tuple(overrides)) for file in scenarios]
            if len(files) < 2:
                raise ValueError(f"nothing to compare {files[0]} with, expected a second file")
            if overrides and not scenarios:
                raise ValueError("overrides change scenarios, expected one beside the results")
        else:
            pairs = list(named(files, overrides))
    except ValueError as error:
        console.usage(str(error))
    scenarios_loaded = [running.loaded(file, list(own)) for _, file, own in pairs]
    used = seed
    if used is None:
        seeds = [side.seed for side in results] + [one.seed for one in scenarios_loaded]
        used = seeds[0]
    cases = []
    for (letter, file, own), scenario in zip(pairs, scenarios_loaded, strict=True):
        answer = running.simulated(scenario, used)
        if answer.trace.ended == "interrupted":
            return None
        cases.append(Case(letter, file, own, answer))
    return cases


def _routes(results: list[Side]) -> list[str]:
    return sorted({group for side in results for group, _ in side.samples[0].numbers if group})


def _seed(cases: list[Case], results: list[Side]) -> int:
    """The seed of the results, which is that of what is run beside them."""
    return results[0].seed if results else cases[0].answer.scenario.seed


def _conditions(texts: list[str], routes: list[str]) -> list[Condition]:
    from simulator.experiments.conditions import parse

    try:
        return [parse(text, routes) for text in texts]
    except ValueError as error:
        console.usage(str(error))


def _sides(
    cases: list[Case],
    results: list[Side],
    wanted: int,
    jobs: int | None,
    seed: int,
    conditions: list[Condition],
) -> tuple[Side, ...] | None:
    """Every side with all its replications, the scenarios first; None after Ctrl-C."""
    from simulator.engines.contract import LimitError
    from simulator.experiments.executors import Local, available_cpus
    from simulator.experiments.replications import LOOKS
    from simulator.experiments.sides import replicated

    expected = ((wanted or LOOKS[0]) - 1) * len(cases)
    try:
        with Local(jobs or available_cpus(), expected) as executor:
            runs = replicated(
                cases,
                wanted,
                executor,
                seed=seed,
                conditions=conditions,
                stored=results,
                progress=console.runs_progress("runs"),
            )
    except KeyboardInterrupt:
        return None
    except LimitError as error:
        console.tell(f"error: {error}")
        console.leave(console.INVALID)
    return (*runs, *results)


def _in_order(files: list[str], sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides as their files stand on the command line, as A, B, …"""
    from simulator.experiments.paired import padded
    from simulator.experiments.sides import lettered

    results = [side for side in sides if side.label in files and side.label.endswith(".json")]
    runs = [side for side in sides if side not in results]
    if results:
        runs, results = list(runs), list(results)
        ordered = [results.pop(0) if f.endswith(".json") else runs.pop(0) for f in files]
    else:
        ordered = runs
    return padded(lettered(ordered, ascii_uppercase))


def _print(
    cases: list[Case],
    sides: tuple[Side, ...],
    conditions: list[Condition],
    command: str,
    seed: int,
    *,
    as_json: bool,
    several: bool,
) -> int:
    from simulator.experiments.conditions import held
    from simulator.report import compare, machine, paired
    from simulator.version import VERSION

    first, *others = sides
    helds = [held(condition, first, other) for condition in conditions for other in others]
    requests = not several and len(cases) == len(sides)
    if as_json and requests:
        meta = machine.Meta(seed=seed, version=VERSION, engine="simpy")
        document = compare.as_dict(cases, meta)
        document["conditions"] = [paired.condition_json(found) for found in helds]
        console.show(machine.dumps(document).decode())
    elif as_json:
        console.show(machine.dumps(paired.as_dict(sides, helds, version=VERSION)).decode())
    else:
        how = {"command": command, "version": VERSION}
        page = (
            compare.render(cases, paired.conditions(helds), seed=seed, **how)
            if requests
            else paired.render(sides, helds, seed=seed, **how)
        )
        console.show(page)
    if any(found.holds for found in helds):
        return console.FAILED
    stuck = any(case.answer.trace.ended == "deadlock" for case in cases)
    return console.NO_ANSWER if stuck else console.OK
