"""The same numbers for programs: JSON and CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from simulator.analysis.bottleneck import bottleneck
from simulator.analysis.summary import summarize
from simulator.analysis.verdicts import evaluate
from simulator.engines import contract
from simulator.plan import UNLIMITED, Plan
from simulator.report import files, machine
from simulator.thresholds import parse
from simulator.trace import Trace
from tests.analysis.handmade import Rows, burst, plan, pool

META = machine.Meta(seed=7, version="1.0", engine="reference")


def document(small: Plan, trace: Trace) -> dict[str, Any]:
    summary = summarize(small, trace)
    found = bottleneck(small, trace, summary)
    results = evaluate([parse("latency", "p(95)<20s", [])], summary)
    return machine.as_dict(small, summary, found, results, (), meta=META)


METRICS = {
    "requests": 6,
    "ok": 6,
    "errors": 0,
    "in_flight": 0,
    "last_s": 15.0,
    "throughput_per_s": 0.4,
    "latency_mean_s": 10.0,
    "latency_p50_s": 10.0,
    "latency_p90_s": 15.0,
    "latency_p95_s": 15.0,
    "latency_p99_s": 15.0,
    "latency_max_s": 15.0,
}


def test_the_whole_document() -> None:
    small = plan()
    got = document(small, burst(small))
    assert list(got["metrics"].items()) == list(METRICS.items())
    assert got == {
        "metrics": METRICS,
        "routes": {"get_user": METRICS},
        "intervals": {
            "level": 0.95,
            "method": "none",
            "replications": 1,
            "note": "",
            "stable": True,
            "metrics": {},
            "routes": {"get_user": {}},
            "failures": {},
        },
        "failures": {},
        "breakdown": [
            {
                "kind": "wait",
                "cause": "pool:db",
                "mean_s": 5.0,
                "p95_s": 10.0,
                "share": 0.5,
                "ok_mean_s": 5.0,
                "mean_s_interval": None,
                "p95_s_interval": None,
                "share_interval": None,
                "ok_mean_s_interval": None,
            },
            {
                "kind": "hold",
                "cause": "query:db",
                "mean_s": 5.0,
                "p95_s": 5.0,
                "share": 0.5,
                "ok_mean_s": 5.0,
                "mean_s_interval": None,
                "p95_s_interval": None,
                "share_interval": None,
                "ok_mean_s_interval": None,
            },
        ],
        "resources": {
            "pool db": {
                "kind": "pool",
                "size": 2,
                "size_per_process": 2,
                "busy": 1.0,
                "queue_max": 4,
                "waits_per": "visit",
                "wait_mean_s": 5.0,
                "wait_p95_s": 10.0,
                "wait_max_s": 10.0,
                "endless": 0,
                "intervals": dict.fromkeys(
                    ("busy", "queue_max", "wait_mean_s", "wait_p95_s", "wait_max_s")
                ),
            }
        },
        "bottleneck": {
            "kind": "pool",
            "resource": "pool db",
            "size": 2,
            "bound_s": 15.0,
            "run_s": 15.0,
            "sentence": "pool db: 6 × 5s / 2 = 15s is the bound, the run took 15s.",
            "insight": (
                "async lets 4 requests wait at once; it does not let more than 2 queries "
                "run at once."
            ),
            "next": "pools.db.size=4",
            "next_with": None,
            "details": [],
        },
        "thresholds": [
            {
                "threshold": "latency p(95)<20s",
                "ok": True,
                "verdict": "passed",
                "observed": 15.0,
                "interval": None,
                "limit": 20.0,
                "unit": "s",
            }
        ],
        "findings": [],
        "meta": {
            "name": "small",
            "seed": 7,
            "version": "1.0",
            "engine": "reference",
            "ended": "empty",
            "warmup": {"until_s": 0.0, "requests": 0, "over": True},
            "overheads": {
                f"{name}_s": 0.0
                for name in (
                    "loop_before",
                    "loop_after",
                    "loop_wake",
                    "refusal",
                    "thread_hop",
                    "thread_start",
                    "first_request",
                    "worker",
                    "query_cpu",
                    "query_wake",
                    "backend_wake",
                    "pool_hold",
                    "lock_hold",
                    "connect",
                    "connect_delay",
                    "connect_refused",
                    "close",
                    "timer",
                    "sleep",
                    "client_call",
                    "client_scan",
                    "aiohttp_call",
                    "aiohttp_connect",
                )
            },
        },
    }


def test_no_number_is_null_and_no_limit_is_null() -> None:
    rows = Rows(plan(pools=(pool(UNLIMITED),)))
    rows.request(0, None)
    rows.visit("pool db", 0, 0, 0, 0)
    got = json.loads(machine.dumps(document(rows.plan, rows.trace(end=0))))
    assert got["metrics"]["latency_p50_s"] is None
    assert got["metrics"]["throughput_per_s"] is None
    assert got["resources"]["pool db"]["size"] is None


def test_equal_runs_give_equal_bytes() -> None:
    documents = [document(plan(), burst(plan())) for _ in range(2)]
    first, second = (machine.dumps(each) for each in documents)
    assert first == second
    assert first.endswith(b"}\n")


def test_a_nan_is_an_error_and_not_json() -> None:
    with pytest.raises(ValueError):
        machine.dumps({"x": float("nan")})


def _write(folder: Path, trace: Trace) -> None:
    small = plan()
    written = files.write(
        folder,
        document=document(small, trace),
        page="a page\n",
        scenario_text="name: small\n",
        tables=lambda place: files.write_tables(place, small, trace),
    )
    assert sorted(path.name for path in written) == [
        "report.txt",
        "requests.csv",
        "result.json",
        "scenario.yaml",
        "visits.csv",
    ]
    assert all(path.is_file() for path in written)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_files_hold_every_request_and_every_visit(tmp_path: Path) -> None:
    rows = Rows(plan())
    rows.request(0, 5.001, {contract.hold_query(0): 5.001})
    rows.request(1e-9, None)
    rows.visit("pool db", 0, 0, 0, 5.001)
    rows.visit("pool db", 1, 1e-9, None, 7)
    folder = tmp_path / "new" / "run"
    _write(folder, rows.trace(end=7))
    assert (folder / "report.txt").read_text() == "a page\n"
    assert (folder / "scenario.yaml").read_text() == "name: small\n"
    first, second = _rows(folder / "requests.csv")
    assert list(first)[:8] == [
        "index",
        "route",
        "process",
        "arrival_s",
        "finish_s",
        "latency_s",
        "outcome",
        "wait_accept_queue_s",
    ]
    assert [first[k] for k in ("index", "finish_s", "latency_s", "outcome", "hold_query_db_s")] == [
        "0",
        "5.001",
        "5.001",
        "ok",
        "5.001",
    ]
    assert list(second.values())[:7] == ["1", "get_user", "0", "0.000000001", "", "", "in_flight"]
    assert [list(row.values()) for row in _rows(folder / "visits.csv")] == [
        ["pool db", "0", "0", "0", "0", "0", "5.001", "5.001"],
        ["pool db", "0", "1", "0", "0.000000001", "", "7", "0"],
    ]


def test_the_spent_columns_add_up_to_the_latency(tmp_path: Path) -> None:
    _write(tmp_path, burst(plan()))
    for row in _rows(tmp_path / "requests.csv"):
        spent = [float(v) for k, v in row.items() if k.startswith(("wait_", "hold_"))]
        assert sum(spent) == float(row["latency_s"])
