"""The tree of a YAML document with the place of each node."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import field

from simulator.record import dataclass
from simulator.scenario.problem import Mark

Value = str | int | float | bool | None


@dataclass(slots=True)
class Scalar:
    """A single value and how it was spelt."""

    mark: Mark
    value: Value
    text: str
    key: Mark | None = None
    var: str | None = None  # whose value this is; "" for text that has vars in it


@dataclass(slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list[Node] = field(default_factory=list)
    key: Mark | None = None
    var: str | None = None


@dataclass(slots=True)
class Mapping:
    """A mapping; keys are text, as spelt."""

    mark: Mark
    entries: dict[str, Node] = field(default_factory=dict)
    key: Mark | None = None
    var: str | None = None


@dataclass(slots=True)
class Bad:
    """A node that a problem was reported for already; readers pass over it in silence."""

    mark: Mark
    key: Mark | None = None


Node = Scalar | Sequence | Mapping | Bad


def place(node: Node) -> Mark:
    """Where a person looks for the node: its key, or the value itself for a scalar."""
    if node.key is None or (isinstance(node, Scalar) and node.text):
        return node.mark
    return node.key


def shown(node: Node) -> str:
    """The node in a message: the user's own spelling of a scalar, else its shape."""
    if isinstance(node, Mapping):
        return "a mapping" if node.entries else "an empty mapping"
    if isinstance(node, Sequence):
        return f"a list of {len(node.items)}" if node.items else "an empty list"
    if isinstance(node, Bad) or node.value is None:
        return "empty"
    text = node.text if len(node.text) <= 40 else node.text[:37] + "..."
    return text if re.fullmatch(r"[!-~]+", text) else repr(text)


def find(root: Node, path: Iterable[str | int]) -> Node:
    """The node at a path, or the innermost one on the way that was written.

    Understands paths of the resolved document: index 0 of a node that is no list is
    the node itself, as shorthand for a list of one.
    """
    node = root
    for part in path:
        if isinstance(part, int):
            if isinstance(node, Sequence) and part < len(node.items):
                node = node.items[part]
            elif isinstance(node, Sequence):
                return node
        elif isinstance(node, Mapping) and part in node.entries:
            node = node.entries[part]
        else:
            return node
    return node


def written(root: Node, path: str) -> str:
    """The path as the user would write it: without the index of a list of one in shorthand."""
    node: Node | None = root
    out = ""
    for part in parts(path):
        if isinstance(part, int):
            if node is not None and not isinstance(node, Sequence):
                continue
            known = isinstance(node, Sequence) and part < len(node.items)
            node = node.items[part] if known and isinstance(node, Sequence) else None
            out += f"[{part}]"
        else:
            node = node.entries.get(part) if isinstance(node, Mapping) else None
            out += f".{part}" if out else part
    return out


def spelled(root: Node, path: str) -> str | None:
    """The key to override so that this path changes: of the var that its value comes from.

    None where the value is a text with a var inside, which no single key changes.
    """
    out = written(root, path)
    node: Node = root
    keys = list(parts(out))
    for done, part in enumerate(keys, start=1):
        if isinstance(node, Mapping) and part not in node.entries:
            return out  # a default
        node = find(node, [part])
        if isinstance(node, Bad) or node.var is None:
            continue
        if not node.var:
            return None
        rest = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in keys[done:])
        return f"vars.{node.var}{rest}"
    in_full = isinstance(node, Mapping) and "time" in node.entries
    return f"{out}.time" if in_full else out


def parts(path: str) -> Iterator[str | int]:
    """Keys and list indices of a dotted path such as ``routes.a.steps[0].time``."""
    for key, index in re.findall(r"([^.\[\]]+)|\[([0-9]{1,6})\]", path):
        yield int(index) if index else key
