"""The report: one HTML file that needs no network, for whoever was not there.

Everything that a person wrote is escaped by Jinja; data goes in as JSON without a ``<``;
the page's own policy forbids every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from simulator.answer import Answer
from simulator.record import dataclass
from simulator.report import charts, format
from simulator.report.terminal import (
    clean,
    ended_words,
    load_words,
    observed,
    server_words,
    with_override,
)

SOURCE_LINES_MAX = 2000
"""Lines of the scenario that are shown."""
_ASSETS = Path(__file__).with_name("assets")


@dataclass(frozen=True, slots=True)
class Table:
    """A table of texts, its first column to the left."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


def render(
    answer: Answer,
    *,
    command: str,
    version: str,
    seed: int,
    source: str,
    resolved: str,
    measured: Table | None = None,
) -> str:
    """The page of a run.

    Parameters
    ----------
    command : str
        What repeats the run.
    source : str
        The scenario's text, as it was written.
    resolved : str
        The same with every default filled in.
    measured : Table, optional
        Predicted against measured, where there is such a thing.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["table"] = _table
    environment.globals.update(_static())
    plan, summary = answer.scenario.plan, answer.summary
    drawings = charts.of(plan, answer.trace, summary, answer.bottleneck)
    lines = source.splitlines()[:SOURCE_LINES_MAX]
    findings = [_finding(found, answer.scenario.path) for found in answer.findings]
    return environment.from_string(_asset("report.html")).render(
        name=clean(plan.name),
        description=clean(answer.scenario.description),
        facts=[server_words(plan, answer.scenario.server_preset), load_words(plan), f"seed {seed}"],
        verdict=_verdict(answer, command),
        failed=_bad(answer),
        ended=ended_words(summary),
        thresholds=[
            {"ok": result.ok, "text": result.text, "observed": observed(result)}
            for result in answer.thresholds
        ],
        requests=_requests(answer),
        failures=_failures(answer),
        charts=drawings,
        time_title=_time_title(answer),
        time=_time(answer),
        resources=_resources(answer),
        measured=measured,
        findings=findings,
        source=[clean(line) for line in lines],
        marked={found["line"] for found in findings if found["line"]},
        resolved=resolved,
        command=command,
        made=f"Version {version}. Times are those of ok requests unless said otherwise.",
        data=_json({chart.id: chart.data for chart in drawings}),
    )


def _static() -> dict[str, str]:
    """Styles and scripts, which are ours or uPlot's, with its licence."""
    return {
        "css": _asset("report.css"),
        "js": _asset("report.js"),
        "uplot_css": _asset("uPlot.min.css"),
        "uplot_js": f"/* {_asset('uPlot.LICENSE').strip()} */\n{_asset('uPlot.iife.min.js')}",
    }


@cache
def _asset(name: str) -> str:
    return (_ASSETS / name).read_text(encoding="utf-8")


def _json(document: Mapping[str, Any]) -> str:
    """JSON that can stand in a script element: nothing in it ends the element."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _table(table: Table, caption: str) -> Any:
    """A table as HTML; the texts are escaped here."""
    from markupsafe import Markup, escape

    head = Markup("").join(Markup("<th>{}</th>").format(cell) for cell in table.head)
    rows = Markup("").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row)
        )
        for row in table.rows
    )
    title = Markup("<caption>{}</caption>").format(caption) if caption else escape("")
    return Markup(
        '<div class="scroll"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(title, head, rows)


def _bad(answer: Answer) -> bool:
    """Whether the verdict is a bad one: by the thresholds, else where more than 1 % failed."""
    total = answer.summary.total
    failing = not answer.thresholds and total.errors * 100 > total.requests
    return failing or not answer.passed or answer.trace.ended == "deadlock"


def _verdict(answer: Answer, command: str) -> dict[str, Any]:
    found = answer.bottleneck
    following = command
    for override in filter(None, (found.override, found.override_with)):
        following = with_override(following, override)
    return {
        "sentence": clean(found.sentence),
        "insight": clean(found.insight),
        "details": [clean(detail) for detail in found.details],
        "next": clean(following) if found.override else "",
    }


def _requests(answer: Answer) -> Table:
    groups = list(answer.summary.routes)
    if len(groups) > 1:
        groups.append(answer.summary.total)
    head = (
        "route",
        "count",
        "ok",
        "errors",
        "in flight",
        "rate",
        "mean",
        "p50",
        "p95",
        "p99",
        "max",
    )
    rows = tuple(
        (
            clean(group.label),
            *(str(n) for n in (group.requests, group.ok, group.errors, group.in_flight)),
            format.rate(group.throughput),
            format.duration(group.latency.mean_ns),
            *(format.duration(group.reliable_percentile_ns(p)) for p in (50, 95, 99)),
            format.duration(group.latency.max_ns),
        )
        for group in groups
    )
    return Table(head, rows)


def _failures(answer: Answer) -> Table:
    total = max(answer.summary.total.requests, 1)
    rows = tuple(
        (clean(reason.replace(":", " ", 1).replace("_", " ")), str(n), format.percent(n / total))
        for reason, n in answer.summary.failures
    )
    return Table(("reason", "count", "share"), rows)


def _time_title(answer: Answer) -> str:
    most = next(iter(answer.summary.breakdown), None)
    if most is None:
        return "No request spent any time"
    verb = "waiting for" if most.kind == "wait" else "spent in"
    what = clean(most.cause.replace(":", " ", 1))
    return f"{format.percent(most.share)} of the time is {verb} {what}"


def _time(answer: Answer) -> list[dict[str, str]]:
    return [
        {
            "kind": row.kind,
            "cause": clean(row.cause.replace(":", " ", 1)),
            "mean": format.duration(row.mean_ns),
            "share": format.percent(row.share),
            "width": f"{row.share * 100:.2f}",
        }
        for row in answer.summary.breakdown
    ]


def _resources(answer: Answer) -> Table:
    head = ("resource", "size", "busy", "queue max", "wait mean", "wait p95", "wait max")
    rows = []
    for row in answer.summary.resources:
        size = format.size(row.size_per_process)
        rows.append(
            (
                clean(row.label),
                f"{row.processes} × {size}" if row.processes > 1 else size,
                format.percent(row.busy),
                str(row.queue_max),
                *(format.duration(t) for t in (row.wait_mean_ns, row.wait_p95_ns, row.wait_max_ns)),
            )
        )
    return Table(head, tuple(rows))


def _finding(found: Any, path: str) -> dict[str, Any]:
    """A finding; its line where it stands in the scenario's own file."""
    file, _, place = found.place.rpartition(":")[0].rpartition(":")
    line = int(place) if file == path and place.isdigit() else 0
    return {
        "code": found.code,
        "message": clean(found.message),
        "hint": clean(found.hint),
        "place": clean(found.place),
        "line": line,
    }
