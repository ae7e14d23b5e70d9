"""What a sweep varies: keys and their values, out of `KEY=10,20,50` and its relatives.

Values stay text, as a person would write them after `KEY=`: what they mean is the
language's affair. Numbers are exact here, so 0.1..0.3..0.1 ends at 0.3.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import product
from typing import Any

from simulator import units
from simulator.record import dataclass
from simulator.report import format

POINTS_MAX = 10_000
"""Points of one sweep."""

_NUMBER = r"([0-9]{1,18}(?:\.[0-9]{1,18})?)"
_QUANTITY = rf"{_NUMBER}([A-Za-zµμ%/]*)"
_RANGE = re.compile(rf"{_QUANTITY}\.\.{_QUANTITY}(?:\.\.{_QUANTITY})?")
_SPACE = re.compile(rf"(linspace|geomspace)\(\s*{_QUANTITY}\s*,\s*{_QUANTITY}\s*,\s*([0-9]+)\s*\)")
_PLAIN = re.compile(r"[A-Za-z0-9_./%][A-Za-z0-9_./% -]*")
_NOT_TEXT = re.compile(r"[-+.0-9][-+._0-9eExo]*|true|false|null|~", re.IGNORECASE)
_OPEN, _CLOSE = "([{", ")]}"


class AxisError(ValueError):
    """What is wrong with `KEY=VALUES`, with what was expected."""


@dataclass(frozen=True, slots=True)
class Axis:
    """A key and the values it takes, each as text after `KEY=`."""

    key: str
    values: tuple[str, ...]


def parse(argument: str) -> Axis:
    """The axis of `KEY=VALUES`; one with a single value is a fixed override.

    VALUES are a list `10,20,50`, a range `10..100..10` (both ends are in it, the step
    is 1 if it is not given), `linspace(1,5,9)`, `geomspace(1,1000,4)`, or a list of
    these. Commas within brackets or quotes belong to the value.

    Raises
    ------
    AxisError
        A malformed range, a value that is there twice, more than ``POINTS_MAX``.
    """
    key, _, text = argument.partition("=")
    return Axis(key.strip(), _expanded(key.strip(), text))


def written(key: str, values: Iterable[Any]) -> Axis:
    """The axis of an entry of the scenario's `sweep:`: a list of values, or one text."""
    texts: list[str] = []
    for value in values:
        text = value if isinstance(value, str) else ""
        if _RANGE.fullmatch(text) or _SPACE.fullmatch(text):
            texts += _expanded(key, text)
        else:
            texts.append(spelt(value))
    return Axis(key, _distinct(key, texts))


def spelt(value: Any) -> str:
    """Plain data as it is written after `KEY=`, so that it reads back as the same."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and not _NOT_TEXT.fullmatch(value):
        return value.strip()
    return json.dumps(value, ensure_ascii=False)


def points(axes: Sequence[Axis], *, zipped: bool = False) -> tuple[tuple[str, ...], ...]:
    """The value of each axis at every point; the last axis changes fastest.

    Raises
    ------
    AxisError
        More than ``POINTS_MAX``; axes of unequal length where they are zipped.
    """
    lengths = [len(axis.values) for axis in axes]
    if zipped and len(set(lengths)) > 1:
        sizes = ", ".join(f"{a.key} has {len(a.values)}" for a in axes)
        raise AxisError(f"--zip wants as many values of each key: {sizes}")
    count = 1
    for length in lengths[:1] if zipped else lengths:
        count *= length
    if count > POINTS_MAX:
        raise AxisError(f"{count} points, expected at most {POINTS_MAX} (POINTS_MAX)")
    values = [axis.values for axis in axes]
    return tuple(zip(*values, strict=True)) if zipped else tuple(product(*values))


def positions(values: Sequence[str]) -> tuple[float, ...] | None:
    """Where the values stand on a numeric axis, in the unit of the first; None if they don't."""
    parsed = [_quantity(value) for value in values]
    kinds = {kind for kind, _ in filter(None, parsed)}
    if None in parsed or len(kinds) != 1:
        return None
    return tuple(float(number) for _, number in filter(None, parsed))


def _quantity(text: str) -> tuple[str, Fraction] | None:
    """What kind of quantity a value is, and how much of it (seconds, per second, a share)."""
    if re.fullmatch(_NUMBER, text):
        return "number", Fraction(text)
    if re.fullmatch(_NUMBER + "%", text):
        return "percent", Fraction(text[:-1])
    for kind, parser in (("duration", _seconds), ("rate", units.parse_rate)):
        try:
            return kind, parser(text)
        except units.UnitError:
            pass
    try:
        return "number", Fraction(units.parse_count(text))
    except units.UnitError:
        return None


