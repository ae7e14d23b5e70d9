"""``python -m tests.truth [GROUP…] [--replications N]``: recorded runs against the model."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterable, Iterator

from tests.truth.cases import ASSERTED, CASES, Case
from tests.truth.replay import REPLICATIONS, Replay, replay
from tests.truth.table import lines
from tests.truth.verdict import verdict


def main() -> None:
    """Print the table of all cases, or of some groups such as ``c07``."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=main.__doc__)
    parser.add_argument("groups", nargs="*", help="prefixes of cases, such as c07; default all")
    parser.add_argument("--replications", type=int, default=REPLICATIONS)
    given = parser.parse_args()
    chosen = [c for c in CASES if not given.groups or c.run.startswith(tuple(given.groups))]
    verdicts: Counter[tuple[bool, str]] = Counter()
    for line in lines(_played(chosen, given.replications, verdicts)):
        print(line, flush=True)
    print(_summary(verdicts))
    print("seconds; latencies count from the intended send; 2 ms: not within 5 %, but 2 ms;")
    print(f"spread: within the least and greatest of {given.replications} replications")


def _played(cases: Iterable[Case], replications: int, verdicts: Counter[str]) -> Iterator[Replay]:
    for case in cases:
        played = replay(case, replications)
        verdicts[case.bound in ASSERTED, verdict(played)] += 1
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
