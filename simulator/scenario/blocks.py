"""The lists of steps of a resolved document, with what runs them and what is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from simulator.plan import Plan
from simulator.record import dataclass
from simulator.scenario.resolve import Document
from simulator.scenario.steps import word


@dataclass(frozen=True, slots=True)
class Block:
    """One list of steps: a handler's, or one inside with, gather or to_thread."""

    route: str
    steps: list[Document]
    path: str  # "routes.get_user.steps"
    on_loop: bool
    held: tuple[str, ...]  # "threads", "pool db", "lock row" in the order of taking


def blocks(document: Document, route: str) -> Iterator[Block]:
    """Every list of steps of a route, the handler's own first."""
    entry = document["routes"][route]
    on_loop = entry["handler"] == "async def"
    limiter = document["server"]["kind"] == "asgi" and not on_loop
    held = ("threads",) if limiter else ()
    for key in ("steps", "after"):
        yield from _inside(Block(route, entry[key], f"routes.{route}.{key}", on_loop, held))


def _inside(block: Block) -> Iterator[Block]:
    yield block
    held = block.held
    for i, step in enumerate(block.steps):
        path = f"{block.path}[{i}]"
        if "lock" in step:
            held = (*held, f"lock {step['lock']}")
        inner: list[tuple[Any, str, bool, tuple[str, ...]]] = []
        if "with" in step:
            inner.append((step["do"], f"{path}.do", block.on_loop, (*held, f"pool {step['with']}")))
        elif "to_thread" in step:
            inner.append((step["to_thread"], f"{path}.to_thread", False, (*held, "threads")))
        elif "gather" in step:
            for j, branch in enumerate(step["gather"]):
                inner.append((branch, f"{path}.gather[{j}]", block.on_loop, held))
        for steps, where, on_loop, holding in inner:
            yield from _inside(Block(block.route, steps, where, on_loop, holding))


def pool_taken(step: Document, held: tuple[str, ...]) -> str | None:
    """The pool of which this step takes a connection: none for a query on a held one."""
    if "with" in step:
        return str(step["with"])
    if "query" in step and f"pool {step['query']}" not in held:
        return str(step["query"])
    return None


def means(plan: Plan) -> dict[str, float]:
    """Mean time in ns by the place of the time: ``routes.a.steps[0].await``."""
    return {stream.name: float(stream.distribution.mean_ns) for stream in plan.streams}


def mean_ns(step: Document, path: str, by_place: dict[str, float]) -> float:
    """Mean time of a single step in ns; 0 for one that only holds others."""
    name = word(step)
    if name in ("cpu", "await", "block"):
        return by_place[f"{path}.{name}"]
    if name == "call":
        return by_place[f"services.{step['call']}.time"]
    if name == "stream":
        each = by_place[f"{path}.stream.every"] + by_place[f"{path}.stream.cpu"]
        return by_place[f"{path}.stream.chunks"] * each
    if name == "broadcast":
        return int(step["broadcast"]["sockets"]) * by_place[f"{path}.broadcast.cpu"]
    return by_place[f"{path}.time"] if name == "query" else 0.0
