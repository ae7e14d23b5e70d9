"""One instruction of a task's program: which function does it."""

from __future__ import annotations

from simulator.engines.compiled import code
from simulator.engines.compiled.accepting import answer_now, serve
from simulator.engines.compiled.batches import (
    predict,
    predicted,
)
from simulator.engines.compiled.calls import (
    call,
    call_connect,
    call_connected,
    call_ends,
    call_releases,
    call_try,
    client_scan,
    exchange,
    if_lost,
    if_open,
    pause,
)
from simulator.engines.compiled.clients import (
    ask,
    attempt,
    think,
    travel,
)
from simulator.engines.compiled.connection_pool import DATABASE_CORES
from simulator.engines.compiled.gathers import branch_begins, branch_ends, gather
from simulator.engines.compiled.jit import kernel
from simulator.engines.compiled.memory import (
    Memory,
)
from simulator.engines.compiled.queries import database_hold, query
from simulator.engines.compiled.recorder import finish
from simulator.engines.compiled.rows import lock_row, locked_row
from simulator.engines.compiled.servers import (
    afterwards,
    afterwards_done,
    check_killed,
    handled,
    if_limited,
    leave_for_good,
    lingers_on,
    on_loop,
    read,
    server_thread,
    server_thread_ends,
    turn_away,
    worker,
    worker_done,
    worker_ends,
)
from simulator.engines.compiled.steps import (
    compute,
    draw_ns,
    first_ns,
    hold,
    sleep,
    wait,
    write,
)
from simulator.engines.compiled.streams import (
    broadcast,
    chunk_ready,
    chunk_sent,
    every_ns,
    stream,
    stream_next,
)
from simulator.engines.compiled.task import (
    NS,
    PC,
)
from simulator.engines.compiled.threads import (
    checkpoint,
    start_ns,
    thread,
    thread_begins,
    thread_ends,
)
from simulator.engines.compiled.transactions import (
    back_off,
    begin,
    commits,
    connected,
    delayed_hold,
    ends_ns,
    opens,
    rows_held,
    take,
    with_,
    with_closes,
    with_ends,
)
from simulator.engines.contract import NOT_STARTED


@kernel
def execute(m: Memory, task: int, pc: int) -> int:
    """Run the instruction that a task is at, in the phase that it is in."""
    op = m[pc]
    a, b, c, d, e = m[pc + 1], m[pc + 2], m[pc + 3], m[pc + 4], m[pc + 5]
    if op <= code.CHECK_KILLED:
        return _basic(m, task, op, a, b, c, d)
    if op <= code.FAILS_TO_START:
        return _of_server(m, task, op, a, b)
    if op <= code.LOCKED_ROW:
        return _of_database(m, task, op, a, b, c)
    if op <= code.BROADCAST:
        return _of_branches(m, task, op, a, b, c)
    return _of_others(m, task, op, a, b, c, d, e)


@kernel
def _basic(m: Memory, task: int, op: int, a: int, b: int, c: int, d: int) -> int:
    if op == code.DRAW_NS:
        return draw_ns(m, task, a, b, c)
    if op == code.SET_NS:
        m[task + NS] = a
        return code.GO
    if op == code.FIRST_NS:
        return first_ns(m, task, a, b)
    if op == code.START_NS:
        return start_ns(m, task, a, b)
    if op == code.HOLD:
        return hold(m, task, a, b)
    if op == code.SLEEP:
        return sleep(m, task, a, b)
    if op == code.COMPUTE:
        return compute(m, task, a, b)
    if op == code.WAIT:
        return wait(m, task, a, b, c, d)
    if op == code.JUMP:
        m[task + PC] = a
        return code.JUMPED
    return check_killed(m, task)


