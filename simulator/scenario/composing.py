"""One tree out of several writings: `extends`, overrides and `vars`, in this order."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from collections.abc import Sequence as SequenceType
from pathlib import Path

from simulator.scenario.language import SCENARIO
from simulator.scenario.node import Bad, Mapping, Node, Scalar, Sequence, place, shown
from simulator.scenario.overheads_file import FROM, with_overheads
from simulator.scenario.problem import Mark, Problems, closest, nearest
from simulator.scenario.sections import Named
from simulator.scenario.source import DEPTH_MAX, parse, read_text

EXTENDS_MAX = 10
"""Files that one scenario may extend, in a chain."""
VARS_NODES_MAX = 100_000
"""Nodes that vars may stand for, in all places together."""
TEXT_MAX = 1000
"""Characters of a text with vars in it."""

_VAR = re.compile(r"\$\{([^}]*)\}")
_KEY = re.compile(r"[^.\[\]=\s][^.\[\]=]*(?:\[[0-9]{1,6}\])*(?:\.[^.\[\]=]+(?:\[[0-9]{1,6}\])*)*")
_PART = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


def compose(text: str, path: str, overrides: SequenceType[str], problems: Problems) -> Node:
    """The tree of a scenario: what it extends, overrides, vars, a file of overheads put in."""
    root = _extended(parse(text, path, problems), Path(path), [_identity(Path(path))], problems)
    # A var that only an override has orphaned is no mistake.
    used = set(_VAR.findall(" ".join(_references(root)))) if overrides else set()
    for override in overrides:
        root = _override(root, override, problems)
    root = _Substitution(root, used, problems).apply(root)
    return with_overheads(root, Path(path), problems)


def _extended(root: Node, path: Path, chain: list[str], problems: Problems) -> Node:
    """The tree merged over what it extends."""
    if not isinstance(root, Mapping) or "extends" not in root.entries:
        return root
    node = root.entries["extends"]
    rest = Mapping(root.mark, {k: v for k, v in root.entries.items() if k != "extends"}, root.key)
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or not node.value:
        if not isinstance(node, Bad):
            what = f"extends: {shown(node)} is not a file name, expected one such as base.yaml"
            problems.add(place(node), what)
        return Bad(root.mark)
    base = path.parent / node.value
    if _identity(base) in chain:
        problems.add(node.mark, f"extends: {node.value} is in its own chain, expected no cycle")
        return Bad(root.mark)
    if len(chain) > EXTENDS_MAX:
        what = f"extends: a chain of more than {EXTENDS_MAX} files (EXTENDS_MAX), expected fewer"
        problems.add(node.mark, what)
        return Bad(root.mark)
    below = _base(base, node, problems)
    below = _extended(below, base, [*chain, _identity(base)], problems)
    if not isinstance(below, Mapping):
        if not isinstance(below, Bad):
            problems.add(node.mark, f"extends: {node.text[:200]} has no keys, expected a scenario")
        return Bad(root.mark)
    return _merged(below, rest)


def _base(path: Path, node: Scalar, problems: Problems) -> Node:
    found = Problems()
    text = read_text(path, str(path), found)
    if text is None:
        reason = found.only().message.removesuffix(", expected a YAML file")
        problems.add(node.mark, f"extends: {node.text[:200]}: {reason}, expected a YAML file")
        return Bad(node.mark)
    return parse(text, str(path), problems)


def _identity(path: Path) -> str:
    try:
        return str(path.resolve())
    except (OSError, ValueError, RuntimeError):
        return str(path)


def _merged(below: Node, above: Node) -> Node:
    """Mappings merge key by key; anything else above replaces what is below."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    entries = dict(below.entries)
    for key, node in above.entries.items():
        entries[key] = _merged(entries[key], node) if key in entries else node
    return Mapping(above.mark, entries, above.key)


def _override(root: Node, override: str, problems: Problems) -> Node:
    """The tree with KEY=VALUE applied."""
    shown_as = override[:200].encode(errors="backslashreplace").decode()
    mark = Mark(f"override {shown_as}")
    key, equals, text = override.partition("=")
    key = key.strip()
    if not equals or not _KEY.fullmatch(key):
        problems.add(mark, "not KEY=VALUE, expected such as pools.db.size=100")
        return root
    path: list[str | int] = [int(index) if index else part for part, index in _PART.findall(key)]
    if path[0] == "extends":
        problems.add(mark, "extends: can't be overridden, expected it in the file")
        return root
    if len(path) > DEPTH_MAX:
        problems.add(mark, f"deeper than {DEPTH_MAX} levels (DEPTH_MAX), expected fewer")
        return root
    value: Node = Scalar(mark, None, "")
    if text.strip():
        found = Problems()
        value = _moved(parse(text, mark.source, found), mark)
        for problem in found:
            hint = "put the value in quotes" if "not valid YAML" in problem.message else ""
            problems.add(mark, problem.message, problem.hint or hint)
    if isinstance(root, Bad):
        return root
    return _put(root, path, [], value, mark, problems)


