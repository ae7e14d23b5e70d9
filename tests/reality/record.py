"""What was measured, as it is stored beside the program: one entry for each case."""

from __future__ import annotations

import json
import platform
from datetime import date
from pathlib import Path
from typing import Any

from simulator.calibration.check import Checked
from simulator.calibration.check_page import as_dict
from tests.reality.cases import Case

STORED = Path(__file__).parent / "measured.json"
TABLE = Path(__file__).parent / "table.md"

Record = dict[str, Any]


def stored() -> dict[str, Record]:
    """By label of the case; empty before the first measurement."""
    if not STORED.exists():
        return {}
    loaded: dict[str, Record] = json.loads(STORED.read_text(encoding="utf-8"))
    return loaded


def keep(case: Case, record: Record) -> None:
    """Store one case, in place of what was known of it."""
    records = stored() | {case.label: record}
    text = json.dumps(records, indent=1, ensure_ascii=False, sort_keys=True)
    STORED.write_text(text + "\n", encoding="utf-8")


def of(checked: Checked) -> Record:
    """What is kept of a check: figures rounded to microseconds, versions, date, machine."""
    document = as_dict(checked)
    ok = document["ok"]
    return {
        "bound": document["bound"],
        "requests": checked.predicted.total.requests,
        "ok": {"measured": ok["measured"], "predicted": ok["predicted"]},
        "passed": document["passed"],
        "cpu_ratio": _rounded(document["cpu_ratio"]),
        "notes": document["notes"],
        "splits": document["splits"],
        "figures": {
            name: {key: _rounded(value) for key, value in figure.items()}
            for name, figure in document["figures"].items()
        },
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": document["versions"],
    }


def machine() -> str:
    """The processor and how many there are."""
    import os

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
    return value
