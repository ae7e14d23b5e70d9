"""What ``sim size`` does: ask, search, print the answer with its proof."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.commands import console, engines, progress

if TYPE_CHECKING:
    from simulator.experiments.size import Found
    from simulator.experiments.size_question import Question


def asked(
    words: list[str],
    *,
    slo: list[str],
    limits: list[str],
    cost: list[str],
    seed: int | None,
    number: str,
    engine: str,
) -> Question:
    """The search, or exit 2 or 3 with what is wrong with it, before any run."""
    from simulator.commands.running import replications
    from simulator.experiments import size_question
    from simulator.scenario import ScenarioError

    files, values = console.files_and_overrides(words)
    if len(files) > 1:
        console.usage(f"{len(files)} files, expected one: sim size FILE KEY=LO..HI")
    try:
        return size_question.question(
            files[0],
            values,
            slo=slo,
            limits=limits,
            prices=cost,
            seed=seed,
            number=replications(number),
            engine=engines.named(engine),
        )
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)
    except ValueError as error:
        console.usage(str(error))


def found(question: Question, jobs: int | None) -> Found:
    """What the search finds, or exit 2 or 3 where the scenario or a goal is wrong."""
    from simulator.experiments import size
    from simulator.experiments.executors import Local, available_cpus
    from simulator.scenario import ScenarioError

    try:
        # A search is about twelve trials.
        with Local(jobs or available_cpus(), 12 * question.number) as executor:
            tried, ran = progress.trials()
            return size.search(
                question,
                executor=executor,
                progress=tried,
                ran=ran,
                arrived=progress.requests,
                tell=console.tell,
            )
    except ScenarioError as error:
        console.tell(error)
        console.leave(console.INVALID)
    except ValueError as error:
        console.usage(str(error))


def print_found(result: Found, *, as_json: bool) -> int:
    """Print the answer; gives back the exit code: 4 where no value meets the goals."""
    from simulator.report import machine, size
    from simulator.version import VERSION

    scenario = result.scenario
    seed = scenario.seed if result.question.seed is None else result.question.seed
    if as_json:
        document = size.as_dict(result, version=VERSION, seed=seed)
        console.show(machine.dumps(document).decode())
    else:
        console.show(size.render(result, version=VERSION, seed=seed))
    if result.interrupted:
        return console.INTERRUPTED
    return console.OK if result.best is not None else console.NO_ANSWER
