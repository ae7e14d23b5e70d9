"""Accelerators that serve many at a time (``models.gpu_batch``): static and continuous."""

from __future__ import annotations

from simulator.engines.compiled.clock import (
    BATCH_ENDS,
    ITEM_DONE,
    ITEM_STARTED,
    ITEM_TOKEN,
    PHASE_END,
    PHASE_TIMER,
    STEP_ENDS,
    WINDOW_ENDS,
    at,
    soon,
)
from simulator.engines.compiled.draws import next_of
from simulator.engines.compiled.faults import struck
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import BATCH, NONE, NOW, Memory, free, new
from simulator.engines.compiled.task import ABANDONED, KILLED, key

(
    CONTINUOUS,
    BATCH_MAX,
    WAIT_NS,
    WINDOW_TAKEN,
    DEVICES_N,
    ITEM_QUEUE,
    DEVICE_OWNER,  # the task that owns ends and windows
    DEVICES,  # address of their records
    ITEMS_FIRST,  # the most urgent first
    ITEMS_LAST,
    OLDEST,  # in order of arrival
    NEWEST,
    ITEMS_N,
    TAKEN_AT,
    WINDOW_ENDS_AT,
    TIME_TABLE,  # address, or 0
    TIME_COLUMN,  # drawn by number, or 0
    BASE_NS,
    PER_ITEM_NS,
    ACCELERATOR_FAULTS,
    ACCELERATOR_STATION,
    BATCH_CAUSE,  # that of the hold follows
    FULL_OUTCOME,  # that of the error follows
    ACCELERATOR_SIZE,
) = range(24)

# A device: whether it is idle; what runs on it, in the order in which it joined.
(DEVICE_IDLE, RUNS_FIRST, RUNS_LAST, RUNS_N, FREE_PLACES, DEVICE_ACCELERATOR, DEVICE_NUMBER,
 DEVICE_SIZE) = range(8)  # fmt: skip

(_BATCH_LINK, BATCH_ACCELERATOR, BATCH_DEVICE, BATCH_FIRST, BATCH_SIZE) = range(5)

(
    _ITEM_LINK,
    ITEM_BACK,
    OLDER,
    YOUNGER,
    ITEM_TASK,
    ITEM_ACCELERATOR,
    ITEM_LEFT,  # tokens
    QUEUED_AT,
    ITEM_URGENCY,
    ITEM_SEEN,
    PLACE_DEVICE,
    PLACE,
    STARTED,  # 0 not yet, 1 its caller knows, 2 refused
    ITEM_ENDED,  # likewise
    FIRST_TOKEN,  # 0 not yet, 1 on its way, 2 its caller knows
    ITEM_STATE,
    ITEM_FAILURE,
    ITEM_VISIT,
    ITEM_ANSWERS,
    ITEM_OVER,
    ITEM_SIZE,
) = range(21)

NOT_YET, HAPPENED, ABORTED, OUT = range(4)


@kernel
def _gone(m: Memory, item: int) -> bool:
    task = m[item + ITEM_TASK]
    return m[task + ABANDONED] != 0 or m[task + KILLED] != 0


@kernel
def _starts(m: Memory, item: int, device: int, place: int) -> None:
    m[item + PLACE_DEVICE] = device
    m[item + PLACE] = place
    if m[item + ITEM_SEEN] == 0:
        m[item + STARTED] = HAPPENED
    else:
        soon(m, ITEM_STARTED, item)


@kernel
def _ends(m: Memory, item: int, how: int) -> None:
    m[item + ITEM_FAILURE] = how
    if m[item + ITEM_SEEN] == 0:
        m[item + ITEM_ENDED] = HAPPENED
    else:
        soon(m, ITEM_DONE, item)


@kernel
def _push(m: Memory, accelerator: int, item: int) -> None:
    """Into the line: by urgency, and among equals by arrival."""
    before = m[accelerator + ITEMS_LAST]
    while before != 0 and m[before + ITEM_URGENCY] > m[item + ITEM_URGENCY]:
        before = m[before + ITEM_BACK]
    after = m[accelerator + ITEMS_FIRST] if before == 0 else m[before]
    m[item] = after
    m[item + ITEM_BACK] = before
    if before != 0:
        m[before] = item
    else:
        m[accelerator + ITEMS_FIRST] = item
    if after != 0:
        m[after + ITEM_BACK] = item
    else:
        m[accelerator + ITEMS_LAST] = item
    newest = m[accelerator + NEWEST]
    m[item + OLDER] = newest
    m[item + YOUNGER] = 0
    if newest != 0:
        m[newest + YOUNGER] = item
    else:
        m[accelerator + OLDEST] = item
    m[accelerator + NEWEST] = item
    m[accelerator + ITEMS_N] += 1


