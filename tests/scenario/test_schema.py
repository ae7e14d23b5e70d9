"""The JSON Schema accepts every valid file and rejects each that is wrong in structure."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import pytest
from ruamel.yaml import YAML

from simulator.scenario import examples, json_schema, keys, load

CORPUS = Path(__file__).parent / "corpus"
VALID = sorted(CORPUS.glob("valid/*.yaml")) + [path for _, _, path in examples()]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def invalid(kind: str) -> list[Path]:
    """Invalid files whose first line names this kind: syntax, structure or relation."""
    first = f"# {kind}\n".encode()
    return [p for p in sorted(CORPUS.glob("invalid/*.yaml")) if p.read_bytes().startswith(first)]


def plain(path: Path) -> Any:
    return _json(YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8")))


def _json(value: Any) -> Any:
    """With text as keys, as editors see it: ``table: {1: 2ms}``."""
    if isinstance(value, dict):
        return {str(key): _json(inner) for key, inner in value.items()}
    return [_json(inner) for inner in value] if isinstance(value, list) else value


def test_every_invalid_file_says_its_kind() -> None:
    count = sum(len(invalid(kind)) for kind in ("syntax", "structure", "relation"))
    assert count == len(list(CORPUS.glob("invalid/*.yaml")))


def test_schema_is_valid() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_accepts_valid_file_and_its_resolved_document(path: Path) -> None:
    VALIDATOR.validate(plain(path))
    VALIDATOR.validate(load(path).document)


@pytest.mark.parametrize("path", invalid("structure"), ids=lambda path: path.stem)
def test_rejects_wrong_structure(path: Path) -> None:
    assert not VALIDATOR.is_valid(plain(path))


@pytest.mark.parametrize("path", invalid("relation"), ids=lambda path: path.stem)
def test_leaves_relations_to_the_loader(path: Path) -> None:
    VALIDATOR.validate(plain(path))


def test_every_property_of_the_schema_has_a_description() -> None:
    bare: list[str] = []

    def visit(schema: Any, path: str) -> None:
        if isinstance(schema, list):
            for item in schema:
                visit(item, path)
        if not isinstance(schema, dict):
            return
        for name, inner in schema.get("properties", {}).items():
            if "description" not in inner:
                bare.append(f"{path}.{name}")
        for key, inner in schema.items():
            visit(inner, f"{path}.{key}")

    visit({k: v for k, v in json_schema().items() if k != "else"}, "")
    assert bare == []


def test_keys_name_every_section() -> None:
    assert keys()["pools.*.min"].startswith("Connections opened when the process starts")
    assert "server.overheads.thread_hop" in keys()
    assert "server.accept.weights" in keys()
    assert "load.stages.target" in keys()
    assert "services.*.retries.backoff.jitter" in keys()
    assert "accelerators.*.time.per_item" in keys()
    assert "faults.slow" in keys()
