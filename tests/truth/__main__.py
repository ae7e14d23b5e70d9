"""``python -m tests.truth [GROUP…] [--replications N] [--cross]``: recorded runs and the model.

``--cross``: each group is predicted from overheads that were fitted on the other groups.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator
from statistics import median

from tests.truth import cross
from tests.truth.cases import ASSERTED, CASES, Case
from tests.truth.replay import REPLICATIONS, Replay, replay
from tests.truth.table import lines
from tests.truth.verdict import compare, verdict


def main() -> None:
    """Print the table of all cases, or of some groups such as ``c07``."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=main.__doc__)
    parser.add_argument("groups", nargs="*", help="prefixes of cases, such as c07; default all")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    parser.add_argument(
        "--cross", action="store_true", help="overheads fitted on the other groups, not typical"
    )
    given = parser.parse_args()
    chosen = [c for c in CASES if not given.groups or c.run.startswith(tuple(given.groups))]
    verdicts: Counter[tuple[bool, str]] = Counter()
    fits = _fits(chosen) if given.cross else {}
    errors: list[float] = []
    for line in lines(_played(chosen, given.replications, verdicts, fits, errors)):
        print(line, flush=True)
    print(_summary(verdicts))
    if unknown := sorted({name for fit in fits.values() for name in fit.unknown}):
        print(f"left out as 0 where no other group tells it: {', '.join(unknown)}")
    if errors:
        print(
            f"asserted figures that other groups tell all overheads of: {len(errors)}, error "
            f"{median(errors):.1%} in the median, {max(errors):.1%} at most"
        )
    print("seconds; latencies count from the intended send; 2 ms: not within 5 %, but 2 ms;")
    print(f"spread: within the least and greatest of {given.replications} replications")


def _fits(cases: Iterable[Case]) -> dict[str, cross.Fitted]:
    """By group: the overheads of the others, printed as a table."""
    fits = {group: cross.fitted(group) for group in dict.fromkeys(c.group for c in cases)}
    for line in cross.lines(list(fits.values())):
        print(line)
    print()
    return fits


def _played(
    cases: Iterable[Case],
    replications: int,
    verdicts: Counter[tuple[bool, str]],
    fits: dict[str, cross.Fitted],
    errors: list[float],
) -> Iterator[Replay]:
    for case in cases:
        own = case.own_overhead or case.group not in fits
        played = replay(case, replications, None if own else fits[case.group].used())
        verdicts[case.bound in ASSERTED, verdict(played)] += 1
        told = not own and not cross.pays(case, fits[case.group].unknown)
        if case.bound in ASSERTED and told:
            # 2 ms are always allowed: of a sleep of 1 ms they are twice as much as the whole.
            off = [one for one in compare(played) if one.is_close or not one.agrees]
            errors += [abs(one.error) for one in off]
        yield played


def _summary(verdicts: Counter[tuple[bool, str]]) -> str:
    """How many are asserted, agree and are open; how many are reported only, and agree."""
    asserted = sum(n for (checked, _), n in verdicts.items() if checked)
    opened = verdicts[True, "OPEN"]
    agree = ", ".join(f"{n} {said}" for (checked, said), n in verdicts.items() if checked)
    reported = verdicts.total() - asserted
    agreed = reported - verdicts[False, "reported"]
    return (
        f"{verdicts.total()} cases: {asserted} asserted, {asserted - opened} agree, "
        f"{opened} open ({agree}); {reported} reported only, {agreed} of them agree"
    )


if __name__ == "__main__":
    main()
