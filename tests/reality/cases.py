"""Which scenarios are served, and how they are made to fit into some seconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Case:
    """A scenario, and what is changed of it: times by a factor, or a smaller load."""

    config: str
    scale: str = "1"
    overrides: tuple[str, ...] = ()
    runs: int = 3
    name: str = ""

    @property
    def label(self) -> str:
        return self.name or self.config


SHORT = "load.for=5s"
TWO_CORES = "server.cores=2"
REPEATS = 20
"""Of a server with several workers: how often the interval holds."""
CHANCES = 9
"""Runs where chance decides which of two waves a percentile is in: the median of three would be in
the rarer one now and then."""

CASES = (
    Case("1000req", "0.05"),
    Case("1000req-def", "0.05"),
    Case("1000req-default-pool", "0.01"),
    Case("1000req-blocking-driver", "0.002", ("load.requests=500",)),
    Case("1000req-sqlalchemy-async", "0.3", runs=CHANCES),
    Case("1000req-sqlalchemy-def", "0.02", ("load.requests=500",)),
    Case("1000req-4workers", "0.02", runs=REPEATS),
    Case("1000req-max-connections", runs=CHANCES),
    Case("uneven-workers", "0.5", ("server.accept=round_robin",), runs=REPEATS),
    Case("3users-sync", "0.1"),
    Case("3users-async", "0.1"),
    Case("3users-def", "0.1"),
    Case("db2s-sync", "0.2"),
    Case("db2s-async", "0.2"),
    Case("async-unlimited", "0.4"),
    Case("dashboard-sequential"),
    Case("dashboard-gather"),
    Case("same-row"),
    Case("deadlock-two-rows"),
    Case("serializable-retries"),
    Case("connect-per-request"),
    Case("connect-per-request-burst"),
    Case("abandoned-work", "1", ("load.requests=1500",)),
    Case("blocking-in-async-health", "0.05"),
    Case("probe-kills-pod", "0.05"),
    Case("long-polling", "0.1"),
    Case("long-polling-def", "0.03"),
    Case("thread-pool-deadlock", "0.1"),
    Case("retry-storm", "0.3"),
    Case("retry-storm-mended", "0.6"),
    Case("cache-outage", "0.5"),
    Case("rate-limited-api"),
    Case("rate-limited-api-reject"),
    Case("httpx-limit"),
    Case("limit-concurrency"),
    Case("slow-closing-clients"),
    Case("backlog-full"),
    Case("worker-timeout", "1"),
    Case("token-streaming"),
    Case("token-streaming-def"),
    Case(
        "sockets-event-loop",
        "0.05",
        ("load.requests=1000", "client.connections.kept=1000"),
    ),
    Case("sockets-thread-per-connection", "0.01", ("load.requests=1000",)),
    Case("websocket-broadcast", "1", ("routes.announce.steps[0].broadcast.sockets=1000",)),
    Case("llm-continuous-batching", "0.5", ("load.for=10s",)),
    Case("read-heavy-listing", "1", (SHORT, TWO_CORES)),
    Case("fast-api-no-gain", "1", ("load.for=3s",)),
    Case("cpu-async"),
    Case("cpu-4workers", "1", (TWO_CORES,), runs=REPEATS),
    Case("cpu-def"),
    Case("cpu-free-threaded"),
    Case("listing-inference", "1", (SHORT, TWO_CORES)),
    Case("listing-inference-def", "1", (SHORT, TWO_CORES)),
    Case("listing-inference-workers", "1", (SHORT, TWO_CORES)),
    Case("listing-inference-instances", "1", (SHORT, TWO_CORES)),
    Case("listing-inference-gpu", "1", (SHORT, TWO_CORES)),
    Case("pool-times-workers"),
)
"""Every scenario of ``configs``; a test holds them together."""

FULL = (
    Case("1000req", runs=1, name="1000req, full scale"),
    Case("1000req-def", runs=1, name="1000req-def, full scale"),
)
"""The two runs of 1000 × 5 s, as they are: more than 100 s each."""
