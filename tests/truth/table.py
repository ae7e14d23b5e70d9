"""The table of all cases: measured, predicted, error, verdict."""

from __future__ import annotations

from collections.abc import Iterable

from tests.truth.open_cases import OPEN, reason
from tests.truth.replay import Replay
from tests.truth.verdict import Comparison, compare, verdict

HEAD = (
    f"{'case':<46} {'n':>5}  {'figure':<9} {'measured':>9} {'predicted':>9} {'error':>8}  verdict"
)


def lines(replays: Iterable[Replay]) -> Iterable[str]:
    """The rows of the table as they come: one for each figure, the verdict on the first."""
    yield HEAD
    for replay in replays:
        said = verdict(replay)
        for i, comparison in enumerate(compare(replay)):
            name = replay.case.label if i == 0 else ""
            n = str(replay.recorded.n) if i == 0 else ""
            yield f"{name:<46} {n:>5}  {_figure(comparison)}  {said if i == 0 else ''}".rstrip()
        if said in ("OPEN", "reported") or replay.case.label in OPEN:
            yield f"      {replay.case.bound.value}: {reason(replay.case)}"


def _figure(of: Comparison) -> str:
    error = f"{of.error:+.1%}"
    spread = f" [{of.low:.4g} … {of.high:.4g}]" if of.low < of.high else ""
    return f"{of.figure:<9} {of.measured:>9.4g} {of.predicted:>9.4g} {error:>8}{spread}"
