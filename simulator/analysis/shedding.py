"""What uvicorn's `--limit-concurrency` does to a run: it answers 503 to what it does not let in."""

from __future__ import annotations

from simulator.analysis.insight import Case
from simulator.engines.contract import LIMIT_CONCURRENCY

LABEL = "limit concurrency"
"""The name of the limit among resources."""


def shed(case: Case) -> int:
    """Requests that it turned away; 0 where something else was the most frequent failure."""
    failures = case.summary.failures
    name = case.trace.outcomes[LIMIT_CONCURRENCY]
    return failures[0][1] if failures and failures[0][0] == name else 0


def shed_words(case: Case) -> str:
    """What it did, as the beginning of a sentence."""
    limit, total = case.plan.server.limit_concurrency, case.summary.total.requests
    return f"limit_concurrency of {limit} turns away {shed(case)} of {total} with a 503"


def wider(case: Case) -> str | None:
    """The override that lets in twice as many, connections that are only kept open aside."""
    limit = 2 * case.plan.server.limit_concurrency + case.plan.client.kept_connections
    return case.keys.override("server.limit_concurrency", str(limit))
