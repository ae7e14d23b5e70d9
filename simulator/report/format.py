"""Numbers as people read them: durations, rates, counts, shares. No other module formats."""

from __future__ import annotations

from fractions import Fraction

from simulator.plan import NEVER, UNLIMITED

NONE = "–"
"""Stands where there is no number, or too few samples for one."""
SECOND_NS = 1_000_000_000

_UNITS = ((SECOND_NS, "s"), (1_000_000, "ms"), (1_000, "us"), (1, "ns"))


def duration(ns: int | None) -> str:
    """A time in its largest unit: "50s", "12.3ms", "250us"; "–" for None, "∞" for ``NEVER``.

    Four significant digits at most, but never less than a tenth of a second: "2502.5s".
    """
    if ns is None:
        return NONE
    if ns >= NEVER:
        return "∞"
    if ns < 0:
        return "-" + duration(-ns)
    for unit_ns, unit in _UNITS:
        if ns >= unit_ns:
            number = significant(Fraction(ns, unit_ns), decimals_min=1)
            if number == "1000" and unit != "s":
                return duration(unit_ns * 1000)
            return number + unit
    return "0s"


def spread(ns: float) -> str:
    """Half of an interval of times, two digits: "±17ms", "±0s"."""
    whole = round(ns)
    step = 10 ** max(len(str(whole)) - 2, 0)
    return "±" + duration((whole + step // 2) // step * step)


def significant(value: Fraction | int, *, digits: int = 4, decimals_min: int = 0) -> str:
    """A number of 0 or more in plain decimals, rounded half up, without trailing zeros."""
    whole = len(str(int(value))) if value >= 1 else 0
    decimals = max(digits - whole, decimals_min, 0)
    if 0 < value < 1:
        while value * 10 ** (decimals - digits + 1) < 1 and decimals < 12:
            decimals += 1
    scaled = int(value * 10**decimals + Fraction(1, 2))
    if not decimals:
        return str(scaled)
    text = f"{scaled // 10**decimals}.{scaled % 10**decimals:0{decimals}d}"
    return text.rstrip("0").rstrip(".")


def rate(per_second: Fraction | None) -> str:
    """Requests per second with three digits or more: "2.00/s", "10.0/s", "1250/s"."""
    if per_second is None:
        return NONE
    if per_second >= 100:
        return f"{int(per_second + Fraction(1, 2))}/s"
    if per_second >= 10:
        return f"{float(per_second):.1f}/s"
    if per_second >= 1 or per_second == 0:
        return f"{float(per_second):.2f}/s"
    return f"{significant(per_second, digits=3)}/s"


def rate_words(per_second: Fraction) -> str:
    """A rate as a person sets it, without padding zeros: "200/s", "1.5/s"."""
    return f"{significant(per_second, digits=6)}/s"


def percent(share: Fraction | float | None) -> str:
    """A share as a percentage; whole from 1 % up, and never "100%" for less than all."""
    if share is None:
        return NONE
    value = float(share) * 100
    if 0 < value < 0.05:
        return "<0.1%"
    if 0 < value < 0.95:
        return f"{value:.1f}%"
    if 99.5 <= value < 100:
        return f"{min(int(value * 10) / 10, 99.9):g}%"
    return f"{value:.0f}%"


def size(slots: int | None) -> str:
    """A number of slots; "∞" where there is no limit."""
    return "∞" if slots is None or slots >= UNLIMITED else str(slots)


def count(number: int, noun: str) -> str:
    """A number and its noun: "1 worker", "4 workers"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def mean_count(number: int | Fraction) -> str:
    """A count, or the mean of several: "1000", "998.4"."""
    return str(int(number)) if number == int(number) else significant(number)


def seconds(ns: int) -> str:
    """Exact decimal seconds: "0", "5.001", "-0.25"."""
    sign = "-" if ns < 0 else ""
    whole, rest = divmod(abs(ns), SECOND_NS)
    return f"{sign}{whole}.{rest:09d}".rstrip("0").rstrip(".") if rest else f"{sign}{whole}"


def memory(number: int) -> str:
    """A number of bytes in binary units, three digits: "635 MiB", "1.5 GiB"."""
    value, units = Fraction(number), ["B", "KiB", "MiB", "GiB", "TiB"]
    while value >= 1000 and len(units) > 1:
        value /= 1024
        del units[0]
    return f"{significant(value, digits=3)} {units[0]}"


def grouped(number: int) -> str:
    """A count with commas: "10,000"."""
    return f"{number:,}"
