"""The page of `sim compare`: scenarios side by side, and what makes the difference."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

from simulator.answer import Answer
from simulator.experiments.compare import Case, Difference, difference
from simulator.experiments.paired import within_one_run
from simulator.report import format, machine, paired
from simulator.report.text import clean, table

_CAUSES_MAX = 12
"""Causes that are shown on the page; JSON has all."""


def render(
    cases: Sequence[Case],
    conditions: Sequence[str] = (),
    *,
    command: str,
    version: str,
    seed: int,
    note: str = "",
) -> str:
    """The page as text; all scenarios are compared with the first.

    ``note`` says what is missing, after Ctrl-C.
    """
    first, *others = cases
    sections = [
        [f"compare {format.count(len(cases), 'scenario')}   seed {seed}"],
        [f"  {note}"] if note else [],
        [f"  {case.letter}  {clean(case.label)}" for case in cases],
        _requests(cases),
    ]
    for other in others:
        found = difference(first.answer, other.answer)
        sections += [_sentence(first, other, found), _causes(first, other, found)]
    sections += [_bottlenecks(cases), [*conditions], [f"  repeat: {clean(command)}   {version}"]]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def verdict(first: Case, other: Case, found: Difference) -> str:
    """The comparison in one sentence: "B is 1.90 times as fast as A (mean …)"."""
    if found.before_ns is None or found.after_ns is None:
        who = first.letter if found.before_ns is None else other.letter
        if found.paired:
            return "no request is ok in both: there are no latencies to compare"
        return f"{who} has no ok request: there are no latencies to compare"
    means = f"mean {format.duration(found.after_ns)} against {format.duration(found.before_ns)}"
    sure = within_one_run(first.answer, other.answer)
    how = _times(found, first.letter)
    if sure is not None and sure.ratio_interval is not None:
        how = paired.times(sure, first.letter)
    return f"{other.letter} {how} ({means}{_over(first, other, found)})"


def _over(first: Case, other: Case, found: Difference) -> str:
    """Over which requests the means are, where not all are ok in both."""
    before, after = (case.answer.summary.total for case in (first, other))
    if found.paired:
        return "" if found.requests == before.requests else f" over the {found.requests} ok in both"
    if before.ok == before.requests and after.ok == after.requests:
        return ""
    return f" over the {after.ok} ok in {other.letter} and the {before.ok} ok in {first.letter}"


def as_dict(cases: Sequence[Case], meta: machine.Meta) -> dict[str, Any]:
    """All numbers as plain data; each scenario has the form of a run's JSON."""
    first, *others = cases
    return {
        "scenarios": [
            {
                "letter": case.letter,
                "file": case.file,
                "overrides": list(case.overrides),
                **_document(case.answer, replace(meta, engine=case.answer.engine.value)),
            }
            for case in cases
        ],
        "differences": [
            _difference_json(first, other, difference(first.answer, other.answer))
            for other in others
        ],
    }


def _document(answer: Answer, meta: machine.Meta) -> dict[str, Any]:
    return machine.as_dict(
        answer.scenario.plan,
        answer.summary,
        answer.bottleneck,
        answer.thresholds,
        answer.findings,
        meta=meta,
    )


def _requests(cases: Sequence[Case]) -> list[str]:
    head = ["REQUESTS", "count", "ok", "errors", "rate", "mean", "p50", "p95", "p99", "max"]
    rows = []
    for case in cases:
        total = case.answer.summary.total
        times = [
            total.latency.mean_ns,
            *(total.reliable_percentile_ns(p) for p in (50, 95, 99)),
            total.latency.max_ns,
        ]
        label = clean(case.short_label)
        rows.append(
            [
                f"{case.letter}  {label if len(label) <= 44 else label[:43] + '…'}",
                *(str(number) for number in (total.requests, total.ok, total.errors)),
                format.rate(total.throughput),
                *(format.duration(ns) for ns in times),
            ]
        )
    return table(head, rows)