def _seconds(text: str) -> Fraction:
    return Fraction(units.parse_duration(text), 10**9)


def _expanded(key: str, text: str) -> tuple[str, ...]:
    values: list[str] = []
    for part in _split(text):
        if match := _RANGE.fullmatch(part):
            values += _range(key, part, match.groups())
        elif match := _SPACE.fullmatch(part):
            values += _spaced(key, part, match.groups())
        elif re.match(r"(linspace|geomspace)\(|[0-9].*\.\.", part):
            expected = (
                "10..100, 10..100..10, 10ms..50ms..10ms, linspace(1,5,9), geomspace(1,1000,4)"
            )
            raise AxisError(f"{key}={text}: {part} is not a range, expected such as {expected}")
        else:
            values.append(part)
    return _distinct(key, values)


def _distinct(key: str, values: Sequence[str]) -> tuple[str, ...]:
    if len(values) > POINTS_MAX:
        raise AxisError(f"{key}: {len(values)} values, expected at most {POINTS_MAX} (POINTS_MAX)")
    twice = [value for i, value in enumerate(values) if value in values[:i]]
    if twice:
        raise AxisError(f"{key}: {twice[0]} is there twice, expected each value once")
    return tuple(values)


def _split(text: str) -> list[str]:
    """The text cut at the commas that stand in no bracket and no quote."""
    parts, depth, quote = [""], 0, ""
    for c in text:
        if quote:
            quote = "" if c == quote else quote
        elif c in "\"'" and (depth or not parts[-1].strip()):
            quote = c
        elif c in _OPEN:
            depth += 1
        elif c in _CLOSE:
            depth = max(depth - 1, 0)
        elif c == "," and not depth:
            parts.append("")
            continue
        parts[-1] += c
    return [part.strip() for part in parts]


def _range(key: str, text: str, groups: Sequence[str | None]) -> list[str]:
    numbers = [groups[0], groups[2], groups[4] or "1"]
    words = [groups[1], groups[3], groups[5] if groups[4] else ""]
    (first, last, step), unit = _common(key, text, numbers, words)
    if not step or last < first:
        raise AxisError(f"{key}={text}: expected a range from low to high, with a step above 0")
    count = int((last - first) / step) + 1
    if count > POINTS_MAX:
        raise AxisError(f"{key}={text}: {count} values, expected at most {POINTS_MAX} (POINTS_MAX)")
    return [_text(first + i * step, unit) for i in range(count)]


def _spaced(key: str, text: str, groups: Sequence[str | None]) -> list[str]:
    kind, count = groups[0], int(groups[5] or 0)
    (first, last), unit = _common(key, text, [groups[1], groups[3]], [groups[2], groups[4]])
    if not 2 <= count <= POINTS_MAX:
        raise AxisError(f"{key}={text}: {count} values, expected 2 to {POINTS_MAX} (POINTS_MAX)")
    if kind == "linspace":
        return [_text(first + (last - first) * i / (count - 1), unit) for i in range(count)]
    if not first or not last:
        raise AxisError(f"{key}={text}: geomspace can't begin or end at 0")
    whole = not unit and first.denominator == last.denominator == 1
    ratio = float(last / first)
    out = []
    for i in range(count):
        value = first * Fraction(ratio ** (i / (count - 1))) if 0 < i < count - 1 else first
        value = last if i == count - 1 else value
        # Whole ends mean a count: 1, 32, 1000 and not 31.6228.
        out.append(_text(Fraction(round(value)) if whole else value, unit))
    return out


def _common(
    key: str, text: str, numbers: Sequence[str | None], words: Sequence[str | None]
) -> tuple[list[Fraction], str]:
    """The numbers in one unit. A unit that stands once counts for all."""
    given = sorted({word for word in words if word})
    values = [Fraction(number or 0) for number in numbers]
    if len(given) <= 1:
        return values, given[0] if given else ""
    try:
        each = [f"{n}{w or words[0]}" for n, w in zip(numbers, words, strict=True)]
        return [Fraction(units.parse_duration(one)) for one in each], "ns"
    except units.UnitError:
        raise AxisError(f"{key}={text}: units {' and '.join(given)}, expected one") from None


def _text(value: Fraction, unit: str) -> str:
    if unit == "ns":
        return units.exact_duration(round(value))
    if unit in ("us", "µs", "μs"):
        value = Fraction(round(value * 1000), 1000)  # nothing is finer than a nanosecond
        return format.significant(value, digits=18) + unit
    return format.significant(value, digits=7) + unit