def check_sweep(root: Node, problems: Problems) -> None:
    """Report the keys of `sweep:` that name no place an override could reach."""
    sweep = root.entries.get("sweep") if isinstance(root, Mapping) else None
    if not isinstance(sweep, Mapping):
        return
    for key, node in sweep.entries.items():
        mark = node.key or node.mark
        path: list[str | int] = [int(i) if i else part for part, i in _PART.findall(key)]
        if not _KEY.fullmatch(key) or len(path) > DEPTH_MAX:
            problems.add(mark, f"sweep: {key[:40]!r} is not a key, expected such as pools.db.size")
        elif path[0] not in SCENARIO.fields or path[0] in ("sweep", "extends"):
            what = f"sweep: unknown section '{str(path[0])[:40]}'"
            problems.add(mark, what, nearest(str(path[0]), SCENARIO.fields))
        else:
            _put(root, path, [], node, mark, problems)


def _moved(node: Node, mark: Mark) -> Node:
    """The same tree, all of it in one place."""
    if isinstance(node, Mapping):
        entries = {k: _moved(child, mark) for k, child in node.entries.items()}
        return Mapping(mark, entries, mark)
    if isinstance(node, Sequence):
        return Sequence(mark, [_moved(item, mark) for item in node.items], mark)
    if isinstance(node, Scalar):
        return Scalar(mark, node.value, node.text, mark)
    return Bad(mark, mark)


def _put(
    node: Node,
    path: list[str | int],
    done: list[str | int],
    value: Node,
    mark: Mark,
    problems: Problems,
) -> Node:
    """A copy of the tree with ``value`` at ``path``; the tree itself, if there is no such place."""
    if not path:
        return value
    part, rest = path[0], path[1:]
    if isinstance(part, int):
        if not isinstance(node, Sequence) or part >= len(node.items):
            size = len(node.items) if isinstance(node, Sequence) else 0
            what = f"no [{part}] in {_dotted(done)}, expected an index below {size}"
            if not isinstance(node, Sequence):
                what = f"{_dotted(done)} is not a list, expected a key"
            problems.add(mark, what)
            return node
        items = list(node.items)
        items[part] = _put(items[part], rest, [*done, part], value, mark, problems)
        return Sequence(node.mark, items, node.key)
    if isinstance(node, Sequence):
        what = f"{_dotted(done)} is a list, expected an index such as {_dotted(done)}[0]"
        problems.add(mark, what)
        return node
    entries = dict(node.entries) if isinstance(node, Mapping) else {}
    if isinstance(node, Scalar) and node.value and _dotted(done) == "server.overheads":
        entries[FROM] = node  # a key beside those of a word or a file, not instead of them
    if part not in entries and len(done) == 1 and _is_named(done[0]):
        what = f"no '{part[:40]}' in {done[0]}"
        problems.add(mark, what, nearest(part, entries))
        return node
    child = entries.get(part, Mapping(mark, {}, mark))
    entries[part] = _put(child, rest, [*done, part], value, mark, problems)
    if isinstance(node, Mapping):
        return Mapping(node.mark, entries, node.key)
    return Mapping(mark, entries, mark)


def _is_named(part: str | int) -> bool:
    field = SCENARIO.fields.get(str(part))
    return field is not None and isinstance(field.kind, Named) and part != "thresholds"


def _dotted(path: list[str | int]) -> str:
    out = ""
    for part in path:
        out += f"[{part}]" if isinstance(part, int) else f".{part}" if out else part
    return out or "the scenario"


