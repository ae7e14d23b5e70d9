"""Services and the HTTP clients that call them: slots, queues, priorities, giving up."""

from __future__ import annotations

from models import HttpClient, PoolTimeout, Service, ServiceFull


def customer(env, service, name, arrive, serve, log, priority=0):
    yield env.timeout(arrive)
    try:
        slot = yield service.acquire(priority)
    except ServiceFull:
        log.append((name, "full", env.now))
        return
    log.append((name, slot, env.now))
    yield env.timeout(serve)
    service.release(slot)


def test_a_service_serves_first_come_first_served_and_rejects_over_its_queue(env, log) -> None:
    service = Service(env, 1, queue=2)
    for name, arrive in [("a", 0), ("b", 1), ("c", 2), ("d", 3), ("e", 6)]:
        env.process(customer(env, service, name, arrive, 5, log))
    env.run()
    assert log == [("a", 0, 0), ("d", "full", 3), ("b", 0, 5), ("c", 0, 10), ("e", 0, 15)]
    assert (service.in_use, service.waiting) == (0, 0)


def test_the_lowest_priority_number_is_served_first_and_equals_in_order(env, log) -> None:
    service = Service(env, 1)
    for name, arrive, priority in [("a", 0, 1), ("b", 1, 1), ("c", 2, 0), ("d", 3, 1)]:
        env.process(customer(env, service, name, arrive, 5, log, priority))
    env.run()
    assert [(name, at) for name, _, at in log] == [("a", 0), ("c", 5), ("b", 10), ("d", 15)]


def test_who_gives_up_leaves_the_queue_and_is_passed_over(env, log) -> None:
    service = Service(env, 1, queue=1)
    slot = service.acquire().value
    impatient = service.acquire()
    assert service.waiting == 1
    service.leave(impatient)
    assert service.waiting == 0
    patient = service.acquire()
    service.release(slot)
    assert not impatient.triggered and patient.value == slot


def user(env, client, name, arrive, use, log):
    yield env.timeout(arrive)
    try:
        connection = yield client.connect()
    except PoolTimeout:
        log.append((name, "timeout", env.now))
        return
    log.append((name, connection, env.now))
    yield env.timeout(use)
    client.release(connection)


def test_a_client_waits_for_a_connection_up_to_its_timeout(env, log) -> None:
    client = HttpClient(env, 1, pool_timeout=6, restarts=False)
    for name, arrive in [("a", 0), ("b", 1), ("c", 2), ("d", 5)]:
        env.process(user(env, client, name, arrive, 5, log))
    env.run()
    assert log == [("a", 0, 0), ("b", 0, 5), ("c", "timeout", 8), ("d", 0, 10)]
    assert client.waiting == 0


def test_the_pool_timeout_of_httpx_begins_anew_when_a_connection_comes_free(env, log) -> None:
    """c has waited for 8 at 10, with a timeout of 6; d's is anew at 10 and ends at 16."""
    client = HttpClient(env, 1, pool_timeout=6)
    for name, arrive, use in [("a", 0, 5), ("b", 1, 5), ("c", 2, 9), ("d", 5, 1)]:
        env.process(user(env, client, name, arrive, use, log))
    env.run()
    assert log == [("a", 0, 0), ("b", 0, 5), ("c", 0, 10), ("d", "timeout", 16)]
