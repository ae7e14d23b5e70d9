"""The report: one HTML file that needs no network, for whoever was not there.

Everything that a person wrote is escaped by Jinja; data goes in as JSON without a ``<``;
the page's own policy forbids every request.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

from simulator.analysis.trust import Trust
from simulator.analysis.verdicts import ThresholdResult
from simulator.answer import Answer
from simulator.record import dataclass
from simulator.report import charts, replications, rows
from simulator.report.several import Several
from simulator.report.spreads import LABEL, certain, notes
from simulator.report.terminal import (
    ended_words,
    load_words,
    mark,
    server_words,
    with_override,
    words,
)
from simulator.report.text import clean

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
    several: Several | None = None,
) -> str:
    """The page of a run, or of several replications.

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
    several : Several, optional
        The replications, of which ``answer`` is the first.
    """
    from jinja2 import Environment

    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.globals["table"] = _markup
    environment.globals.update(_static())
    plan, summary = answer.scenario.plan, answer.summary
    drawings = charts.of(answer.trace, summary, answer.bottleneck, several)
    numbers = _numbers(answer, several)
    lines = source.splitlines()[:SOURCE_LINES_MAX]
    findings = [_finding(found, answer.scenario.path) for found in answer.findings]
    return environment.from_string(_asset("report.html")).render(
        **_numbers_shown(numbers),
        name=clean(plan.name),
        description=clean(answer.scenario.description),
        facts=[
            server_words(plan, answer.scenario.server_preset),
            load_words(plan),
            f"seed {seed}{certain(numbers.trust)}",
        ],
        verdict=_verdict(answer, command, numbers.agreement),
        notes=[note.strip() for note in notes(numbers.trust, answer.warmup, numbers.spreads)],
        charts=drawings,
        measured=measured,
        findings=findings,
        source=[clean(line) for line in lines],
        marked={found["line"] for found in findings if found["line"]},
        resolved=resolved,
        command=command,
        made=f"Version {version}. Times are those of ok requests unless said otherwise.",
        data=_json({chart.id: chart.data for chart in drawings}),
    )


def _numbers_shown(found: _Numbers) -> dict[str, Any]:
    """The tables, and what stands above them."""
    return {
        "failed": _bad(found),
        "ended": found.ended,
        "thresholds": [
            {
                "verdict": result.verdict,
                "mark": mark(result),
                "text": result.text,
                "words": words(result),
            }
            for result in found.thresholds
        ],
        "requests": _table(found.tables[0], "route"),
        "first_byte": _table(found.tables[1], "route"),
        "failures": _table(found.tables[2], "reason"),
        "time_title": _time_title(found),
        "time": found.times,
        "resources": _table(found.tables[3], "resource"),
    }


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


def _markup(table: Table, caption: str) -> Any:
    """A table as HTML; the texts are escaped here."""
    from markupsafe import Markup, escape

    head = Markup("").join(Markup("<th>{}</th>").format(cell) for cell in table.head)
    rows = Markup("").join(
        Markup("<tr{}>{}</tr>").format(
            Markup(' class="spread"' if row[0] == LABEL else ""),
            Markup("").join(Markup("<td>{}</td>").format(cell) for cell in row),
        )
        for row in table.rows
    )
    title = Markup("<caption>{}</caption>").format(caption) if caption else escape("")
    return Markup(
        '<div class="scroll"><table>{}<thead><tr>{}</tr></thead><tbody>{}</tbody></table></div>'
    ).format(title, head, rows)


@dataclass(frozen=True, slots=True)
class _Numbers:
    """What the tables show: of one run, or means over several."""

    groups: list[rows.Requests]
    failures: Sequence[tuple[str, int | Fraction]]
    times: list[rows.Time]
    uses: list[rows.Use]
    thresholds: Sequence[ThresholdResult]
    trust: Trust
    ended: str
    deadlock: bool
    agreement: str = ""  # of the replications about the bottleneck

    @property
    def tables(self) -> tuple[rows.Rows, ...]:
        """Requests, first bytes, failures, resources."""
        requests = max(self.groups[-1].numbers.requests, 1)
        return (
            rows.requests(self.groups, self.trust),
            rows.first_byte(self.groups, self.trust),
            rows.failures(self.failures, requests, self.trust),
            rows.resources(self.uses, self.trust),
        )

    @property
    def spreads(self) -> str:
        return rows.spreads_shown(self.tables, self.times)


def _numbers(answer: Answer, several: Several | None) -> _Numbers:
    summary, stuck = answer.summary, answer.trace.ended == "deadlock"
    if several is None:
        return _Numbers(
            rows.groups(summary),
            summary.failures,
            rows.times(summary.breakdown, answer.trust),
            rows.uses(summary),
            answer.thresholds,
            answer.trust,
            ended_words(summary),
            stuck,
        )
    found, together = several.found, several.found.together
    return _Numbers(
        replications.groups(found),
        together.failures,
        rows.times(together.causes, together.trust),
        replications.uses(found),
        together.thresholds,
        together.trust,
        replications.ended_words(found),
        together.ended == "deadlock",
        replications.agreement(found),
    )


def _bad(found: _Numbers) -> bool:
    """Whether the verdict is a bad one: by the thresholds, else where more than 1 % failed."""
    total = found.groups[-1].numbers
    failing = not found.thresholds and total.errors * 100 > total.requests
    passed = all(result.ok for result in found.thresholds)
    return failing or not passed or found.deadlock


def _verdict(answer: Answer, command: str, agreement: str) -> dict[str, Any]:
    found = answer.bottleneck
    following = command
    for override in filter(None, (found.override, found.override_with)):
        following = with_override(following, override)
    return {
        "sentence": clean(found.sentence),
        "insight": clean(found.insight),
        "details": [*(clean(detail) for detail in found.details), *filter(None, (agreement,))],
        "next": clean(following) if found.override else "",
    }


def _table(found: rows.Rows, first: str) -> Table:
    """Rows of a page as a table of the report; ``first`` heads its first column."""
    (_, *head), body = found
    return Table((first, *head), tuple(map(tuple, body)))


def _time_title(found: _Numbers) -> str:
    most = next(iter(found.times), None)
    if most is None:
        return "No request spent any time"
    verb = "waiting for" if most.kind == "wait" else "spent in"
    return f"{most.share_text} of the time is {verb} {most.cause}"


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