@kernel
def _of_server(m: Memory, task: int, op: int, a: int, b: int) -> int:
    if op == code.SERVE:
        return serve(m, task)
    if op == code.ON_LOOP:
        return on_loop(m, task)
    if op == code.IF_LIMITED:
        return if_limited(m, task, a)
    if op == code.READ:
        return read(m, task)
    if op == code.TURN_AWAY:
        return turn_away(m, task, a)
    if op == code.WRITE_ANSWER:
        return write(m, task)
    if op == code.HANDLED:
        return handled(m, task)
    if op == code.LEAVE:
        return leave_for_good(m, task)
    if op == code.WORKER:
        return worker(m, task)
    if op == code.WORKER_DONE:
        return worker_done(m, task)
    if op == code.WORKER_ENDS:
        return worker_ends(m, task)
    if op == code.LINGERS_ON:
        return lingers_on(m, task)
    if op == code.SERVER_THREAD:
        return server_thread(m, task)
    if op == code.SERVER_THREAD_ENDS:
        return server_thread_ends(m, task)
    if op == code.ANSWER_NOW:
        return answer_now(m, task)
    if op == code.AFTERWARDS:
        return afterwards(m, task, a, b)
    if op == code.AFTERWARDS_DONE:
        return afterwards_done(m, task)
    finish(m, task, NOT_STARTED)
    return code.ENDS


@kernel
def _of_database(m: Memory, task: int, op: int, a: int, b: int, c: int) -> int:
    if op == code.WITH_OP:
        return with_(m, task, a, b, c)
    if op == code.TAKE:
        return take(m, task, a, b, c)
    if op == code.CONNECTED:
        return connected(m, task, a, b)
    if op == code.OPENS:
        return opens(m, task, a, b, c)
    if op == code.DELAYED_HOLD:
        return delayed_hold(m, task, a, b)
    if op == code.ENDS_NS:
        return ends_ns(m, task, a)
    if op == code.WITH_CLOSES:
        return with_closes(m, task, a)
    if op == code.WITH_ENDS:
        return with_ends(m, task, a, b)
    if op == code.CHECKPOINT:
        return checkpoint(m, task, a)
    if op == code.THREAD:
        return thread(m, task, a)
    if op == code.THREAD_BEGINS:
        return thread_begins(m, task)
    if op == code.THREAD_ENDS:
        return thread_ends(m, task)
    if op == code.DATABASE_HOLD:
        return database_hold(m, task, a, b, c, m[c + DATABASE_CORES])
    if op == code.QUERY:
        return query(m, task, a, b, c)
    if op == code.BEGIN:
        return begin(m, task, a, b, c)
    if op == code.ROWS_HELD:
        return rows_held(m, task)
    if op == code.COMMIT:
        return commits(m, task, a, b)
    if op == code.BACK_OFF:
        return back_off(m, task, a)
    if op == code.LOCK_ROW:
        return lock_row(m, task, a, b, c)
    return locked_row(m, task, a, b)


@kernel
def _of_branches(m: Memory, task: int, op: int, a: int, b: int, c: int) -> int:
    if op == code.GATHER:
        return gather(m, task, a, b)
    if op == code.BRANCH_BEGINS:
        return branch_begins(m, task)
    if op == code.BRANCH_ENDS:
        return branch_ends(m, task)
    if op == code.STREAM:
        return stream(m, task, a)
    if op == code.STREAM_NEXT:
        return stream_next(m, task, a, b, c)
    if op == code.EVERY_NS:
        return every_ns(m, task)
    if op == code.CHUNK_READY:
        return chunk_ready(m, task, a)
    if op == code.CHUNK_SENT:
        return chunk_sent(m, task, a)
    return broadcast(m, task, a, b)


@kernel
def _of_others(m: Memory, task: int, op: int, a: int, b: int, c: int, d: int, e: int) -> int:
    if op == code.CALL_OP:
        return call(m, task)
    if op == code.CALL_TRY:
        return call_try(m, task, a, b, c)
    if op == code.CALL_CONNECTED:
        return call_connected(m, task, a)
    if op == code.IF_OPEN:
        return if_open(m, task, a)
    if op == code.CALL_CONNECT:
        return call_connect(m, task, a, b)
    if op == code.IF_LOST:
        return if_lost(m, task, a)
    if op == code.EXCHANGE:
        return exchange(m, task, a, b)
    if op == code.CALL_RELEASES:
        return call_releases(m, task, a)
    if op == code.CLIENT_SCAN:
        return client_scan(m, task, a, b, c, d)
    if op == code.CALL_ENDS:
        return call_ends(m, task, a, b, c, d)
    if op == code.PAUSE:
        return pause(m, task)
    if op == code.PREDICT:
        return predict(m, task, a, b)
    if op == code.PREDICTED:
        return predicted(m, task)
    if op == code.ASK:
        return ask(m, task)
    if op == code.THINK:
        return think(m, task)
    if op == code.ATTEMPT_OP:
        return attempt(m, task)
    return travel(m, task)
