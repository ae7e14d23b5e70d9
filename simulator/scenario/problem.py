"""What is wrong with a scenario, and where: gathered, sorted, raised all at once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import field

from simulator.record import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """Where something was written. ``line`` is 0 where the source has no lines."""

    source: str
    line: int = 0
    column: int = 0

    @property
    def order(self) -> tuple[bool, str, int, int]:
        return (self.source.startswith("override "), self.source, self.line, self.column)

    def __str__(self) -> str:
        return f"{self.source}:{self.line}:{self.column}" if self.line else self.source


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: its place, what is wrong and what was expected, and a hint ("" if none)."""

    place: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        """``file:line:col: error: what, expected, hint`` on one line."""
        text = f"{self.message}, {self.hint}" if self.hint else self.message
        return f"{self.place}: error: {' '.join(text.split())}"


class ScenarioError(Exception):
    """The user's file is wrong; ``problems`` holds all that was found, sorted by place."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


@dataclass(slots=True)
class Problems:
    """Gathers problems while a scenario is read; each one is kept once."""

    _found: dict[Problem, Mark] = field(default_factory=dict)

    def add(self, mark: Mark, message: str, hint: str = "") -> None:
        self._found.setdefault(Problem(str(mark), message, hint), mark)

    def __bool__(self) -> bool:
        return bool(self._found)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self._found)

    def only(self) -> Problem:
        """The one problem that was found."""
        (problem,) = self._found
        return problem

    def raise_if_any(self) -> None:
        """Raises ScenarioError with all problems, if there is one."""
        if self._found:
            raise ScenarioError(sorted(self._found, key=lambda p: self._found[p].order))


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str:
    """The known word that is most like this one, or short for it; "" where none is."""
    from difflib import get_close_matches

    words = list(known)
    swapped = [other for other in words if sorted(other) == sorted(word)]
    like = swapped or get_close_matches(word[:80], words, n=1, cutoff=cutoff)
    short = [other for other in words if len(other) >= 3 and word.startswith(other)]
    return next(iter(like or short), "")


def nearest(word: str, known: Iterable[str], *, cutoff: float = 0.7) -> str:
    """A hint: the known word that is most like this one, or all of them."""
    words = list(known)
    close = closest(word, words, cutoff=cutoff)
    if close:
        return f"did you mean '{close}'?"
    return f"expected one of: {', '.join(words)}" if words else "there is none"
