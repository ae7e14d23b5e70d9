"""Steps that send or receive in chunks: streamed answers, sockets, uploads, broadcasts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from models.clock import Steps
from simulator.engines import contract
from simulator.engines.contract import CPU, STREAM
from simulator.engines.failed import Failed
from simulator.engines.task import Task
from simulator.plan import Broadcast, Stream
from simulator.trace import NOT_FINISHED

if TYPE_CHECKING:
    from simulator.engines.steps import StepRunner


class Streams:
    """Runs ``Stream`` and ``Broadcast``.

    Imitates Starlette 1.10 ``StreamingResponse``: an async generator is iterated on the
    loop; a sync one by ``iterate_in_threadpool``, a token of the limiter for each
    ``next()``, the one that raises ``StopIteration`` included. A client that has left
    ends the stream at its next chunk (Starlette cancels at the disconnect itself).

    A broadcast imitates a loop of ``await websocket.send_text(…)``: asyncio's ``drain``
    returns at once while the write buffer has room, so the loop is held to the last send.
    """

    def __init__(self, runner: StepRunner) -> None:
        self.runner = runner
        self.steps: dict[type, Callable[..., Steps]] = {
            Stream: self._stream,
            Broadcast: self._broadcast,
        }

    def _stream(self, task: Task, step: Stream) -> Steps:
        runner = self.runner
        overheads = runner.plan.server.overheads
        in_thread = step.per_chunk_thread or not step.frees_loop
        overshoot_ns = overheads.sleep_ns if in_thread else overheads.timer_ns
        for chunk in range(runner.draw(task, step.chunks)):
            every = runner.draw(task, step.every, chunk)
            if every:
                every += overshoot_ns  # it is a sleep
            if step.per_chunk_thread:
                yield from self._next(task, every)
            else:
                yield from runner.hold(task, every, STREAM, step.frees_loop)
            if task.abandoned:
                raise Failed(contract.CLIENT_TIMEOUT)
            yield from runner.compute(task, runner.draw(task, step.cpu, chunk), CPU)
            if task.first_byte == NOT_FINISHED:
                task.first_byte = runner.clock.now
        if step.per_chunk_thread:
            yield from self._next(task, 0)

    def _next(self, task: Task, ns: int) -> Steps:
        """One ``next()`` of a sync iterator, in a thread of the limiter."""
        return self.runner.thread(task, self.runner.hold(task, ns, STREAM, frees_loop=False))

    def _broadcast(self, task: Task, step: Broadcast) -> Steps:
        """Send to each socket in turn: a send that finds room in its buffer does not suspend."""
        sends = (self.runner.draw(task, step.cpu, socket) for socket in range(step.sockets))
        yield from self.runner.compute(task, sum(sends), CPU)
