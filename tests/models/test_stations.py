"""Workers, threads, locks, pools and databases: who is served when."""

from __future__ import annotations

import pytest

from models import (
    Clock,
    ConnectionPool,
    Database,
    Owner,
    PoolTimeout,
    ServerThreads,
    SyncWorkers,
    ThreadLimiter,
    TooManyConnections,
)
from models.clock import is_done
from models.connection_pool import Place, Runs


def customer(env, station, name, arrive, serve, log):
    yield env.timeout(arrive)
    slot = yield station.acquire()
    log.append((name, "starts", env.now, slot))
    yield env.timeout(serve)
    station.release(slot)


def client(env, pool, name, arrive, serve, log, refusing=0):
    yield env.timeout(arrive)
    try:
        connection = yield pool.acquire()
    except PoolTimeout as error:
        log.append((name, type(error).__name__, env.now))
        return
    if connection.fresh:
        try:
            pool.connect(connection)
        except TooManyConnections as error:
            yield env.timeout(refusing)
            log.append((name, type(error).__name__, env.now))
            pool.release(connection, close=True)
            return
    log.append((name, connection.slot, "fresh" if connection.fresh else "reused", env.now))
    yield env.timeout(serve)
    pool.release(connection, close=pool.closes_on_return)


@pytest.mark.parametrize("model", [SyncWorkers, ServerThreads, ThreadLimiter])
def test_slots_serve_first_come_first_served_and_hand_over_at_once(env, log, model) -> None:
    station = model(env, 2)
    for name, arrive, serve in [("a", 0, 5), ("b", 0, 3), ("c", 1, 4), ("d", 2, 1)]:
        env.process(customer(env, station, name, arrive, serve, log))
    env.run()
    assert log == [
        ("a", "starts", 0, 0),
        ("b", "starts", 0, 1),
        ("c", "starts", 3, 1),
        ("d", "starts", 5, 0),
    ]
    assert station.in_use == 0 and station.waiting == 0


def test_a_free_slot_is_had_without_waiting(env) -> None:
    workers = SyncWorkers(env, 1)
    assert is_done(workers.acquire())
    assert not is_done(workers.acquire())
    assert (workers.in_use, workers.waiting) == (1, 1)


def test_the_slot_used_last_is_used_next(env, log) -> None:
    station = ThreadLimiter(env, 3)
    for name, arrive, serve in [("a", 0, 1), ("b", 0, 2), ("c", 3, 1)]:
        env.process(customer(env, station, name, arrive, serve, log))
    env.run()
    assert [entry[3] for entry in log] == [0, 1, 1]


def test_a_pool_serves_its_size_at_a_time(env, log) -> None:
    pool = ConnectionPool(env, size=2)
    pool.open(2)
    for name in "abcde":
        env.process(client(env, pool, name, 0, 5, log))
    env.run()
    assert log == [
        ("a", 0, "reused", 0),
        ("b", 1, "reused", 0),
        ("c", 0, "reused", 5),
        ("d", 1, "reused", 5),
        ("e", 0, "reused", 10),
    ]


def test_a_pool_opens_connections_on_demand_and_keeps_them(env, log) -> None:
    pool = ConnectionPool(env, size=2)
    for name, arrive in [("a", 0), ("b", 1), ("c", 10)]:
        env.process(client(env, pool, name, arrive, 5, log))
    env.run()
    assert log == [("a", 0, "fresh", 0), ("b", 1, "fresh", 1), ("c", 1, "reused", 10)]


def test_lifo_takes_the_connection_used_last_fifo_the_one_idle_longest(env, log) -> None:
    for lifo in (True, False):
        pool = ConnectionPool(env, size=2, lifo=lifo)
        pool.open(2)
        for name, arrive, serve in [("a", 0, 1), ("b", 0, 2), ("c", 5, 1)]:
            env.process(client(env, pool, name, arrive, serve, log))
    env.run()
    assert [entry for entry in log if entry[0] == "c"] == [
        ("c", 1, "reused", 5),
        ("c", 0, "reused", 5),
    ]


