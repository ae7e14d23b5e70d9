"""What was measured, as it is stored beside the program: one entry for each case."""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

from simulator.calibration.check import Checked
from simulator.calibration.check_page import as_dict
from simulator.calibration.measuring import Measured, Run
from tests.reality.cases import Case

MEASURED = Path(__file__).parent / "measured.json"
CHECKED = Path(__file__).parent / "checked.json"
TABLE = Path(__file__).parent / "table.md"

Record = dict[str, Any]


def stored(path: Path) -> dict[str, Record]:
    """By label of the case; empty before the first measurement."""
    if not path.exists():
        return {}
    loaded: dict[str, Record] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def keep(path: Path, case: Case, record: Record) -> None:
    """Store one case, in place of what was known of it."""
    records = sorted((stored(path) | {case.label: record}).items())
    # A line for each: what changes is seen.
    lines = [f"{json.dumps(k)}: {json.dumps(v, ensure_ascii=False)}" for k, v in records]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def of(measured: Measured) -> Record:
    """What is kept of a measurement: all of it, the date and the machine."""
    document: Record = json.loads(json.dumps(asdict(measured)))
    return _rounded(document | {"date": date.today().isoformat(), "machine": machine()})


def of_check(checked: Checked, record: Record) -> Record:
    """What the table needs of a check."""
    document = as_dict(checked)
    kept = ("bound", "passed", "ok", "figures", "delayed", "cpu_ratio", "notes", "versions")
    return _rounded(
        {key: document[key] for key in kept}
        | {"requests": checked.predicted.total.requests}
        | {key: record[key] for key in ("date", "machine")}
    )


def measured(record: Record) -> Measured:
    """The measurement of a record."""
    return Measured(
        runs=tuple(Run(**run) for run in record["runs"]),
        splits=tuple(tuple(shares) for shares in record["splits"]),
        kept=record["kept"],
        versions=record["versions"],
    )


def machine() -> str:
    """The processor and how many there are."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return f"{os.cpu_count()} × {model}"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    return value
