"""Steps that send or receive in chunks (``simulator.engines.streams``)."""

from __future__ import annotations

from simulator.engines.compiled.code import FAILS, GO, JUMPED, STARVES
from simulator.engines.compiled.draws import draw
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import MISSING, NONE, NOW, Memory
from simulator.engines.compiled.task import (
    ABANDONED,
    CHUNK,
    CHUNKS,
    EVERY,
    FIRST_BYTE,
    NS,
    OUTCOME,
    PC,
)
from simulator.engines.contract import CLIENT_TIMEOUT


@kernel
def stream(m: Memory, task: int, chunks: int) -> int:
    """``STREAM``: how many chunks are there?"""
    count = draw(m, task, chunks, 0)
    if count == MISSING:
        return STARVES
    m[task + CHUNKS] = count
    m[task + CHUNK] = 0
    return GO


@kernel
def stream_next(m: Memory, task: int, every: int, overshoot: int, goes_on: int) -> int:
    """``STREAM_NEXT``: how long until the next chunk?"""
    if m[task + CHUNK] >= m[task + CHUNKS]:
        m[task + EVERY] = 0
        m[task + PC] = goes_on
        return JUMPED
    ns = draw(m, task, every, m[task + CHUNK])
    if ns == MISSING:
        return STARVES
    m[task + EVERY] = ns + overshoot if ns != 0 else 0
    return GO


@kernel
def every_ns(m: Memory, task: int) -> int:
    """``EVERY_NS``: what is to be held next is the time between chunks."""
    m[task + NS] = m[task + EVERY]
    return GO


@kernel
def chunk_ready(m: Memory, task: int, cpu: int) -> int:
    """``CHUNK_READY``: a client that has left ends the stream; else the chunk is computed."""
    ns = draw(m, task, cpu, m[task + CHUNK])
    if ns == MISSING:
        return STARVES
    if m[task + ABANDONED] != 0:
        m[task + OUTCOME] = CLIENT_TIMEOUT
        return FAILS
    m[task + NS] = ns
    return GO


@kernel
def chunk_sent(m: Memory, task: int, following: int) -> int:
    """``CHUNK_SENT``: on to the next one."""
    if m[task + FIRST_BYTE] == NONE:
        m[task + FIRST_BYTE] = m[NOW]
    m[task + CHUNK] += 1
    m[task + PC] = following
    return JUMPED


@kernel
def broadcast(m: Memory, task: int, sockets: int, cpu: int) -> int:
    """``BROADCAST``: what sending to each socket costs together."""
    total = 0
    for socket in range(sockets):
        ns = draw(m, task, cpu, socket)
        if ns == MISSING:
            return STARVES
        total += ns
    m[task + NS] = total
    return GO