def test_overflow_connections_are_closed_on_return_while_size_are_idle(env, log) -> None:
    pool = ConnectionPool(env, size=1, overflow=1)
    for name, arrive, serve in [("a", 0, 5), ("b", 0, 6), ("c", 1, 2), ("d", 20, 1), ("e", 20, 1)]:
        env.process(client(env, pool, name, arrive, serve, log))
    env.run()
    assert log == [
        ("a", 0, "fresh", 0),
        ("b", 1, "fresh", 0),
        ("c", 0, "reused", 5),  # handed over: c was waiting
        ("d", 1, "reused", 20),  # b's was kept: no connection was idle when it came back
        ("e", 0, "fresh", 20),  # c's was closed: one was idle already
    ]


def busy_client(env, pool, name, serve, runs_after, log):
    """One whose loop is busy for a while when it is woken."""
    asked = pool.ask(runs=Runs.ON_LOOP)
    connection = yield asked.event
    while asked.place is not Place.DONE:
        yield env.timeout(runs_after)
        connection = pool.take(asked)
        if connection is None:
            log.append((name, "too late", env.now))
            connection = yield asked.event
    if connection.fresh:
        pool.connect(connection)
    log.append((name, connection.slot, env.now))
    yield env.timeout(serve)
    pool.release(connection, close=pool.closes_on_return)


def test_of_connections_that_come_back_together_size_are_kept_though_others_wait(env, log) -> None:
    """SQLAlchemy: woken waiters have not emptied the queue yet, and the third is told nothing."""
    pool = ConnectionPool(env, size=2, overflow=2)
    for name in "abcdefg":
        env.process(busy_client(env, pool, name, 5, 1, log))
    env.run()
    assert log == [
        ("a", 0, 0),
        ("b", 1, 0),
        ("c", 2, 0),
        ("d", 3, 0),
        ("e", 0, 6),  # c's and d's were closed: g waits for e's
        ("f", 1, 6),
        ("g", 0, 12),
    ]


def test_who_asks_before_the_woken_one_runs_takes_the_connection(env, log) -> None:
    """asyncio.Queue, SQLAlchemy's Queue: b is woken at 5 and runs at 7; d is there at 6."""
    pool = ConnectionPool(env, size=1)
    for name, runs_after in (("a", 0), ("b", 2), ("c", 1)):
        env.process(busy_client(env, pool, name, 5, runs_after, log))
    env.process(client(env, pool, "d", 6, 5, log))
    env.run()
    assert log == [
        ("a", 0, 0),
        ("d", 0, "reused", 6),
        ("b", "too late", 7),  # and is behind c from now on
        ("c", 0, 12),
        ("b", 0, 19),
    ]


def test_a_pool_that_hands_over_is_first_come_first_served(env, log) -> None:
    """psycopg_pool: b has the connection from 5 on, whenever it runs."""
    pool = ConnectionPool(env, size=1)
    for name, arrive in (("a", 0), ("b", 1), ("c", 2), ("d", 5)):
        env.process(client(env, pool, name, arrive, 5, log))
    env.run()
    assert [entry[0] for entry in log] == ["a", "b", "c", "d"]


@pytest.mark.parametrize(("taken", "ends"), [(False, ("b", 0, 5)), (True, ("b", "PoolTimeout", 5))])
def test_a_timeout_between_being_woken_and_running(env, log, taken, ends) -> None:
    """Woken at 3, b's timeout passes at 4, and it runs at 5: a connection is there, or none."""
    pool = ConnectionPool(env, size=1, acquire_timeout=3)
    asked = []

    def late(env):
        yield env.timeout(1)
        asked.append(pool.ask(runs=Runs.ON_LOOP))
        yield asked[0].event
        yield env.timeout(2)
        try:
            log.append(("b", pool.take(asked[0]).slot, env.now))
        except PoolTimeout:
            log.append(("b", "PoolTimeout", env.now))

    env.process(client(env, pool, "a", 0, 3, log))
    env.process(late(env))
    if taken:
        env.process(client(env, pool, "c", 4, 9, log))
    env.run()
    assert log[-1] == ends


def test_a_waiter_connects_when_its_timeout_passes_and_there_is_room_by_then(env, log) -> None:
    """SQLAlchemy: _do_get looks at the overflow again when its wait is over."""
    pool = ConnectionPool(env, size=1, overflow=1, acquire_timeout=8)
    for name, serve in [("a", 5), ("b", 5), ("c", 50), ("d", 5), ("e", 5)]:
        env.process(busy_client(env, pool, name, serve, 1, log))
    with pytest.raises(PoolTimeout, match="no connection within 8"):
        env.run()
    # b's was closed, since c had not taken a's: d connects, e gives up.
    assert (log, env.now) == ([("a", 0, 0), ("b", 1, 0), ("c", 0, 6), ("d", 1, 8)], 8)


