"""The figures of the shipped scenarios: what each file's comment says, and its value.

Times are in seconds, everything else is a count. ``within`` is the ± of the comment
where chance decides (half the spread of eight seeds or more, rounded up); 0 is exact to the ns.
"""

from __future__ import annotations

from dataclasses import dataclass

MS = 0.001


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of an answer. ``text`` is how the comment spells it."""

    text: str
    of: str  # "ok", "errors", "last", "mean", "p95", "max", "first_byte", "visits:lock row" …
    value: float
    within: float = 0.0
    route: str = ""  # "" for all requests


ANSWERS: dict[str, tuple[Figure, ...]] = {
    # The first screen: the same 1000 requests, eight ways.
    "1000req": (
        Figure("p50 50 s", "p50", 50),
        Figure("p95 95 s", "p95", 95),
        Figure("the last at 100 s", "last", 100),
    ),
    "1000req-default-pool": (
        Figure("p50 250 s", "p50", 250),
        Figure("p95 475 s", "p95", 475),
        Figure("the last at 500 s", "last", 500),
    ),
    "1000req-def": (
        Figure("p50 65 s", "p50", 65),
        Figure("p95 120 s", "p95", 120),
        Figure("the last at 125 s", "last", 125),
    ),
    "1000req-blocking-driver": (
        Figure("p50 2500 s", "p50", 2500),
        Figure("p95 4750 s", "p95", 4750),
        Figure("the last at 5000 s", "last", 5000),
    ),
    "1000req-sqlalchemy-async": (
        Figure("90 of 1000", "ok", 90),
        Figure("910 give up", "failures:pool_timeout:db", 910),
        Figure("after 30 s", "last", 30.006),  # the sixth wave ends 6 ms after them
    ),
    "1000req-sqlalchemy-def": (
        Figure("all 1000 are ok", "ok", 1000),
        Figure("p50 170 s", "p50", 170),
        Figure("p95 320 s", "p95", 320),
        Figure("the last at 335 s", "last", 335),
    ),
    "1000req-4workers": (
        Figure("p50 30 s", "p50", 30),
        Figure("p95 50 s", "p95", 50),
        Figure("the last at 55 s", "last", 55),
    ),
    "1000req-max-connections": (
        Figure("97 ok", "ok", 97),
        Figure("at 5 s", "last", 5),
        Figure("903 errors", "failures:too_many_connections:postgres", 903),
    ),
    # Three users, and other small ones.
    "3users-sync": (Figure("5, 10 and 15 s", "p50", 10), Figure("15 s", "last", 15)),
    "3users-def": (Figure("All at 5 s", "p50", 5), Figure("All at 5 s", "max", 5)),
    "3users-async": (Figure("all at 5 s", "p50", 5), Figure("all at 5 s", "max", 5)),
    "db2s-sync": (Figure("2, 4 and 6 s", "p50", 4), Figure("6 s", "last", 6)),
    "db2s-async": (Figure("all at 2 s", "p50", 2), Figure("all at 2 s", "max", 2)),
    "async-unlimited": (Figure("all at 5 s", "mean", 5), Figure("all at 5 s", "max", 5)),
    "dashboard-sequential": (Figure("220 ms", "max", 220 * MS),),
    "dashboard-gather": (Figure("80 ms", "max", 80 * MS),),
    "same-row": (Figure("after 1 s", "last", 1),),
    # Blocking and computing.
    "blocking-in-async-health": (
        Figure("12 of 24 probes", "failures:deadline", 12, route="health"),
        Figure("12 of 24 probes", "requests", 24, route="health"),
        Figure("all 20 are ok", "ok", 20, route="report"),
        Figure("take 3.5 s", "max", 3.5, route="report"),
    ),
    "cpu-async": (Figure("p50 200 ms", "p50", 0.2), Figure("the last at 400 ms", "last", 0.4)),
    "cpu-def": (
        Figure("The last at 400 ms", "last", 0.4),
        Figure("350 ± 55 ms", "p50", 0.35, within=0.055),
    ),
    "cpu-4workers": (Figure("p50 60 ms", "p50", 0.06), Figure("the last at 100 ms", "last", 0.1)),
    "cpu-free-threaded": (
        Figure("All at 100 ms", "p50", 0.1),
        Figure("All at 100 ms", "last", 0.1),
    ),
    "fast-api-no-gain": (
        Figure("930 us", "max", 0.93 * MS, route="in_async"),
        Figure("1.13 ms", "max", 1.13 * MS, route="in_def"),
    ),
    "probe-kills-pod": (
        Figure("10 of 12 fail", "failures:deadline", 10, route="health"),
        Figure("10 of 12 fail", "requests", 12, route="health"),
    ),
    # Locks and connections.
    "serializable-retries": (
        Figure("15 = 5 + 4 + 3 + 2 + 1", "visits:lock row", 15),
        Figure("the last at 250 ms", "last", 0.25),
    ),
    "connect-per-request": (
        Figure("9.65 ms", "p50", 9.65 * MS),
        Figure("9.65 ms", "max", 9.65 * MS),
    ),
    "connect-per-request-burst": (
        Figure("97", "ok", 97),
        Figure("203 errors", "failures:too_many_connections:postgres", 203),
        Figure("258.7 ms", "last", 258.7 * MS),
    ),
    "pool-times-workers": (Figure("All 1000 requests", "failures:not_started", 1000),),
    "thread-pool-deadlock": (
        Figure("80 ok", "ok", 80),
        Figure("20 errors", "failures:pool_timeout:db", 20),
        Figure("30.04 s", "last", 30.04),
    ),
    "deadlock-two-rows": (
        Figure("one fails", "failures:deadlock_detected", 1),
        Figure("1.01 s", "last", 1.01, route="ann_to_bob"),
        Figure("1.02 s", "last", 1.02, route="bob_to_ann"),
    ),
    "uneven-workers": (Figure("10.5 ± 0.5 s", "last", 10.5, within=0.5),),
    # Sockets and streams.
    "sockets-thread-per-connection": (
        Figure("p50 1500 s", "p50", 1500),
        Figure("the last at 3000 s", "last", 3000),
        Figure("200 × 16 KiB", "threads", 200),
        Figure("635 MiB for the sockets", "memory", 10_000 * 65 * 1024),
    ),
    "sockets-event-loop": (
        Figure("all 10000", "ok", 10_000),
        Figure("at 60 s", "p50", 60),
        Figure("at 60 s", "last", 60),
        Figure("10000 × 65 KiB = 635 MiB", "memory", 10_000 * 65 * 1024),
    ),
    "long-polling": (
        Figure("1200 messages", "ok", 1200, route="send"),
        Figure("10 ms", "max", 10 * MS, route="send"),
        Figure("25 s", "max", 25, route="poll"),
    ),
    "long-polling-def": (
        Figure("120 get through", "ok", 120, route="send"),
        Figure("1080 still wait", "in_flight", 1080, route="send"),
    ),
    "token-streaming": (
        Figure("20 ms", "first_byte", 20 * MS),
        Figure("400 ms", "max", 0.4),
    ),
    "token-streaming-def": (
        Figure("at 1 s", "last", 1),
        Figure("40 ms", "first_byte", 40 * MS),
    ),
    "llm-continuous-batching": (
        Figure("26 ± 2 ms", "first_byte", 26 * MS, within=2 * MS),
        Figure("2.2 ± 0.2 s", "p50", 2.2, within=0.2),
        Figure("9.3 ± 0.8 s", "p95", 9.3, within=0.8),
    ),
    "websocket-broadcast": (
        Figure("up to 201 ms", "max", 201 * MS, route="get_user"),
        Figure("200 ms", "max", 200 * MS, route="announce"),
    ),
    # What the service calls.
    "rate-limited-api": (
        Figure("p50 600 ms", "p50", 0.6),
        Figure("the last at 2.1 s", "last", 2.1),
    ),
    "rate-limited-api-reject": (
        Figure("20 at 100 ms", "ok", 20),
        Figure("20 at 100 ms", "max", 0.1),
        Figure("40 are errors", "failures:rate_limited:geocoder", 40),
    ),
    "httpx-limit": (Figure("p50 250 ms", "p50", 0.25), Figure("the last at 500 ms", "last", 0.5)),
    "cache-outage": (
        Figure("65 of 500", "failures:service_error:cache", 65),
        Figure("65 of 500", "requests", 500),
        Figure("Max 701 ms", "max", 701 * MS),
    ),
    # At the door.
    "backlog-full": (
        Figure("p50 1.5 s", "p50", 1.5),
        Figure("the last at 3 s", "last", 3),
        Figure("all 3000", "ok", 3000),
    ),
    "worker-timeout": (
        Figure("all 3 are lost", "failures:worker_timeout", 3, route="report"),
        Figure("the last at 60 s", "last", 60, route="report"),
        Figure("up to 30.1 s", "max", 30.1, route="get_user"),
        Figure("all 40 are ok", "ok", 40, route="get_user"),
    ),
    # Who asks, and how often.
    "retry-storm": (
        Figure("530 of 4500", "ok", 530),
        Figure("530 of 4500", "requests", 4500),
    ),
    "retry-storm-mended": (
        Figure("4045 of 4500", "ok", 4045),
        Figure("425 get a 503", "failures:limit_concurrency", 425),
        Figure("30 time out", "failures:client_timeout", 30),
    ),
    "abandoned-work": (
        Figure("880 of 2937", "ok", 880),
        Figure("880 of 2937", "requests", 2937),
    ),
    "limit-concurrency": (Figure("All 60", "failures:limit_concurrency", 60),),
    "slow-closing-clients": (
        Figure("100 ms, 700 ms and 1.3 s", "mean", 0.7),
        Figure("1.3 s", "last", 1.3),
    ),
    # The mixed system.
    "read-heavy-listing": (
        Figure("19.8 ± 0.5 ms", "mean", 19.8 * MS, within=0.5 * MS),
        Figure("14.3 ± 0.3 ms", "p50", 14.3 * MS, within=0.3 * MS),
        Figure("53 ± 3 ms", "p95", 53 * MS, within=3 * MS),
    ),
    "listing-inference": (
        Figure("496 ± 80 ms", "p95", 0.496, within=0.08, route="list_products"),
        Figure("21.6 ± 1.5 ms", "p50", 21.6 * MS, within=1.5 * MS, route="list_products"),
        Figure("p50 300 ms", "p50", 0.3, route="predict"),
    ),
    "listing-inference-def": (
        Figure("72 ± 16 ms", "p95", 0.072, within=0.016, route="list_products"),
    ),
    "listing-inference-workers": (
        Figure("244 ± 25 ms", "p95", 0.244, within=0.025, route="list_products"),
    ),
    "listing-inference-instances": (
        Figure("66 ± 6 ms", "p95", 0.066, within=0.006, route="list_products"),
        Figure("230 ± 30 ms", "p99", 0.23, within=0.03, route="list_products"),
    ),
    "listing-inference-gpu": (
        Figure("52 ± 3 ms", "p95", 0.052, within=0.003, route="list_products"),
        Figure("p50 30 ms", "p50", 30 * MS, route="predict"),
        Figure("34 ± 3 ms", "p95", 34 * MS, within=3 * MS, route="predict"),
    ),
}

FINDINGS: dict[str, tuple[str, ...]] = {
    "1000req": ("SIM105",),
    "1000req-4workers": ("SIM105",),
    "1000req-blocking-driver": ("SIM101", "SIM105"),
    "1000req-def": ("SIM103",),
    "1000req-default-pool": ("SIM105",),
    "1000req-max-connections": ("SIM104", "SIM105"),
    "1000req-sqlalchemy-async": ("SIM106",),
    "abandoned-work": ("SIM107", "SIM116"),
    "backlog-full": ("SIM123",),
    "blocking-in-async-health": ("SIM101", "SIM117"),
    "cache-outage": ("SIM110",),
    "connect-per-request": ("SIM104", "SIM105", "SIM118"),
    "connect-per-request-burst": ("SIM104", "SIM118"),
    "cpu-4workers": ("SIM102",),
    "cpu-async": ("SIM102",),
    "dashboard-sequential": ("SIM109",),
    "deadlock-two-rows": ("SIM108",),
    "httpx-limit": ("SIM113",),
    "limit-concurrency": ("SIM114",),
    "listing-inference": ("SIM102", "SIM111"),
    "listing-inference-def": ("SIM111", "SIM122"),
    "listing-inference-gpu": ("SIM111",),
    "listing-inference-instances": ("SIM102", "SIM111"),
    "listing-inference-workers": ("SIM102", "SIM111"),
    "long-polling-def": ("SIM107",),
    "pool-times-workers": ("SIM104", "SIM105"),
    "probe-kills-pod": ("SIM107", "SIM117"),
    "retry-storm": ("SIM110", "SIM116"),
    "retry-storm-mended": ("SIM110",),
    "same-row": ("SIM105",),
    "serializable-retries": ("SIM105", "SIM121"),
    "slow-closing-clients": ("SIM119",),
    "sockets-thread-per-connection": ("SIM115",),
    "thread-pool-deadlock": ("SIM106", "SIM108"),
    "token-streaming-def": ("SIM115",),
    "uneven-workers": ("SIM105", "SIM120"),
    "websocket-broadcast": ("SIM102",),
    "worker-timeout": ("SIM124",),
}
"""Codes of what is found, in the text of a file or by its run; none where it is missing."""
