"""What pictures say in their titles, the finding first, and the units of their axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulator.analysis.limits import is_burst
from simulator.analysis.summary import Group, Summary
from simulator.plan import UNLIMITED
from simulator.report import format, series
from simulator.report.text import clean
from simulator.trace import Trace

_SLOTS = {
    "pool": "connection",
    "threads": "thread",
    "workers": "worker",
    "event loop": "event loop",
    "gil": "GIL",
    "cores": "core",
    "lock": "row lock",
}


def percentiles(total: Group) -> str:
    """Of latency against percentile: the half, and one in 20."""
    p50, p95 = (total.reliable_percentile_ns(p) for p in (50, 95))
    if p50 is None or p95 is None:
        longest = format.duration(total.latency.max_ns)
        return f"{total.ok} of {total.requests} requests answered, the slowest in {longest}"
    if total.latency.min_ns == total.latency.max_ns:
        return f"Every answer takes {format.duration(p50)}"
    return (
        f"Half of the requests take {format.duration(p50)} or less, "
        f"one in 20 takes {format.duration(p95)} or more"
    )


def ecdf(total: Group) -> str:
    """Of the share answered within a time: the half, and the slowest."""
    longest, half = (format.duration(total.latency.percentile_ns(p)) for p in (100, 50))
    if total.ok < total.requests or half == longest:
        return f"{served(total)} answered, the slowest in {longest}"
    return f"{served(total)} answered, half of them within {half}, all within {longest}"


def unanswered(total: Group) -> str:
    """Of a picture that has nothing to show."""
    return f"None of {format.count(total.requests, 'request')} was answered."


def timeline(summary: Summary) -> str:
    """Of completions over time: how many, how fast, what failed most."""
    total = summary.total
    title = f"{total.ok} of {total.requests} served"
    if total.throughput:
        title += f", {format.rate(total.throughput)} on average"
    if summary.failures:
        reason, count = summary.failures[0]
        title += f"; {count} failed: {clean(reason.replace(':', ' ').replace('_', ' '))}"
    return title


def queues(trace: Trace, lines: Sequence[series.Line]) -> str:
    """Of how many wait for each resource: the queue in which most time is spent.

    Not the longest one: who comes at once is read by the loop one by one, in no time.
    """
    longest = max(lines, key=lambda line: (_area(line), line.peak))
    peak, noun = int(longest.peak), who_waits(trace)
    who = f"1 {noun} waits" if peak == 1 else f"up to {peak} {noun}s wait"
    several = sum(station.label == longest.label for station in trace.stations) > 1
    return f"{clean(longest.label)}: {who} at once{', in all workers' if several else ''}"


def who_waits(trace: Trace) -> str:
    """A request that is sent again while its first attempt still waits is in two queues."""
    return "attempt" if len(trace.attempts) else "request"


def utilisation(summary: Summary, lines: Sequence[series.Line]) -> str:
    """Of how much of each resource is held: the busiest."""
    busy = {row.label: row.busy for row in summary.resources if row.busy is not None}
    busiest = max(lines, key=lambda line: busy.get(line.label) or 0)
    works = format.percent(busy.get(busiest.label, 0))
    title = f"{clean(busiest.label)}: {works} busy"
    if busiest.label.startswith("accelerator ") and format.percent(_average(busiest)) != works:
        # A device works as hard with one slot held as with all.
        held = format.percent(_average(busiest))
        title = f"{clean(busiest.label)}: works for {works} of the run, {held} of its slots held"
    return f"{title}, the most of all resources" if len(lines) > 1 else title


def _average(line: series.Line) -> float:
    """Over time, from its first change to its last."""
    total = int(line.at_ns[-1] - line.at_ns[0])
    return _area(line) / total if total else 0.0


def _area(line: series.Line) -> float:
    """Value times time, in ns."""
    return float((line.value[:-1] * np.diff(line.at_ns)).sum())


def staircase(
    trace: Trace,
    summary: Summary,
    label: str | None,
    bars: series.Bars,
    window: series.Window,
) -> str:
    """Of who holds which slot when: how many are served in how many waves, and the last."""
    total = summary.total
    last = "none ends"
    if total.last_ns is not None:
        last = f"the last ends at {format.duration(total.last_ns)}"
    last += _shown(trace, label, bars, window)
    if label is None:
        return f"{served(total)}, held up by no resource: {last}"
    if any(s.label == label and s.size >= UNLIMITED for s in trace.stations):
        return f"{clean(label)} lets {served(total)} through: {last}"
    slots, verb = _slots(trace, label)
    if bars.by == "slot" and is_burst(trace) and _even(bars):
        return f"{slots} {verb} {served(total)} in {int(bars.wave.max()) + 1} waves: {last}"
    holds = f" with {format.count(bars.of, 'hold')}" if bars.of != total.ok else ""
    return f"{slots} {verb} {served(total)}{holds}: {last}"


def lane_name(trace: Trace, label: str | None, bars: series.Bars) -> str:
    """What a lane of a staircase is."""
    if bars.by == "request" or label is None:
        waited = bool((bars.begin_ns > bars.wait_ns).any())
        return f"request{' (grey: waiting)' if waited else ''}"
    kind = next(station.kind for station in trace.stations if station.label == label)
    workers = sum(station.label == label for station in trace.stations)
    name = f"{_SLOTS.get(kind, 'slot')} of {clean(label)}" if kind == "pool" else clean(label)
    return f"{name},\nworker after worker" if workers > 1 else name


def served(total: Group) -> str:
    """Who had an answer: "1000 requests", "3 of 10 requests"."""
    if total.ok == total.requests:
        return format.count(total.ok, "request")
    return f"{total.ok} of {format.count(total.requests, 'request')}"


def first_arrival(trace: Trace) -> int:
    """Where a time axis begins."""
    return int(trace.arrival_ns.min()) if len(trace) else 0


def time_unit(span_ns: int) -> tuple[int, str]:
    """The unit of a time axis and its nanoseconds."""
    for unit_ns, unit in ((10**9, "s"), (10**6, "ms"), (10**3, "us")):
        if span_ns >= unit_ns:
            return unit_ns, unit
    return 1, "ns"


def _shown(trace: Trace, label: str | None, bars: series.Bars, window: series.Window) -> str:
    """What part of the run is seen, where it is not all of it."""
    if window.whole:
        return ""
    if label is None:
        return f" (the first {len(bars.lane)} of {bars.of} shown)"
    begin = format.duration(window.begin_ns - first_arrival(trace))
    return f" (shown: its busiest {format.duration(window.end_ns - window.begin_ns)}, from {begin})"


def _even(bars: series.Bars) -> bool:
    """Whether all holds are equally long, so that they come in waves."""
    if not len(bars.wave) or not bars.wave.any():
        return False
    hold = bars.end_ns - bars.begin_ns
    return int(hold.min()) == int(hold.max())


def _slots(trace: Trace, label: str) -> tuple[str, str]:
    stations = [station for station in trace.stations if station.label == label]
    noun = _SLOTS.get(stations[0].kind, "slot")
    slots = sum(station.size for station in stations)
    if len(stations) > 1 and stations[0].size > 1:
        words = f"{len(stations)} × {format.count(stations[0].size, noun)}"
    else:
        words = format.count(slots, noun)
    return words, "serves" if slots == 1 else "serve"
