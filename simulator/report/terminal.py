"""The page that `sim run` prints: verdict, latency, where the time goes, what to try next."""

from __future__ import annotations

import math
import shlex
import textwrap
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Protocol

from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.summary import Summary
from simulator.analysis.trust import UNKNOWN, Trust
from simulator.analysis.verdicts import ThresholdResult
from simulator.analysis.warmup import ALL_COUNT, Warmup
from simulator.plan import NEVER, UNLIMITED, Load, LoadKind, Overheads, Plan, ServerKind
from simulator.report import format, rows
from simulator.report.spreads import certain, notes
from simulator.report.text import clean, table
from simulator.thresholds import DURATIONS

BAR = 20
"""Characters of a bar of 100 %."""
_WIDTH = 100

_ENDED = {
    "interrupted": "INTERRUPTED: this is what was done so far.",
    "deadlock": "DEADLOCK: the run stopped because no request could go on.",
    "drained": "DRAINED: the load ended and the time to finish is over; the rest is in flight.",
}


_UNBOUNDED = "(too few samples to bound it)"


class PlacedFinding(Protocol):
    """A finding as a page shows it, static or of a run."""

    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...
    @property
    def place(self) -> str: ...


def render(
    plan: Plan,
    summary: Summary,
    limited: Bottleneck,
    threshold_results: Sequence[ThresholdResult],
    found: Sequence[PlacedFinding],
    *,
    command: str,
    version: str,
    preset: str | None = None,
    seed: int | None = None,
    trust: Trust = UNKNOWN,
    warmup: Warmup = ALL_COUNT,
) -> str:
    """The page as text, lines of about 100 columns at most, ending in a newline.

    Parameters
    ----------
    command : str
        What repeats this run: "sim run configs/1000req.yaml".
    preset : str, optional
        The server's preset, unless another kind was given with it; default: its kind.
    seed : int, optional
        The seed that was used; default: the plan's.
    trust : Trust, optional
        The intervals of the run, or why it has none.
    warmup : Warmup, optional
        What was left out of the numbers.
    """
    used_seed = plan.seed if seed is None else seed
    spent = rows.times(summary.breakdown, trust)
    groups = rows.groups(summary)
    tables = (
        rows.requests(groups, trust),
        rows.first_byte(groups, trust),
        rows.failures(summary.failures, summary.total.requests, trust),
        rows.resources(rows.uses(summary), trust),
    )
    requests, streamed, failed, used = map(filled, tables)
    flying = summary.total.in_flight > 0
    note = [f"    times are those of ok requests; {_flying(summary)}"] if flying else []
    sections = [
        [header(plan, preset, f"seed {used_seed}{certain(trust)}"), *_ending(summary)],
        [*requests, *note, *notes(trust, warmup, rows.spreads_shown(tables, spent))],
        streamed,
        failed,
        times(spent, errors=summary.total.errors > 0),
        _resources(summary, used),
        bottleneck(limited, command),
        thresholds(threshold_results, _flying_note(summary)),
        findings(found),
        [f"  repeat: {command}   {version}, overheads: {overheads(plan.server.overheads)}"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def filled(found: rows.Rows) -> list[str]:
    """The lines of a table; none where it has no rows."""
    return table(*found) if found[1] else []


def server_words(plan: Plan, preset: str | None = None) -> str:
    """The server in words: "fastapi, 1 worker, loop + 40 threads"."""
    server = plan.server
    name = clean(preset) if preset else server.kind.name.lower()
    words = f"{name}, {format.count(server.workers, 'worker')}"
    if server.kind is ServerKind.ASGI:
        words += f", loop + {format.count(server.threads, 'thread')}"
    if server.kind is ServerKind.THREADS:
        words += f" of {format.count(server.threads, 'thread')}"
    if server.instances > 1:
        balancer = server.balancer.name.lower()
        words += f", {server.instances} instances behind {balancer}"
    return words


def load_words(plan: Plan) -> str:
    """The load in words: "1000 requests at once", "200/s poisson for 180s"."""
    return " + ".join(_one_load(load) for load in plan.loads)


def overheads(used: Overheads) -> str:
    """The overheads that are not 0: "none", or "loop_before 280us, timer 300us"."""
    values = ((name.removesuffix("_ns"), getattr(used, name)) for name in Overheads.__slots__)
    return ", ".join(f"{name} {format.duration(ns)}" for name, ns in values if ns) or "none"


def with_override(command: str, override: str) -> str:
    """The command with this ``KEY=VALUE`` in place of any other of the same key."""
    key = override.split("=", 1)[0]
    kept = [word for word in shlex.split(command) if not word.startswith(f"{key}=")]
    return shlex.join([*kept, override])


def header(plan: Plan, preset: str | None, chance: str) -> str:
    """The first line of a page: what was run, and by which seed."""
    words = (clean(plan.name), server_words(plan, preset), load_words(plan), chance)
    return "   ".join(words)


def _one_load(load: Load) -> str:
    if load.kind is LoadKind.BURST:
        return f"{format.count(load.count, 'request')} at once"
    words = f"{format.rate_words(Fraction(*load.rate))} {load.kind.name.lower()}"
    if load.kind is LoadKind.CLOSED:
        words = format.count(load.users, "user")
    elif not load.rate[0]:
        words = load.kind.name.lower()
    if load.until_ns < NEVER:
        words += f" for {format.duration(load.until_ns)}"
    if load.until_ns >= NEVER or (load.kind is LoadKind.CLOSED and load.count < UNLIMITED):
        words += f", {format.count(load.count, 'request')}"
    return words


def _ending(summary: Summary) -> list[str]:
    words = ended_words(summary)
    return ["", f"  {words}"] if words else []


def ended_words(summary: Summary) -> str:
    """How the run ended, where it did not end by itself; else the empty text."""
    total = summary.total
    if summary.ended not in _ENDED or (summary.ended == "drained" and not total.in_flight):
        return ""
    return f"{_ENDED[summary.ended]} {total.finished} of {total.requests} have an outcome."


def _flying(summary: Summary) -> str:
    number = summary.total.in_flight
    return f"{number} {'is' if number == 1 else 'are'} in flight at the end and in none of them"


def times(found: Sequence[rows.Time], *, errors: bool) -> list[str]:
    """Where the time goes, a bar for each cause; ``errors``: whether some requests failed."""
    if not found:
        return []
    names = [f"    {row.kind}  {row.cause}" for row in found]
    width, spread = max(map(len, names)), max(len(row.spread) for row in found)
    lines = []
    for name, row in zip(names, found, strict=True):
        half = f"{row.spread:>{spread}}  " if spread else ""
        bar = "█" * round(row.share * BAR) or "▏"
        lines.append(f"{name:<{width}}  {row.mean:>8}  {half}{row.share_text:>5}  {bar}")
    of_all = ", failed ones included" if errors else ""
    return [f"  WHERE THE TIME GOES, mean per finished request{of_all}", *lines]


def _resources(summary: Summary, used: list[str]) -> list[str]:
    if not used:
        return ["  RESOURCES", *memory(summary)] if summary.memory else []
    return [*used, *waits_note(summary), *memory(summary)]


def waits_note(summary: Summary) -> list[str]:
    """What the waits are of, where that differs from row to row."""
    labels = [clean(row.label) for row in summary.resources if row.waits_per == "request"]
    if not labels:
        return []
    return [f"    waits per request: {', '.join(labels)}; of the others per visit"]


def memory(summary: Summary) -> list[str]:
    """What open connections and threads take at their most."""
    found = summary.memory
    if found is None:
        return []
    parts = [
        (found.connections, found.connection_bytes, "connections at once"),
        (found.threads, found.thread_bytes, "threads"),
    ]
    words = [
        f"{format.grouped(number)} {noun} × {format.memory(each)} = {format.memory(number * each)}"
        for number, each, noun in parts
        if number * each
    ]
    return [f"    memory: {', '.join(words)}"]


def bottleneck(found: Bottleneck, command: str) -> list[str]:
    """What limits, why, and the command that tries a change."""
    head, *rest = (clean(line) for line in (found.sentence, found.insight, *found.details))
    lines = _wrapped(f"  BOTTLENECK  {head}")
    lines += [line for text in rest for line in _wrapped(f"    {text}")]
    if found.override:
        command = with_override(command, found.override)
        if found.override_with:
            command = with_override(command, found.override_with)
        lines.append(f"    next: {clean(command)}")
    return lines


def _wrapped(text: str) -> list[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    return textwrap.wrap(text, _WIDTH, subsequent_indent=indent + "  ", break_on_hyphens=False)


def _flying_note(summary: Summary) -> str:
    return f"   over ok requests; {_flying(summary)}" if summary.total.in_flight else ""


def thresholds(results: Iterable[ThresholdResult], note: str) -> list[str]:
    """A line for each threshold; ``note`` stands behind the heading."""
    lines = [f"    {mark(result)} {clean(result.text)}   {words(result)}" for result in results]
    return [f"  THRESHOLDS{note}", *lines] if lines else []


def mark(result: ThresholdResult) -> str:
    """A tick, a cross, or a question mark where the interval holds the limit."""
    return {"passed": "✓", "failed": "✗", "undecided": "?"}[result.verdict]


def words(result: ThresholdResult) -> str:
    """What a threshold saw, how sure that is, and what follows where it is not sure."""
    text = " ".join(filter(None, (f"observed {observed(result)}", margin(result))))
    if margin(result) == _UNBOUNDED or result.verdict != "undecided":
        return text
    return f"{text}: undecided, {'yes' if result.ok else 'no'} by the estimate; -n auto runs more"


def margin(result: ThresholdResult) -> str:
    """How sure what a threshold saw is: "±3.1ms"; empty where that is not known."""
    if result.interval is None or result.observed is None:
        return ""
    half = result.interval.half(float(result.observed))
    if math.isinf(half):
        return _UNBOUNDED
    if result.threshold.metric in DURATIONS:
        return format.spread(half)
    if result.threshold.metric in ("ok", "errors") and result.threshold.aggregate == "rate":
        return f"±{format.percent(half)}"
    if result.threshold.aggregate != "count":
        return f"±{format.rate(Fraction(half))}"
    return f"±{format.mean_count(Fraction(round(half, 1)))}"


def observed(result: ThresholdResult) -> str:
    """What a threshold saw, in its own unit."""
    threshold, value = result.threshold, result.observed
    if value is None:
        return "no samples"
    if threshold.metric in DURATIONS:
        return format.duration(int(value + Fraction(1, 2)))
    if threshold.aggregate == "count":
        return format.mean_count(value)
    if threshold.metric in ("errors", "ok"):
        return format.percent(value)
    return format.rate(value)


def findings(found: Iterable[PlacedFinding]) -> list[str]:
    """A line or two for each finding."""
    lines = [line for finding in found for line in _finding(finding)]
    return ["  FINDINGS", *lines] if lines else []


def _finding(finding: PlacedFinding) -> list[str]:
    place, message = f"    {finding.code}  {clean(finding.place)}", clean(finding.message)
    if len(place) + len(message) + 2 <= _WIDTH:
        return [f"{place}  {message}"]
    return [
        place,
        *textwrap.wrap(message, _WIDTH, initial_indent=" " * 12, subsequent_indent=" " * 12),
    ]