@kernel
def _pop(m: Memory, accelerator: int) -> int:
    item = m[accelerator + ITEMS_FIRST]
    m[accelerator + ITEMS_FIRST] = m[item]
    if m[item] != 0:
        m[m[item] + ITEM_BACK] = 0
    else:
        m[accelerator + ITEMS_LAST] = 0
    older, younger = m[item + OLDER], m[item + YOUNGER]
    if younger != 0:
        m[younger + OLDER] = older
    else:
        m[accelerator + NEWEST] = older
    if older != 0:
        m[older + YOUNGER] = younger
    else:
        m[accelerator + OLDEST] = younger
    m[accelerator + ITEMS_N] -= 1
    return item


@kernel
def _idle_device(m: Memory, accelerator: int) -> int:
    """The idle device with the lowest number, or 0."""
    for i in range(m[accelerator + DEVICES_N]):
        device = m[accelerator + DEVICES] + i * DEVICE_SIZE
        if m[device + DEVICE_IDLE] != 0:
            return device
    return 0


@kernel
def _next_time(m: Memory, accelerator: int, size: int) -> int:
    """How long a batch, or a step, takes that begins now; NONE if the device is out."""
    if m[accelerator + TIME_COLUMN] != 0:
        ns = next_of(m, m[accelerator + TIME_COLUMN])
    elif m[accelerator + TIME_TABLE] != 0:
        ns = m[m[accelerator + TIME_TABLE] + size - 1]
    else:
        ns = m[accelerator + BASE_NS] + m[accelerator + PER_ITEM_NS] * size
    return struck(m, m[accelerator + ACCELERATOR_FAULTS], m[NOW], ns)


@kernel
def submit(m: Memory, accelerator: int, item: int) -> bool:
    """Put an item in the line, or on a device; False if no more may wait."""
    waiting, limit = m[accelerator + ITEMS_N], m[accelerator + ITEM_QUEUE]
    idle = _idle_device(m, accelerator)
    if m[accelerator + CONTINUOUS] != 0:
        if idle == 0 and waiting >= limit:
            return False
        _push(m, accelerator, item)
        if idle != 0:
            m[idle + DEVICE_IDLE] = 0
            _step(m, idle)
    else:
        # It need not wait if it makes a batch start.
        starts = m[accelerator + WAIT_NS] == 0 or waiting + 1 >= m[accelerator + BATCH_MAX]
        if waiting >= limit and not (idle != 0 and starts):
            return False
        _push(m, accelerator, item)
        start_batches(m, accelerator)
    m[item + ITEM_SEEN] = 1
    return True


# Static batches.


@kernel
def start_batches(m: Memory, accelerator: int) -> None:
    """Start what is full or has waited for long enough, on the devices that are idle."""
    now = m[NOW]
    while m[accelerator + ITEMS_N] > 0:
        device = _idle_device(m, accelerator)
        if device == 0:
            return
        if m[accelerator + TAKEN_AT] < 0:
            m[accelerator + TAKEN_AT] = now
        begins = m[m[accelerator + OLDEST] + QUEUED_AT]
        if m[accelerator + WINDOW_TAKEN] != 0:
            begins = m[accelerator + TAKEN_AT]
        ends = begins + m[accelerator + WAIT_NS]
        if now < ends and m[accelerator + ITEMS_N] < m[accelerator + BATCH_MAX]:
            if ends != m[accelerator + WINDOW_ENDS_AT]:
                m[accelerator + WINDOW_ENDS_AT] = ends
                order = key(m, m[accelerator + DEVICE_OWNER], PHASE_TIMER)
                at(m, ends, order, WINDOW_ENDS, accelerator)
            return
        _start_batch(m, accelerator, device)


@kernel
def _start_batch(m: Memory, accelerator: int, device: int) -> None:
    m[device + DEVICE_IDLE] = 0
    m[accelerator + TAKEN_AT] = NONE
    batch = new(m, BATCH, BATCH_SIZE)
    m[batch + BATCH_ACCELERATOR] = accelerator
    m[batch + BATCH_DEVICE] = device
    m[batch + BATCH_FIRST] = 0
    size, last = 0, 0
    while m[accelerator + ITEMS_N] > 0 and size < m[accelerator + BATCH_MAX]:
        item = _pop(m, accelerator)
        m[item] = 0
        if last == 0:
            m[batch + BATCH_FIRST] = item
        else:
            m[last] = item
        last = item
        _starts(m, item, m[device + DEVICE_NUMBER], size)
        size += 1
    time = _next_time(m, accelerator, size)
    if time > 0:
        order = key(m, m[accelerator + DEVICE_OWNER], PHASE_END)
        at(m, m[NOW] + time, order, BATCH_ENDS, batch)
        return
    m[device + DEVICE_IDLE] = 1
    _answer(m, batch, OUT if time < 0 else HAPPENED)


