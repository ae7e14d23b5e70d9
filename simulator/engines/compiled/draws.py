"""Draws by address, and decisions by number, from blocks that the host has made.

A time is found by (stream, attempt, sub, index). Where its block is not there yet the
kernel notes which it is and returns: who draws does so before anything else, so that it can
simply be run again. What is drawn by number, one after the other, has its next block at hand.
"""

from __future__ import annotations

from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    BLOCK,
    BLOCK_BITS,
    COLUMNS,
    DRAW,
    HASH,
    HASH_MASK,
    MISS_ATTEMPT,
    MISS_BLOCK,
    MISS_STREAM,
    MISS_SUB,
    MISSING,
    NO_DECISION,
    STATUS,
    STREAMS,
    Memory,
    give_up,
)
from simulator.engines.compiled.task import ATTEMPT, OPEN_TRANSACTION, REQUEST

# A stream: a constant, or the block of (attempt 0, sub 0) that was used last.
CONSTANT, LAST_BLOCK, LAST_ADDRESS, STREAM_SIZE = range(4)

# A slot of the table of blocks.
(SLOT_ADDRESS, SLOT_STREAM, SLOT_ATTEMPT, SLOT_SUB, SLOT_BLOCK, HASH_SLOT) = range(6)

# What is drawn by number.
NUMBER_NEXT, BLOCK_NOW, BLOCK_NEXT, COLUMN_SIZE = range(4)

REDONE = 3  # of a transaction's record
ONE = 1.0 / 9007199254740992.0  # of the 2⁵³ steps in which uniform numbers are kept


@kernel
def slot_of(m: Memory, stream: int, attempt: int, sub: int, block: int) -> int:
    """The slot of a block in the table, or the one where it is to be."""
    mixed = stream * 73856093 + attempt * 19349663 + sub * 83492791 + block * 2654435761
    mixed ^= mixed >> 15
    place = mixed & m[HASH_MASK]
    while True:
        slot = m[HASH] + place * HASH_SLOT
        if m[slot] == 0 or (
            m[slot + SLOT_STREAM] == stream
            and m[slot + SLOT_ATTEMPT] == attempt
            and m[slot + SLOT_SUB] == sub
            and m[slot + SLOT_BLOCK] == block
        ):
            return slot
        place = (place + 1) & m[HASH_MASK]


@kernel
def drawn(m: Memory, stream: int, attempt: int, sub: int, index: int) -> int:
    """The time of this address, or MISSING."""
    spec = m[STREAMS] + stream * STREAM_SIZE
    if m[spec + CONSTANT] != MISSING:
        return m[spec + CONSTANT]
    block = index >> BLOCK_BITS
    plain = attempt == 0 and sub == 0
    address = m[spec + LAST_ADDRESS]
    if not plain or m[spec + LAST_BLOCK] != block:
        address = m[slot_of(m, stream, attempt, sub, block)]
        if plain and address != 0:
            m[spec + LAST_BLOCK] = block
            m[spec + LAST_ADDRESS] = address
    value = MISSING if address == 0 else m[address + (index & (BLOCK - 1))]
    if value == MISSING:
        m[STATUS] |= DRAW
        m[MISS_STREAM] = stream
        m[MISS_ATTEMPT] = attempt
        m[MISS_SUB] = sub
        m[MISS_BLOCK] = block
    return value


@kernel
def tries(m: Memory, task: int) -> int:
    """How often what this task does was done before."""
    again = m[task + ATTEMPT]
    if m[task + OPEN_TRANSACTION] != 0:
        again += m[m[task + OPEN_TRANSACTION] + REDONE]
    return again


@kernel
def draw(m: Memory, task: int, stream: int, sub: int) -> int:
    """The time of a stream for this task's request and attempt, or MISSING."""
    return drawn(m, stream, tries(m, task), sub, m[task + REQUEST])


@kernel
def next_of(m: Memory, column: int) -> int:
    """The next of what is drawn by number."""
    number = m[column + NUMBER_NEXT]
    place = number & (BLOCK - 1)
    block = m[column + BLOCK_NOW]
    if block == 0:
        give_up(m, NO_DECISION)
        return 0
    m[column + NUMBER_NEXT] = number + 1
    value = m[block + place]
    if place == BLOCK - 1:
        m[column + BLOCK_NOW] = m[column + BLOCK_NEXT]
        m[column + BLOCK_NEXT] = 0
        m[STATUS] |= COLUMNS
    return value


@kernel
def decide(m: Memory, column: int, options: int) -> int:
    """0 … options - 1, each as likely."""
    return min(int((next_of(m, column) * ONE) * options), options - 1)


@kernel
def weighted(m: Memory, edges: int, options: int, value: int) -> int:
    """The first option whose edge is above the value."""
    chosen = 0
    while chosen < options - 1 and value >= m[edges + chosen]:
        chosen += 1
    return chosen
