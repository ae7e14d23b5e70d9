"""One scenario in, everything that a report says about its run out."""

from __future__ import annotations

from collections.abc import Callable

from simulator.analysis.bottleneck import Bottleneck, bottleneck
from simulator.analysis.findings import run_findings
from simulator.analysis.keys import Keys
from simulator.analysis.summary import Summary, summarize
from simulator.analysis.trust import Trust, one_run
from simulator.analysis.verdicts import ThresholdResult, evaluate
from simulator.analysis.warmup import Warmup, warmup
from simulator.engine import Engine, Tell, run
from simulator.record import dataclass
from simulator.scenario import Finding, Scenario, findings, not_stable
from simulator.trace import Folding, Trace
from simulator.workload import Workload


@dataclass(frozen=True, slots=True)
class Answer:
    """What a run of a scenario says."""

    scenario: Scenario
    trace: Trace
    summary: Summary  # without the warm-up
    bottleneck: Bottleneck  # of the whole run
    thresholds: tuple[ThresholdResult, ...]
    findings: tuple[Finding, ...]  # of the text and of the run, by code
    warmup: Warmup
    trust: Trust
    engine: Engine  # which one ran it

    @property
    def passed(self) -> bool:
        """True if every threshold holds."""
        return all(result.ok for result in self.thresholds)


def simulate(
    scenario: Scenario,
    *,
    seed: int | None = None,
    replication: int = 0,
    engine: Engine = Engine.AUTO,
    progress: Callable[[int], None] = lambda arrived: None,
    tell: Tell = lambda sentence: None,
    folding: Folding | None = None,
) -> Answer:
    """Run a scenario once and say what happened.

    Parameters
    ----------
    scenario : Scenario
        Of ``simulator.scenario.load`` or ``loads``.
    seed : int, optional
        Instead of the scenario's own.
    replication : int, default 0
        Which of the independent repetitions of this seed.
    engine : Engine
        Which one runs it; both give the same answer.
    progress : callable
        Called now and then with the number of requests that have arrived.
    tell : callable
        Called with a sentence where an engine takes long to load, or can't be had.
    folding : Folding, optional
        What takes the visits of a run that nobody asks for; the answer is the same.

    Raises
    ------
    LimitError
        The run reached a named limit.
    """
    plan = scenario.plan
    workload = Workload(plan, seed=seed, replication=replication)
    trace, used = run(plan, workload, engine=engine, progress=progress, tell=tell, folding=folding)
    settled = warmup(plan, trace)
    whole = summarize(plan, trace)
    summary = summarize(plan, trace, since_ns=settled.until_ns) if settled.requests else whole
    runs = one_run(plan, trace, settled, random=workload.drew, not_stable=not_stable(scenario))
    keys = Keys(scenario.key, scenario.load_paths, scenario.is_written)
    of_the_run = tuple(
        Finding(found.code, "warning", found.message, scenario.place(found.path), "")
        for found in run_findings(plan, trace, summary, settled)
    )
    return Answer(
        scenario=scenario,
        trace=trace,
        summary=summary,
        bottleneck=bottleneck(plan, trace, whole, keys),
        thresholds=evaluate(scenario.thresholds, summary, runs.of_threshold),
        findings=tuple(
            sorted((*findings(scenario), *of_the_run), key=lambda finding: finding.code)
        ),
        warmup=settled,
        trust=runs.trust,
        engine=used,
    )
