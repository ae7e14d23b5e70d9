"""The page and the JSON of a scenario that was run several times: means, and how sure they are."""

from __future__ import annotations

from typing import Any

from simulator.analysis.summary import SECOND_NS
from simulator.analysis.trust import Trust
from simulator.experiments.measures import Measured, Numbers, plain
from simulator.experiments.replications import Replicated
from simulator.report import format, machine, terminal
from simulator.report.spreads import certain, notes, of_cause, of_resource, spreads
from simulator.report.terminal import clean, short, table


def render(found: Replicated, *, command: str, version: str, seed: int) -> str:
    """The page as text, in the order of the page of one run; ends in a newline."""
    first, together = found.first, found.together
    plan, trust = first.scenario.plan, together.trust
    chance = f"seed {seed}{certain(trust)}"
    sections = [
        [terminal.header(plan, first.scenario.server_preset, chance), *_ending(found)],
        [*_requests(found), *notes(trust, first.warmup)],
        _failures(together),
        _breakdown(together),
        _resources(found),
        _bottleneck(found, command),
        terminal.thresholds(together.thresholds, ""),
        terminal.findings(first.findings),
        [
            f"  repeat: {command}   {version}, "
            f"overheads: {terminal.overheads(plan.server.overheads)}"
        ],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines) + "\n"


def as_dict(found: Replicated, *, meta: machine.Meta) -> dict[str, Any]:
    """All numbers as plain data: the form of one run, with means, and what each run gave."""
    first, together = found.first, found.together
    document = machine.as_dict(
        first.scenario.plan,
        first.summary,
        first.bottleneck,
        together.thresholds,
        first.findings,
        meta=meta,
        trust=together.trust,
        warmup=first.warmup,
    )
    resources = {row.label: row for row in together.resources}
    return document | {
        "metrics": together.total.as_json(),
        "routes": {name: numbers.as_json() for name, numbers in together.routes},
        "failures": {reason: plain(number) for reason, number in together.failures},
        "breakdown": _causes_json(together),
        "resources": {
            label: row | _resource_json(resources[label], together.trust)
            for label, row in document["resources"].items()
            if label in resources
        },
        "bottleneck": document["bottleneck"] | {"runs": _agreeing(found)},
        "replications": [
            {
                "metrics": run.total.as_json(),
                "routes": {name: numbers.as_json() for name, numbers in run.routes},
                "breakdown": _causes_json(run, spread=False),
                "bottleneck": run.limited_by,
            }
            for run in found.runs
        ],
    }


def _ending(found: Replicated) -> list[str]:
    if found.interrupted:
        of = f" of {found.asked}" if found.asked else ""
        return ["", f"  INTERRUPTED: {len(found.runs)}{of} replications were done."]
    ended = found.together.ended
    return (
        ["", "  DEADLOCK: in some replication no request could go on."]
        if ended == "deadlock"
        else []
    )


def _requests(found: Replicated) -> list[str]:
    labels = {route.name: route.label for route in found.first.scenario.plan.routes}
    groups = [(labels[name], name, numbers) for name, numbers in found.together.routes]
    if len(groups) > 1:
        groups.append(("total", "", found.together.total))
    flying = found.together.total.in_flight > 0
    head = ["REQUESTS", "count", "ok", "errors", *(["in flight"] if flying else [])]
    head += ["rate", "mean", "p50", "p95", "p99", "max"]
    rows = []
    for label, name, numbers in groups:
        counts = ["requests", "ok", "errors", *(["in_flight"] if flying else [])]
        shown = _shown(numbers)
        rows.append(
            [
                short(label),
                *(format.mean_count(getattr(numbers, count)) for count in counts),
                format.rate(numbers.throughput),
                *(format.duration(ns) for ns in shown),
            ]
        )
        if found.together.trust.intervals:
            values = (numbers.throughput, *shown)
            rows.append(spreads(found.together.trust, name, values, len(counts)))
    return table(head, rows)


