"""Reporting by dotted path: the place of a problem found in the document."""

from __future__ import annotations

from collections.abc import Iterable

from simulator.record import dataclass
from simulator.scenario.node import Bad, Node, find, parts, place, written
from simulator.scenario.problem import Problems, nearest


@dataclass(frozen=True, slots=True)
class Report:
    """Adds problems at the place where a dotted path, or what encloses it, was written."""

    root: Node
    problems: Problems

    def __call__(self, path: str, what: str, hint: str = "") -> None:
        self.at(parts(path), f"{written(self.root, path)}: {what}" if path else what, hint)

    def at(self, path: Iterable[str | int], message: str, hint: str = "") -> None:
        """The same for a path whose keys may contain dots; the message as it is."""
        node = find(self.root, path)
        if not isinstance(node, Bad):
            self.problems.add(place(node), message, hint)

    def unknown(self, path: str, what: str, name: str, known: Iterable[str]) -> None:
        """Reports a name that its section does not have."""
        names = list(known)
        hint = nearest(name, names) if names else f"declare it under `{what}s`"
        self(path, f"unknown {what} '{name[:40]}'", hint)
