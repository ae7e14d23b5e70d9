"""Kinds made of other kinds: sections of known keys, named entries, lists, alternatives.

A section is a table of fields. The table drives the reader and the JSON Schema, and
so also the completion and hover text of editors.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Mapping as MappingType
from typing import Any, Final

from simulator.record import dataclass
from simulator.scenario.kinds import BAD, Kind, Schema
from simulator.scenario.node import Mapping, Node, Scalar, Sequence, place
from simulator.scenario.problem import Problems, closest, nearest

NAME_PATTERN: Final = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
VAR_PATTERN: Final = r"\$\{"

LATER: Final = object()
"""The default of a field that depends on others and is filled in by ``resolve``."""
REQUIRED: Final = object()
"""In the place of a default: the key must be given."""


@dataclass(frozen=True, slots=True)
class Field:
    """One key of a section: its name, kind, what it means, and its default."""

    name: str
    kind: Kind
    doc: str
    default: Any = LATER


class Section(Kind):
    """A mapping with known keys."""

    def __init__(
        self,
        *fields: Field,
        expected: str = "a mapping",
        synonyms: MappingType[str, str] | None = None,
    ) -> None:
        self.fields = {field.name: field for field in fields}
        self.synonyms = synonyms or {}
        self.expected = f"{expected} with the keys {', '.join(self.fields)}"
        if not fields:
            self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Mapping):
            return self.mistaken(node, path, problems)
        rest = {k: child for k, child in node.entries.items() if k not in self.fields}
        meant = report_unknown(rest, self.fields, path, problems, self.synonyms)
        out = {}
        for name, field in self.fields.items():
            child = node.entries.get(name)
            inner = f"{path}.{name}" if path else name
            if child is not None and field.default is not REQUIRED and _removed(child):
                child = None
            if child is not None:
                out[name] = field.kind.read(child, inner, problems)
            elif name in meant:
                out[name] = BAD
            elif field.default is REQUIRED:
                what = f"missing key '{name}', expected {field.kind.expected}"
                out[name] = self.wrong(node, path, problems, what)
            elif field.default is not LATER:
                out[name] = field.default
        return out

    def schema(self) -> Schema:
        properties = {field.name: described(field) for field in self.fields.values()}
        required = [f.name for f in self.fields.values() if f.default is REQUIRED]
        schema: Schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return {**schema, "required": required} if required else schema


class Named(Kind):
    """A mapping from names that the user gives to entries of one kind."""

    def __init__(
        self, entry: Kind, *, expected: str, least: int = 0, names: str = NAME_PATTERN
    ) -> None:
        self.entry = entry
        self.expected = expected
        self.least = least
        self.names = names

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Mapping) or len(node.entries) < self.least:
            return self.mistaken(node, path, problems)
        out = {}
        for name, child in node.entries.items():
            if _removed(child):
                continue
            entry = self.entry.read(child, f"{path}.{name[:40]}", problems)
            if re.search(self.names, name) and not name.endswith("\n"):
                out[name] = entry
            else:
                what = f"{name[:40]!r} is not a name, expected letters, digits, _ and -"
                self.wrong(child, path, problems, what)
        return out

    def schema(self) -> Schema:
        schema: Schema = {
            "type": "object",
            "patternProperties": {self.names: or_var(self.entry.schema())},
            "additionalProperties": False,
        }
        return {**schema, "minProperties": self.least} if self.least else schema


class ListOf(Kind):
    """A list of values of one kind."""

    def __init__(self, entry: Kind, *, expected: str, least: int = 0, most: int = 2**20) -> None:
        self.entry = entry
        self.expected = expected
        self.least = least
        self.most = most

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Sequence) or not self.least <= len(node.items) <= self.most:
            return self.mistaken(node, path, problems)
        return [
            self.entry.read(item, f"{path}[{i}]", problems) for i, item in enumerate(node.items)
        ]

    def schema(self) -> Schema:
        schema: Schema = {"type": "array", "items": or_var(self.entry.schema())}
        if self.least:
            schema["minItems"] = self.least
        if self.most < 2**20:
            schema["maxItems"] = self.most
        return schema


class OneOrMore(Kind):
    """A list, for which a single entry may stand by itself; reads as a list."""

    def __init__(self, entry: Kind, *, expected: str, least: int = 1) -> None:
        self.entry = entry
        self.many = ListOf(entry, expected=expected, least=least)
        self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Sequence):
            return self.many.read(node, path, problems)
        return [self.entry.read(node, path, problems)]

    def schema(self) -> Schema:
        return {"anyOf": [self.entry.schema(), self.many.schema()]}


class WordOr(Kind):
    """A single value, or a mapping that says more."""

    def __init__(self, word: Kind, more: Kind, *, expected: str = "") -> None:
        self.word = word
        self.more = more
        self.expected = expected or f"{word.expected} or {more.expected}"

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if isinstance(node, Mapping):
            return self.more.read(node, path, problems)
        if isinstance(node, Scalar) and node.value is not None:
            return self.word.read(node, path, problems)
        return self.mistaken(node, path, problems)

    def schema(self) -> Schema:
        return {"anyOf": [self.word.schema(), self.more.schema()]}


class OneKey(Kind):
    """A mapping with exactly one key, which says what its value is."""

    def __init__(self, *fields: Field, expected: str) -> None:
        self.fields = {field.name: field for field in fields}
        self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        if not isinstance(node, Mapping):
            return self.mistaken(node, path, problems)
        known = {k: v for k, v in node.entries.items() if k in self.fields}
        unknown = {k: v for k, v in node.entries.items() if k not in self.fields}
        report_unknown(unknown, self.fields, path, problems)
        if len(known) == 1:
            name, child = next(iter(known.items()))
            value = self.fields[name].kind.read(child, f"{path}.{name}", problems)
            return BAD if unknown else {name: value}
        if known or not unknown:
            given = ", ".join(known) or "none"
            what = f"{given} given, expected exactly one of: {', '.join(self.fields)}"
            self.wrong(node, path, problems, what)
        return BAD

    def schema(self) -> Schema:
        return {
            "type": "object",
            "properties": {field.name: described(field) for field in self.fields.values()},
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
        }


class Lazy(Kind):
    """A kind that contains itself, by name: ``#/$defs/NAME`` in the schema."""

    def __init__(self, name: str, kind: Callable[[], Kind], expected: str) -> None:
        self.name = name
        self.kind = kind
        self.expected = expected

    def _read(self, node: Node, path: str, problems: Problems) -> Any:
        return self.kind().read(node, path, problems)

    def schema(self) -> Schema:
        return {"$ref": f"#/$defs/{self.name}"}


