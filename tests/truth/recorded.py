"""The recorded runs: what was sent when, and what was measured; ``runs/README.md`` says how."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any

RUNS = Path(__file__).parent / "runs"

Figures = dict[str, float]
"""By name: seconds, or a number where the name is ``ok``, ``rps`` or ``share``."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One run, or one row of a summary, as a replay needs it."""

    name: str
    n: int
    config: dict[str, Any]
    measured: Figures
    arrivals_ns: tuple[int, ...] = ()  # empty: the scenario's own load is played
    intended_ns: tuple[int, ...] = ()
    service_ns: tuple[int, ...] = ()
    splits: tuple[tuple[int, ...], ...] = ((1,),)  # requests by worker, by repeat
    overhead_ns: int = 0  # of a request of a sync worker, beyond its service; where known
    batch_ms: Figures = field(default_factory=dict)  # mean time of a batch by its size


@cache
def recorded(name: str) -> Recorded:
    """A run by its name: that of its file, or ``file/row`` for a row of a summary.

    Raises
    ------
    KeyError
        If the summary has no such row.
    """
    file, _, row = name.partition("/")
    document = json.loads((RUNS / f"{file}.json").read_text())
    return _ROWS[file](name, row, document["results"]) if row else _run(name, document)


def _run(name: str, document: dict[str, Any]) -> Recorded:
    figures = ("makespan", "p50", "p95", "mean")
    measured = {key: document[key] for key in figures if document.get(key) is not None}
    measured["ok"] = float(document["statuses"].get("200", 0))
    measured["rps"] = document["throughput"]
    sent = _ns(document["arrivals"])
    intended = document["intended"]
    service = document.get("service", [])
    extra = document.get("extra", {})
    splits = extra.get("splits") or extra.get("pid_counts") or [[1]]
    return Recorded(
        name,
        document["n"],
        document["config"],
        measured,
        sent,
        _ns(intended if isinstance(intended, list) else [intended] * len(sent)),
        _ns(service if isinstance(service, list) else [service] * len(sent)),
        tuple(tuple(split) for split in splits),
        round(document.get("overhead_ms", 0) * 1e6),
        document.get("batch_ms", {}),
    )


def warm(run: Recorded) -> Recorded:
    """The run with what its last repeat measured, of a server that had served before."""
    document = json.loads((RUNS / f"{run.name}.json").read_text())
    last = {key: values[-1] for key, values in document["spread"].items()}
    return replace(run, measured={key: last.get(key, run.measured[key]) for key in run.measured})


def _ns(seconds: list[float]) -> tuple[int, ...]:
    return tuple(round(s * 1e9) for s in seconds)


# Rows of summaries. Repeats are shown by their median.


def _linger(name: str, row: str, results: dict[str, Any]) -> Recorded:
    answered = results[f"client_close_delay_{row}"]
    measured = dict(zip(("first", "second", "third"), answered, strict=True))
    return Recorded(name, 3, {"sleep_s": 0.1}, measured)


def _balance(name: str, row: str, results: dict[str, Any]) -> Recorded:
    splits = results[row]
    share = median(max(split) / sum(split) for split in splits)
    return Recorded(name, sum(splits[0]), {}, {"share": share})


def _cpu_overhead(name: str, row: str, results: dict[str, Any]) -> Recorded:
    runs = [run for run in results[row] if run[0] == 16]
    rps, p50 = median(run[1] for run in runs), median(run[2] for run in runs)
    return Recorded(name, 16, {}, {"rps": rps, "p50": p50 / 1e3})


def _norm(name: str, row: str, results: dict[str, Any]) -> Recorded:
    result = results[row]
    n, unit_ms = int(row.rpartition("n")[2]), result["unit_ms"]
    makespan = median(result["makespan_over_work_of_busiest_worker"]) * unit_ms * n / 1e3
    at = median(result["median_completion_over_makespan"])
    return Recorded(
        name, n, {"burn_ms_nominal": unit_ms}, {"makespan": makespan, "p50": at * makespan}
    )


def _switch_interval(name: str, row: str, results: dict[str, Any]) -> Recorded:
    runs = results[row]
    measured = {f"p{p}": median(run[str(p)] for run in runs) / 1e3 for p in (50, 90, 95)}
    return Recorded(name, 400, {}, measured)


def _httpx_pool(name: str, row: str, results: list[dict[str, Any]]) -> Recorded:
    result = results[int(row)]
    ok = float(result["res"].get("ok", 0))
    return Recorded(name, result["n"], result, {"makespan": result["makespan"], "ok": ok})


def _sockets(name: str, row: str, results: dict[str, Any]) -> Recorded:
    if row == "thread_per_conn":
        return Recorded(name, 1, {}, {"KiB": results[row]["rss_kb_per_thread"]})
    return Recorded(name, 1, {}, {"KiB": results[row]["kb_per_conn"]})


def _timer(name: str, row: str, results: dict[str, Any]) -> Recorded:
    late_ms = results[row][1]
    slept = float(row.rpartition("_")[2])
    return Recorded(name, 1, {"sleep_s": slept}, {"held": slept + late_ms / 1e3})


def _loop_under_gil(name: str, row: str, results: dict[str, Any]) -> Recorded:
    loop, _, load = row.partition("_")
    runs = results[loop][load]
    measured = {key: median(run[key] for run in runs) / 1e3 for key in ("mean", "p50", "p90")}
    return Recorded(name, 400, {}, measured)


_ROWS: dict[str, Callable[[str, str, Any], Recorded]] = {
    "c01_linger": _linger,
    "c03_balance": _balance,
    "c04_cpu_overhead": _cpu_overhead,
    "c06_norm": _norm,
    "c06_switchinterval": _switch_interval,
    "c09_httpx_pool": _httpx_pool,
    "c12_ws": _sockets,
    "c14_timers": _timer,
    "c15_loop_under_gil": _loop_under_gil,
}
