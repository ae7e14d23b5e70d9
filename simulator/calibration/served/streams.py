"""Answers in chunks: generators that a StreamingResponse, a WebSocket or gunicorn iterates."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator

from simulator.calibration.served import burn
from simulator.calibration.served.in_thread import InThread
from simulator.calibration.served.on_loop import OnLoop, Run
from simulator.calibration.served.process import Process
from simulator.calibration.served.task import Task
from simulator.calibration.served.written import all_steps
from simulator.plan import Generate, Step, Stream, With

CHUNK = b"data: 0123456789abcdef\n\n"
"""A server-sent event."""

Chunks = Callable[[Task], AsyncIterator[bytes]]
BlockingChunks = Callable[[Task], Iterator[bytes]]


def split(steps: tuple[Step, ...]) -> tuple[tuple[Step, ...], tuple[Step, ...]]:
    """The steps before the answer begins, and those from its first chunk on."""
    for i, step in enumerate(steps):
        if isinstance(step, Generate) or streams(step):
            return steps[:i], steps[i:]
    return steps, ()


def streams(step: Step) -> bool:
    """Whether a step sends chunks, itself or inside its block."""
    return any(isinstance(inner, Stream) for inner in all_steps((step,)))


class _Pace:
    """The draws of a stream: how many chunks, the wait and the CPU before each."""

    def __init__(self, process: Process, step: Stream) -> None:
        self.count = process.draw(step.chunks)
        self._every = process.draw_each(step.every)
        self._cpu = process.draw_each(step.cpu)

    def wait_s(self, task: Task, chunk: int) -> float:
        """The wait before a chunk."""
        return self._every(task, chunk) / 1e9

    def compute(self, task: Task, chunk: int) -> None:
        """Burn what a chunk costs."""
        if ns := self._cpu(task, chunk):
            burn.with_gil(ns)


def chunks(code: OnLoop, steps: tuple[Step, ...], pool: int = -1) -> Chunks:
    """An async generator of steps, some of which send chunks."""
    parts = [_part(code, step, pool) for step in steps]

    async def generate(task: Task) -> AsyncIterator[bytes]:
        for sends, part in parts:
            if sends is not None:
                async for chunk in sends(task):
                    yield chunk
            elif part is not None:
                await part(task)

    return generate


def _part(
    code: OnLoop, step: Step, pool: int
) -> tuple[Chunks | None, Run | None]:  # fmt: skip
    if isinstance(step, Stream):
        return _stream(code.process, step), None
    if isinstance(step, Generate):
        return _tokens(code, step), None
    if isinstance(step, With) and streams(step):
        return _with(code, step), None
    return None, code.steps((step,), pool)


def _stream(process: Process, step: Stream) -> Chunks:
    pace = _Pace(process, step)

    async def generate(task: Task) -> AsyncIterator[bytes]:
        for chunk in range(pace.count(task)):
            if pause := pace.wait_s(task, chunk):
                await asyncio.sleep(pause)
            pace.compute(task, chunk)
            yield CHUNK

    return generate


def _tokens(code: OnLoop, step: Generate) -> Chunks:
    devices, priority = code.process.devices(step.accelerator), code.priority
    count = code.process.draw(step.tokens)

    async def generate(task: Task) -> AsyncIterator[bytes]:
        tokens: asyncio.Queue[bool] = asyncio.Queue()
        item = devices.begin(priority, max(1, count(task)), lambda: tokens.put_nowait(True))
        item.done.add_done_callback(lambda _: tokens.put_nowait(False))
        try:
            while await tokens.get():
                yield CHUNK
            await item.done
        finally:
            item.done.cancel()  # a client that has left is taken off at the next step

    return generate


def _with(code: OnLoop, step: With) -> Chunks:
    connections, index = code.process.pools[step.pool], step.pool
    inner = chunks(code, step.steps, step.pool)

    async def generate(task: Task) -> AsyncIterator[bytes]:
        connection = await connections.take()
        before = task.held.get(index)
        task.held[index] = connection
        try:
            async for chunk in inner(task):
                yield chunk
        finally:
            task.held[index] = before
            await connections.give(connection)

    return generate


def blocking_chunks(code: InThread, steps: tuple[Step, ...], pool: int = -1) -> BlockingChunks:
    """The same as a plain generator, for ``def``: each ``next()`` takes a thread."""
    parts: list[tuple[BlockingChunks | None, Callable[[Task], None] | None]] = [
        (_blocking_stream(code.process, step), None)
        if isinstance(step, Stream)
        else (None, code.step(step, pool))
        for step in steps
    ]

    def generate(task: Task) -> Iterator[bytes]:
        for sends, part in parts:
            if sends is not None:
                yield from sends(task)
            elif part is not None:
                part(task)

    return generate


def _blocking_stream(process: Process, step: Stream) -> BlockingChunks:
    pace = _Pace(process, step)

    def generate(task: Task) -> Iterator[bytes]:
        for chunk in range(pace.count(task)):
            if pause := pace.wait_s(task, chunk):
                time.sleep(pause)
            pace.compute(task, chunk)
            yield CHUNK

    return generate
