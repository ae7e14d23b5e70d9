"""One scenario in, everything that a report says about its run out."""

from __future__ import annotations

from collections.abc import Callable

from simulator.analysis.bottleneck import Bottleneck, bottleneck
from simulator.analysis.findings import run_findings
from simulator.analysis.keys import Keys
from simulator.analysis.summary import Summary, summarize
from simulator.analysis.verdicts import ThresholdResult, evaluate
from simulator.engines import reference
from simulator.record import dataclass
from simulator.scenario import Finding, Scenario, findings
from simulator.trace import Trace
from simulator.workload import Workload


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run of a scenario says."""

    scenario: Scenario
    trace: Trace
    summary: Summary
    bottleneck: Bottleneck
    thresholds: tuple[ThresholdResult, ...]
    findings: tuple[Finding, ...]  # of the text and of the run, by code

    @property
    def passed(self) -> bool:
        """True if every threshold holds."""
        return all(result.ok for result in self.thresholds)


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    progress: Callable[[int], None] = lambda arrived: None,
) -> Answer:
    """Run a scenario once and say what happened.

    Parameters
    ----------
    scenario : Scenario
        Of ``simulator.scenario.load`` or ``loads``.
    seed : int, optional
        Instead of the scenario's own.
    progress : callable
        Called now and then with the number of requests that have arrived.

    Raises
    ------
    LimitError
        The run reached a named limit.
    """
    plan = scenario.plan
    trace = reference.run(plan, Workload(plan, seed=seed), progress=progress)
    summary = summarize(plan, trace)
    keys = Keys(scenario.key, scenario.load_paths, scenario.is_written)
    of_the_run = tuple(
        Finding(found.code, "warning", found.message, scenario.place(found.path), "")
        for found in run_findings(plan, trace, summary)
    )
    return Answer(
        scenario=scenario,
        trace=trace,
        summary=summary,
        bottleneck=bottleneck(plan, trace, summary, keys),
        thresholds=evaluate(scenario.thresholds, summary),
        findings=tuple(
            sorted((*findings(scenario), *of_the_run), key=lambda finding: finding.code)
        ),
    )
