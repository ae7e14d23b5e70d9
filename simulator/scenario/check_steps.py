"""What steps may stand where, and whether the parameters of their times fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from simulator import units
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report
from simulator.scenario.steps import word

TAIL_MAX = 1000
"""p99 / p50 of a distribution; beyond that a draw could leave the range of time."""

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Around:
    """What encloses a step: the kind of code, and the pools of which it holds a connection."""

    code: str | None  # None where it awaits; else how to name the code that can't
    held: tuple[str, ...] = ()


def check_steps(route: Document, path: str, document: Document, report: Report) -> None:
    """Reports what is wrong with the steps of one route."""
    code = {"async def": None, "def": "a def handler"}.get(route["handler"], "")
    _Walk(document, report).steps(route["steps"], f"{path}.steps", _Around(code))


class _Walk:
    def __init__(self, document: Document, report: Report) -> None:
        self._pools = document["pools"]
        self._locks = document["locks"]
        self._report = report
        self._words: dict[str, Callable[[Document, str, _Around], None]] = {
            "cpu": self._cpu,
            "await": self._await,
            "block": self._block,
            "query": self._query,
            "with": self._with,
            "lock": self._lock,
            "gather": self._gather,
            "to_thread": self._to_thread,
        }

    def steps(self, steps: Any, path: str, around: _Around) -> None:
        for i, step in enumerate([] if steps is BAD else steps):
            if step is not BAD:
                self._words[word(step)](step, f"{path}[{i}]", around)

    def _cpu(self, step: Document, path: str, around: _Around) -> None:
        if step["cpu"] is not BAD:
            check_time(step["cpu"]["time"], f"{path}.cpu", self._report)

    def _await(self, step: Document, path: str, around: _Around) -> None:
        if around.code:
            what = f"await in {around.code}, expected async def"
            self._report(f"{path}.await", what, "did you mean block?")
        check_time(step["await"], f"{path}.await", self._report)

    def _block(self, step: Document, path: str, around: _Around) -> None:
        check_time(step["block"], f"{path}.block", self._report)

    def _query(self, step: Document, path: str, around: _Around) -> None:
        self._known(step["query"], f"{path}.query", "pool", self._pools)
        check_time(step["time"], f"{path}.time", self._report)

    def _with(self, step: Document, path: str, around: _Around) -> None:
        self._known(step["with"], f"{path}.with", "pool", self._pools)
        self.steps(step["do"], f"{path}.do", replace(around, held=(*around.held, step["with"])))

    def _lock(self, step: Document, path: str, around: _Around) -> None:
        self._known(step["lock"], f"{path}.lock", "lock", self._locks)
        if not around.held:
            what = "a row lock outside a transaction, expected it inside `with: POOL`"
            self._report(f"{path}.lock", what, "put it under `do`")

    def _gather(self, step: Document, path: str, around: _Around) -> None:
        if around.code:
            what = f"gather in {around.code}, expected async def"
            self._report(f"{path}.gather", what, "put the branches one after another")
        users: set[int] = set()
        for i, branch in enumerate([] if step["gather"] is BAD else step["gather"]):
            if branch is BAD:
                continue
            inner = f"{path}.gather[{i}]"
            self.steps(branch, inner, around)
            uses = _uses(branch, around.held, len(around.held))
            if uses & users:
                pool = around.held[min(uses & users)]
                what = f"shares the held connection of {pool} with another branch"
                hint = "take one in each branch, outside the `with`"
                self._report(inner, f"{what}, expected one user at a time", hint)
            users |= uses

    def _to_thread(self, step: Document, path: str, around: _Around) -> None:
        if around.code:
            what = f"to_thread in {around.code}, expected async def"
            self._report(f"{path}.to_thread", what, "its steps run in a thread already")
        inner = "to_thread" if around.code is None else around.code
        self.steps(step["to_thread"], f"{path}.to_thread", replace(around, code=inner))

    def _known(self, name: Any, path: str, what: str, names: Any) -> None:
        if BAD not in (name, names) and name not in names:
            self._report.unknown(path, what, name, names)


def _uses(steps: Any, held: tuple[str, ...], outer: int) -> set[int]:
    """Which of the first ``outer`` held connections these steps use."""
    used: set[int] = set()
    for step in [] if steps is BAD else steps:
        if step is BAD:
            continue
        if "query" in step and step["query"] in held:
            used.add(len(held) - 1 - held[::-1].index(step["query"]))
        elif "lock" in step and held:
            used.add(len(held) - 1)
        elif "with" in step:
            used |= _uses(step["do"], (*held, step["with"]), outer)
        elif "to_thread" in step:
            used |= _uses(step["to_thread"], held, outer)
        elif "gather" in step and step["gather"] is not BAD:
            for branch in step["gather"]:
                used |= _uses(branch, held, outer)
    return {index for index in used if index < outer}


def check_time(time: Any, path: str, report: Report) -> None:
    """Reports parameters of a distribution that don't fit together."""
    if not isinstance(time, dict):
        return
    ((name, given),) = time.items()
    if given is BAD or isinstance(given, str):
        return
    if BAD in (given.values() if isinstance(given, dict) else given):
        return
    path = f"{path}.{name}"
    if name in ("lognormal", "pareto"):
        _quantiles(given, path, report)
    elif name == "uniform" and _ns(given[0]) > _ns(given[1]):
        report(path, f"{given[0]} to {given[1]}, expected the shorter time first")
    elif name == "mix":
        for i, part in enumerate(given):
            check_time(part["time"], f"{path}[{i}].time", report)
        _shares(given, path, report)


def _quantiles(given: Document, path: str, report: Report) -> None:
    p50, p99 = _ns(given["p50"]), _ns(given["p99"])
    if p99 <= p50:
        what = f"{given['p99']} is not above p50, expected more than {given['p50']}"
        report(f"{path}.p99", what)
    elif p99 > TAIL_MAX * p50:
        what = f"{given['p99']} is more than {TAIL_MAX} times p50 (TAIL_MAX), expected less"
        report(f"{path}.p99", what)


def _shares(given: list[Document], path: str, report: Report) -> None:
    shares = [part["p"] for part in given]
    if BAD not in shares and abs(sum(shares) - 1) > 1e-9:
        report(path, f"the p sum to {sum(shares):g}, expected 1")


def _ns(text: str) -> int:
    return units.parse_duration(text)
