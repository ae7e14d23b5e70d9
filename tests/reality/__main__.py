"""``python -m tests.reality [CASE…]``: served, measured, predicted; the table of the README.

Every case takes some seconds to a minute, alone on a machine; what was measured is stored
case by case, so it may be done in parts. ``--table`` only prints what is known.
"""

from __future__ import annotations

import argparse
import sys
from fractions import Fraction

from simulator.calibration.check import NotMeasured, Options, check
from simulator.calibration.check_page import render as page
from tests.conftest import ROOT
from tests.reality import record, table
from tests.reality.cases import CASES, FULL, Case


def main() -> None:
    """Measure the cases that are named, or all, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.reality", description=__doc__)
    parser.add_argument("cases", nargs="*", help="labels, such as 1000req; default all")
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--overheads", default="typical", help="what sim calibrate wrote")
    given = parser.parse_args()
    known = {case.label: case for case in (*CASES, *FULL)}
    if not given.table:
        for label in given.cases or [case.label for case in CASES]:
            measure(known[label], given.overheads)
    text = table.render(record.stored())
    record.TABLE.write_text(text, encoding="utf-8")
    if given.table or not given.cases:
        print(text, end="")


def measure(case: Case, overheads: str) -> None:
    """Check one case, print its page, store what was found."""
    options = Options(overheads=overheads, runs=case.runs, scale=Fraction(case.scale))
    try:
        checked = check(
            str(ROOT / f"configs/{case.config}.yaml"), case.overrides, options, lambda said: None
        )
    except NotMeasured as error:
        print(f"{case.label}: {error}", file=sys.stderr)
        record.keep(case, {"refused": str(error)})
        return
    print(page(checked, command=f"python -m tests.reality '{case.label}'", version=""), flush=True)
    record.keep(case, record.of(checked))


if __name__ == "__main__":
    main()
