"""What a search is asked: the keys and their values, the goals, the limits, the prices."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction

from simulator.engine import Engine
from simulator.experiments.axes import Axis, AxisError, parse, points, positions
from simulator.experiments.constraints import Constraint
from simulator.experiments.direction import Harder, harder
from simulator.experiments.sweep import read
from simulator.record import dataclass
from simulator.scenario import Scenario, ScenarioError, loads
from simulator.thresholds import AGGREGATES

_GOAL = re.compile(rf"\s*((?:{'|'.join(AGGREGATES)})\b\s*(?:\{{[^{{}}]*\}})?)\s*:?\s*(.*)")


@dataclass(frozen=True, slots=True)
class Question:
    """What is searched: a scenario's text, the keys and their values, the goals."""

    path: str
    text: str
    words: tuple[str, ...]  # as they were asked for, without the file: what repeats the search
    axes: tuple[Axis, ...]
    fixed: tuple[str, ...]  # KEY=VALUE, the same in every trial
    goals: tuple[tuple[str, str], ...]  # metric, expression; beside the file's thresholds
    constraints: tuple[Constraint, ...]
    prices: tuple[Fraction, ...]  # of one more of each key
    seed: int | None
    number: int = 1  # replications of each trial, or AUTO
    harder: Harder = ""  # of what the one key is more: then the highest value is wanted
    engine: Engine = Engine.AUTO  # AUTO looks at the work of all trials together

    def overrides(self, values: Sequence[str]) -> list[str]:
        """What stands after the file to run one trial alone."""
        swept = [f"{axis.key}={v}" for axis, v in zip(self.axes, values, strict=True)]
        return [*self.fixed, *swept]


def question(
    file: str,
    arguments: Sequence[str],
    *,
    slo: Sequence[str] = (),
    limits: Sequence[str] = (),
    prices: Sequence[str] = (),
    seed: int | None = None,
    number: int = 1,
    engine: Engine = Engine.AUTO,
) -> Question:
    """The search that a command line asks for.

    Parameters
    ----------
    arguments : sequence of str
        ``KEY=LO..HI`` (or a list, from the least to the most) of what is searched, and
        ``KEY=VALUE`` of what is fixed.
    slo : sequence of str
        Goals: ``p(95)<200ms`` (of latency), ``errors rate<1%``, ``latency{route:a} p(99)<1s``.
    limits : sequence of str
        ``connections<=97``, see ``constraints``.
    prices : sequence of str
        ``KEY=PRICE`` of one more; 1 where it is not given.
    number : int, default 1
        Replications of each trial, whose means are held against the goals, or ``AUTO``.

    Raises
    ------
    ScenarioError
        If the file can't be read.
    AxisError
        If values, limits or prices are malformed, or there is nothing to search.
    """
    given = [parse(argument) for argument in arguments]
    fixed = tuple(f"{axis.key}={axis.values[0]}" for axis in given if len(axis.values) == 1)
    text, axes = read(file), _searched(given)
    keys = [axis.key for axis in axes]
    priced = _prices(prices, keys)
    return Question(
        path=file,
        text=text,
        words=(
            *arguments,
            *(word for goal in slo for word in ("--slo", goal)),
            *(word for limit in limits for word in ("--max", limit)),
            *(word for price in prices for word in ("--cost", price)),
            *(() if number == 1 else ("-n", str(number or "auto"))),
            *(("--seed", str(seed)) if seed is not None else ()),
        ),
        axes=tuple(_from_least(axis) for axis in axes),
        fixed=fixed,
        goals=tuple(_goal(text) for text in slo),
        constraints=tuple(Constraint.parse(text) for text in limits),
        prices=tuple(priced.get(key, Fraction(1)) for key in keys),
        seed=seed,
        number=number,
        harder=_harder(axes, file, text, fixed),
        engine=engine,
    )


def _searched(given: Sequence[Axis]) -> tuple[Axis, ...]:
    """The keys with several values."""
    axes = tuple(axis for axis in given if len(axis.values) > 1)
    if not axes:
        raise AxisError("nothing to search, expected KEY=LO..HI such as pools.db.size=1..100")
    if len({axis.key for axis in given}) < len(given):
        raise AxisError("a key is given twice, expected each key once")
    points(axes)
    return axes


def _harder(axes: Sequence[Axis], file: str, text: str, fixed: Sequence[str]) -> Harder:
    """Whether the key is more load or more work, which has to be searched alone."""
    for axis in axes:
        more = harder(axis.key, _valid(axis, file, text, fixed))
        if more and positions(axis.values) is not None:
            if len(axes) > 1:
                raise AxisError(f"{axis.key} is {more}, expected it alone: the most is searched")
            return more
    return ""


def _valid(axis: Axis, file: str, text: str, fixed: Sequence[str]) -> list[Scenario]:
    """The scenario with some of the values, as far as it is valid; what is wrong is told later."""
    found = []
    if axis.key.startswith("vars."):
        for value in dict.fromkeys((*axis.values[:2], *axis.values[-2:])):
            with suppress(ScenarioError):
                found.append(loads(text, (*fixed, f"{axis.key}={value}"), path=file))
    return found


def _goal(text: str) -> tuple[str, str]:
    match = _GOAL.fullmatch(text)
    return (match[1].strip(), match[2]) if match else ("latency", text)


def _prices(texts: Sequence[str], keys: Sequence[str]) -> dict[str, Fraction]:
    out = {}
    for text in texts:
        key, _, price = text.partition("=")
        if key not in keys:
            known = ", ".join(keys)
            raise AxisError(f"--cost {text}: {key} is not searched, expected one of: {known}")
        if not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,9})?", price):
            raise AxisError(f"--cost {text}: expected KEY=PRICE of one more, such as {key}=2.5")
        out[key] = Fraction(price)
    return out


def _from_least(axis: Axis) -> Axis:
    at = positions(axis.values)
    if at is None:
        return axis  # words such as handlers: in the order given
    return replace(axis, values=tuple(v for _, v in sorted(zip(at, axis.values, strict=True))))
