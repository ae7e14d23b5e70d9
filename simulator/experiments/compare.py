"""Scenarios side by side: which is faster, and which waits make the difference.

All run with the same seed. Draws are addressed (common random numbers), so where the
requests are the same ones they are compared one by one, and the difference of the means
is exactly the sum of the differences by cause.

How sure the ratio is say ``within_one_run`` of one run, and replications, in ``paired``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from string import ascii_uppercase

import numpy as np

from simulator.analysis.exact import exact_sum, rounded
from simulator.answer import Answer
from simulator.arrays import IntArray
from simulator.engines.contract import OK
from simulator.record import dataclass
from simulator.trace import Trace

SCENARIOS_MAX = 26
"""Scenarios of one comparison: they are called A to Z."""


@dataclass(frozen=True, slots=True)
class Case:
    """One scenario of a comparison and its run."""

    letter: str
    file: str
    overrides: tuple[str, ...]
    answer: Answer

    @property
    def label(self) -> str:
        """As a command line has it: "configs/1000req.yaml pools.db.size=100"."""
        return shlex.join((self.file, *self.overrides))

    @property
    def short_label(self) -> str:
        """The same, with only the name of the file."""
        return shlex.join((Path(self.file).stem, *self.overrides))


@dataclass(frozen=True, slots=True)
class CauseDifference:
    """What a request spent on one cause, on average: in the baseline and in the other."""

    kind: str  # "wait" or "hold"
    cause: str
    before_ns: int
    after_ns: int
    difference_ns: int  # rounded by itself: exact where the two means are not whole


@dataclass(frozen=True, slots=True)
class Difference:
    """One scenario against the baseline, over the requests that are ok."""

    paired: bool  # the same requests in both, those that are ok in both
    requests: int  # compared: in the baseline where they are not paired
    before_ns: int | None  # mean latency; None where no request is ok
    after_ns: int | None
    difference_ns: int | None
    ratio: Fraction | None  # after / before; None where that has no meaning
    faster: int  # paired requests that take less time than in the baseline
    slower: int
    causes: tuple[CauseDifference, ...]  # largest first


def named(
    files: Sequence[str], overrides: Sequence[str]
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Letter, file and overrides of each scenario that a command line names.

    One file with overrides is compared with itself without them; overrides beside
    several files hold for all of these.

    Raises
    ------
    ValueError
        If there is nothing to compare, or more than ``SCENARIOS_MAX``.
    """
    if len(files) > SCENARIOS_MAX:
        raise ValueError(
            f"{len(files)} scenarios, expected at most {SCENARIOS_MAX} (SCENARIOS_MAX)"
        )
    words = tuple(overrides)
    if len(files) == 1 and not words:
        raise ValueError(f"nothing to compare {files[0]} with, expected a second file or KEY=VALUE")
    pairs = [(file, words) for file in files]
    if len(files) == 1:
        pairs.insert(0, (files[0], ()))
    return tuple(
        (letter, file, each) for letter, (file, each) in zip(ascii_uppercase, pairs, strict=False)
    )


def difference(before: Answer, after: Answer) -> Difference:
    """What changes from one run to another."""
    a, b = before.trace, after.trace
    names = [[route.name for route in answer.scenario.plan.routes] for answer in (before, after)]
    rows = paired_rows(a, b, names[0], names[1])
    since_ns = before.warmup.until_ns, after.warmup.until_ns
    if rows is None:
        return _unpaired(a, b, since_ns)
    counted = a.arrival_ns[rows[0]] >= max(since_ns)
    rows = rows[0][counted], rows[1][counted]
    left, right = a.latency_ns[rows[0]], b.latency_ns[rows[1]]
    return _difference(
        a, b, rows, paired=True, faster=int((right < left).sum()), slower=int((right > left).sum())
    )


def _unpaired(a: Trace, b: Trace, since_ns: tuple[int, int]) -> Difference:
    rows = (
        np.flatnonzero((a.outcome == OK) & (a.arrival_ns >= since_ns[0])),
        np.flatnonzero((b.outcome == OK) & (b.arrival_ns >= since_ns[1])),
    )
    return _difference(a, b, rows, paired=False, faster=0, slower=0)


def paired_rows(
    a: Trace, b: Trace, routes_a: Sequence[str], routes_b: Sequence[str]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Rows of the requests that are ok in both; None if they are not the same requests.

    A request is the same where its index, which addresses its draws, and its route are.
    """
    if len(a) != len(b) or not len(a):
        return None
    order_a, order_b = np.argsort(a.index, kind="stable"), np.argsort(b.index, kind="stable")
    if not np.array_equal(a.index[order_a], b.index[order_b]):
        return None
    number = {name: i for i, name in enumerate((*routes_a, *routes_b))}
    code_a = np.asarray([number[name] for name in routes_a])[a.route[order_a]]
    code_b = np.asarray([number[name] for name in routes_b])[b.route[order_b]]
    if not np.array_equal(code_a, code_b):
        return None
    ok = (a.outcome[order_a] == OK) & (b.outcome[order_b] == OK)
    return order_a[ok], order_b[ok]


def _difference(
    a: Trace,
    b: Trace,
    rows: tuple[np.ndarray, np.ndarray],
    *,
    paired: bool,
    faster: int,
    slower: int,
) -> Difference:
    before, after = _mean(a.latency_ns[rows[0]]), _mean(b.latency_ns[rows[1]])
    known = before is not None and after is not None
    return Difference(
        paired=paired,
        requests=len(rows[0]),
        before_ns=None if before is None else rounded(before),
        after_ns=None if after is None else rounded(after),
        difference_ns=_rounded_difference(before, after),
        ratio=after / before if known and before and after is not None else None,
        faster=faster,
        slower=slower,
        causes=_causes(a, b, rows) if known else (),
    )


def _causes(a: Trace, b: Trace, rows: tuple[np.ndarray, np.ndarray]) -> tuple[CauseDifference, ...]:
    before = _means(a, rows[0])
    after = _means(b, rows[1])
    found = []
    for key in dict.fromkeys((*before, *after)):
        left, right = before.get(key, Fraction(0)), after.get(key, Fraction(0))
        if left or right:
            change = right - left
            found.append((abs(change), max(left, right), key, left, right))
    found.sort(key=lambda row: (-row[0], -row[1]))
    return tuple(
        CauseDifference(
            kind, cause, rounded(left), rounded(right), _rounded_difference(left, right) or 0
        )
        for _, _, (kind, cause), left, right in found
    )


def _means(trace: Trace, rows: np.ndarray) -> dict[tuple[str, str], Fraction]:
    return {
        (cause.kind, cause.name): _mean(trace.spent_ns[rows, i]) or Fraction(0)
        for i, cause in enumerate(trace.causes)
    }


def _mean(values: IntArray) -> Fraction | None:
    return Fraction(exact_sum(values), len(values)) if len(values) else None


def _rounded_difference(before: Fraction | None, after: Fraction | None) -> int | None:
    if before is None or after is None:
        return None
    change = after - before
    return rounded(change) if change >= 0 else -rounded(-change)
