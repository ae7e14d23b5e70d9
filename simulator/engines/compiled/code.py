"""The instructions that a route's steps are lowered to, and how one ends.

An instruction takes ``WORDS`` words: what to do, then its operands. It may take several
phases: a task that has to wait comes back to the same instruction in its next phase.
"""

from __future__ import annotations

WORDS = 6

(
    DRAW_NS,  # stream, sub register or -1, overshoot
    SET_NS,  # ns
    FIRST_NS,  # ns, ns more for the first request of a process
    START_NS,  # ns, ns more for a thread that has to be started
    HOLD,  # cause, frees loop
    SLEEP,  # cause, frees loop: of 0 it goes to the back of the loop's queue
    COMPUTE,  # cause, releases the GIL
    WAIT,  # cause or -1 (that of the call), frees loop, soon, whether it is a visit
    JUMP,  # where
    CHECK_KILLED,
    SERVE,
    WORKER,
    WORKER_DONE,
    WORKER_ENDS,
    LINGERS_ON,
    SERVER_THREAD,
    SERVER_THREAD_ENDS,
    ON_LOOP,
    IF_LIMITED,  # where one that is turned away goes on
    READ,
    TURN_AWAY,  # where it goes on
    WRITE_ANSWER,
    HANDLED,
    LEAVE,
    ANSWER_NOW,
    AFTERWARDS,  # where its background work begins
    AFTERWARDS_DONE,
    FAILS_TO_START,
    CHECKPOINT,  # whether only if it has not waited for a token
    THREAD,  # where to go on after the steps, be it in failure
    THREAD_BEGINS,
    THREAD_ENDS,
    WITH_OP,  # pool, handler, when one runs that has waited
    TAKE,  # pool, where one goes on that waits again, when it runs then
    CONNECTED,  # pool, where one goes on whose connection is open
    OPENS,  # pool, where the refused goes on, where one in an outage
    DELAYED_HOLD,  # cause, frees loop
    DATABASE_HOLD,  # cause, frees loop, database
    QUERY,  # cause, frees loop, database or 0
    ENDS_NS,  # ns
    WITH_CLOSES,  # pool
    WITH_ENDS,  # pool, whether one goes on behind whom it has woken
    BEGIN,  # database, serializable, handler
    ROWS_HELD,
    COMMIT,  # how many retries, where to go on
    BACK_OFF,  # streams of backoffs
    LOCK_ROW,  # lock, shared, deadlock timeout
    LOCKED_ROW,  # cause, frees loop
    GATHER,  # branches, address of their programs
    BRANCH_BEGINS,
    BRANCH_ENDS,
    STREAM,  # chunks
    STREAM_NEXT,  # every, overshoot, where to go on
    EVERY_NS,
    CHUNK_READY,  # cpu
    CHUNK_SENT,  # where the next one begins
    BROADCAST,  # sockets, stream
    CALL_OP,  # service, number of the call in the route, where to go on
    CALL_TRY,  # service, number, timeout
    CALL_CONNECT,  # service, where one goes on that is lost already
    IF_LOST,  # where one goes on that is
    CALL_CONNECTED,  # where one goes on that failed
    IF_OPEN,  # where one goes on whose connection is open
    EXCHANGE,  # where one goes on that is lost, the client or -1
    CALL_RELEASES,  # service
    CLIENT_SCAN,  # service, ns beside it, ns for each pair, whether a call arrives
    CALL_ENDS,  # streams of backoffs, how many, number, where to go on, first outcome
    PAUSE,
    PREDICT,  # accelerator, tokens or -1
    PREDICTED,
    ASK,  # the user's
    THINK,
    ATTEMPT_OP,
    TRAVEL,
    END,
) = range(75)

GO, JUMPED, WAITS, FAILS, SWITCHES_TASK, STARVES, ENDS = range(7)
"""How an instruction ends: the next one, one set by it, later, in failure, in another task,
again when the host has made what it needs, for good."""
