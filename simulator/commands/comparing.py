"""What ``sim compare`` does: runs, and results of earlier runs, side by side."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from string import ascii_uppercase
from typing import TYPE_CHECKING

from simulator.commands import console, engines, progress, running

if TYPE_CHECKING:
    from simulator.engine import Engine
    from simulator.experiments.compare import Case
    from simulator.experiments.conditions import Condition
    from simulator.experiments.paired import Side
    from simulator.scenario import Scenario


def compared(
    files: list[str],
    overrides: list[str],
    *,
    number: str,
    jobs: int | None,
    fail_if: list[str],
    seed: int | None,
    engine: str,
    as_json: bool,
) -> int:
    """Run all with one seed, print them side by side; gives back the exit code."""
    results = _stored([file for file in files if file.endswith(".json")])
    pairs = _pairs(files, overrides, results)
    scenarios = [running.loaded(file, list(own)) for _, file, own in pairs]
    routes = [route.name for route in scenarios[0].plan.routes] if scenarios else _routes(results)
    conditions = _conditions(fail_if, routes)
    seeds = [side.seed for side in results] + [scenario.seed for scenario in scenarios]
    used = seeds[0] if seed is None else seed
    wanted = running.replications(number)
    if number == "1" and results:
        wanted = max(len(side.samples) for side in results)
    chosen = engines.settled(engine, scenarios, wanted)
    cases = _cases(pairs, scenarios, used, chosen)
    shown = _Shown(
        command=_command(files, overrides, seed, number, fail_if),
        seed=used,
        as_json=as_json,
        several=wanted != 1,
    )
    if len(cases) < len(pairs):
        if not cases and not results:
            console.tell("interrupted before the first scenario was done")
            return console.INTERRUPTED
        from simulator.experiments.sides import once

        done = tuple(once(case, used) for case in cases)
        note = f"INTERRUPTED: {len(cases)} of {len(pairs)} scenarios were run, each once."
        return _print(cases, _in_order(files, (*done, *results)), [], shown, note)
    sides, interrupted = _sides(cases, results, wanted, jobs, used, chosen, conditions)
    ordered, note = _in_order(files, sides), ""
    if interrupted:
        of = f" of {wanted}" if wanted else ""
        note = f"INTERRUPTED: {len(ordered[0].samples)}{of} replications of each were done."
    return _print(cases, ordered, conditions, shown, note)


@dataclass(frozen=True)
class _Shown:
    """How a comparison is to be printed."""

    command: str
    seed: int
    as_json: bool
    several: bool  # replications


def _command(
    files: list[str], overrides: list[str], seed: int | None, number: str, fail_if: list[str]
) -> str:
    command = running.repeat("compare", [*files, *overrides], seed, number)
    return command + "".join(f" --fail-if {shlex.quote(text)}" for text in fail_if)


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


def _pairs(
    files: list[str], overrides: list[str], results: list[Side]
) -> list[tuple[str, str, tuple[str, ...]]]:
    """Letter, file and overrides of each scenario that is to be run."""
    from simulator.experiments.compare import named

    try:
        if not results:
            return list(named(files, overrides))
        scenarios = [file for file in files if not file.endswith(".json")]
        if len(files) < 2:
            raise ValueError(f"nothing to compare {files[0]} with, expected a second file")
        if overrides and not scenarios:
            raise ValueError("overrides change scenarios, expected one beside the results")
    except ValueError as error:
        console.usage(str(error))
    return [("?", file, tuple(overrides)) for file in scenarios]


def _cases(
    pairs: list[tuple[str, str, tuple[str, ...]]],
    scenarios: list[Scenario],
    seed: int,
    engine: Engine,
) -> list[Case]:
    """The first run of each scenario; after Ctrl-C of those that were done."""
    from simulator.experiments.compare import Case

    cases: list[Case] = []
    try:
        for (letter, file, own), scenario in zip(pairs, scenarios, strict=True):
            answer = running.simulated(scenario, seed, engine.value)
            if answer.trace.ended == "interrupted":
                break
            cases.append(Case(letter, file, own, answer))
    except KeyboardInterrupt:
        pass
    return cases


def _routes(results: list[Side]) -> list[str]:
    return sorted({group for side in results for group, _ in side.samples[0].numbers if group})


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
    engine: Engine,
    conditions: list[Condition],
) -> tuple[tuple[Side, ...], bool]:
    """Every side with its replications, the scenarios first; and whether Ctrl-C cut them short."""
    from simulator.engines.contract import LimitError
    from simulator.experiments.executors import ALONE_S, Local, available_cpus
    from simulator.experiments.replications import LOOKS
    from simulator.experiments.sides import replicated

    expected = ((wanted or LOOKS[0]) - 1) * len(cases)
    try:
        with Local(jobs or available_cpus(), expected, ALONE_S[engine]) as executor:
            runs, interrupted = replicated(
                cases,
                wanted,
                executor,
                seed=seed,
                engine=engine,
                conditions=conditions,
                stored=results,
                progress=progress.runs("runs"),
            )
    except LimitError as error:
        console.tell(f"error: {error}")
        console.leave(console.INVALID)
    return (*runs, *results), interrupted


def _in_order(files: list[str], sides: tuple[Side, ...]) -> tuple[Side, ...]:
    """The sides as their files stand on the command line, as A, B, …"""
    from simulator.experiments.paired import padded
    from simulator.experiments.sides import lettered

    results = [side for side in sides if side.label in files and side.label.endswith(".json")]
    runs = [side for side in sides if side not in results]
    if results:
        runs, results = list(runs), list(results)
        # After Ctrl-C the last scenarios are missing.
        of = [results if file.endswith(".json") else runs for file in files]
        ordered = [found.pop(0) for found in of if found]
    else:
        ordered = runs
    return padded(lettered(ordered, ascii_uppercase))


def _print(
    cases: list[Case],
    sides: tuple[Side, ...],
    conditions: list[Condition],
    shown: _Shown,
    note: str,
) -> int:
    """Print the page or the JSON; ``note`` is there after Ctrl-C, and says what is missing."""
    from simulator.experiments.conditions import held
    from simulator.report import compare, machine, paired
    from simulator.version import VERSION

    first, *others = sides
    helds = [held(condition, first, other) for condition in conditions for other in others]
    once = not shown.several or (note and len(first.samples) == 1)
    requests = len(cases) == len(sides) and once
    if shown.as_json:
        if requests:
            document = compare.as_dict(cases, machine.Meta(seed=shown.seed, version=VERSION))
            document["conditions"] = [paired.condition_json(found) for found in helds]
        else:
            document = paired.as_dict(sides, helds, version=VERSION)
        document |= {"interrupted": note} if note else {}
        console.show(machine.dumps(document).decode())
    else:
        how = {"command": shown.command, "version": VERSION, "note": note}
        page = (
            compare.render(cases, paired.conditions(helds), seed=shown.seed, **how)
            if requests
            else paired.render(sides, helds, seed=shown.seed, **how)
        )
        console.show(page)
    if note:
        return console.INTERRUPTED
    if any(found.holds for found in helds):
        return console.FAILED
    stuck = any(case.answer.trace.ended == "deadlock" for case in cases)
    return console.NO_ANSWER if stuck else console.OK
