"""What a load may cost the machine that it is sent to: requests, rate, time, and whose it is."""

from __future__ import annotations

import re
from dataclasses import replace
from fractions import Fraction

import numpy as np

from simulator.arrays import IntArray
from simulator.calibration.generator.problems import NotAllowed
from simulator.plan import NEVER, UNLIMITED, Plan
from simulator.record import dataclass
from simulator.units import UnitError, exact_duration, parse_count, parse_duration, parse_rate

SECOND_NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that may be sent: checked before the first request, and kept while sending."""

    requests: int = 20_000
    rate: Fraction = Fraction(2_000)  # requests in any second
    time_ns: int = 120 * SECOND_NS  # of one run

    def __str__(self) -> str:
        rate = f"{float(self.rate):g}/s"
        return f"requests<={self.requests},rate<={rate},time<={exact_duration(self.time_ns)}"

    @classmethod
    def parse(cls, text: str) -> Budget:
        """The budget of ``requests<=20k,rate<=2000/s,time<=2m``; what is left out is as usual.

        Raises
        ------
        ValueError
            With what is wrong and what is expected.
        """
        budget = cls()
        for part in text.split(","):
            match = re.fullmatch(r"\s*(requests|rate|time)\s*<=\s*(\S+)\s*", part)
            if match is None:
                raise ValueError(f"'{part.strip()}', expected such as '{budget}'")
            key, value = match.groups()
            try:
                if key == "requests":
                    most = int(value) if value.isdigit() else parse_count(value)
                    budget = replace(budget, requests=most)
                elif key == "rate":
                    budget = replace(budget, rate=parse_rate(value))
                else:
                    budget = replace(budget, time_ns=parse_duration(value))
            except UnitError as error:
                raise ValueError(f"{key}: {error}") from None
        return budget

    def problems(self, plan: Plan, arrival_ns: IntArray) -> list[str]:
        """What a plan's load would exceed, all of it; empty if nothing."""
        out = []
        count = len(arrival_ns) + sum(
            load.count for load in plan.loads if load.users and load.count < UNLIMITED
        )
        if count > self.requests:
            out.append(f"requests<={self.requests}: the load has {count}")
        users = sum(load.users for load in plan.loads)
        if users > self.rate:
            out.append(f"rate<={float(self.rate):g}/s: {users} users may all ask in one second")
        most = _most_in_a_second(arrival_ns)
        if most > self.rate:
            out.append(f"rate<={float(self.rate):g}/s: {most} are sent within one second")
        ends = [load.until_ns for load in plan.loads if load.until_ns < NEVER]
        last_ns = max([0, *ends, *(int(at) for at in arrival_ns[-1:])])
        if last_ns > self.time_ns:
            lasts = exact_duration(last_ns)
            out.append(f"time<={exact_duration(self.time_ns)}: requests arrive for {lasts}")
        return out

    def check(self, plan: Plan, arrival_ns: IntArray) -> None:
        """Raise ``NotAllowed`` with all that a plan's load would exceed."""
        problems = self.problems(plan, arrival_ns)
        if problems:
            raise NotAllowed(
                f"the load exceeds the budget, nothing was sent: {'; '.join(problems)}; "
                "a smaller load, or --budget with what the server may bear"
            )


def _most_in_a_second(arrival_ns: IntArray) -> int:
    """The largest number of arrivals in any [t, t + 1 s)."""
    if not len(arrival_ns):
        return 0
    ends = np.searchsorted(arrival_ns, arrival_ns + SECOND_NS, "left")
    return int((ends - np.arange(len(arrival_ns))).max())
