"""Where the parts of a worker process, of an instance and of a plan's fixed numbers are."""

from __future__ import annotations

# A process: its loop, its GIL, where its threads, cores, pools and clients are.
(
    _LINK,
    PROCESS_INDEX,
    PROCESS_INSTANCE,
    LOOP_STATION,
    LOOP_TASK,  # who waits for the GIL on the loop's behalf
    LOOP_BUSY,
    IDLE_FROM,
    WAKE_COLUMN,
    TURN_FIRST,
    TURN_LAST,
    SOON_FIRST,
    SOON_LAST,
    POLLED_FIRST,
    POLLED_LAST,
    THEN,  # the task that goes on when the loop has the GIL again; 0: the next one
    RELEASE_COLUMN,
    TURN_BEGAN,
    GIL_WAITED_FROM,
    GIL_WAITED_TO,
    HAS_GIL,
    GIL_STATION,
    LOCKED,
    SWITCHES,
    DROP_ASKED,
    WAITERS_FIRST,
    WAITERS_LAST,
    WAITERS_N,
    COMPUTING,  # the task whose computation a waiter can stop
    COMPUTING_SERIAL,
    GIL_COLUMN,
    CORES,  # 0: one for every thread
    CORES_STATION,
    THREADS,
    THREADS_STATION,
    POOLS_OF,
    POOLS_STATION,
    CLIENTS_OF,  # address: for each service its client, or 0
    CONNECTIONS,
    BUSY_TASK,
    BUSY_VISIT,
    WATCHED,
    HAS_SERVED,
    THREADS_STARTED,
    COLD,  # ns that the next driver that gives a connection back takes longer
    PROCESS_SIZE,
) = range(45)

(
    _INSTANCE_LINK,
    IN_FLIGHT,
    UNACCEPTED,
    ACCEPTED,
    ACCEPT_COLUMN,
    WORKERS,  # the slots of sync workers
    WORKERS_STATION,
    INSTANCE_SIZE,
) = range(8)

# The server: numbers of the plan that no part changes.
(
    KIND,
    WORKERS_N,
    INSTANCES_N,
    ACCEPT,
    WEIGHTS,  # address of the thresholds of weighted accepting
    BALANCER,
    BALANCED,
    BALANCER_COLUMN,
    WRITES_RELEASE,
    LOST_PPM,  # between turns; reading and writing follow
    _LOST_READING,
    _LOST_WRITING,
    GIL_FIFO,
    SWITCH_INTERVAL,
    BACKLOG,
    LIMIT_CONCURRENCY,
    TIMEOUT,
    LINGER,
    KEPT,  # address of the connections that are kept from the start
    KEPT_N,
    KEPT_IDLE,  # the one that was given back last
    STARTED,
    CLIENT_TIMEOUT,
    CLIENT_RETRIES,  # address of the streams of its backoffs
    CLIENT_RETRIES_N,
    LATENCY,  # stream, or -1
    TIMER_OVER,
    SLEEP_OVER,
    LOCK_HOLD,
    CONNECT,
    CONNECT_DELAY,  # stream, or -1
    CONNECT_REFUSED,
    CLOSE,
    LOOP_WAKE,
    QUERY_WAKE,
    BACKEND_WAKE,
    SERVER_SIZE,
) = range(37)

# A route.
(
    STEPS,  # where its program begins, as the server runs it
    ROUTE_HANDLER,  # where it goes on if it fails
    CLIENT,  # where it begins for who sends it
    PRIORITY,
    ROUTE_DEADLINE,
    ROUTE_SIZE,
) = range(6)

# A load of users.
(LOAD_UNTIL, LOAD_COUNT, LOAD_SENT, LOAD_STEP, LOAD_THINK, LOAD_ROUTES, LOAD_EDGES, LOAD_ROUTES_N,
 LOAD_COLUMN, LOAD_SIZE) = range(10)  # fmt: skip
