"""``python -m tests.reality [CASE…]``: served, measured, predicted; the table of the README.

Every case takes some seconds to a minute, alone on a machine; what was measured is stored
case by case, so it may be done in parts. ``--predict`` measures nothing: it predicts again
what is stored, with the overheads of the machine that measured.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction

from simulator.analysis.summary import summarize
from simulator.calibration.check import Checked, NotMeasured, Options, compared, prepared
from simulator.calibration.check_page import render as page
from simulator.calibration.figures import bound
from simulator.calibration.generator import Budget
from simulator.calibration.measuring import measure
from simulator.engines.reference import run
from simulator.plan import ServerKind
from simulator.scenario import load
from simulator.workload import Workload
from tests.conftest import ROOT
from tests.reality import record, table
from tests.reality.cases import CASES, FULL, Case

ALLOWED = Budget.parse("requests<=20k,rate<=5000/s,time<=3m")


def main() -> None:
    """Measure and predict the cases that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.reality", description=__doc__)
    parser.add_argument("cases", nargs="*", help="labels, such as 1000req; default all")
    parser.add_argument("--predict", action="store_true", help="measure nothing")
    given = parser.parse_args()
    known = {case.label: case for case in (*CASES, *FULL)}
    for label in given.cases or known:
        case = known[label]
        if not given.predict and (given.cases or case not in FULL):
            measured(case)
        predicted(case)
    text = table.render(record.stored(record.CHECKED))
    record.TABLE.write_text(text, encoding="utf-8")
    if not given.cases:
        print(text, end="")


def measured(case: Case) -> None:
    """Serve and measure one case, and store it."""
    options = _options(case)
    try:
        scenario = prepared(_file(case), case.overrides, options)
        first = run(scenario.plan, Workload(scenario.plan))
        summary = summarize(scenario.plan, first)
        kind, limit_ns = bound(scenario.plan, first, summary), 3 * summary.run_ns + 15 * 10**9
        found = record.of(measure(scenario, options, kind, limit_ns, lambda said: None))
    except NotMeasured as error:
        print(f"{case.label}: {error}", file=sys.stderr)
        found = {"refused": str(error)}
    record.keep(record.MEASURED, case, found)


def predicted(case: Case) -> None:
    """Predict what is stored of one case, print its page, store the comparison."""
    known = record.stored(record.MEASURED).get(case.label)
    if known is None:
        return
    if "refused" in known:
        record.keep(record.CHECKED, case, known)
        return
    checked = _checked(case, known)
    print(page(checked, command=f"python -m tests.reality '{case.label}'", version=""), flush=True)
    record.keep(record.CHECKED, case, record.of_check(checked, known))


def _checked(case: Case, known: record.Record) -> Checked:
    options, found = _options(case), record.measured(known)
    scenario = prepared(_file(case), case.overrides, options, found.kept or None)
    return compared(scenario, found, options)


def _options(case: Case) -> Options:
    sync = load(_file(case)).plan.server.kind is ServerKind.SYNC
    worker = record.OVERHEADS_SYNC_SHORT if case.sleeps_short else record.OVERHEADS_SYNC
    overheads = str(worker if sync else record.OVERHEADS)
    scale = Fraction(case.scale)
    return Options(overheads=overheads, runs=case.runs, scale=scale, budget=ALLOWED)


def _file(case: Case) -> str:
    return str(ROOT / f"configs/{case.config}.yaml")


if __name__ == "__main__":
    main()
