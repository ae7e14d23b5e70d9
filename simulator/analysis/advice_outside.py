"""What to try next about services, their rate limits and accelerators."""

from __future__ import annotations

from simulator.analysis.calls import hopeless_calls, limited_service
from simulator.analysis.devices import accelerator_of
from simulator.analysis.insight import Case
from simulator.analysis.limits import waits_for_window
from simulator.engines.contract import service_outcome
from simulator.plan import UNLIMITED, Accelerator
from simulator.units import exact_duration


def longer_timeout(case: Case) -> str | None:
    """Twice what the call takes."""
    for call in hopeless_calls(case.plan):
        if case.label == f"service {call.service.label}":
            own = case.keys.is_written(f"{call.path}.timeout")
            where = call.path if own else f"services.{call.service.label}"
            return f"{where}.timeout={exact_duration(2 * call.takes_ns)}"
    return None


def more_devices(case: Case) -> str | None:
    """More that run at once, where a step of more serves more; else more devices."""
    spec = accelerator_of(case.plan, case.label)
    if spec is None:
        return None
    if case.bound and waits_for_window(case.plan, case.trace, case.bound):
        return f"accelerators.{spec.label}.batch.wait=0s"
    if spec.continuous and _more_run_faster(spec):
        return f"accelerators.{spec.label}.continuous.max_running={2 * spec.batch_max}"
    return f"accelerators.{spec.label}.count={2 * spec.count}"


def _more_run_faster(spec: Accelerator) -> bool:
    """Whether twice as many that run take at least a tenth more steps per second in all."""
    if spec.table_ns or 2 * spec.batch_max > UNLIMITED:
        return False
    if spec.time >= 0:
        return True
    now = spec.base_ns + spec.per_item_ns * spec.batch_max
    twice = spec.base_ns + spec.per_item_ns * 2 * spec.batch_max
    return 20 * now >= 11 * twice


def other_limit(case: Case) -> str | None:
    """Refuse at once where waiting uses up the timeout; nothing where the limit is a contract."""
    service = limited_service(case.plan, case.label)
    if service is None or not service.limits[0].waits:
        return None
    index = case.plan.services.index(service)
    timed_out = case.trace.outcomes[service_outcome(case.plan, index, "call_timeout")]
    if not dict(case.summary.failures).get(timed_out):
        return None
    return f"services.{service.label}.rate_limit.over=reject"
