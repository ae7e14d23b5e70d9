"""What steps may stand where, and whether the parameters of their times fit together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from simulator.record import dataclass
from simulator.scenario.check_times import check_retries, check_time
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report
from simulator.scenario.steps import word

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Around:
    """What encloses a step: the kind of code, and the pools of which it holds a connection."""

    code: str | None  # None where it awaits; else how to name the code that can't
    held: tuple[str, ...] = ()


def check_steps(route: Document, path: str, document: Document, report: Report) -> None:
    """Reports what is wrong with the steps of one route."""
    code = {"async def": None, "def": "a def handler"}.get(route["handler"], "")
    walk = _Walk(document, report)
    for key in ("steps", "after"):
        walk.steps(route[key], f"{path}.{key}", _Around(code))
    priority = route["priority"]
    if priority not in (0, BAD) and not walk.queues:
        what = "ignored by a route without call, predict or generate"
        report(f"{path}.priority", what, "remove it")


class _Walk:
    def __init__(self, document: Document, report: Report) -> None:
        self._pools = document["pools"]
        self._locks = document["locks"]
        self._services = document["services"]
        self._accelerators = document["accelerators"]
        self._report = report
        self.queues = False  # whether a step waits where priority has a meaning
        self._words: dict[str, Callable[[Document, str, _Around], None]] = {
            "cpu": self._cpu,
            "await": self._await,
            "block": self._block,
            "query": self._query,
            "with": self._with,
            "lock": self._lock,
            "call": self._call,
            "predict": self._predict,
            "generate": self._generate,
            "stream": self._stream,
            "broadcast": self._broadcast,
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
        check_retries(step.get("retries", 0), f"{path}.retries", self._report)
        self.steps(step["do"], f"{path}.do", replace(around, held=(*around.held, step["with"])))

    def _lock(self, step: Document, path: str, around: _Around) -> None:
        self._known(step["lock"], f"{path}.lock", "lock", self._locks)
        if not around.held:
            what = "a row lock outside a transaction, expected it inside `with: POOL`"
            self._report(f"{path}.lock", what, "put it under `do`")

    def _call(self, step: Document, path: str, around: _Around) -> None:
        self.queues = True
        self._known(step["call"], f"{path}.call", "service", self._services)
        services = {} if self._services is BAD else self._services
        service = services.get(step["call"], BAD)
        if service is BAD or step["retries"] != service["retries"]:
            check_retries(step["retries"], f"{path}.retries", self._report)

    def _predict(self, step: Document, path: str, around: _Around) -> None:
        self._device(step["predict"], f"{path}.predict", "continuous", "did you mean generate?")

    def _generate(self, step: Document, path: str, around: _Around) -> None:
        self._device(step["generate"], f"{path}.generate", "batch", "did you mean predict?")

    def _device(self, name: Any, path: str, wrong: str, hint: str) -> None:
        self.queues = True
        devices = self._accelerators
        self._known(name, path, "accelerator", devices)
        device = BAD if BAD in (name, devices) else devices.get(name, BAD)
        if device is not BAD and wrong in device:
            right = "continuous" if wrong == "batch" else "batch"
            what = f"{name} has '{wrong}', expected an accelerator with '{right}'"
            self._report(path, what, hint)

    def _stream(self, step: Document, path: str, around: _Around) -> None:
        given = step["stream"]
        for key in ("every", "cpu") if given is not BAD else ():
            check_time(given[key], f"{path}.stream.{key}", self._report)

    def _broadcast(self, step: Document, path: str, around: _Around) -> None:
        if around.code:
            what = f"broadcast in {around.code}, expected async def"
            self._report(f"{path}.broadcast", what, "sockets belong to the loop")
        if step["broadcast"] is not BAD:
            check_time(step["broadcast"]["cpu"], f"{path}.broadcast.cpu", self._report)

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