def _shown(numbers: Numbers) -> tuple[int | None, ...]:
    return (numbers.mean_ns, *(numbers.percentile_ns(p) for p in (50, 95, 99)), numbers.max_ns)


def _failures(together: Measured) -> list[str]:
    rows = [
        [
            short(reason.replace(":", " ", 1).replace("_", " ")),
            format.mean_count(number),
            format.percent(number / together.total.requests),
        ]
        for reason, number in together.failures
    ]
    return table(["FAILURES", "count", "share"], rows) if rows else []


def _breakdown(together: Measured) -> list[str]:
    rows = [
        (
            f"    {row.kind}  {short(row.cause.replace(':', ' ', 1))}",
            format.duration(row.mean_ns),
            of_cause(together.trust, row.kind, row.cause, row.mean_ns)
            if together.trust.intervals
            else "",
            format.percent(row.share),
            "█" * round(row.share * terminal.BAR) or "▏",
        )
        for row in together.causes
    ]
    if not rows:
        return []
    width, spread = (max(len(row[i]) for row in rows) for i in (0, 2))
    of_all = ", failed ones included" if together.total.errors else ""
    return [
        f"  WHERE THE TIME GOES, mean per finished request{of_all}",
        *(
            f"{name:<{width}}  {mean:>8}  {half:>{spread}}  {share:>5}  {bar}"
            for name, mean, half, share, bar in rows
        ),
    ]


def _resources(found: Replicated) -> list[str]:
    together, trust = found.together, found.together.trust
    sizes = {row.label: terminal.size_words(row) for row in found.first.summary.resources}
    head = ["RESOURCES", "size", "busy", "queue max", "wait mean", "wait p95", "wait max"]
    rows = []
    for row in together.resources:
        times = (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns)
        rows.append(
            [
                short(row.label),
                sizes[row.label],
                format.percent(row.busy),
                format.mean_count(row.queue_max),
                *(format.duration(time) for time in times),
            ]
        )
        if trust.intervals:
            rows.append(of_resource(trust, row.label, row.busy, row.queue_max, times))
    return table(head, rows) if rows else []


def _agreeing(found: Replicated) -> int:
    """Runs that the same resource limits."""
    return sum(run.limited_by == found.together.limited_by for run in found.runs)


def _bottleneck(found: Replicated, command: str) -> list[str]:
    lines = terminal.bottleneck(found.first.bottleneck, command)
    if len(found.runs) == 1:
        return lines
    agreeing, of = _agreeing(found), len(found.runs)
    others = sorted({run.limited_by for run in found.runs} - {found.together.limited_by})
    text = f"    so in {agreeing} of {of} replications"
    if found.together.limited_by != found.runs[0].limited_by:
        text = f"    in the first; {clean(found.together.limited_by)} in {agreeing} of {of}"
    text += f", else {clean(', '.join(others))}" if others else ""
    last = len(lines) - (found.first.bottleneck.override is not None)
    return [*lines[:last], text, *lines[last:]]


def _causes_json(run: Measured, *, spread: bool = True) -> list[dict[str, Any]]:
    return [
        {
            "kind": row.kind,
            "cause": row.cause,
            "mean_s": row.mean_ns / SECOND_NS,
            "p95_s": row.p95_ns / SECOND_NS,
            "share": row.share,
            "ok_mean_s": row.ok_mean_ns / SECOND_NS,
        }
        | (
            {
                "mean_s_interval": machine.interval(
                    run.trust.of(f"cause:{row.kind} {row.cause}", "mean")
                )
            }
            if spread
            else {}
        )
        for row in run.causes
    ]


def _resource_json(row: Any, trust: Trust) -> dict[str, Any]:
    waits = {f"wait_{what}": getattr(row, f"wait_{what}_ns") for what in ("mean", "p95", "max")}
    return {
        "busy": row.busy,
        "queue_max": plain(row.queue_max),
        **{f"{name}_s": None if ns is None else ns / SECOND_NS for name, ns in waits.items()},
        "intervals": machine.of_resource(trust, row.label),
    }
