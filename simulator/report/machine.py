"""The numbers of a run for programs: `--json`, with the unit in each name."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from simulator.analysis import confidence
from simulator.analysis.bottleneck import Bottleneck
from simulator.analysis.confidence import Interval
from simulator.analysis.memory import Memory
from simulator.analysis.resources import Resource
from simulator.analysis.summary import SECOND_NS, Group, Latency, Summary
from simulator.analysis.trust import UNKNOWN, Trust
from simulator.analysis.verdicts import ThresholdResult
from simulator.analysis.warmup import ALL_COUNT, Warmup
from simulator.plan import NEVER, Overheads, Plan
from simulator.record import dataclass
from simulator.report.terminal import PlacedFinding
from simulator.thresholds import DURATIONS

_FAILURE = "failure:"
_COUNTED = ("requests", "ok", "errors", "in_flight", "throughput")


@dataclass(frozen=True, slots=True)
class Meta:
    """What a result was made from; no date, no host, no duration."""

    seed: int
    version: str
    engine: str = ""


def as_dict(
    plan: Plan,
    summary: Summary,
    bottleneck: Bottleneck,
    threshold_results: Sequence[ThresholdResult],
    findings: Sequence[PlacedFinding],
    *,
    meta: Meta,
    trust: Trust = UNKNOWN,
    warmup: Warmup = ALL_COUNT,
) -> dict[str, Any]:
    """All numbers of a run as plain data: seconds as floats, None where there is none."""
    return {
        "metrics": _metrics(summary.total),
        "routes": {group.name: _metrics(group) for group in summary.routes},
        "intervals": intervals(trust, [group.name for group in summary.routes]),
        "failures": dict(summary.failures),
        "breakdown": [
            {
                "kind": row.kind,
                "cause": row.cause,
                "mean_s": _seconds(row.mean_ns),
                "p95_s": _seconds(row.p95_ns),
                "share": row.share,
                "ok_mean_s": _seconds(row.ok_mean_ns),
                **of_cause(trust, row.kind, row.cause),
            }
            for row in summary.breakdown
        ],
        "resources": {row.label: _resource(row, trust) for row in summary.resources},
        **({"memory": _memory(summary.memory)} if summary.memory else {}),
        "bottleneck": {
            "kind": bottleneck.kind,
            "resource": bottleneck.resource,
            "size": bottleneck.size,
            "bound_s": _seconds(bottleneck.bound_ns),
            "run_s": _seconds(bottleneck.run_ns),
            "sentence": bottleneck.sentence,
            "insight": bottleneck.insight,
            "next": bottleneck.override,
            "next_with": bottleneck.override_with,
            "details": list(bottleneck.details),
        },
        "thresholds": [threshold(result) for result in threshold_results],
        "findings": [
            {"code": finding.code, "place": finding.place, "message": finding.message}
            for finding in findings
        ],
        "meta": _meta(plan, summary, meta, warmup),
    }


def intervals(trust: Trust, routes: Sequence[str]) -> dict[str, Any]:
    """The intervals of the metrics, [low, high] under the same names; null where there is none."""
    return {
        "level": confidence.LEVEL,
        "method": trust.method,
        "replications": trust.replications,
        "note": trust.note,
        "stable": trust.not_stable is None,
        "metrics": _intervals(trust, ""),
        "routes": {name: _intervals(trust, name) for name in routes},
        "failures": {
            scope.removeprefix(_FAILURE): interval(value, 1)
            for (scope, _), value in trust.intervals.items()
            if scope.startswith(_FAILURE)
        },
    }


def _intervals(trust: Trust, group: str) -> dict[str, Any]:
    return {
        _interval_name(what): interval(value, 1 if what in _COUNTED else SECOND_NS)
        for (scope, what), value in trust.intervals.items()
        if scope == group
    }


def interval(found: Interval | None, scale: int = SECOND_NS) -> list[float | None] | None:
    """An interval as a pair of numbers; without an upper end where nothing bounds it."""
    if found is None:
        return None
    return [found.low / scale, found.high / scale if math.isfinite(found.high) else None]


def _interval_name(what: str) -> str:
    """The name under `metrics`: "latency_p95_s" of "p95"."""
    if what in _COUNTED:
        return "throughput_per_s" if what == "throughput" else what
    return f"{what}_s" if what == "last" or what.startswith("first") else f"latency_{what}_s"


def dumps(document: dict[str, Any]) -> bytes:
    """The document as JSON in UTF-8: fixed order, no NaN, equal bytes for equal data."""
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=2)
    return (text + "\n").encode("utf-8", errors="replace")


def _metrics(group: Group) -> dict[str, Any]:
    latency = group.latency
    return {
        "requests": group.requests,
        "ok": group.ok,
        "errors": group.errors,
        "in_flight": group.in_flight,
        "last_s": _seconds(group.last_ns),
        "throughput_per_s": _number(group.throughput),
        "latency_mean_s": _seconds(latency.mean_ns),
        **{f"latency_p{p}_s": _seconds(latency.percentile_ns(p)) for p in (50, 90, 95, 99)},
        "latency_max_s": _seconds(latency.max_ns),
        **_first_byte(group.first_byte),
    }


def _first_byte(times: Latency | None) -> dict[str, Any]:
    """Only where something is streamed."""
    if times is None:
        return {}
    names = (50, 90, 95, 99)
    return {f"first_byte_p{p}_s": _seconds(times.percentile_ns(p)) for p in names}


def _memory(found: Memory) -> dict[str, Any]:
    return {
        "connections_max": found.connections,
        "connection_bytes": found.connection_bytes,
        "threads_max": found.threads,
        "thread_bytes": found.thread_bytes,
        "total_bytes": found.total_bytes,
    }


def of_cause(trust: Trust, kind: str, cause: str) -> dict[str, Any]:
    """The intervals of a cause, null where it has none."""
    scope = f"cause:{kind} {cause}"
    return {
        "mean_s_interval": interval(trust.of(scope, "mean")),
        "p95_s_interval": interval(trust.of(scope, "p95")),
        "share_interval": interval(trust.of(scope, "share"), 1),
        "ok_mean_s_interval": interval(trust.of(scope, "ok_mean")),
    }


def of_resource(trust: Trust, label: str) -> dict[str, Any]:
    """The intervals of a resource, null where it has none: a maximum of one run never has."""
    scope = f"resource:{label}"
    return {
        "busy": interval(trust.of(scope, "busy"), 1),
        "queue_max": interval(trust.of(scope, "queue_max"), 1),
        **{
            f"wait_{what}_s": interval(trust.of(scope, f"wait_{what}_ns"))
            for what in ("mean", "p95", "max")
        },
    }


def _resource(row: Resource, trust: Trust) -> dict[str, Any]:
    return {
        "kind": row.kind,
        "size": row.size,
        "size_per_process": row.size_per_process,
        "busy": row.busy,
        "queue_max": row.queue_max,
        "waits_per": row.waits_per,
        "wait_mean_s": _seconds(row.wait_mean_ns),
        "wait_p95_s": _seconds(row.wait_p95_ns),
        "wait_max_s": _seconds(row.wait_max_ns),
        "endless": row.endless,
        "intervals": of_resource(trust, row.label),
    }


def threshold(result: ThresholdResult) -> dict[str, Any]:
    """A threshold, what was observed, and whether that decides it."""
    in_ns = result.threshold.metric in DURATIONS
    scale = SECOND_NS if in_ns else 1
    return {
        "threshold": result.text,
        "ok": result.ok,
        "verdict": result.verdict,
        "observed": None if result.observed is None else _number(result.observed / scale),
        "interval": interval(result.interval, scale),
        "limit": _number(result.threshold.value / scale),
        "unit": "s" if in_ns else _unit(result),
    }


def _unit(result: ThresholdResult) -> str:
    if result.threshold.aggregate == "count":
        return "1"
    return "1" if result.threshold.metric in ("errors", "ok") else "1/s"


def _meta(plan: Plan, summary: Summary, meta: Meta, warmup: Warmup) -> dict[str, Any]:
    used = plan.server.overheads
    return {
        "name": plan.name,
        "seed": meta.seed,
        "version": meta.version,
        "engine": meta.engine,
        "ended": summary.ended,
        "warmup": {
            "until_s": _seconds(warmup.until_ns),
            "requests": warmup.requests,
            "over": warmup.over,
        },
        "overheads": {
            name.removesuffix("_ns") + "_s": _seconds(getattr(used, name))
            for name in Overheads.__slots__
        },
    }


def _seconds(ns: int | None) -> float | None:
    """None also for what has no end: JSON knows no infinity."""
    return None if ns is None or ns >= NEVER else ns / SECOND_NS


def _number(value: Fraction | None) -> float | None:
    return None if value is None else float(value)
