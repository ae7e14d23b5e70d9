"""YAML text to a tree with places, under guard.

Built from the parser's events rather than from a loader, because a loader stops at
the first duplicate key, follows aliases and applies tags. YAML 1.2's core schema:
``yes`` is text, ``010`` is text, ``1:30`` is text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from simulator.scenario.node import Bad, Mapping, Node, Scalar, Sequence, Value
from simulator.scenario.problem import Mark, Problems

SOURCE_BYTES_MAX = 2**20
"""Size of one scenario file."""
DEPTH_MAX = 50
"""Nesting of one scenario file."""

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,29})")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]{1,9})?")
_ZEROS = re.compile(r"[-+]?0[0-9]")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
}
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def read_text(path: Path, shown: str, problems: Problems, most: int | None = None) -> str | None:
    """The text of a file, or None with the problem reported: unreadable, too large, binary."""
    most = most or SOURCE_BYTES_MAX
    mark = Mark(shown)
    try:
        with path.open("rb") as file:
            raw = file.read(most + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problems.add(mark, f"cannot be read: {reason}, expected a YAML file")
        return None
    if len(raw) > most:
        limit = "1 MiB (SOURCE_BYTES_MAX)" if most == SOURCE_BYTES_MAX else f"{most >> 20} MiB"
        problems.add(mark, f"larger than {limit}, expected a shorter scenario")
        return None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        at = Mark(shown, before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        problems.add(at, "not UTF-8 text, expected a YAML file")
        return None


def parse(text: str, source: str, problems: Problems) -> Node:
    """The tree of one YAML document; ``Bad`` where nothing of it could be used."""
    bad = _CONTROL.search(text)
    if bad:
        before = text[: bad.start()]
        mark = Mark(source, before.count("\n") + 1, bad.start() - before.rfind("\n"))
        problems.add(mark, f"control character {bad[0]!r}, expected text, is this a binary file?")
        return Bad(Mark(source))
    if len(text.encode()) > SOURCE_BYTES_MAX:
        problems.add(
            Mark(source), "larger than 1 MiB (SOURCE_BYTES_MAX), expected a shorter scenario"
        )
        return Bad(Mark(source))
    return _Builder(source, problems).build(text)


class _Stop(Exception):
    """The rest of the document is not worth reading; the problem is reported."""


class _Builder:
    """Turns parser events into nodes without recursion."""

    def __init__(self, source: str, problems: Problems) -> None:
        self._source = source
        self._problems = problems
        self._root: Node | None = None
        self._open: list[Sequence | Mapping] = []
        self._keys: list[tuple[str, Mark] | None] = []  # per open mapping, the pending key
        self._skipped = 0  # depth inside a mapping's key that is itself a collection

    def build(self, text: str) -> Node:
        try:
            for event in _events(text):
                self._take(event)
        except _Stop:
            return Bad(Mark(self._source))
        except _NotYaml as error:
            hint = _unquoted(text, error.line, error.column)
            self._problems.add(Mark(self._source, error.line, error.column), str(error), hint)
            return Bad(Mark(self._source))
        if self._root is None or (isinstance(self._root, Scalar) and self._root.text == ""):
            self._problems.add(
                Mark(self._source, 1, 1), "empty document, expected a scenario with 'routes'"
            )
            return Bad(Mark(self._source))
        return self._root

    def _take(self, event: Any) -> None:
        kind = type(event).__name__
        mark = Mark(self._source, event.start_mark.line + 1, event.start_mark.column + 1)
        if kind == "DocumentStartEvent":
            self._document(event, mark)
        elif kind == "AliasEvent":
            self._problems.add(
                mark, f"alias '*{event.anchor}', expected none", "use `vars` or `extends`"
            )
            self._attach(Bad(mark))
        elif kind == "ScalarEvent":
            if _SURROGATE.search(event.value):
                self._problems.add(mark, "half of a surrogate pair, expected whole characters")
                event.value = _SURROGATE.sub("\ufffd", event.value)
            if self._keys and self._keys[-1] is None and not self._skipped:
                self._check(event, mark)
                self._keys[-1] = (event.value, mark)
            else:
                self._attach(self._scalar(event, mark))
        elif kind in ("SequenceStartEvent", "MappingStartEvent"):
            node = Sequence(mark) if kind == "SequenceStartEvent" else Mapping(mark)
            self._enter(node, self._check(event, mark))
        elif kind in ("SequenceEndEvent", "MappingEndEvent"):
            self._leave()

    def _document(self, event: Any, mark: Mark) -> None:
        if self._root is not None:
            self._problems.add(mark, "a second document, expected one scenario per file")
            raise _Stop
        if event.version not in (None, (1, 2)):
            what = "a %YAML directive before this line, expected YAML 1.2"
            self._problems.add(mark, what, "remove it")

    def _check(self, event: Any, mark: Mark) -> bool:
        """Whether the event has no tag; a problem where it has a tag or an anchor."""
        if event.anchor:
            self._problems.add(
                mark, f"anchor '&{event.anchor}', expected none", "use `vars` or `extends`"
            )
        if event.tag is not None:
            tag = str(event.tag).replace("tag:yaml.org,2002:", "!!")
            self._problems.add(mark, f"tag '{tag[:60]}', expected plain YAML", "remove it")
        return event.tag is None

    def _scalar(self, event: Any, mark: Mark) -> Node:
        if not self._check(event, mark):
            return Bad(mark)
        text: str = event.value
        if event.style is not None:
            return Scalar(mark, text, text)
        if _NOT_FINITE.fullmatch(text):
            self._problems.add(mark, f"{text} is not a finite number, expected one")
            return Bad(mark)
        value = _plain(text)
        if isinstance(value, float) and value in (float("inf"), float("-inf")):
            self._problems.add(mark, f"{text[:40]} is too large for a number, expected less")
            return Bad(mark)
        return Scalar(mark, value, text)

    def _enter(self, node: Sequence | Mapping, plain: bool) -> None:
        if len(self._open) + self._skipped >= DEPTH_MAX:
            self._problems.add(
                node.mark, f"nested deeper than {DEPTH_MAX} levels (DEPTH_MAX), expected fewer"
            )
            raise _Stop
        if self._skipped or (self._keys and self._keys[-1] is None):
            if not self._skipped:
                self._problems.add(node.mark, "a key that is no text, expected a word")
            self._skipped += 1
            return
        self._attach(node if plain else Bad(node.mark))
        self._open.append(node)
        self._keys.append(None if isinstance(node, Mapping) else ("", node.mark))

    def _leave(self) -> None:
        if not self._skipped:
            self._open.pop()
            self._keys.pop()
            return
        self._skipped -= 1
        if not self._skipped:
            self._keys[-1] = ("", Mark(""))  # its value is attached under no name

    def _attach(self, node: Node) -> None:
        if self._skipped:
            return
        if not self._open:
            self._root = node
            return
        parent = self._open[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        pending = self._keys[-1]
        self._keys[-1] = None
        if pending is None:  # an alias as a key
            self._keys[-1] = ("", Mark(""))
            return
        key, mark = pending
        if not mark.source:
            return
        if key in parent.entries:
            first = parent.entries[key].key
            self._problems.add(
                mark,
                f"duplicate key '{key[:40]}', expected it once",
                f"the first is in line {first.line if first else 0}",
            )
            return
        node.key = mark
        parent.entries[key] = node


def _unquoted(text: str, line: int, column: int) -> str:
    """A hint where a var before this place, or on its line, stands without quotes."""
    lines = text.splitlines()
    there = lines[line - 1][:column] if line <= len(lines) else ""
    found = re.search(r"(?<!['\"])\$\{?([A-Za-z_][A-Za-z0-9_-]*)?$", there.rstrip())
    if found is None:
        return ""
    name = re.match(r"\{?([A-Za-z_][A-Za-z0-9_-]*)", lines[line - 1][found.start() + 1 :])
    return f"put it in quotes: '${{{name[1] if name else 'name'}}}'"


class _NotYaml(Exception):
    """What the parser says about text that is no YAML, and where (from 1)."""

    def __init__(self, error: Exception) -> None:
        at = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
        self.line: int = at.line + 1 if at else 1
        self.column: int = at.column + 1 if at else 1
        what = getattr(error, "problem", None) or getattr(error, "context", None) or "unreadable"
        hint = ", indent with spaces" if "'\\t'" in what else ""
        # A quote or a bracket that is never closed is found where the text ends.
        begun = getattr(error, "context_mark", None)
        context = getattr(error, "context", None)
        if context and begun and begun.line + 1 < self.line:
            hint += f", {context} that begins in line {begun.line + 1}"
        super().__init__(f"not valid YAML: {what}{hint}")


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    # Beside its own errors the parser lets slips through, such as that of chr(0x110000).
    slips = (YAMLError, ValueError, LookupError, ArithmeticError, AttributeError, TypeError)
    try:
        yield from YAML(typ="safe", pure=True).parse(text)
    except slips as error:
        raise _NotYaml(error) from error


def _plain(text: str) -> Value:
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _FLOAT.fullmatch(text) and not _ZEROS.match(text):
        return float(text)
    return text
