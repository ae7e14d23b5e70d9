"""The table of all that was measured, and how far off the predictions are, by bound."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from simulator.calibration.figures import ABSOLUTE_S, FIGURES
from simulator.report.format import duration
from tests.reality.cases import CASES, FULL, Case
from tests.reality.record import Record

_TIMES = ("makespan", "p50", "p95", "p99")


def render(records: dict[str, Record]) -> str:
    """The summary and, folded, the table as Markdown; ends in a newline."""
    known = [(case, records[case.label]) for case in (*FULL, *CASES) if case.label in records]
    measured = [(case, record) for case, record in known if "figures" in record]
    refused = [(c.config, _short(r["refused"])) for c, r in known if "refused" in r]
    left = [f"`{config}` ({why})" for config, why in refused]
    lines = [
        *_summary([record for _, record in measured]),
        "",
        f"<details><summary>All {len(measured)}: measured, and in brackets predicted</summary>",
        "",
        "| scenario | bound by | requests ok | makespan | p50 | p95 | p99 | worst error | |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
        *(_row(case, record) for case, record in measured),
        "",
        "Medians of all runs. `× 0.1`: all times of the scenario a tenth, rates ten times as high.",
        *([f"Not measured: {'; '.join(left)}."] if left else []),
        "",
        "</details>",
    ]
    return "\n".join(lines) + "\n"


def _short(why: str) -> str:
    """A reason without its figures and advice."""
    if why.startswith("the load generator"):
        return why.partition(":")[0]
    return why.partition(";")[0].removeprefix("it can't be served: ")


def errors(record: Record) -> Iterator[float]:
    """The error of every judged figure, 0 where 2 ms cover it."""
    for name in FIGURES:
        figure = record["figures"].get(name)
        if figure is None or not figure["judged"]:
            continue
        near = record["figures"]["makespan" if name == "throughput" else name]
        covered = abs(near["predicted"] - median(near["measured"])) <= ABSOLUTE_S
        yield 0.0 if covered else abs(figure["error"])


def inside(record: Record, name: str = "makespan") -> tuple[int, int]:
    """How many of the runs lie in the predicted interval, and how many there are."""
    figure = record["figures"][name]
    low, high = figure["predicted_interval"]
    slack = ABSOLUTE_S
    hits = [low - slack <= value <= high + slack for value in figure["measured"]]
    return sum(hits), len(hits)


def _row(case: Case, record: Record) -> str:
    ok = f"{median(record['ok']['measured']):g} ({record['ok']['predicted']})"
    cells = [f"`{case.label}`{_changed(case)}", record["bound"], ok]
    for name in _TIMES:
        figure = record["figures"].get(name)
        cells.append("–" if figure is None else _pair(figure))
    if record["bound"] == "several workers":
        hits, of = inside(record)
        cells.append(f"{hits} of {of} inside")
    else:
        cells.append(f"{max(errors(record), default=0.0):.1%}")
    cells.append("ok" if record["passed"] else "**off**")
    return f"| {' | '.join(cells)} |"


def _changed(case: Case) -> str:
    changed = [f"× {case.scale}"] if case.scale != "1" else []
    changed += [f"`{override}`" for override in case.overrides]
    return f" {' '.join(changed)}" if changed else ""


def _pair(figure: Record) -> str:
    shown = [round(v * 1e9) for v in (median(figure["measured"]), figure["predicted"])]
    return f"{duration(shown[0])} ({duration(shown[1])})"


def _summary(records: list[Record]) -> Iterator[str]:
    """How far off the predictions are, by what bounds a run; when and where it was."""
    for bound in ("sleep, lock or database", "CPU", "GIL"):
        chosen = [r for r in records if r["bound"] == bound]
        found = [error for r in chosen for error in errors(r)]
        if found:
            agree = sum(r["passed"] for r in chosen)
            yield (
                f"- bound by {bound}: {agree} of {len(chosen)} scenarios agree; of "
                f"{len(found)} figures the median error is {median(found):.1%}, the worst "
                f"{max(found):.0%}"
            )
    several = [inside(r) for r in records if r["bound"] == "several workers"]
    if several:
        hits, of = (sum(column) for column in zip(*several, strict=True))
        yield f"- several workers: the makespan of {hits} of {of} runs is inside the predicted 95 %"
    dates, machines = (sorted({r[key] for r in records}) for key in ("date", "machine"))
    newest = max(records, key=lambda r: r["date"])
    shown = ("python", "fastapi", "uvicorn", "uvloop", "gunicorn", "asyncpg", "sqlalchemy")
    told = ", ".join(f"{k} {newest['versions'][k]}" for k in shown if k in newest["versions"])
    yield f"- {' to '.join(dict.fromkeys((dates[0], dates[-1])))}, {' or '.join(machines)}, {told}"
