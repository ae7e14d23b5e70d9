"""The rules behind findings: a code, a title and a page each."""

from __future__ import annotations

from pathlib import Path

from simulator.record import dataclass

_TITLES = {
    "SIM101": "blocking call in async def",
    "SIM102": "more than 10 ms of cpu in async def",
    "SIM103": "fewer threads than connections",
    "SIM104": "pools × workers over max_connections",
    "SIM105": "acquire without a timeout",
    "SIM106": "predicted wait over the timeout",
    "SIM107": "offered load at or above capacity",
    "SIM108": "deadlock possible: one pool twice, or two resources in two orders",
    "SIM109": "independent calls one after another",
    "SIM110": "retries that amplify",
    "SIM111": "too few samples for a percentile",
    "SIM112": "more processes than cores",
    "SIM113": "more calls than the HTTP client has connections",
    "SIM114": "limit_concurrency counts idle connections",
    "SIM115": "more streams than threads",
    "SIM116": "work for clients that have left",
    "SIM117": "a health check behind slow handlers",
    "SIM118": "a connection for each request",
    "SIM119": "a sync worker waits for its client to close",
    "SIM120": "workers that get uneven shares",
    "SIM121": "transactions that are done again",
    "SIM122": "cpu in threads beside an event loop",
    "SIM123": "connections that find the backlog full",
    "SIM124": "workers killed by their timeout",
    "SIM125": "a call that takes longer than its timeout",
    "SIM126": "the warm-up is not over",
}


@dataclass(frozen=True, slots=True)
class Rule:
    """What a finding is about; ``page`` is markdown."""

    code: str
    title: str
    page: str


def rule(code: str) -> Rule:
    """The rule of a code such as ``SIM104``.

    Raises
    ------
    KeyError
        With a message that lists the known codes.
    """
    title = _TITLES.get(code.upper())
    if title is None:
        raise KeyError(f"unknown rule {code}, expected one of: {', '.join(_TITLES)}")
    page = Path(__file__).parent / "rules" / f"{code.upper()}.md"
    return Rule(code.upper(), title, page.read_text(encoding="utf-8"))


def rules() -> tuple[Rule, ...]:
    """All rules, by code."""
    return tuple(map(rule, _TITLES))
