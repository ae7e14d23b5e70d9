"""The corpus: what each valid file resolves to, and each invalid one's exact messages."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from simulator.scenario import ScenarioError, dumps, examples, load, loads

CORPUS = Path(__file__).parent / "corpus"
VALID = sorted(CORPUS.glob("valid/*.yaml"))
INVALID = sorted(CORPUS.glob("invalid/*.yaml"))


def test_corpus_is_there() -> None:
    assert len(VALID) >= 43
    assert len(INVALID) >= 112


@pytest.mark.parametrize("path", VALID, ids=lambda path: path.stem)
def test_valid_file_resolves_to_its_document(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    expected = json.loads(path.with_suffix(".resolved.json").read_text(encoding="utf-8"))
    assert load(path.name).document == expected


@pytest.mark.parametrize("path", VALID + [p for _, _, p in examples()], ids=lambda path: path.stem)
def test_resolved_document_resolves_to_itself(path: Path) -> None:
    first = load(path)
    again = loads(dumps(first.document))
    assert again.document == first.document
    assert again.plan == first.plan


@pytest.mark.parametrize("path", INVALID, ids=lambda path: path.stem)
def test_invalid_file_gives_its_messages(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(path.parent)
    with pytest.raises(ScenarioError) as raised:
        load(path.name)
    assert f"{raised.value}\n" == path.with_suffix(".txt").read_text(encoding="utf-8")


def test_every_example_has_a_question() -> None:
    found = examples()
    assert len(found) >= 17
    assert all(question.endswith("?") for _, question, _ in found)
    assert ("1000req", '"1000 requests, 5 s each, a pool of 50": do they all finish in 5 s?') in [
        (name, question) for name, question, _ in found
    ]
