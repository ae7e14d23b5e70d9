"""Whether the parameters of a time, of retries, of a batch's time fit together."""

from __future__ import annotations

from typing import Any

from simulator import units
from simulator.scenario.kinds import BAD
from simulator.scenario.report import Report
from simulator.scenario.streams import backoffs

TAIL_MAX = 1000
"""p99 / p50 of a distribution; beyond that a draw could leave the range of time."""

Document = dict[str, Any]


def check_time(time: Any, path: str, report: Report) -> None:
    """Reports parameters of a distribution that don't fit together."""
    if not isinstance(time, dict):
        return
    ((name, given),) = time.items()
    if given is BAD or isinstance(given, str):
        return
    if BAD in (given.values() if isinstance(given, dict) else given):
        return
    path = f"{path}.{name}"
    if name in ("lognormal", "pareto"):
        _quantiles(given, path, report)
    elif name == "uniform" and _ns(given[0]) > _ns(given[1]):
        report(path, f"{given[0]} to {given[1]}, expected the shorter time first")
    elif name == "mix":
        for i, part in enumerate(given):
            check_time(part["time"], f"{path}[{i}].time", report)
        _shares(given, path, report)


def _quantiles(given: Document, path: str, report: Report) -> None:
    p50, p99 = _ns(given["p50"]), _ns(given["p99"])
    if p99 <= p50:
        what = f"{given['p99']} is not above p50, expected more than {given['p50']}"
        report(f"{path}.p99", what)
    elif p99 > TAIL_MAX * p50:
        what = f"{given['p99']} is more than {TAIL_MAX} times p50 (TAIL_MAX), expected less"
        report(f"{path}.p99", what)


def _shares(given: list[Document], path: str, report: Report) -> None:
    shares = [part["p"] for part in given]
    if BAD not in shares and abs(sum(shares) - 1) > 1e-9:
        report(path, f"the p sum to {sum(shares):g}, expected 1")


def _ns(text: str) -> int:
    return units.parse_duration(text)


def check_retries(retries: Any, path: str, report: Report) -> None:
    """Reports a backoff that grows beyond the range of time."""
    if retries in (0, BAD) or BAD in retries.values() or BAD in retries["backoff"].values():
        return
    backoff = retries["backoff"]
    if backoff["factor"] ** retries["max"] > 1e12 or max(backoffs(retries)) > units.DURATION_MAX_NS:
        what = f"{retries['max']} retries with a factor of {backoff['factor']} wait longer than "
        report(f"{path}.backoff", f"{what}2^61 ns (73 years), expected a smaller factor or max")
