"""Steps on an accelerator (``simulator.engines.batches``): static and continuous batches."""

from __future__ import annotations

from simulator.engines.compiled.clock import RESUME, soon
from simulator.engines.compiled.code import FAILS, GO, STARVES
from simulator.engines.compiled.draws import draw
from simulator.engines.compiled.gpu_batch import (
    ABORTED,
    ACCELERATOR_SIZE,
    ACCELERATOR_STATION,
    BATCH_CAUSE,
    BATCH_MAX,
    CONTINUOUS,
    FIRST_TOKEN,
    FULL_OUTCOME,
    HAPPENED,
    ITEM_ACCELERATOR,
    ITEM_ANSWERS,
    ITEM_ENDED,
    ITEM_FAILURE,
    ITEM_LEFT,
    ITEM_OVER,
    ITEM_SIZE,
    ITEM_STATE,
    ITEM_TASK,
    ITEM_URGENCY,
    ITEM_VISIT,
    OUT,
    PLACE,
    PLACE_DEVICE,
    QUEUED_AT,
    STARTED,
    submit,
)
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    ACCELERATORS,
    ITEM,
    MISSING,
    NONE,
    NOW,
    ROUTES,
    Memory,
    free,
    new,
)
from simulator.engines.compiled.process import PRIORITY, ROUTE_SIZE
from simulator.engines.compiled.recorder import released
from simulator.engines.compiled.task import (
    DOING,
    FIRST_BYTE,
    OPEN_ITEM,
    OUTCOME,
    PENDING,
    ROUTE,
    WAIT_CAUSE,
    book,
    granted,
    queue,
)
from simulator.engines.contract import CLIENT_TIMEOUT, OK

_WAITS_FOR_START, _WAITS_FOR_END = range(2)


@kernel
def predict(m: Memory, task: int, index: int, tokens: int) -> int:
    """``PREDICT``: queue at an accelerator; ``WAIT`` has to follow.

    ``tokens``: the stream of how many are to be generated; -1 for a batch.
    """
    left = 1
    if tokens >= 0:
        left = draw(m, task, tokens, 0)
        if left == MISSING:
            return STARVES
        left = max(1, left)
    accelerator = m[ACCELERATORS] + index * ACCELERATOR_SIZE
    item = new(m, ITEM, ITEM_SIZE)
    for i in range(ITEM_SIZE):
        m[item + i] = 0
    m[item + ITEM_TASK] = task
    m[item + ITEM_ACCELERATOR] = accelerator
    m[item + ITEM_LEFT] = left
    m[item + QUEUED_AT] = m[NOW]
    m[item + ITEM_URGENCY] = m[m[ROUTES] + m[task + ROUTE] * ROUTE_SIZE + PRIORITY]
    m[item + ITEM_FAILURE] = HAPPENED
    m[task + OPEN_ITEM] = item
    m[task + OUTCOME] = OK
    accepted = submit(m, accelerator, item)
    m[item + ITEM_VISIT] = queue(m, task, m[accelerator + ACCELERATOR_STATION])
    m[task + DOING] = m[accelerator + BATCH_CAUSE]
    if not accepted:
        _is_over(m, item, m[accelerator + FULL_OUTCOME])
    elif m[item + STARTED] == HAPPENED:
        _has_started(m, item)
    m[task + PENDING] = 0
    m[task + WAIT_CAUSE] = m[task + DOING]
    if m[item + ITEM_OVER] == 0:
        m[item + ITEM_ANSWERS] = 1
        m[task + PENDING] = 1
    return GO


@kernel
def _has_started(m: Memory, item: int) -> None:
    task, accelerator = m[item + ITEM_TASK], m[item + ITEM_ACCELERATOR]
    m[item + ITEM_STATE] = _WAITS_FOR_END
    book(m, task, m[accelerator + BATCH_CAUSE])
    slot = m[item + PLACE_DEVICE] * m[accelerator + BATCH_MAX] + m[item + PLACE]
    granted(m, task, m[item + ITEM_VISIT], slot)
    if m[accelerator + CONTINUOUS] != 0 and m[item + FIRST_TOKEN] == 2:
        _has_first_token(m, task)
    m[task + DOING] = m[accelerator + BATCH_CAUSE] + 1
    if m[item + ITEM_ENDED] == HAPPENED:
        _has_ended(m, item)


@kernel
def _has_first_token(m: Memory, task: int) -> None:
    if m[task + FIRST_BYTE] == NONE:
        m[task + FIRST_BYTE] = m[NOW]


@kernel
def _has_ended(m: Memory, item: int) -> None:
    outcome = OK
    if m[item + ITEM_FAILURE] == OUT:
        outcome = m[m[item + ITEM_ACCELERATOR] + FULL_OUTCOME] + 1
    elif m[item + ITEM_FAILURE] == ABORTED:
        outcome = CLIENT_TIMEOUT
    _is_over(m, item, outcome)


@kernel
def _is_over(m: Memory, item: int, outcome: int) -> None:
    task = m[item + ITEM_TASK]
    book(m, task, m[m[item + ITEM_ACCELERATOR] + BATCH_CAUSE] + 1)
    released(m, task, m[item + ITEM_VISIT])
    m[item + ITEM_OVER] = 1
    m[task + OUTCOME] = outcome
    if m[item + ITEM_ANSWERS] != 0:
        soon(m, RESUME, task)


@kernel
def item_started(m: Memory, item: int) -> None:
    """The item was taken onto a device, or passed over as its caller has gone."""
    if m[item + ITEM_FAILURE] == ABORTED and m[item + STARTED] != HAPPENED:
        _has_ended(m, item)
        return
    m[item + STARTED] = HAPPENED
    _has_started(m, item)


@kernel
def item_token(m: Memory, item: int) -> None:
    """The item has its first token."""
    m[item + FIRST_TOKEN] = 2
    if m[item + ITEM_STATE] == _WAITS_FOR_END:
        _has_first_token(m, m[item + ITEM_TASK])


@kernel
def item_done(m: Memory, item: int) -> None:
    """The item is served, or its device was out."""
    m[item + ITEM_ENDED] = HAPPENED
    if m[item + ITEM_STATE] == _WAITS_FOR_END:
        _has_ended(m, item)


@kernel
def predicted(m: Memory, task: int) -> int:
    """``PREDICTED``: the answer is read."""
    item = m[task + OPEN_ITEM]
    free(m, ITEM, item)
    if m[task + OUTCOME] != OK:
        return FAILS
    return GO
