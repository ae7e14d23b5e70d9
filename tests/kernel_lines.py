"""Which lines of the kernels scenarios run: ``python -m tests.kernel_lines [SCENARIOS]``.

The kernels run as plain Python, so every line can be counted; those that neither so many random
scenarios nor the small ones among the project's files have reached are printed, and the share of
those that some has.

What is left are mostly ways back to the host that only large runs take (``GROW``, ``FLUSH``,
``PAUSE``, ``MORE_ARRIVALS``, ``COLUMNS``), limits (``give_up``) and rows of locks that several
parts of a transaction want: ``tests.engines.test_compiled`` has these. Never run, but kept as the
rules are in ``models/``: taking the GIL again at once though somebody has asked for it (end of
``steps._go_on``), which somebody else has by then.
"""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

os.environ["NUMBA_DISABLE_JIT"] = "1"

from simulator.engine import events_of
from simulator.engines.compiled import engine, kernel
from simulator.engines.compiled.failures import NotCompiled
from simulator.engines.contract import LimitError
from simulator.plan import Plan
from simulator.scenario import load
from simulator.workload import Workload
from tests import swarm
from tests.agreement import scenarios

SMALL = 20_000
"""Events of a file's scenario that is small."""

HOST = {"engine.py", "store.py", "source.py", "lower.py", "lower_outside.py", "program.py"}
HOST |= {
    "records.py",
    "facts.py",
    "stuck.py",
    "failures.py",
    "interrupts.py",
    "jit.py",
    "tables.py",
}


def lines_of(code: CodeType) -> Iterator[int]:
    """The lines of a module's functions."""
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from (
                line for _, _, line in inner.co_lines() if line and line > inner.co_firstlineno
            )
            yield from lines_of(inner)


def modules(folder: Path) -> dict[str, set[int]]:
    """Every line of the kernels that can run, by file."""
    out = {}
    for path in sorted(folder.glob("*.py")):
        if path.name not in HOST:
            out[str(path)] = set(lines_of(compile(path.read_text(), str(path), "exec")))
    return out


def run_lines(count: int, wanted: dict[str, set[int]]) -> dict[str, set[int]]:
    """The lines that so many scenarios run, by file."""
    seen: dict[str, set[int]] = defaultdict(set)

    def local(frame: FrameType, event: str, _: Any) -> Any:
        seen[frame.f_code.co_filename].add(frame.f_lineno)
        return local

    def called(frame: FrameType, event: str, _: Any) -> Any:
        return local if frame.f_code.co_filename in wanted else None

    for plan in plans(count):
        sys.settrace(called)
        try:
            engine.run(plan, Workload(plan))
        except (NotCompiled, LimitError):
            pass  # an end of a run like another
        finally:
            sys.settrace(None)
    return seen


def plans(count: int) -> Iterator[Plan]:
    """So many random ones, and those of the project's files that are small."""
    for seed in range(count):
        yield swarm.load(seed).plan
    for path in scenarios():
        plan = load(str(path)).plan
        if events_of(plan) <= SMALL:
            yield plan


def folder_of(module: ModuleType) -> Path:
    return Path(str(module.__file__)).parent


def main(count: int = 1000) -> None:
    wanted = modules(folder_of(kernel))
    seen = run_lines(count, wanted)
    total = hit = 0
    for path, lines in wanted.items():
        missed = sorted(lines - seen[path])
        total, hit = total + len(lines), hit + len(lines) - len(missed)
        if missed:
            print(f"{Path(path).name}: {', '.join(map(str, missed))}")
    share = f"{hit} of {total} lines of the kernels, {hit / total:.1%}"
    print(f"{share}, by {count} random scenarios and the files")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
