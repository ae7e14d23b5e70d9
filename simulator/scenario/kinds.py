"""Kinds of a single value: how it is read, and its JSON Schema.

``read`` gives back the value as the resolved document spells it, or ``BAD`` with
the problem reported.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Final

from simulator import units
from simulator.scenario.node import Bad, Node, Scalar, place, shown
from simulator.scenario.problem import Problems, nearest


class _Sentinel(Enum):
    BAD = "bad"


BAD: Final = _Sentinel.BAD
"""Stands in the document for what was wrong and is reported already."""

Schema = dict[str, Any]


class Kind(ABC):
    """What a value may be."""

    expected: str = ""

    def read(self, node: Node, path: str, problems: Problems) -> Any:
        """The canonical value, or ``BAD`` with the problem reported."""
        if isinstance(node, Bad):
            return BAD
        return self._read(node, path, problems)

    @abstractmethod
    def _read(self, node: Node, path: str, problems: Problems) -> Any: ...

    @abstractmethod
    def schema(self) -> Schema:
        """JSON Schema of the value, without vars."""

    def wrong(self, node: Node, path: str, problems: Problems, what: str, hint: str = "") -> Any:
        """``BAD``, after reporting what is wrong with the value at ``path``."""
        problems.add(place(node), f"{path or 'scenario'}: {what}", hint)
        return BAD

    def mistaken(self, node: Node, path: str, problems: Problems, hint: str = "") -> Any:
        """``BAD``, after reporting that the value is of another kind."""
        what = f"{shown(node)} is not {self.expected}"
        if isinstance(node, Scalar) and node.value is None:
            what = f"nothing given, expected {self.expected}"
        elif not isinstance(node, Scalar):
            what = f"{shown(node)}, expected {self.expected}"
        return self.wrong(node, path, problems, what, hint)


class Text(Kind):
    """Any text."""

    expected = "text"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar) and isinstance(node.value, str):
            return node.value
        quotes = isinstance(node, Scalar) and node.value is not None
        return self.mistaken(node, path, problems, "put it in quotes" if quotes else "")

    def schema(self) -> Schema:
        return {"type": "string"}


class Name(Text):
    """The name of a pool, lock or database that is declared in its own section."""

    def __init__(self, what: str) -> None:
        self.expected = f"the name of a {what}"


class Matching(Text):
    """Text of a pattern."""

    def __init__(self, pattern: str, expected: str) -> None:
        self.pattern = pattern
        self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        value = super()._read(node, path, problems)
        if value is BAD or re.search(self.pattern, value):
            return value
        return self.mistaken(node, path, problems)

    def schema(self) -> Schema:
        return {"type": "string", "pattern": self.pattern}


class Choice(Kind):
    """One of a few words; ``file``: the pattern of a file's name, whose content stands for it."""

    def __init__(self, *words: str, hints: Mapping[str, str] | None = None, file: str = "") -> None:
        self.words = words
        self.hints = hints or {}
        self.file = file
        self.expected = " or ".join(words) if len(words) < 3 else f"one of: {', '.join(words)}"
        if file:
            self.expected = f"{', '.join(words)} or a file such as mine.yaml"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar) and node.value in self.words:
            return node.value
        if not isinstance(node, Scalar) or node.value is None:
            return self.mistaken(node, path, problems)
        hint = self.hints.get(node.text, "")
        if hint:
            return self.wrong(node, path, problems, f"unknown {shown(node)}", hint)
        hint = nearest(node.text, self.words)
        what = f"unknown {shown(node)}, expected {self.expected}"
        return self.wrong(node, path, problems, what, hint if hint.startswith("did") else "")

    def schema(self) -> Schema:
        words: Schema = {"enum": list(self.words)}
        if not self.file:
            return words
        return {"anyOf": [words, {"type": "string", "pattern": self.file}]}


class Boolean(Kind):
    """true or false, and not YAML 1.1's yes and on."""

    expected = "true or false"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Scalar) and isinstance(node.value, bool):
            return node.value
        hint = ""
        if isinstance(node, Scalar):
            old = {"yes": "true", "on": "true", "no": "false", "off": "false"}
            meant = old.get(node.text.lower())
            hint = f"did you mean {meant}?" if meant else ""
        return self.mistaken(node, path, problems, hint)

    def schema(self) -> Schema:
        return {"type": "boolean"}


