"""The answer of `sim size` as text and as JSON."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from typing import Any

from simulator.analysis.limits import processes
from simulator.analysis.verdicts import ThresholdResult
from simulator.experiments.constraints import Constraint, connections
from simulator.experiments.measures import Measured, engines
from simulator.experiments.size import Found, Trial
from simulator.experiments.size_question import Question
from simulator.plan import NO_DATABASE, UNLIMITED, Plan
from simulator.report import format
from simulator.report.terminal import margin, observed
from simulator.report.text import clean
from simulator.thresholds import Threshold


def render(found: Found, *, version: str, seed: int) -> str:
    """The goals, the trials in order of their values, the answer with its proof."""
    asked = found.question
    keys = ", ".join(f"{axis.key}={axis.values[0]}..{axis.values[-1]}" for axis in asked.axes)
    run = sum(trial.measured is not None for trial in found.trials)
    count = format.count(run, "trial")
    sections = [
        ["   ".join(("size", clean(found.scenario.name), clean(keys), count, f"seed {seed}"))],
        _goals(found),
        _trials(found),
        _wrapped(f"ANSWER  {answer(found)}", 2, 4) + _beside(found),
        [f"  repeat: {command(found)}   {version}, the same seed in every trial"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def command(found: Found) -> str:
    """The line that repeats the search."""
    return clean(shlex.join(["sim", "size", found.question.path, *found.question.words]))


def answer(found: Found) -> str:
    """The answer as a sentence or two, with its proof."""
    if found.interrupted:
        best = "none passed" if found.best is None else f"{_where(found, found.best)} passes"
        open_ = format.count(found.undecided, "value")
        return f"interrupted: so far {best}, {open_} undecided."
    if found.best is None:
        return f"no value keeps {_all_goals(found)}: {_nearest(found)}"
    words = f"{_where(found, found.best)} is the {_superlative(found)} that keeps them"
    if found.proof is None:
        limit = found.question.axes[0].values[-1 if found.question.harder else 0]
        if len(found.question.axes) == 1 and found.best.values[0] == limit:
            return f"{words}, and the end of the range: there may be better ones beyond."
        return f"{words}."
    why = _why_not(found.proof)
    return f"{words}; {_where(found, found.proof)} does not: {why}."


def as_dict(found: Found, *, version: str, seed: int) -> dict[str, Any]:
    """All numbers as plain data; each trial has the form of a point of a sweep."""
    asked = found.question
    best = found.best
    return {
        "size": {
            "axes": {axis.key: list(axis.values) for axis in asked.axes},
            "fixed": list(asked.fixed),
            "goals": [goal.text for goal in found.goals],
            "assumed": list(found.assumed),
            "limits": [limit.words for limit in asked.constraints],
            "cost": {a.key: float(p) for a, p in zip(asked.axes, asked.prices, strict=True)},
            "interrupted": found.interrupted,
        },
        "answer": None if best is None else _values(asked, best),
        "proof": None if found.proof is None else _values(asked, found.proof),
        "sentence": answer(found),
        "bottleneck": None if best is None or best.measured is None else best.measured.sentence,
        "code": dict(found.code),
        "connections": _connections(found),
        "trials": [_trial(asked, trial) for trial in found.trials],
        "meta": {
            "name": found.scenario.name,
            "seed": seed,
            "version": version,
            "engine": engines(t.measured.engine for t in found.trials if t.measured),
        },
    }


def _goals(found: Found) -> list[str]:
    lines = [f"  {'keeps ' if not i else '      '} {g.text}" for i, g in enumerate(found.goals)]
    lines += [f"   within {limit.words}" for limit in found.question.constraints]
    assumed = [text for text in found.assumed if text not in {goal.text for goal in found.goals}]
    lines += [f"   within {text}" for text in assumed]
    notes = {goal.text for goal in found.goals} & set(found.assumed)
    return [
        clean(line) + ("   (assumed: no goal is about failures)" if line[9:] in notes else "")
        for line in lines
    ]


def _trials(found: Found) -> list[str]:
    if not found.trials:
        return []
    asked = found.question
    head = [*(clean(axis.key) for axis in asked.axes), "ok", "errors"]
    head += [_goal_word(goal) for goal in found.goals]
    head += ["passed", "bottleneck"]
    order = [{value: i for i, value in enumerate(axis.values)} for axis in asked.axes]
    trials = sorted(
        found.trials, key=lambda t: [at[v] for at, v in zip(order, t.values, strict=True)]
    )
    rows = [(trial, _cells(found, trial)) for trial in trials]
    widths = [
        max(len(head[i]), *(len(cells[i]) for _, cells in rows if i < len(cells)), 0)
        for i in range(len(head))
    ]
    keys = len(asked.axes)
    lines = ["  " + _joined(head, [widths[0] + 2, *widths[1:]], keys)]
    for trial, cells in rows:
        note = f"  {clean(trial.refused)[:70]}" if trial.measured is None else ""
        lines.append("    " + _joined(cells, widths, keys) + note)
    if found.forbidden and found.trials:
        lines.append(f"    not tried where it is not allowed: up to {clean(found.forbidden)}")
    return [line.rstrip() for line in lines]


def _goal_word(goal: Threshold) -> str:
    """The goal without its limit: "p(95)", "errors rate", "p(99) of read"."""
    share = "" if goal.percentile is None else f"({format.significant(goal.percentile)})"
    metric = "" if goal.metric == "latency" else f"{goal.metric} "
    route = "" if goal.route is None else f" of {goal.route}"
    return clean(f"{metric}{goal.aggregate}{share}{route}")


def _cells(found: Found, trial: Trial) -> list[str]:
    values = [clean(value)[:24] for value in trial.values]
    measured = trial.measured
    if measured is None:
        return values
    total = measured.total
    cells = [*values, format.mean_count(total.ok), format.mean_count(total.errors)]
    cells += [_seen(result, short=True) for result in measured.thresholds]
    unsure = "?" if _undecided(trial) else ""
    return [*cells, ("✓" if trial.passed else "✗") + unsure, clean(measured.limited_by)]


def _seen(result: ThresholdResult, *, short: bool = False) -> str:
    """What was observed, and how sure that is; in short ±? where nobody knows."""
    sure = margin(result)
    return f"{observed(result)} {'±?' if short and sure.startswith('(') else sure}".rstrip()


def _undecided(trial: Trial) -> bool:
    """Whether the interval of a goal that matters holds its limit."""
    results = trial.measured.thresholds if trial.measured else ()
    failed = [result for result in results if not result.ok]
    unsure = [result.verdict == "undecided" for result in failed or results]
    return all(unsure) if failed else any(unsure)


def _joined(cells: Sequence[str], widths: Sequence[int], keys: int) -> str:
    padded = []
    for i, (cell, width) in enumerate(zip(cells, widths, strict=False)):
        left = i < keys or i == len(widths) - 1
        padded.append(f"{cell:<{width}}" if left else f"{cell:>{width}}")
    return "  ".join(padded)


def _superlative(found: Found) -> str:
    doubt = " found" if found.worse else ""
    return _best_word(found) + doubt


def _best_word(found: Found) -> str:
    if found.question.harder:
        return "highest"
    if len(found.question.axes) > 1:
        return "cheapest"
    return "smallest"


def _where(found: Found, trial: Trial) -> str:
    pairs = zip(found.question.axes, trial.values, strict=True)
    return " ".join(f"{axis.key}={value}" for axis, value in pairs)


def _all_goals(found: Found) -> str:
    return " and ".join(goal.text for goal in found.goals)


def _why_not(trial: Trial) -> str:
    if trial.measured is None:
        return trial.refused
    missed = _missed(trial.measured)
    words = [f"{_goal_word(r.threshold)} is {_seen(r)}" for r in missed]
    if trial.measured.trust.not_stable:
        words.append(f"not stable, {trial.measured.trust.not_stable}")
    deadlock = trial.measured.ended == "deadlock"
    return ", ".join(words) or ("the run deadlocks" if deadlock else "the run has no end")


def _missed(measured: Measured) -> list[ThresholdResult]:
    return [result for result in measured.thresholds if not result.ok]


def _nearest(found: Found) -> str:
    from simulator.experiments.size import missed

    run = [trial for trial in found.trials if trial.measured is not None]
    if not found.trials:
        return f"none is allowed: {found.forbidden}."
    if not run:
        return f"none is valid: {found.trials[0].refused}."
    nearest = min(run, key=missed)
    assert nearest.measured is not None
    return (
        f"the nearest is {_where(found, nearest)}, where {_why_not(nearest)}. "
        f"There {nearest.measured.sentence}"
    )


def _beside(found: Found) -> list[str]:
    """What limits next, the connections, the line of code."""
    if found.best is None or found.best.measured is None or found.interrupted:
        return []
    lines = _wrapped(f"next limit: {clean(found.best.measured.sentence)}", 4, 6)
    lines += [f"    {line}" for line in _connection_lines(found.scenario.plan)]
    lines += [f"    in your code: {clean(line)}" for _, line in found.code]
    return lines + _unsure(found) + _doubt(found)


def _unsure(found: Found) -> list[str]:
    """Where chance could have decided: a trial whose goal lies within its interval."""
    near = [t for t in (found.best, found.proof) if t is not None and _undecided(t)]
    if not near:
        return []
    names = " and ".join(_where(found, trial) for trial in near)
    return _wrapped(f"within the interval: {names}; more replications decide (-n).", 4, 6)


def _doubt(found: Found) -> list[str]:
    """Where more made things worse, what was not tried below the answer may pass, too."""
    if found.worse is None:
        return []
    sweep = f"sim sweep {found.question.path} {found.question.axes[0].key}=… tries every value"
    words = (
        f"not proven: {_where(found, found.worse)} fails, so more does not always help; {sweep}."
    )
    return _wrapped(words, 4, 6)


def _connections(found: Found) -> list[dict[str, Any]]:
    if found.best is None:
        return []
    plan = found.scenario.plan
    return [
        {
            "pool": pool.label,
            "connections": min(connections(plan, i), UNLIMITED),
            "database": None
            if pool.database == NO_DATABASE
            else plan.databases[pool.database].label,
        }
        for i, pool in enumerate(plan.pools)
    ]


def _database(plan: Plan, index: int) -> str | None:
    return None if index == NO_DATABASE else plan.databases[index].label


def _connection_lines(plan: Plan) -> list[str]:
    lines = []
    for i, pool in enumerate(plan.pools):
        each, count = pool.size + pool.overflow, processes(plan)
        if each >= UNLIMITED:
            continue
        workers = format.count(plan.server.workers, "worker")
        instances = format.count(plan.server.instances, "instance")
        total = connections(plan, i)
        accepts = ""
        for limit in Constraint.of_databases(plan):
            if limit.database == pool.database:
                accepts = f", of the {limit.most} that {limit.label} accepts"
        if count > 1 or accepts:
            lines.append(
                f"connections: {each} of pool {pool.label} × {workers} × {instances} "
                f"= {total}{accepts}"
            )
    return [clean(line) for line in lines]


def _values(asked: Question, trial: Trial) -> dict[str, str]:
    return {axis.key: value for axis, value in zip(asked.axes, trial.values, strict=True)}


def _trial(asked: Question, trial: Trial) -> dict[str, Any]:
    measured = trial.measured
    out: dict[str, Any] = {
        "values": _values(asked, trial),
        "passed": trial.passed,
        "error": trial.refused or None,
    }
    if measured is None:
        return out
    return {
        **out,
        "metrics": measured.total.as_json(),
        "bottleneck": {"resource": measured.limited_by, "sentence": measured.sentence},
        "thresholds": [{"threshold": r.text, "ok": r.ok} for r in measured.thresholds],
    }


def _wrapped(text: str, first: int, rest: int) -> list[str]:
    return textwrap.wrap(clean(text), 98, initial_indent=" " * first, subsequent_indent=" " * rest)