@kernel
def _answer(m: Memory, batch: int, how: int) -> None:
    item = m[batch + BATCH_FIRST]
    while item != 0:
        following = m[item]
        _ends(m, item, how)
        item = following
    free(m, BATCH, batch)


@kernel
def batch_ends(m: Memory, batch: int) -> None:
    """The device goes on with the next batch, then the answers are read."""
    m[m[batch + BATCH_DEVICE] + DEVICE_IDLE] = 1
    start_batches(m, m[batch + BATCH_ACCELERATOR])
    _answer(m, batch, HAPPENED)


# Continuous batching.


@kernel
def _step(m: Memory, device: int) -> None:
    """Let join who may, and take all that run one token further."""
    accelerator = m[device + DEVICE_ACCELERATOR]
    while True:
        _join(m, accelerator, device)
        if m[device + RUNS_N] == 0:
            m[device + DEVICE_IDLE] = 1
            return
        time = _next_time(m, accelerator, m[device + RUNS_N])
        if time > 0:
            order = key(m, m[accelerator + DEVICE_OWNER], PHASE_END)
            at(m, m[NOW] + time, order, STEP_ENDS, device)
            return
        if time < 0:
            while m[device + RUNS_FIRST] != 0:
                item = m[device + RUNS_FIRST]
                _leaves(m, device, item)
                _ends(m, item, OUT)
        else:
            _end_all(m, _advance(m, device))


@kernel
def _join(m: Memory, accelerator: int, device: int) -> None:
    while m[device + RUNS_N] < m[accelerator + BATCH_MAX] and m[accelerator + ITEMS_N] > 0:
        item = _pop(m, accelerator)
        if m[item + ITEM_SEEN] != 0 and _gone(m, item):
            m[item + ITEM_FAILURE] = ABORTED
            soon(m, ITEM_STARTED, item)
            continue
        place = _lowest(m, device)
        last = m[device + RUNS_LAST]
        m[item] = 0
        m[item + ITEM_BACK] = last
        if last != 0:
            m[last] = item
        else:
            m[device + RUNS_FIRST] = item
        m[device + RUNS_LAST] = item
        m[device + RUNS_N] += 1
        _starts(m, item, m[device + DEVICE_NUMBER], place)


@kernel
def _lowest(m: Memory, device: int) -> int:
    """The lowest place that was used before and is free, or else the next one."""
    places = m[device + FREE_PLACES]
    for i in range(m[device + RUNS_N]):
        if m[places + i] != 0:
            m[places + i] = 0
            return i
    m[places + m[device + RUNS_N]] = 0
    return m[device + RUNS_N]


@kernel
def _leaves(m: Memory, device: int, item: int) -> None:
    after, before = m[item], m[item + ITEM_BACK]
    if after != 0:
        m[after + ITEM_BACK] = before
    else:
        m[device + RUNS_LAST] = before
    if before != 0:
        m[before] = after
    else:
        m[device + RUNS_FIRST] = after
    m[device + RUNS_N] -= 1
    m[m[device + FREE_PLACES] + m[item + PLACE]] = 1


@kernel
def _advance(m: Memory, device: int) -> int:
    """Those that have all their tokens now, as a list; those leave whose caller has."""
    first, last = 0, 0
    item = m[device + RUNS_FIRST]
    while item != 0:
        following = m[item]
        m[item + ITEM_LEFT] -= 1
        if m[item + FIRST_TOKEN] == NOT_YET:
            m[item + FIRST_TOKEN] = HAPPENED
            if m[item + ITEM_SEEN] == 0:
                m[item + FIRST_TOKEN] = 2
            else:
                soon(m, ITEM_TOKEN, item)
        if m[item + ITEM_LEFT] == 0:
            _leaves(m, device, item)
            m[item] = 0
            if last == 0:
                first = item
            else:
                m[last] = item
            last = item
        elif _gone(m, item):
            _leaves(m, device, item)
            _ends(m, item, ABORTED)
        item = following
    return first


@kernel
def _end_all(m: Memory, item: int) -> None:
    while item != 0:
        following = m[item]
        _ends(m, item, HAPPENED)
        item = following


@kernel
def step_ends(m: Memory, device: int) -> None:
    """The next step begins, then the answers are read."""
    finished = _advance(m, device)
    _step(m, device)
    _end_all(m, finished)
