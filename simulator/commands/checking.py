"""What ``sim check`` does: serve, measure, simulate, compare, print; one file after another."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulator.commands import console, progress

if TYPE_CHECKING:
    from simulator.calibration.check import Checked, Options


def options(
    *, overheads: str | None, runs: int, tolerance: str | None, scale: str, database: str,
    budget: str | None,
) -> Options:  # fmt: skip
    """The options of a check, or exit 2 with what is wrong with them."""
    from simulator.calibration.check import Options
    from simulator.calibration.generator import Budget

    try:
        factor = Fraction(scale)
        if not 0 < factor <= 100:
            raise ValueError
    except (ValueError, ZeroDivisionError):
        console.usage(f"--scale {scale}: expected a number above 0, such as 0.1")
    try:
        allowed = Budget.parse(budget) if budget else Budget()
    except ValueError as error:
        console.usage(f"--budget {error}")
    return Options(
        overheads=overheads or "typical",
        runs=runs,
        tolerance=None if tolerance is None else _share(tolerance),
        scale=factor,
        database=database,
        budget=allowed,
    )


def _share(text: str) -> float:
    from simulator.units import UnitError, parse_percent

    try:
        return float(parse_percent(text))
    except UnitError as error:
        console.usage(f"--tolerance {error}")


def check_all(
    files: list[str], overrides: list[str], chosen: Options, *, as_json: bool, report: Path | None
) -> int:
    """Check one file after another; gives back the exit code."""
    if report is not None and len(files) > 1:
        console.usage("--report writes one file, expected one scenario")
    from simulator.calibration import check_page
    from simulator.calibration.check import NotMeasured, check
    from simulator.commands.running import repeat
    from simulator.report import machine
    from simulator.scenario import ScenarioError
    from simulator.version import VERSION

    documents: list[dict[str, Any]] = []
    codes = [console.OK]
    for file in files:
        try:
            checked = check(file, overrides, chosen, _progress(file))
        except ScenarioError as error:
            console.tell(error)
            codes.append(console.INVALID)
            continue
        except NotMeasured as error:
            console.tell(f"{file}: not measured: {error}")
            documents.append({"name": file, "not_measured": str(error)})
            codes.append(console.ENVIRONMENT)
            continue
        except KeyboardInterrupt:
            console.tell(f"{file}: interrupted, its runs are not complete")
            codes.append(console.INTERRUPTED)
            break
        codes.append(console.OK if checked.passed else console.FAILED)
        words = [file, *overrides, *_given(chosen)]
        if report is not None:
            _write_report(checked, report, repeat("check", words, None))
        if as_json:
            documents.append(check_page.as_dict(checked))
            continue
        command = repeat("check", words, None)
        console.show(check_page.render(checked, command=command, version=VERSION))
        if file != files[-1]:
            console.show("\n")
    if as_json:
        console.show(machine.dumps({"checks": documents, "version": VERSION}).decode())
    return _code(codes)


def _given(chosen: Options) -> list[str]:
    """The options that are not as usual, as they are written; a DSN without its password."""
    from simulator.calibration.check import Options
    from simulator.calibration.served.postgres import shown

    words = []
    for name in ("overheads", "runs", "tolerance", "scale", "database", "budget"):
        value = getattr(chosen, name)
        if value != getattr(Options(), name):
            text = f"{value * 100:g}%" if name == "tolerance" else shown(str(value))
            words += [f"--{name}", f"{float(value):g}" if name == "scale" else text]
    return words


def _write_report(checked: Checked, path: Path, command: str) -> None:
    """The report of what was simulated, with what was measured beside it."""
    from simulator.answer import simulate
    from simulator.calibration import check_page
    from simulator.commands.running import write_report
    from simulator.report.html import Table

    answer = simulate(checked.scenario)
    measured = Table(*check_page.as_table(checked))
    write_report(answer, path, command=command, seed=None, measured=measured)


def _code(codes: list[int]) -> int:
    """Interrupted before invalid before failed before not measured before fine."""
    order = (
        console.INTERRUPTED, console.INVALID, console.FAILED, console.ENVIRONMENT, console.OK,
    )  # fmt: skip
    return next(code for code in order if code in codes)


def _progress(file: str) -> Callable[[str], None]:
    return lambda text: progress.words(f"{file}: {text}")