class _Substitution:
    """Puts the values of `vars` in place of ``${name}``."""

    def __init__(self, root: Node, used: set[str], problems: Problems) -> None:
        self._problems = problems
        self._used = used
        self._nodes = 0
        node = root.entries.get("vars") if isinstance(root, Mapping) else None
        self._vars = dict(node.entries) if isinstance(node, Mapping) else {}
        for name, value in self._vars.items():
            self._vars[name] = self._plain(value, name)
        self._sizes = {name: _size(value) for name, value in self._vars.items()}

    def apply(self, root: Node) -> Node:
        """The tree without any var left, apart from `vars` itself."""
        if not isinstance(root, Mapping):
            return root
        entries = {
            key: node if key == "vars" else self._replaced(node, 1)
            for key, node in root.entries.items()
        }
        for name, node in self._vars.items():
            if name not in self._used:
                what = f"vars.{name[:40]}: used nowhere, expected '${{{name[:40]}}}' somewhere"
                self._problems.add(node.key or node.mark, what)
        return Mapping(root.mark, entries, root.key)

    def _replaced(self, node: Node, depth: int) -> Node:
        if depth > DEPTH_MAX:
            what = f"nested deeper than {DEPTH_MAX} levels (DEPTH_MAX), expected fewer"
            self._problems.add(node.mark, what)
            return Bad(node.mark, node.key)
        if isinstance(node, Mapping):
            entries = {k: self._replaced(v, depth + 1) for k, v in node.entries.items()}
            return Mapping(node.mark, entries, node.key)
        if isinstance(node, Sequence):
            items = [self._replaced(item, depth + 1) for item in node.items]
            return Sequence(node.mark, items, node.key)
        if isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value:
            return self._value(node, node.value, depth)
        return node

    def _value(self, node: Scalar, text: str, depth: int) -> Node:
        names = _VAR.findall(text)
        unknown = [name for name in names if name not in self._vars]
        for name in unknown:
            what = f"unknown var '{name[:40]}', expected one of `vars`"
            self._problems.add(node.mark, what, nearest(name, self._vars, cutoff=0.5))
            self._used.add(closest(name, self._vars, cutoff=0.5))  # it was probably meant
        if unknown or not names:
            if not names:
                self._problems.add(node.mark, f"{shown(node)} has no name, expected '${{name}}'")
            return Bad(node.mark, node.key)
        self._used.update(names)
        if _VAR.fullmatch(text):
            return self._whole(self._vars[names[0]], names[0], node, depth)
        return self._embedded(node, text, names)

    def _whole(self, value: Node, name: str, at: Scalar, depth: int) -> Node:
        self._nodes += self._sizes[name]
        if self._nodes > VARS_NODES_MAX:
            what = f"vars stand for more than {VARS_NODES_MAX} nodes (VARS_NODES_MAX)"
            self._problems.add(at.mark, f"{what}, expected fewer")
            return Bad(at.mark, at.key)
        if isinstance(value, Scalar):
            return Scalar(at.mark, value.value, value.text, at.key, name)
        # Depth is checked below the var; what it holds has no vars of its own.
        placed = self._replaced(value, depth)
        if isinstance(placed, Mapping):
            return Mapping(at.mark, placed.entries, at.key, name)
        if isinstance(placed, Sequence):
            return Sequence(at.mark, placed.items, at.key, name)
        return Bad(at.mark, at.key)

    def _embedded(self, node: Scalar, text: str, names: list[str]) -> Node:
        for name in names:
            value = self._vars[name]
            if not isinstance(value, Scalar):
                if not isinstance(value, Bad):
                    what = f"var '{name}' is {shown(value)}, expected text or a number inside text"
                    self._problems.add(node.mark, what)
                return Bad(node.mark, node.key)
        texts = {name: self._text(name) for name in names}
        if len(text) + sum(len(texts[name]) for name in names) > TEXT_MAX:
            what = f"text of more than {TEXT_MAX} characters (TEXT_MAX), expected less"
            self._problems.add(node.mark, what)
            return Bad(node.mark, node.key)
        full = _VAR.sub(lambda match: texts[match[1]], text)
        return Scalar(node.mark, full, full, node.key, "")

    def _text(self, name: str) -> str:
        node = self._vars[name]
        return node.text if isinstance(node, Scalar) else ""

    def _plain(self, value: Node, name: str) -> Node:
        """The var's value; ``Bad``, with a problem, where it refers to vars itself."""
        text = _first_reference(value)
        if text is None:
            return value
        what = f"vars.{name[:40]}: {shown(text)} refers to a var, expected a plain value"
        self._problems.add(text.mark, what)
        self._used.add(name)
        return Bad(value.mark, value.key)


def _size(node: Node) -> int:
    if isinstance(node, Mapping):
        return 1 + sum(map(_size, node.entries.values()))
    if isinstance(node, Sequence):
        return 1 + sum(map(_size, node.items))
    return 1


def _references(node: Node) -> Iterator[str]:
    """Every text in the tree that has a var in it."""
    if isinstance(node, Scalar) and isinstance(node.value, str) and "${" in node.value:
        yield node.value
    elif isinstance(node, Mapping):
        for child in node.entries.values():
            yield from _references(child)
    elif isinstance(node, Sequence):
        for child in node.items:
            yield from _references(child)


def _first_reference(node: Node) -> Scalar | None:
    """The first text in the tree that has a var in it."""
    if isinstance(node, Scalar):
        return node if isinstance(node.value, str) and "${" in node.value else None
    children: Iterable[Node] = ()
    if isinstance(node, Mapping):
        children = node.entries.values()
    elif isinstance(node, Sequence):
        children = node.items
    return next(filter(None, map(_first_reference, children)), None)