def _removed(node: Node) -> bool:
    """Whether an override ``KEY=null`` takes the key away."""
    if not isinstance(node, Scalar) or node.value is not None or not node.text:
        return False
    return node.mark.source.startswith("override ")


def report_unknown(
    rest: MappingType[str, Node],
    known: MappingType[str, Any],
    path: str,
    problems: Problems,
    synonyms: MappingType[str, str] | None = None,
) -> set[str]:
    """The known keys that were probably meant, after reporting each key that is left over.

    ``synonyms`` are words of other tools and the key that they stand for.
    """
    meant = set()
    for name, node in rest.items():
        synonym = (synonyms or {}).get(name, "")
        meant.add(synonym or closest(name, known))
        where = f"{path}: " if path else ""
        mark = node.key or place(node)
        hint = nearest(name, known) if known else "expected none"
        hint = f"did you mean '{synonym}'?" if synonym else hint
        problems.add(mark, f"{where}unknown key '{name[:40]}'", hint)
    return meant


def or_var(schema: Schema) -> Schema:
    """The schema of a value in whose place ``${name}`` may stand."""
    return {"anyOf": [schema, {"$ref": "#/$defs/var"}]}


def described(field: Field) -> Schema:
    """The schema of a field with its meaning and its default."""
    schema = {"description": field.doc, **or_var(field.kind.schema())}
    fixed = field.default is not LATER and field.default is not REQUIRED
    return {**schema, "default": field.default} if fixed else schema