def test_a_wait_longer_than_the_timeout_fails_and_leaves_the_queue(env, log) -> None:
    pool = ConnectionPool(env, size=1, acquire_timeout=3)
    for name, arrive, serve in [("a", 0, 5), ("b", 1, 1), ("c", 3, 1)]:
        env.process(client(env, pool, name, arrive, serve, log))
    env.run()
    assert log == [
        ("a", 0, "fresh", 0),
        ("b", "PoolTimeout", 4),
        ("c", 0, "reused", 5),
    ]
    assert pool.waiting == 0


def test_a_connection_that_comes_back_at_the_instant_of_the_timeout_serves() -> None:
    """Phase 0 (the end of a hold) comes before phase 1 (a timeout): needs the clock."""
    clock, log = Clock(), []
    pool = ConnectionPool(clock, size=1, acquire_timeout=5)

    def keyed(owner, serve):
        try:
            connection = yield pool.acquire(owner)
        except PoolTimeout:
            log.append(("gave up", clock.now))
            return
        log.append(("served", clock.now))
        yield clock.at(serve, owner.key(0))
        pool.release(connection)

    # The waiter's owner comes first, so that only the phase can put the timeout second.
    holder, waiter = Owner(9), Owner(1)
    clock.start(keyed(holder, 5))
    clock.start(keyed(waiter, 5))
    clock.run_until(100)
    assert log == [("served", 0), ("served", 5)]


def test_a_database_refuses_above_its_limit(env) -> None:
    database = Database(env, 2)
    first, second = database.connect(), database.connect()
    with pytest.raises(TooManyConnections, match="all 2 connections are open"):
        database.connect()
    database.disconnect(first)
    assert database.connect() == first
    assert second == 1


def test_refused_slots_fail_one_waiter_after_another(env, log) -> None:
    """asyncpg: a slot that can't connect raises to its requester and returns to the pool."""
    database = Database(env, 1)
    other = ConnectionPool(env, size=1, database=database)
    other.open(1)
    pool = ConnectionPool(env, size=1, database=database)
    for name in "abc":
        env.process(client(env, pool, name, 0, 5, log, refusing=2))
    env.run()
    # It is taken while it is being refused.
    assert log == [
        ("a", "TooManyConnections", 2),
        ("b", "TooManyConnections", 4),
        ("c", "TooManyConnections", 6),
    ]


def test_sqlalchemy_tells_nobody_of_a_connection_that_was_refused(env, log) -> None:
    database = Database(env, 1)
    pool = ConnectionPool(env, size=1, overflow=1, acquire_timeout=30, database=database)
    for name, arrive in (("a", 0), ("b", 0), ("c", 1), ("d", 3)):
        env.process(client(env, pool, name, arrive, 9, log, refusing=2))
    env.run()
    assert log == [
        ("a", 0, "fresh", 0),
        ("b", "TooManyConnections", 2),
        ("d", "TooManyConnections", 5),  # asks while there is room; c waits for a's
        ("c", 0, "reused", 9),
    ]


def test_who_waits_for_a_connection_that_is_closed_opens_one(env, log) -> None:
    """The close takes time: the waiter came when it had been decided."""
    pool = ConnectionPool(env, size=0, overflow=1, database=Database(env, 1))

    def closes_slowly(env):
        connection = yield pool.acquire()
        pool.connect(connection)
        yield env.timeout(5)
        assert pool.closes_on_return
        yield env.timeout(2)
        pool.release(connection, close=True)

    env.process(closes_slowly(env))
    env.process(client(env, pool, "b", 6, 3, log))
    env.run()
    assert log == [("b", 0, "fresh", 7)]


def test_a_pool_whose_minimum_is_refused_does_not_open(env) -> None:
    pool = ConnectionPool(env, size=3, database=Database(env, 2))
    with pytest.raises(TooManyConnections):
        pool.open(3)


def test_the_readme_example(env, log) -> None:
    """A pool in anyone's own SimPy script."""
    pool = ConnectionPool(env, size=50)

    def request(env):
        connection = yield pool.acquire()
        yield env.timeout(5)
        pool.release(connection)
        log.append(env.now)

    for _ in range(1000):
        env.process(request(env))
    env.run()
    assert log == [5 * (1 + i // 50) for i in range(1000)]
