"""The page and the JSON of `sim explain`: why a run is as it is."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

from simulator.analysis.bands import Span, Story
from simulator.analysis.known import Known
from simulator.experiments.explain import Explanation, Next
from simulator.experiments.measures import engines
from simulator.experiments.sensitivity import Change, Effect
from simulator.report import format, machine
from simulator.report.terminal import load_words, server_words
from simulator.report.text import clean

BAR = 20
_WIDTH = 98
_CHANGES_SHOWN = 12
_SPANS_SHOWN = 12


def render(found: Explanation, *, command: str, version: str) -> str:
    """The page as text, ending in a newline."""
    plan = found.scenario.plan
    preset = found.scenario.server_preset
    head = (clean(plan.name), server_words(plan, preset), load_words(plan), f"seed {found.seed}")
    sections = [
        ["explain " + "   ".join(head)],
        ["  INTERRUPTED: this is what was found so far."] if found.interrupted else [],
        _why(found),
        _bands(found),
        _laws(found),
        _formula(found),
        _changes(found),
        _chain(found.chain),
        _story(found),
        _findings(found),
        [f"  repeat: {clean(command)}   {version}, all runs with the same arrivals and times"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def _why(found: Explanation) -> list[str]:
    bottleneck = found.answer.bottleneck
    lines = _wrapped(f"WHY  {bottleneck.sentence}", 2, 4)
    lines += _wrapped(bottleneck.insight, 4, 4)
    return lines + [line for detail in bottleneck.details for line in _wrapped(detail, 4, 6)]


def _bands(found: Explanation) -> list[str]:
    if not found.bands:
        return []
    causes = found.answer.trace.causes
    total = found.bands[0].spent_ns
    rows = sorted((i for i, ns in enumerate(total) if ns), key=lambda i: -total[i])
    head = ["TIME BY CAUSE, mean", *(f"{band.words}" for band in found.bands)]
    table = [head]
    for i in rows:
        name = f"  {causes[i].kind}  {clean(causes[i].name.replace(':', ' ', 1))}"
        table.append([name, *(format.duration(band.spent_ns[i]) for band in found.bands)])
    table.append(["  all", *(format.duration(band.latency_ns) for band in found.bands)])
    table.append(["  requests", *(str(band.requests) for band in found.bands)])
    return _table(table)


def _laws(found: Explanation) -> list[str]:
    if not found.laws:
        return []
    table = [["BOUNDS", "slots", "work of a request", "serves at most", "asked for"]]
    for law in found.laws[:6]:
        asked = "–" if law.asked is None else format.percent(law.asked)
        demand, most = format.duration(law.demand_ns), format.rate(law.most_per_s)
        table.append([f"  {clean(law.label)}", str(law.slots), demand, most, asked])
    lines = _table(table)
    total = found.answer.summary.total
    mean = total.latency.mean_exact_ns
    if mean is not None and total.throughput is not None and total.ok == total.requests:
        inside = total.throughput * mean / 10**9
        lines.append(
            f"    Little: {format.rate(total.throughput)} × {format.duration(round(mean))} = "
            f"{format.significant(inside, digits=3)} requests inside on average"
        )
    return lines


def _formula(found: Explanation) -> list[str]:
    formula = found.formula
    if isinstance(formula, str):
        return _wrapped(f"FORMULA  none is exact here: {formula}.", 2, 4)
    if formula.mean_s == float("inf"):
        text = (
            f"FORMULA  {formula.name}: not stable, the queue grows for as long as the load lasts."
        )
        return _wrapped(text, 2, 4)
    total = found.answer.summary.total
    parts = [_beside("mean", _seconds(formula.mean_s), total.latency.mean_ns, formula.mean_s)]
    if formula.throughput is not None and total.throughput is not None:
        said = Fraction(formula.throughput)
        parts.append(f"throughput {format.rate(said)}, simulated {format.rate(total.throughput)}")
    if formula.lost is not None and total.finished:
        share = Fraction(total.errors, total.finished)
        parts.append(f"refused {format.percent(formula.lost)}, simulated {format.percent(share)}")
    return _wrapped(f"FORMULA  {formula.name}: {'; '.join(parts)}.", 2, 4)


def _seconds(value: float) -> str:
    return format.duration(round(value * 1e9))


def _beside(word: str, said: str, simulated: int | None, exact_s: float) -> str:
    if simulated is None:
        return f"{word} {said}"
    change = simulated / (exact_s * 1e9) - 1 if exact_s else 0.0
    return f"{word} {said}, simulated {format.duration(simulated)} ({change:+.1%})"


def _changes(found: Explanation) -> list[str]:
    if not (found.changes or found.unwaited):
        return []
    changes = found.changes[:_CHANGES_SHOWN]
    runs = [link.measured for link in found.chain[:1]] + [c.measured for c in changes]
    stuck = any(run.total.in_flight for run in runs)
    head = ["SENSITIVITY, one change", "mean", "", "", "p95", "", ""]
    table = [[*head, "not ok" if stuck else "errors"], *map(_change, changes)]
    lines = _table(_filled(table)) if changes else ["  SENSITIVITY"]
    lines += [f"    {words}"] if (words := _surety(changes)) else []
    if found.unwaited:
        names = ", ".join(clean(label) for label in found.unwaited)
        lines += _wrapped(f"nobody waits for {names}: more of it changes nothing.", 4, 6)
    return lines


def _filled(table: list[list[str]]) -> list[list[str]]:
    """A table without the columns that are empty, head aside, from the second on."""
    kept = [0, *(i for i in range(1, len(table[0])) if any(row[i] for row in table))]
    return [[row[i] for i in kept] for row in table]


def _surety(changes: Sequence[Change]) -> str:
    """What the intervals rest on, where there are some."""
    if not any(effect.interval for change in changes for effect in (change.mean, change.p95)):
        return ""
    number = changes[0].measured.trust.replications
    if number > 1:
        return f"± 95 %, by {number} replications of each in pairs with the same draws"
    return "± 95 %, by the requests of one run in pairs, in batches"


def _change(change: Change) -> list[str]:
    errors = change.unanswered
    return [
        f"  {clean(change.what)}",
        *_effect(change.mean),
        *_effect(change.p95),
        f"{float(errors):+.4g}" if errors else "0",
    ]


def _effect(effect: Effect) -> tuple[str, str, str]:
    """The number after a change, the change, and how sure that is."""
    share, interval = effect.share, effect.interval
    if share is None:
        return format.duration(effect.after_ns), "", ""
    half = interval.half(share) if interval else 0.0
    decimals = 1 if not half or half >= 0.0005 else 2
    text = f"{share:+.{decimals}%}" if share else "0%"
    return format.duration(effect.after_ns), text, f"±{half:.{decimals}%}" if half else ""


def _chain(chain: Sequence[Next]) -> list[str]:
    if not chain:
        return []
    lines = ["  BOTTLENECKS, each without those before it"]
    for number, link in enumerate(chain, start=1):
        lines += _wrapped(f"{number}  {link.sentence}", 4, 7)
        if link.overrides:
            lines += _wrapped(f"with {' '.join(link.overrides)}", 7, 7)
    return lines


def _story(found: Explanation) -> list[str]:
    story = found.story
    if story is None:
        return []
    trace, plan = found.answer.trace, found.scenario.plan
    outcome = trace.outcomes[story.outcome].replace("_", " ").replace(":", " ", 1)
    ended = "" if outcome == "ok" else f", {outcome}"
    at, took = format.duration(story.arrival_ns), format.duration(story.latency_ns)
    route = clean(plan.routes[story.route].label)
    head = f"  THE SLOWEST  request {story.request}, {route}: arrives at {at}, takes {took}{ended}"
    spent = [
        f"{cause.kind} {cause.name.replace(':', ' ', 1)} {format.duration(ns)}"
        for cause, ns in zip(trace.causes, story.spent_ns, strict=True)
        if ns
    ]
    longest = sorted(story.spans, key=lambda s: s.begin_ns - s.end_ns)[:_SPANS_SHOWN]
    shown = [span for span in story.spans if span in longest]
    labels = [f"{span.kind}  {clean(span.label)}" for span in shown]
    width = max(map(len, labels), default=0)
    lines = [head]
    for span, label in zip(shown, labels, strict=True):
        at = format.duration(span.begin_ns)
        took = format.duration(span.end_ns - span.begin_ns)
        lines.append(f"    {at:>8}  {label:{width}}  {took:>8}  {_bar(span, story)}".rstrip())
    if len(story.spans) > len(shown):
        lines.append(f"    … and {len(story.spans) - len(shown)} more, none of them longer")
    return lines + _wrapped(f"in all: {', '.join(spent)}", 4, 6)


def _bar(span: Span, story: Story) -> str:
    if not story.latency_ns:
        return ""
    first = span.begin_ns * BAR // story.latency_ns
    length = max((span.end_ns - span.begin_ns) * BAR // story.latency_ns, 1)
    return " " * min(first, BAR - 1) + ("░" if span.kind == "wait" else "█") * length


def _findings(found: Explanation) -> list[str]:
    lines = []
    for finding in found.answer.findings:
        lines += _wrapped(f"{finding.code}  {finding.place}  {finding.message}", 4, 13)
        if finding.hint:
            lines += _wrapped(finding.hint, 13, 13)
    return ["  FINDINGS   sim explain --rule CODE has a page for each", *lines] if lines else []


def as_dict(found: Explanation, *, version: str) -> dict[str, Any]:
    """The same as plain data; times in seconds."""
    trace, story = found.answer.trace, found.story
    names = [f"{cause.kind} {cause.name}" for cause in trace.causes]
    return {
        "bottleneck": found.answer.bottleneck.sentence,
        "bands": [
            {
                "band": band.words,
                "requests": band.requests,
                "latency_mean_s": band.latency_ns / 1e9,
                "spent_mean_s": _named(names, band.spent_ns),
            }
            for band in found.bands
        ],
        "bounds": [
            {
                "resource": law.label,
                "slots": law.slots,
                "demand_s": law.demand_ns / 1e9,
                "most_per_s": float(law.most_per_s),
                "asked": None if law.asked is None else float(law.asked),
            }
            for law in found.laws
        ],
        "formula": _formula_dict(found.formula),
        "sensitivity": [_change_dict(change) for change in found.changes],
        "not_waited_for": list(found.unwaited),
        "bottlenecks": [
            {
                "resource": link.resource,
                "sentence": link.sentence,
                "overrides": list(link.overrides),
                "metrics": link.measured.total.as_json(),
            }
            for link in found.chain
        ],
        "slowest": None if story is None else _story_dict(story, names),
        "findings": [
            {"code": f.code, "place": f.place, "message": f.message, "hint": f.hint}
            for f in found.answer.findings
        ],
        "interrupted": found.interrupted,
        "meta": {
            "name": found.scenario.name,
            "seed": found.seed,
            "version": version,
            "engine": _engines(found),
        },
    }


def _change_dict(change: Change) -> dict[str, Any]:
    return {
        "change": change.what,
        "override": change.override,
        "replications": change.measured.trust.replications,
        "metrics": change.measured.total.as_json(),
        "mean_change": _finite(change.mean.share),
        "mean_change_interval": machine.interval(change.mean.interval, 1),
        "p95_change": _finite(change.p95.share),
        "p95_change_interval": machine.interval(change.p95.interval, 1),
    }


def _finite(share: float | None) -> float | None:
    return share if share is not None and math.isfinite(share) else None


def _engines(found: Explanation) -> str | None:
    runs = [link.measured.engine for link in found.chain]
    runs += [change.measured.engine for change in found.changes]
    return engines([found.answer.engine.value, *runs])


def _formula_dict(formula: Known | str) -> dict[str, Any]:
    if isinstance(formula, str):
        return {"name": None, "why_none": formula}
    stable = formula.mean_s != float("inf")
    return {
        "name": formula.name,
        "stable": stable,
        "latency_mean_s": formula.mean_s if stable else None,
        "throughput_per_s": formula.throughput,
        "refused": formula.lost,
    }


def _story_dict(story: Story, names: Sequence[str]) -> dict[str, Any]:
    return {
        "request": story.request,
        "latency_s": story.latency_ns / 1e9,
        "spans": [
            {
                "kind": span.kind,
                "resource": span.label,
                "begin_s": span.begin_ns / 1e9,
                "end_s": span.end_ns / 1e9,
            }
            for span in story.spans
        ],
        "spent_s": _named(names, story.spent_ns),
    }


def _named(names: Sequence[str], values: Iterable[int]) -> dict[str, float]:
    return {name: ns / 1e9 for name, ns in zip(names, values, strict=True) if ns}


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows under their head, which stands out by two columns; the first column to the left."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [f"{row[0]:{widths[0]}}"]
        cells += [f"{cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True)]
        lines.append(("  " + "  ".join(cells)).rstrip())
    return lines


def _wrapped(text: str, first: int, rest: int) -> list[str]:
    return textwrap.wrap(
        clean(text), _WIDTH, initial_indent=" " * first, subsequent_indent=" " * rest
    )
