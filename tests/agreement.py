"""The two engines against one another: ``python -m tests.agreement 10000 [FIRST]``.

Random scenarios of ``tests.swarm`` run on both; every column, cause, visit and attempt of the
two traces has to be the same. The first difference is printed with the command that shows it
again. ``python -m tests.agreement files`` does so with every scenario of the project.

With ``NUMBA_DISABLE_JIT=1`` the kernels run as plain Python: no compiling, slower.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from simulator.engines import reference
from simulator.engines.compiled import engine
from simulator.engines.compiled.failures import NotCompiled
from simulator.engines.contract import LimitError
from simulator.plan import Plan
from simulator.scenario import load
from simulator.trace import first_difference
from simulator.workload import Workload
from tests import swarm

ROOT = Path(__file__).resolve().parents[1]  # not from conftest, which forbids compiling
FOLDERS = ("configs", "tests/cases/scenarios", "tests/scenario/corpus/valid", "tests/truth")


def difference(plan: Plan) -> str | None:
    """The first difference between the engines' traces of a plan; None if there is none."""
    try:
        ref = reference.run(plan, Workload(plan))
    except LimitError as error:
        return _other_error(plan, error)
    return first_difference(ref, engine.run(plan, Workload(plan)))


def _other_error(plan: Plan, expected: LimitError) -> str | None:
    """How the compiled engine ends a run that the other one ends with this error."""
    try:
        engine.run(plan, Workload(plan))
    except LimitError as error:
        return None if str(error) == str(expected) else f"{expected} against {error}"
    return f"{expected} against a trace"


def scenarios() -> Iterator[Path]:
    """Every scenario of the project that is a file and valid."""
    for folder in FOLDERS:
        yield from sorted((ROOT / folder).rglob("*.yaml"))


def main(count: int, first: int = 0) -> None:
    found: Counter[str] = Counter()
    for seed in range(first, first + count):
        command = f"python -m tests.agreement 1 {seed}"
        try:
            different = difference(swarm.load(seed).plan)
        except NotCompiled as error:
            found[f"not compiled: {error}"] += 1
            continue
        except BaseException:
            print(f"seed {seed}: {command}", file=sys.stderr)
            raise
        if different is not None:
            sys.exit(f"seed {seed}: {different}\n{command}")
        found["agree"] += 1
    print(f"seeds {first} to {first + count - 1}: {dict(found)}")


def all_files() -> None:
    found: Counter[str] = Counter()
    for path in scenarios():
        try:
            different = difference(load(str(path)).plan)
        except NotCompiled as error:
            found[f"not compiled: {error}"] += 1
            continue
        if different is not None:
            sys.exit(f"{path.relative_to(ROOT)}: {different}")
        found["agree"] += 1
    print(f"{found.total()} files: {dict(found)}")


if __name__ == "__main__":
    if sys.argv[1:] == ["files"]:
        all_files()
    else:
        main(*map(int, sys.argv[1:]))
