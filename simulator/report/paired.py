"""The page of `sim compare -n`: replications in pairs, what changes, and how sure that is."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from simulator.analysis.confidence import LEVEL
from simulator.analysis.summary import SECOND_NS
from simulator.experiments.conditions import Held
from simulator.experiments.measures import engines
from simulator.experiments.paired import LATENCIES, Change, Side, causes, change
from simulator.report import format
from simulator.report.machine import interval
from simulator.report.spreads import LABEL, cell
from simulator.report.text import clean, table

_CAUSES_MAX = 12
_NOTHING = 1e-9  # half of an interval that is left of a spread of 0 in floats
_TIMES = ("mean", "p50", "p95", "p99", "max")


def render(
    sides: Sequence[Side],
    helds: Sequence[Held],
    *,
    command: str,
    version: str,
    seed: int,
    note: str = "",
) -> str:
    """The page as text; all are compared with the first. ``sides`` have as many samples each.

    ``note`` says what is missing, after Ctrl-C.
    """
    first, *others = sides
    number = len(first.samples)
    sections = [
        [
            f"compare {format.count(len(sides), 'scenario')}   seed {seed}, "
            f"{format.count(number, 'replication')}"
        ],
        [f"  {note}"] if note else [],
        [f"  {side.letter}  {clean(side.label)}" for side in sides],
        _requests(sides),
    ]
    for other in others:
        sections += [_sentences(first, other), _changes(first, other), _causes(first, other)]
    sections += [
        _bottlenecks(sides),
        conditions(helds),
        [f"  repeat: {clean(command)}   {version}"],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def verdict(first: Side, other: Side) -> str:
    """The comparison in one sentence: "B is 1.25 ± 0.01 times slower than A (mean …)"."""
    found = change(first, other, "", "mean")
    if found is None:
        who = first.letter if first.of("", "mean") is None else other.letter
        return f"{who} has no ok request in some replication: there are no latencies to compare"
    means = f"mean {format.duration(round(found.after))} against "
    means += format.duration(round(found.before))
    return f"{other.letter} {times(found, first.letter)} ({means})"


def times(found: Change, letter: str) -> str:
    """What a scenario is: "is 1.25 ± 0.01 times slower than A", "is as fast as A"."""
    ratio, spread = found.ratio, found.ratio_interval
    if not ratio:
        return "takes no time at all" if found.before else f"is slower than {letter}"
    if ratio == 1 and (spread is None or spread.low == spread.high):
        return f"is as fast as {letter}"
    faster = ratio < 1
    factor = 1 / ratio if faster else ratio
    word = "faster" if faster else "slower"
    if spread is None or spread.low <= 0:
        return f"is {factor:.2f} times {word} than {letter}"
    ends = (1 / spread.high, 1 / spread.low) if faster else (spread.low, spread.high)
    half = max(factor - ends[0], ends[1] - factor)
    if half < _NOTHING:
        return f"is {factor:.2f} times {word} than {letter}"
    decimals = next((d for d in (2, 3, 4, 5) if half >= 0.5 * 10**-d), 6)
    text = f"{factor:.{decimals}f} ± {half:.{decimals}f}"
    if spread.low <= 1 <= spread.high:
        return f"is as fast as {letter}, as far as these runs can tell: {text} times {word}"
    return f"is {text} times {word} than {letter}"


def conditions(helds: Sequence[Held]) -> list[str]:
    """A line for each condition that must not hold."""
    marks = {"holds": "✗", "does not hold": "✓", "undecided": "?"}
    lines = []
    for found in helds:
        seen = "no number" if found.change is None else _percent(found)
        text = f"    {marks[found.verdict]} fail if {clean(found.condition.text)}   "
        text += f"{found.other}: {seen}"
        if found.verdict == "undecided":
            text += f": undecided, {'yes' if found.holds else 'no'} by the estimate"
        lines.append(text)
    return ["  CONDITIONS", *lines] if lines else []


def as_dict(sides: Sequence[Side], helds: Sequence[Held], *, version: str) -> dict[str, Any]:
    """All numbers as plain data: each side, each difference with its interval, the conditions."""
    first, *others = sides
    return {
        "scenarios": [_side_json(side) for side in sides],
        "differences": [_difference_json(first, other) for other in others],
        "conditions": [condition_json(found) for found in helds],
        "meta": {
            "replications": len(first.samples),
            "level": LEVEL,
            "version": version,
            "engine": engines(side.engine for side in sides),
        },
    }


def _requests(sides: Sequence[Side]) -> list[str]:
    head = ["REQUESTS", "count", "ok", "errors", "rate", "mean", "p50", "p95", "p99", "max"]
    rows = []
    for side in sides:
        label = clean(side.short_label)
        counts = [side.mean("", what) or 0.0 for what in ("requests", "ok", "errors")]
        values = [side.mean("", what) for what in _TIMES]
        rate = side.mean("", "throughput")
        rows.append(
            [
                f"{side.letter}  {label if len(label) <= 44 else label[:43] + '…'}",
                *(format.mean_count(Fraction(round(count, 1))) for count in counts),
                format.rate(None if rate is None else Fraction(rate)),
                *(format.duration(None if v is None else round(v)) for v in values),
            ]
        )
        spreads = [cell(side.interval("", "throughput"), _whole(rate), is_rate=True)]
        spreads += [
            cell(side.interval("", what), None if v is None else round(v))
            for what, v in zip(_TIMES, values, strict=True)
        ]
        if any(spreads):
            rows.append([LABEL, "", "", "", *spreads])
    return table(head, rows)


def _whole(value: float | None) -> Fraction | None:
    return None if value is None else Fraction(value)


def _sentences(first: Side, other: Side) -> list[str]:
    lines = textwrap.wrap(f"{verdict(first, other)}.", 94, subsequent_indent="  ")
    ok = change(first, other, "", "ok")
    if ok is not None and ok.difference:
        asked = [side.mean("", "requests") or 0.0 for side in (first, other)]
        answered = f"{other.letter} answers {ok.after:g} of {asked[1]:g} requests on average"
        lines.insert(0, f"{answered}, {first.letter} {ok.before:g} of {asked[0]:g}.")
    number = len(first.samples)
    if number > 1:
        same = first.seed == other.seed
        with_ = "the same draws" if same else "other seeds, so chance is part of the difference"
        lines.append(f"{number} pairs of replications, each with {with_}.")
    elif first.deterministic and other.deterministic:
        lines.append("nothing is left to chance in either: one run of each says all.")
    else:
        lines.append("one run of each: -n 20 says how sure that is.")
    return [f"  {line}" for line in lines]


def _changes(first: Side, other: Side) -> list[str]:
    """The change of the mean and of percentiles, where both have them."""
    rows = []
    for what in LATENCIES:
        found = change(first, other, "", what)
        if found is None:
            continue
        rows.append(
            [
                what,
                format.duration(round(found.before)),
                format.duration(round(found.after)),
                _signed(found.difference),
                cell(found.difference_interval, Fraction(found.difference)),
                "" if found.ratio is None else _factor(found),
            ]
        )
    if not rows:
        return []
    head = ["LATENCY of ok requests", first.letter, other.letter, "difference", "± 95%"]
    return table([*head, f"{other.letter} / {first.letter}"], rows)


def _factor(found: Change) -> str:
    text = f"{found.ratio:.3f}"
    if found.ratio_interval is None or found.ratio is None:
        return text
    half = found.ratio_interval.half(found.ratio)
    return f"{text} ± {half:.3f}" if half else text


def _causes(first: Side, other: Side) -> list[str]:
    found = causes(first, other)
    rows = [
        [
            f"{kind}  {clean(cause.replace(':', ' ', 1))}",
            format.duration(round(row.before)),
            format.duration(round(row.after)),
            _signed(row.difference),
            cell(row.difference_interval, Fraction(row.difference)),
        ]
        for (kind, cause), row in found[:_CAUSES_MAX]
    ]
    if len(found) > _CAUSES_MAX:
        rest = sum(row.difference for _, row in found[_CAUSES_MAX:])
        rows.append([f"and {len(found) - _CAUSES_MAX} more", "", "", _signed(rest), ""])
    head = ["WHERE THE DIFFERENCE COMES FROM, mean", first.letter, other.letter]
    return table([*head, "difference", "± 95%"], rows) if rows else []


def _signed(ns: float) -> str:
    whole = round(ns)
    return f"+{format.duration(whole)}" if whole > 0 else format.duration(whole)


def _percent(found: Held) -> str:
    assert found.change is not None
    half = found.interval.half(found.change) if found.interval else 0.0
    spread = f" ± {half * 100:.2f}" if half else ""
    points = " percentage points" if found.condition.what == "error_rate" else "%"
    return f"{found.change * 100:+.2f}{spread}{points}"


def _bottlenecks(sides: Sequence[Side]) -> list[str]:
    lines = ["  BOTTLENECK"]
    for side in sides:
        found = Counter(sample.limited_by for sample in side.samples)
        number = len(side.samples)
        text = clean(side.sentence)
        if len(found) > 1:
            shares = ", ".join(f"{clean(name)} {n}" for name, n in found.most_common())
            text += f" Of {number} replications: {shares}."
        lines += textwrap.wrap(
            text, 98, initial_indent=f"    {side.letter}  ", subsequent_indent="       "
        )
    return lines


def _side_json(side: Side) -> dict[str, Any]:
    return {
        "letter": side.letter,
        "label": side.label,
        "seed": side.seed,
        "deterministic": side.deterministic,
        "replications": len(side.samples),
        "engine": side.engine,
        "metrics": {
            _name(what): _scaled(side.mean("", what), what)
            for what in ("requests", "ok", "errors", "throughput", *LATENCIES)
        },
        "bottleneck": {
            "sentence": side.sentence,
            "runs": dict(Counter(sample.limited_by for sample in side.samples)),
        },
    }


def _difference_json(first: Side, other: Side) -> dict[str, Any]:
    groups = sorted({group for group, _ in first.samples[0].numbers if group})
    return {
        "baseline": first.letter,
        "other": other.letter,
        "sentence": verdict(first, other),
        "paired": first.seed == other.seed,
        "metrics": _changes_json(first, other, ""),
        "routes": {group: _changes_json(first, other, group) for group in groups},
        "causes": [
            {"kind": kind, "cause": cause, **_change_json(row, "mean")}
            for (kind, cause), row in causes(first, other)
        ],
    }


def _changes_json(first: Side, other: Side, group: str) -> dict[str, Any]:
    found = {
        what: change(first, other, group, what)
        for what in (*LATENCIES, "throughput", "error_rate", "ok", "errors")
    }
    return {_name(what): _change_json(row, what) for what, row in found.items() if row}


def _change_json(row: Change, what: str) -> dict[str, Any]:
    scale = SECOND_NS if what in LATENCIES else 1
    return {
        "baseline": row.before / scale,
        "other": row.after / scale,
        "difference": row.difference / scale,
        "difference_interval": interval(row.difference_interval, scale),
        "ratio": row.ratio,
        "ratio_interval": interval(row.ratio_interval, 1),
    }


def condition_json(found: Held) -> dict[str, Any]:
    """A condition and what was seen: the change as a share."""
    return {
        "fail_if": found.condition.text,
        "other": found.other,
        "change": found.change,
        "interval": interval(found.interval, 1),
        "holds": found.holds,
        "verdict": found.verdict,
    }


def _name(what: str) -> str:
    if what in LATENCIES:
        return f"latency_{what}_s"
    return "throughput_per_s" if what == "throughput" else what


def _scaled(value: float | None, what: str) -> float | None:
    return value / SECOND_NS if value is not None and what in LATENCIES else value
