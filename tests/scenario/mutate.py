"""Mutates valid scenarios and checks that each loads or raises ScenarioError, nothing else.

    python -m tests.scenario.mutate [COUNT] [SEED]

A case is a function of (seed, number): the failing one is printed with both.
"""

from __future__ import annotations

import random
import re
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from simulator.scenario import ScenarioError, examples, findings, loads

CORPUS = Path(__file__).parent / "corpus" / "valid"
_PLAIN = """
~ null true no .inf .nan -1 0 1e400 5 5s -5s 0s 1:30 10k 0x1F 010 << ${pool} *a &a !!int !x
| > --- ... %YAML : - ? [ ] { } , # ' @ ` [] {} [[]] . .. none once poisson sync threads asgi
asyncpg def async time await block cpu query with do lock gather to_thread exp mix uniform
call predict generate stream broadcast retries backoff max table base gamma zipf geometric kept
services accelerators faults client locks users stages trace shared serializable 5/s 1% 64KiB
empirical extends vars steps.yaml /dev/null é ∞
"""
WORDS = [
    *_PLAIN.split(),
    *("''", "'${'", "'${a}'", "{a: b}", "async def", '"', "\\", "\t", "\x00", "\x85", "\ufeff"),
    *('"\\UFFFFFFFF"', '"\\uD800"', '"\\x0"', "\U0001f600", "9" * 5000),
]

Mutation = Callable[[random.Random, str], str]


def texts() -> list[str]:
    """The valid files that mutations start from."""
    paths = sorted(CORPUS.glob("*.yaml")) + [path for _, _, path in examples()]
    return [path.read_text(encoding="utf-8") for path in paths]


def _character(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + chr(rng.choice([rng.randrange(128), rng.randrange(0xD800)])) + text[at + 1 :]


def _delete(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + text[at + rng.randrange(1, 20) :]


def _tokens(text: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[\w.$]+|[^\w\s]", text)]


def _replace_token(rng: random.Random, text: str) -> str:
    start, end = rng.choice(_tokens(text) or [(0, 0)])
    return text[:start] + rng.choice(WORDS) + text[end:]


def _swap_tokens(rng: random.Random, text: str) -> str:
    (a, b), (c, d) = sorted(rng.choices(_tokens(text) or [(0, 0)], k=2))
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:] if b <= c else text


def _insert_word(rng: random.Random, text: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + f" {rng.choice(WORDS)} " + text[at:]


def _delete_line(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    del lines[rng.randrange(len(lines))]
    return "".join(lines)


def _duplicate_line(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    lines.insert(rng.randrange(len(lines)), rng.choice(lines))
    return "".join(lines)


def _indent_line(rng: random.Random, text: str) -> str:
    lines = text.splitlines(keepends=True) or [""]
    at = rng.randrange(len(lines))
    lines[at] = rng.choice(["  ", " ", "\t", "- ", "a: "]) + lines[at]
    return "".join(lines)


def _nest(rng: random.Random, text: str) -> str:
    start, end = rng.choice(_tokens(text) or [(0, 0)])
    depth = rng.choice([1, 2, 10, 60, 2000])
    left, right = rng.choice([("[", "]"), ("{a: ", "}"), ("{gather: [", "]}")])
    return text[:start] + left * depth + text[start:end] + right * depth + text[end:]


MUTATIONS: tuple[Mutation, ...] = (
    _character,
    _delete,
    _replace_token,
    _replace_token,
    _swap_tokens,
    _insert_word,
    _delete_line,
    _duplicate_line,
    _indent_line,
    _nest,
)


def case(seed: int, number: int, sources: list[str]) -> tuple[str, list[str]]:
    """The mutated text and overrides of one case."""
    rng = random.Random(f"{seed}/{number}")
    text = rng.choice(sources)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        text = rng.choice(MUTATIONS)(rng, text)
    overrides = []
    if rng.random() < 0.2:
        keys = ["seed", "pools.db.size", "load", "routes.a.steps[0]", "server.kind", "a[0].b", ""]
        keys += ["client.retries", "load[0].users", "services.pay", "faults[0].for", "server.cores"]
        overrides = [f"{rng.choice(keys)}={rng.choice(WORDS)}"]
    return text, overrides


def check(text: str, overrides: list[str]) -> bool:
    """Whether the case is valid; any exception but ScenarioError is a failure."""
    try:
        scenario = loads(text, overrides, path=str(CORPUS / "mutated.yaml"))
    except ScenarioError as error:
        assert error.problems
        assert all("\n" not in str(problem) for problem in error.problems)
        return False
    findings(scenario)
    return True


def main(count: int = 20_000, seed: int = 0) -> int:
    """1 if a case failed, after printing it; else 0."""
    sources, valid = texts(), 0
    for number in range(count):
        text, overrides = case(seed, number, sources)
        try:
            valid += check(text, overrides)
        except Exception:
            traceback.print_exc()
            print(f"seed {seed} case {number}, overrides {overrides}, text:\n{text}")
            return 1
    print(f"{count} mutated scenarios, {valid} of them valid, seed {seed}: no traceback")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