def _sentence(first: Case, other: Case, found: Difference) -> list[str]:
    lines = textwrap.wrap(f"{verdict(first, other, found)}.", 94, subsequent_indent="  ")
    before, after = (case.answer.summary.total for case in (first, other))
    if before.ok != after.ok and (before.errors, before.in_flight) != (
        after.errors,
        after.in_flight,
    ):
        # First of all: a service that refuses most requests is quick with the others.
        answered = f"{other.letter} answers {after.ok} of {after.requests} requests"
        rates = f"{format.rate(after.throughput)} against {format.rate(before.throughput)}"
        lines.insert(0, f"{answered}, {first.letter} {before.ok} of {before.requests} ({rates}).")
    if found.before_ns is not None and found.after_ns is not None:
        lines.append(_basis(first, other, found))
    return [f"  {line}" for line in lines]


def _times(found: Difference, letter: str) -> str:
    """What a scenario is: "is 1.90 times faster than A", "is as fast as A"."""
    ratio = found.ratio
    if ratio is None:
        return f"is {'as fast as' if found.difference_ns == 0 else 'slower than'} {letter}"
    if not ratio:
        return "takes no time at all"
    if ratio == 1:
        return f"is as fast as {letter}"
    faster = ratio < 1
    text = _factor(1 / ratio if faster else ratio)
    return f"is {text} times {'faster' if faster else 'slower'} than {letter}"


def _factor(ratio: Fraction) -> str:
    """Two decimals, and more where they would say 1.00; large factors get fewer."""
    if ratio >= 100:
        return str(int(ratio + Fraction(1, 2)))
    for decimals in (2, 3, 4, 5, 6):
        text = f"{float(ratio):.{decimals}f}"
        if float(text) != 1:
            return text
    return "1.000001"


def _basis(first: Case, other: Case, found: Difference) -> str:
    """On which requests the sentence rests."""
    if not found.paired:
        return "not paired: the two have other requests, so chance is part of the difference."
    total = first.answer.summary.total.requests
    who = f"all {total}" if found.requests == total else f"{found.requests} of {total}"
    same = found.requests - found.faster - found.slower
    counts = f"{found.faster} faster in {other.letter}, {found.slower} slower, {same} the same"
    which = "" if found.requests == total else ", those that are ok in both"
    return f"request by request, {who}{which}: {counts}."


def _causes(first: Case, other: Case, found: Difference) -> list[str]:
    if not found.causes:
        return []
    rows = [
        [
            f"{row.kind}  {clean(row.cause.replace(':', ' ', 1))}",
            format.duration(row.before_ns),
            format.duration(row.after_ns),
            _signed(row.difference_ns),
        ]
        for row in found.causes[:_CAUSES_MAX]
    ]
    left = found.causes[_CAUSES_MAX:]
    if left:
        rest = sum(row.difference_ns for row in left)
        rows.append([f"and {len(left)} more", "", "", _signed(rest)])
    rows.append(
        [
            "all",
            format.duration(found.before_ns),
            format.duration(found.after_ns),
            _signed(found.difference_ns or 0),
        ]
    )
    over = _over(first, other, found)
    return table(
        [
            f"WHERE THE DIFFERENCE COMES FROM, mean{over}",
            first.letter,
            other.letter,
            "difference",
        ],
        rows,
    )


def _signed(ns: int) -> str:
    return f"+{format.duration(ns)}" if ns > 0 else format.duration(ns)


def _bottlenecks(cases: Sequence[Case]) -> list[str]:
    lines = ["  BOTTLENECK"]
    for case in cases:
        lines += textwrap.wrap(
            clean(case.answer.bottleneck.sentence),
            98,
            initial_indent=f"    {case.letter}  ",
            subsequent_indent="       ",
        )
    return lines


def _difference_json(first: Case, other: Case, found: Difference) -> dict[str, Any]:
    return {
        "baseline": first.letter,
        "other": other.letter,
        "sentence": verdict(first, other, found),
        "paired": found.paired,
        "requests": found.requests,
        "faster": found.faster,
        "slower": found.slower,
        "ratio_mean": None if found.ratio is None else float(found.ratio),
        "baseline_mean_s": _seconds(found.before_ns),
        "other_mean_s": _seconds(found.after_ns),
        "difference_mean_s": _seconds(found.difference_ns),
        "causes": [
            {
                "kind": row.kind,
                "cause": row.cause,
                "baseline_mean_s": _seconds(row.before_ns),
                "other_mean_s": _seconds(row.after_ns),
                "difference_mean_s": _seconds(row.difference_ns),
            }
            for row in found.causes
        ],
    }


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 10**9