class Count(Kind):
    """A whole number, which may be spelt ``10k``, or one of these words."""

    expected = units.COUNT_EXPECTED

    def __init__(
        self, least: int, most: int, *, or_none: bool = False, words: tuple[str, ...] = ()
    ) -> None:
        self.least = least
        self.most = most
        self.words = (*words, "none") if or_none else words
        if self.words:
            self.expected = f"{units.COUNT_EXPECTED}, or {' or '.join(self.words)}"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or node.value is None:
            return self.mistaken(node, path, problems)
        if node.value in self.words:
            return node.value
        if isinstance(node.value, str):
            if re.fullmatch("0|[1-9][0-9]*", node.value):
                what = f"{shown(node)} is text, expected {self.expected}"
                return self.wrong(node, path, problems, what, "remove the quotes")
            try:
                value = units.parse_count(node.value)
            except units.UnitError as error:
                what = error.what.replace(units.COUNT_EXPECTED, self.expected)
                return self.wrong(node, path, problems, what, error.hint)
        elif node.value != int(node.value):
            return self.mistaken(node, path, problems)
        else:
            value = int(node.value)
        if not self.least <= value <= self.most:
            what = f"{shown(node)} is out of range, expected {self.least} to {self.most}"
            return self.wrong(node, path, problems, what)
        return value

    def schema(self) -> Schema:
        forms: list[Schema] = [
            {"type": "integer", "minimum": self.least, "maximum": self.most},
            {"type": "string", "pattern": units.COUNT_PATTERN},
        ]
        return {"anyOf": [*forms, *({"const": word} for word in self.words)]}


class Number(Kind):
    """A plain number in a range; ``above`` excludes the lower end."""

    expected = "a number"

    def __init__(self, low: float, high: float, *, above: bool = False) -> None:
        self.low = low
        self.high = high
        self.above = above

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if (
            not isinstance(node, Scalar)
            or isinstance(node.value, bool)
            or not isinstance(node.value, int | float)
        ):
            return self.mistaken(node, path, problems)
        value = node.value
        if not self.low <= value <= self.high or (self.above and value == self.low):
            least = f"more than {self.low:g}" if self.above else f"at least {self.low:g}"
            what = f"{shown(node)} is out of range, expected {least} and at most {self.high:g}"
            return self.wrong(node, path, problems, what)
        return value

    def schema(self) -> Schema:
        low = "exclusiveMinimum" if self.above else "minimum"
        return {"type": "number", low: self.low, "maximum": self.high}


class Duration(Kind):
    """A time with a unit; the word ``none`` where ``or_none`` is set."""

    def __init__(self, *, or_none: bool = False, positive: bool = False) -> None:
        self.or_none = or_none
        self.positive = positive
        self.expected = units.DURATION_EXPECTED + (" or none" if or_none else "")

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or node.value is None:
            return self.mistaken(node, path, problems)
        if self.or_none and node.value == "none":
            return "none"
        try:
            value = units.parse_duration(node.text)
        except units.UnitError as error:
            what = error.what.replace(units.DURATION_EXPECTED, self.expected)
            return self.wrong(node, path, problems, what, error.hint)
        if self.positive and value == 0:
            return self.wrong(node, path, problems, f"{node.text} is 0, expected more than 0")
        return units.exact_duration(value)

    def schema(self) -> Schema:
        pattern = units.DURATION_PATTERN
        if self.positive:
            pattern = f"(?=.*[1-9]){pattern}"
        text: Schema = {"type": "string", "pattern": pattern}
        return {"anyOf": [{"const": "none"}, text]} if self.or_none else text


class Quantity(Kind):
    """Text with a unit, kept as it was spelt."""

    def __init__(self, parse: Callable[[str], object], pattern: str, expected: str) -> None:
        self.parse = parse
        self.pattern = pattern
        self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Scalar) or isinstance(node.value, bool) or node.value is None:
            return self.mistaken(node, path, problems)
        try:
            value = self.parse(node.text)
        except units.UnitError as error:
            return self.wrong(node, path, problems, error.what, error.hint)
        return self._sound(node, path, problems, value)

    def _sound(self, node: Scalar, path: str, problems: Problems, value: object) -> Any:
        return node.text

    def schema(self) -> Schema:
        return {"type": "string", "pattern": self.pattern}


class Rate(Quantity):
    """Requests per unit of time; 0 only where ``or_zero`` is set."""

    def __init__(self, *, or_zero: bool = False) -> None:
        super().__init__(units.parse_rate, units.RATE_PATTERN, units.RATE_EXPECTED)
        self.or_zero = or_zero

    def _sound(self, node: Scalar, path: str, problems: Problems, value: object) -> Any:
        if value or self.or_zero:
            return node.text
        what = f"{node.text} is out of range, expected one request a day to one a nanosecond"
        return self.wrong(node, path, problems, what)


def size() -> Quantity:
    """A number of bytes such as ``64KiB``."""
    return Quantity(units.parse_size, units.SIZE_PATTERN, units.SIZE_EXPECTED)


def percent() -> Quantity:
    """A share such as ``1%``."""
    return Quantity(units.parse_percent, units.PERCENT_PATTERN, units.PERCENT_EXPECTED)
