"""The sides of a comparison: scenarios that are run, several times, and results of earlier runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.analysis import confidence
from simulator.analysis.summary import SECOND_NS
from simulator.analysis.trust import DETERMINISTIC, PERCENTILES
from simulator.engine import Engine
from simulator.experiments.compare import Case
from simulator.experiments.conditions import Condition, held
from simulator.experiments.executors import Executor
from simulator.experiments.measures import Measured, engines, measured
from simulator.experiments.paired import Sample, Side, change, padded, sample_of
from simulator.experiments.replications import AUTO, LOOKS, Replicating
from simulator.experiments.replications import Case as Replicated
from simulator.experiments.sweep import read

SURE = 0.02
"""Half of a ratio's interval, as a share of it, at which `-n auto` stops without conditions."""


class StoredError(ValueError):
    """Why a file is no result of an earlier run."""


def replicated(
    cases: Sequence[Case],
    number: int,
    executor: Executor,
    *,
    seed: int,
    engine: Engine = Engine.AUTO,
    conditions: Sequence[Condition] = (),
    stored: Sequence[Side] = (),
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> tuple[tuple[Side, ...], bool]:
    """The sides of scenarios whose first run is done, each run ``number`` times in all.

    Returns
    -------
    tuple of Side, bool
        After Ctrl-C with the replications that were done, and true.

    Raises
    ------
    LimitError
        If a run reached a named limit.
    """
    from simulator.engines.contract import LimitError

    texts = [read(case.file) for case in cases]
    runs: list[tuple[Measured, ...]] = [(measured(case.answer),) for case in cases]
    for look in LOOKS if number == AUTO else (number,):
        asked = [
            Replicated(case.file, text, case.overrides, seed, known, engine)
            for case, text, known in zip(cases, texts, runs, strict=True)
        ]
        replicating = Replicating(asked, look, executor, progress=progress)
        interrupted = False
        try:
            for index, found in replicating:
                if isinstance(found, str):
                    raise LimitError(f"{cases[index].label}: {found}")
                runs[index] = found
        except KeyboardInterrupt:
            interrupted = True
            partial = [replicating.partial(i) for i in range(len(cases))]
            runs = [max(pair, key=len) for pair in zip(runs, partial, strict=True)]
        sides = tuple(_side(case, seed, kept) for case, kept in zip(cases, runs, strict=True))
        if interrupted or (number == AUTO and enough(padded([*sides, *stored]), conditions)):
            break
    return sides, interrupted


def once(case: Case, seed: int) -> Side:
    """The side of a scenario that was run once."""
    return _side(case, seed, (measured(case.answer),))


def enough(sides: Sequence[Side], conditions: Sequence[Condition]) -> bool:
    """Whether all conditions are decided; without any, whether the ratios of the means are sure."""
    first, *others = sides
    level = 1 - (1 - confidence.LEVEL) / len(LOOKS)
    if conditions:
        found = [held(c, first, other, level=level) for c in conditions for other in others]
        return all(one.verdict != "undecided" for one in found)
    for other in others:
        found_change = change(first, other, "", "mean", level=level)
        if found_change is None or found_change.ratio is None:
            continue
        interval = found_change.ratio_interval
        if interval and interval.half(found_change.ratio) > SURE * found_change.ratio:
            return False
    return True


def _side(case: Case, seed: int, runs: Sequence[Measured]) -> Side:
    return Side(
        letter=case.letter,
        label=case.label,
        short_label=case.short_label,
        seed=seed,
        samples=tuple(map(sample_of, runs)),
        deterministic=runs[0].trust.method == DETERMINISTIC,
        sentence=case.answer.bottleneck.sentence,
        engine=engines(run.engine for run in runs) or "",
    )


def stored(letter: str, path: str) -> Side:
    """A result that `sim run -o` or `--json` wrote.

    Raises
    ------
    StoredError
        If the file can't be read or is something else.
    """
    try:
        document = json.loads(Path(path).read_text(encoding="utf-8"))
        runs = document.get("replications") or [document]
        side = Side(
            letter=letter,
            label=path,
            short_label=str(document["meta"]["name"]),
            seed=int(document["meta"]["seed"]),
            samples=tuple(_stored_sample(run) for run in runs),
            deterministic=document["intervals"]["method"] == DETERMINISTIC,
            sentence=str(document["bottleneck"]["sentence"]),
            engine=str(document["meta"]["engine"]),
        )
    except OSError as error:
        raise StoredError(f"{path}: error: can't read it: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoredError(
            f"{path}: error: not a result, expected what `sim run -o DIR` writes as result.json "
            f"({type(error).__name__}: {error})"
        ) from None
    return side


def _stored_sample(run: dict[str, Any]) -> Sample:
    groups = {"": run["metrics"], **run["routes"]}
    numbers: dict[tuple[str, str], float] = {}
    for name, metrics in groups.items():
        for what in ("requests", "ok", "errors"):
            numbers[name, what] = float(metrics[what])
        finished = metrics["requests"] - metrics["in_flight"]
        if finished:
            numbers[name, "error_rate"] = metrics["errors"] / finished
        if metrics["throughput_per_s"] is not None:
            numbers[name, "throughput"] = float(metrics["throughput_per_s"])
        for what in ("mean", "max", *(f"p{p}" for p in PERCENTILES)):
            value = metrics[f"latency_{what}_s"]
            if value is not None and _rests_on_enough(metrics, what):
                numbers[name, what] = float(value) * SECOND_NS
    bottleneck = run["bottleneck"]
    return Sample(
        numbers,
        {(row["kind"], row["cause"]): row["ok_mean_s"] * SECOND_NS for row in run["breakdown"]},
        bottleneck if isinstance(bottleneck, str) else str(bottleneck["resource"]),
    )


def _rests_on_enough(metrics: dict[str, Any], what: str) -> bool:
    """As everywhere: 1 / (1 - p) samples at least, and half of all requests ok."""
    if not what.startswith("p"):
        return True
    enough = metrics["ok"] * (100 - int(what[1:])) >= 100
    return bool(enough and 2 * metrics["ok"] >= metrics["requests"])


def lettered(sides: Sequence[Side], letters: str) -> tuple[Side, ...]:
    """The sides with these letters, in order."""
    return tuple(replace(side, letter=letter) for side, letter in zip(sides, letters, strict=False))
