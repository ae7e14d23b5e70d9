"""``python -m tests.reality [CASE…]``: probed, served, measured, predicted; the README's table.

A machine's speed drifts by a third within minutes, so each case is measured right after the
probes of its own kind of server. That takes one to three minutes, alone on a machine; what was
measured is stored case by case, so it may be done in parts. ``--predict`` measures nothing: it
predicts again what is stored, with the overheads that were found then.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

from simulator.analysis.summary import summarize
from simulator.calibration.check import Checked, NotMeasured, Options, compared, prepared
from simulator.calibration.check_page import render as page
from simulator.calibration.figures import bound
from simulator.calibration.generator import Budget
from simulator.calibration.measuring import measure
from simulator.engines.reference import run
from simulator.workload import Workload
from tests.conftest import ROOT
from tests.reality import record, table
from tests.reality.cases import CASES, FULL, Case

ALLOWED_WORDS = "requests<=20k,rate<=5000/s,time<=3m"
ALLOWED = Budget.parse(ALLOWED_WORDS)
FOLDER = Path(tempfile.mkdtemp(prefix="reality-"))


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
    probed = ""
    try:
        prepared(_file(case), case.overrides, _options(case))  # whether it can be served
        probed = _probe(case)
        options = _options(case, probed)
        scenario = prepared(_file(case), case.overrides, options)
        first = run(scenario.plan, Workload(scenario.plan))
        summary = summarize(scenario.plan, first)
        kind, limit_ns = bound(scenario.plan, first, summary), 3 * summary.run_ns + 15 * 10**9
        found = record.of(measure(scenario, options, kind, limit_ns, lambda said: None))
    except NotMeasured as error:
        print(f"{case.label}: {error}", file=sys.stderr)
        found = {"refused": str(error)}
    if probed:
        found["overheads"] = probed
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
    options, found = _options(case, known["overheads"]), record.measured(known)
    scenario = prepared(_file(case), case.overrides, options, found.kept or None)
    return compared(scenario, found, options)


def _probe(case: Case) -> str:
    """The overheads of the machine as ``sim calibrate`` finds and writes them now."""
    words = [*case.overrides, "--scale", case.scale, "--serve", "-o", str(FOLDER), "--budget"]
    for step in ("observe", "fit"):
        calibrate = [sys.executable, "-m", "cli", "calibrate", _file(case), *words, ALLOWED_WORDS]
        subprocess.run([*calibrate, "--only", step], check=True, stdout=sys.stderr, cwd=ROOT)
    return (FOLDER / "overheads.yaml").read_text(encoding="utf-8")


def _options(case: Case, probed: str = "") -> Options:
    overheads = "typical"
    if probed:
        file = FOLDER / "probed.yaml"
        file.write_text(probed, encoding="utf-8")
        overheads = str(file)
    scale = Fraction(case.scale)
    return Options(overheads=overheads, runs=case.runs, scale=scale, budget=ALLOWED)


def _file(case: Case) -> str:
    return str(ROOT / f"configs/{case.config}.yaml")


if __name__ == "__main__":
    main()
