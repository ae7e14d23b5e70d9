"""The page and the JSON of a scenario that was run several times: means, and how sure they are."""

from __future__ import annotations

from typing import Any

from simulator.analysis.summary import SECOND_NS
from simulator.analysis.trust import Trust
from simulator.experiments.measures import Measured, plain
from simulator.experiments.replications import Replicated
from simulator.report import machine, rows, terminal
from simulator.report.spreads import certain, notes
from simulator.report.text import clean


def render(found: Replicated, *, command: str, version: str, seed: int) -> str:
    """The page as text, in the order of the page of one run; ends in a newline."""
    first, together = found.first, found.together
    plan, trust = first.scenario.plan, together.trust
    spent = rows.times(together.causes, trust)
    tables = (
        rows.requests(groups(found), trust),
        rows.first_byte(groups(found), trust),
        rows.failures(together.failures, together.total.requests, trust),
        rows.resources(uses(found), trust),
    )
    requests, streamed, failed, used = map(terminal.filled, tables)
    chance = f"seed {seed}{certain(trust)}"
    sections = [
        [terminal.header(plan, first.scenario.server_preset, chance), *_ending(found)],
        [*requests, *notes(trust, first.warmup, rows.spreads_shown(tables, spent))],
        streamed,
        failed,
        terminal.times(spent, errors=together.total.errors > 0),
        [*used, *terminal.waits_note(first.summary)] if used else [],
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


def ended_words(found: Replicated) -> str:
    """How the replications ended, where not all of them did by themselves; else the empty text."""
    if found.interrupted:
        of = f" of {found.asked}" if found.asked else ""
        return f"INTERRUPTED: {len(found.runs)}{of} replications were done."
    stuck = found.together.ended == "deadlock"
    return "DEADLOCK: in some replication no request could go on." if stuck else ""


def _ending(found: Replicated) -> list[str]:
    words = ended_words(found)
    return ["", f"  {words}"] if words else []


def groups(found: Replicated) -> list[rows.Requests]:
    """The routes, and the total where there are several: means over the replications."""
    labels = {route.name: route.label for route in found.first.scenario.plan.routes}
    groups = [rows.Requests(labels[name], name, numbers) for name, numbers in found.together.routes]
    if len(groups) > 1:
        groups.append(rows.Requests("total", "", found.together.total))
    return groups


def uses(found: Replicated) -> list[rows.Use]:
    """What the resources did: means over the replications."""
    first = {row.label: row for row in found.first.summary.resources}
    return [
        rows.Use(
            row.label,
            rows.size_words(first[row.label]),
            row.busy,
            rows.queue_words(row.queue_max, first[row.label].processes),
            row.queue_max,
            (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns),
        )
        for row in found.together.resources
    ]


def agreement(found: Replicated) -> str:
    """In how many replications the bottleneck is the same, and what it is in the others."""
    agreeing, of = _agreeing(found), len(found.runs)
    others = sorted({run.limited_by for run in found.runs} - {found.together.limited_by})
    text = f"so in {agreeing} of {of} replications, the figures are those of the first"
    if found.together.limited_by != found.runs[0].limited_by:
        text = f"in the first; {clean(found.together.limited_by)} in {agreeing} of {of}"
    return text + (f", else {clean(', '.join(others))}" if others else "")


def _agreeing(found: Replicated) -> int:
    """Runs that the same resource limits."""
    return sum(run.limited_by == found.together.limited_by for run in found.runs)


def _bottleneck(found: Replicated, command: str) -> list[str]:
    lines = terminal.bottleneck(found.first.bottleneck, command)
    if len(found.runs) == 1:
        return lines
    last = len(lines) - (found.first.bottleneck.override is not None)
    return [*lines[:last], f"    {agreement(found)}", *lines[last:]]


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
        | (machine.of_cause(run.trust, row.kind, row.cause) if spread else {})
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
