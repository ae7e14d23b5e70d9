"""The steps of a resolved document to those of the plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from simulator import plan as p
from simulator.engines import contract
from simulator.scenario.steps import word
from simulator.scenario.streams import Streams, until

Document = dict[str, Any]

_NO_RETRIES = p.Retries(())


class _Code:
    """What runs a step: the loop or a thread, and the pools of which it holds a connection."""

    def __init__(
        self, on_loop: bool, held: tuple[str, ...] = (), *, in_thread: bool = False
    ) -> None:
        self.on_loop = on_loop
        self.held = held
        self.sync_handler = not on_loop and not in_thread
        self._in_thread = in_thread

    def holding(self, pool: str) -> _Code:
        return _Code(self.on_loop, (*self.held, pool), in_thread=self._in_thread)


def lower_route(name: str, document: Document, streams: Streams) -> p.Route:
    """A route with its steps; their streams are added in the order of the steps."""
    entry = document["routes"][name]
    lowering = _Lowering(document, streams)
    code = _Code(entry["handler"] == "async def")
    return p.Route(
        label=entry.get("path", name),
        name=name,
        on_loop=code.on_loop,
        steps=lowering.steps(entry["steps"], f"routes.{name}.steps", code),
        after=lowering.steps(entry["after"], f"routes.{name}.after", code),
        deadline_ns=until(entry["deadline"]),
        priority=entry["priority"],
    )


class _Lowering:
    """Lowers the steps of one route; their streams are added to the plan's."""

    def __init__(self, document: Document, streams: Streams) -> None:
        self.document = document
        self.streams = streams
        self.branches = 0
        self._words: dict[str, Callable[[Document, str, _Code], p.Step]] = {
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

    def steps(self, steps: list[Document], path: str, code: _Code) -> tuple[p.Step, ...]:
        return tuple(
            self._words[word(step)](step, f"{path}[{i}]", code) for i, step in enumerate(steps)
        )

    def _cpu(self, step: Document, path: str, code: _Code) -> p.Step:
        time = self.streams.time(f"{path}.cpu", step["cpu"]["time"])
        return p.Cpu(time, contract.CPU, step["cpu"]["releases_gil"])

    def _await(self, step: Document, path: str, code: _Code) -> p.Step:
        return p.Wait(self.streams.time(f"{path}.await", step["await"]), contract.AWAIT, True)

    def _block(self, step: Document, path: str, code: _Code) -> p.Step:
        return p.Wait(self.streams.time(f"{path}.block", step["block"]), contract.BLOCK, False)

    def _query(self, step: Document, path: str, code: _Code) -> p.Step:
        name = step["query"]
        pool, frees = self._index("pools", name), self._frees(name, code)
        time = self.streams.time(f"{path}.time", step["time"])
        wait = p.Wait(time, contract.hold_query(pool), frees)
        return wait if name in code.held else p.With(pool, (wait,), frees, False, _NO_RETRIES)

    def _with(self, step: Document, path: str, code: _Code) -> p.Step:
        pool = step["with"]
        serializable = step["isolation"] != "read_committed"
        retries = _NO_RETRIES
        if serializable:
            retries = self.streams.retries(f"{path}.retries", step["retries"])
        inner = self.steps(step["do"], f"{path}.do", code.holding(pool))
        index = self._index("pools", pool)
        return p.With(index, inner, self._frees(pool, code), serializable, retries)

    def _lock(self, step: Document, path: str, code: _Code) -> p.Step:
        lock = self._index("locks", step["lock"])
        return p.Lock(lock, self._frees(code.held[-1], code), step["shared"])

    def _call(self, step: Document, path: str, code: _Code) -> p.Step:
        return p.Call(
            service=self._index("services", step["call"]),
            frees_loop=code.on_loop and not step["blocking"],
            timeout_ns=until(step["timeout"]),
            retries=self.streams.retries(f"{path}.retries", step["retries"]),
        )

    def _predict(self, step: Document, path: str, code: _Code) -> p.Step:
        return p.Predict(self._index("accelerators", step["predict"]), code.on_loop)

    def _generate(self, step: Document, path: str, code: _Code) -> p.Step:
        tokens = self.streams.count(f"{path}.tokens", step["tokens"])
        return p.Generate(self._index("accelerators", step["generate"]), tokens, code.on_loop)

    def _stream(self, step: Document, path: str, code: _Code) -> p.Step:
        given, inner = step["stream"], f"{path}.stream"
        asgi = self.document["server"]["kind"] == "asgi"
        sync_iterator = code.sync_handler and given["direction"] == "out"
        return p.Stream(
            chunks=self.streams.count(f"{inner}.chunks", given["chunks"]),
            every=self.streams.time(f"{inner}.every", given["every"]),
            cpu=self.streams.time(f"{inner}.cpu", given["cpu"]),
            frees_loop=code.on_loop,
            per_chunk_thread=asgi and sync_iterator,
        )

    def _broadcast(self, step: Document, path: str, code: _Code) -> p.Step:
        given = step["broadcast"]
        cpu = self.streams.time(f"{path}.broadcast.cpu", given["cpu"])
        return p.Broadcast(given["sockets"], cpu)

    def _gather(self, step: Document, path: str, code: _Code) -> p.Step:
        out = []
        for i, branch in enumerate(step["gather"]):
            self.branches += 1
            number = self.branches
            out.append(p.Branch(number, self.steps(branch, f"{path}.gather[{i}]", code)))
        return p.Gather(tuple(out))

    def _to_thread(self, step: Document, path: str, code: _Code) -> p.Step:
        inner = _Code(False, code.held, in_thread=True)
        return p.ToThread(self.steps(step["to_thread"], f"{path}.to_thread", inner))

    def _index(self, section: str, name: str) -> int:
        return list(self.document[section]).index(name)

    def _frees(self, pool: str, code: _Code) -> bool:
        return code.on_loop and self.document["pools"][pool]["driver"] == "async"
