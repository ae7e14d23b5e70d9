"""The language as JSON Schema, for completion and hover text in editors."""

from __future__ import annotations

from typing import Any

from simulator.scenario.arrivals import LOAD
from simulator.scenario.kinds import Schema
from simulator.scenario.language import SCENARIO
from simulator.scenario.outside import BatchTime
from simulator.scenario.sections import (
    REQUIRED,
    VAR_PATTERN,
    ListOf,
    Named,
    Section,
    WordOr,
    or_var,
)
from simulator.scenario.steps import STEP
from simulator.scenario.times import TIME


def json_schema() -> dict[str, Any]:
    """The schema of a scenario file (draft 2020-12).

    It accepts every valid file and rejects what is wrong in structure: an unknown key,
    a value of another kind, a missing key. Relations, such as the name of a pool that
    is not there, are checked by ``load``. A file that `extends` another may leave
    required keys to it.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Scenario of the concurrency simulator",
        **_optional(SCENARIO),
        "if": {"required": ["extends"]},
        "else": _required(SCENARIO),
        "$defs": {
            "var": {
                "description": "A value from `vars`: '${name}'.",
                "type": "string",
                "pattern": VAR_PATTERN,
            },
            "time": TIME.kind().schema(),  # type: ignore[attr-defined]
            "step": STEP.kind().schema(),  # type: ignore[attr-defined]
        },
    }


def keys() -> dict[str, str]:
    """The meaning of every key of every section, by dotted path, ``*`` for a name."""
    return dict(_keys(SCENARIO, ""))


def _keys(kind: Any, path: str) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    if isinstance(kind, Named):
        return _keys(kind.entry, f"{path}.*")
    if isinstance(kind, WordOr):
        return _keys(kind.more, path)
    if isinstance(kind, ListOf):
        return _keys(kind.entry, path)
    if isinstance(kind, BatchTime):
        return _keys(kind.linear, path) + _keys(kind.table, path)
    for name, field in kind.fields.items() if isinstance(kind, Section) else ():
        inner = f"{path}.{name}" if path else name
        out.append((inner, field.doc))
        out += _keys(LOAD if name == "load" else field.kind, inner)
    return out


def _optional(section: Section) -> Schema:
    """The schema of a section that merges with another file's: nothing is required."""
    schema = section.schema()
    schema.pop("required", None)
    for name, field in section.fields.items():
        if isinstance(field.kind, Named) and isinstance(field.kind.entry, Section):
            inner = schema["properties"][name]["anyOf"][0]
            (pattern,) = inner["patternProperties"]
            inner["patternProperties"][pattern] = or_var(_optional(field.kind.entry))
    return schema


def _required(section: Section) -> Schema:
    """Only what must be there, where no other file can supply it."""
    out: Schema = {"required": [f.name for f in section.fields.values() if f.default is REQUIRED]}
    for name, field in section.fields.items():
        if isinstance(field.kind, Named) and isinstance(field.kind.entry, Section):
            inner = _required(field.kind.entry)
            if inner["required"]:
                entries = {"if": {"type": "object"}, "then": inner}
                out.setdefault("properties", {})[name] = {"additionalProperties": entries}
    return out
