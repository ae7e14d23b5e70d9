"""How the cases with services and accelerators are played and measured."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulator.engines.contract import OK
from tests.cases.estimate import Estimate, exactly
from tests.cases.measured import Measured
from tests.cases.play import SECOND, Figures, play

GPU = "accelerator gpu"


def burst_of_calls(case: str) -> Figures:
    latencies = play(case, warm_up=0.0).latencies()
    return {
        "immediate": exactly((latencies == 0).sum()),
        "last_admission": exactly(latencies[-1]),
        "mean_delay": exactly(latencies.mean()),
    }


def rejected_calls(case: str) -> Figures:
    accepted = play(case, warm_up=0.0).trace.outcome == OK
    return {"accepted": exactly(accepted.sum()), "rejected": exactly((~accepted).sum())}


def leaky_bucket(case: str) -> Figures:
    run = play(case)
    return {
        "mean_wait": run.mean(run.booked("wait", "rate limit:api")),
        "mean_residence": run.mean(run.response()),
    }


def two_classes(case: str) -> Figures:
    run = play(case)
    return {f"wait_{name}": run.mean(run.waits(route=name)) for name in ("hi", "lo")}


def two_classes_and_fifo(case: str) -> Figures:
    """The same requests again, all of one class."""
    equal = play(case, "routes.lo.priority=0")
    return {**two_classes(case), "fifo_wait": equal.mean(equal.waits())}


def batches(case: str) -> Figures:
    run = play(case)
    busy = run.some(run.served(GPU))
    sizes = run.mean(run.batch_sizes(GPU))
    return {
        "p_idle": Estimate(1 - busy.value, busy.half_width),
        "lq": run.over_time(run.queueing(GPU)),
        "wq": run.mean(run.waits()),
        "w": run.mean(run.response()),
        "mean_batch": sizes,
        "mean_response": run.mean(run.response()),
        "mean_in_system": run.over_time(run.in_system()),
        "gpu_utilization": busy,
        "mean_batch_over_batches": sizes,
    }


def triton_requests(case: str) -> Figures:
    """Without batching a request is one batch, whatever it holds."""
    alone = [f"routes.{name}.steps=[{{predict: gpu}}]" for name in "acbde"]
    single = play(case, *alone, "accelerators.gpu.batch.max=1", warm_up=0.0)
    return {
        "no_batching_makespan": exactly(single.makespan()),
        "dynamic_makespan": exactly(play(case, warm_up=0.0).makespan()),
    }


def _of_users(case: str, counts: range) -> list[Measured]:
    return [play(case, f"load.users={users}") for users in counts]


def text_recognition(case: str) -> Figures:
    """A request holds two images, and the throughput counts them."""
    runs = _of_users(case, range(2, 17, 2))
    in_us = [run.response() * 1e6 for run in runs]
    return {
        "measured_throughput_infer_per_s": [exactly(2 * run.throughput().value) for run in runs],
        "measured_p95_us": [exactly(np.percentile(latency, 95)) for latency in in_us],
        "model_latency_us": [exactly(latency.mean()) for latency in in_us],
    }


def inception(case: str) -> Figures:
    """Measured from two users on: the case applies to those."""
    runs = [exactly(run.throughput().value) for run in _of_users(case, range(1, 9))]
    return {"measured_throughput_per_s": runs, "model_throughput_per_s": runs}


def batch_table(case: str) -> Figures:
    """What a device does with whole batches, one after another, ten times."""
    large = "vars.table={1024: 8926us, 4096: 38950us}"
    rates = [_samples_per_s(case, size) for size in (1, 16, 256, 1024, 4096)]
    rates += [16 * _samples_per_s(case, size, large) for size in (1024, 4096)]
    return {"published_samples_per_s": [exactly(rate) for rate in rates]}


def _samples_per_s(case: str, size: int, *overrides: str) -> float:
    count = f"load.requests={2 * size}"
    run = play(case, count, f"accelerators.gpu.batch.max={size}", *overrides, warm_up=0.0)
    finish = np.unique(run.trace.finish_ns)
    return size / float(finish[-1] - finish[-2]) * SECOND


OUTSIDE: dict[str, Callable[[str], Figures]] = {
    "token-bucket-queueing-burst": burst_of_calls,
    "token-bucket-steady-overload": rejected_calls,
    "leaky-bucket-poisson": leaky_bucket,
    "prio-nonpreemptive-mm1": two_classes_and_fifo,
    "prio-nonpreemptive-mm3": two_classes,
    "bulk-service-b5": batches,
    "gpu-linear-batch-slow": batches,
    "gpu-linear-batch-gpu10ms-cap3": batches,
    "triton-5-requests": triton_requests,
    "triton-textrec-nobatch": text_recognition,
    "triton-inception-dynamic": inception,
    "dlrm-batch-latency-table": batch_table,
}
