"""Text with units to exact integers and back: durations, rates, counts, sizes, percentages.

Nothing here is a float: ``1.5ms`` is 1,500,000 ns, whatever its number of digits.
The patterns are those of the JSON Schema too, so that an editor and the loader
accept the same spellings.
"""

from __future__ import annotations

import re
from fractions import Fraction

from simulator.plan import UNLIMITED

DURATION_MAX_NS = 2**61
"""The longest duration, about 73 years: the furthest instant that a run may reach."""
RATE_MAX = Fraction(10**9)
"""Requests per second: one per nanosecond."""
RATE_MIN = Fraction(1, 86_400)
"""Requests per second: one a day."""

_NS = {
    "h": 3_600 * 10**9,
    "m": 60 * 10**9,
    "s": 10**9,
    "ms": 10**6,
    "us": 10**3,
    "µs": 10**3,  # micro sign
    "μs": 10**3,  # Greek mu
    "ns": 1,
}
_PER_S = {"ms": Fraction(1000), "s": Fraction(1), "min": Fraction(1, 60), "h": Fraction(1, 3600)}
_COUNTS = {"k": 10**3, "M": 10**6}
_BYTES = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}

_NUMBER = r"(?:[0-9]{1,24}(?:\.[0-9]{1,24})?|\.[0-9]{1,24})"
_PART = rf"({_NUMBER})(h|ms|m|s|us|µs|μs|ns)"
DURATION_PATTERN = rf"^(?:{_NUMBER}(?:h|ms|m|s|us|µs|μs|ns))+$"
RATE_PATTERN = rf"^{_NUMBER}/(?:ms|s|min|h)$"
COUNT_PATTERN = rf"^{_NUMBER}[kM]$"
SIZE_PATTERN = rf"^{_NUMBER}(?:B|kB|KB|MB|GB|KiB|MiB|GiB)$"
PERCENT_PATTERN = r"^(?:100(?:\.0{1,12})?|[0-9]{1,2}(?:\.[0-9]{1,12})?)%$"

DURATION_EXPECTED = "a duration such as 5ms or 1m30s"
RATE_EXPECTED = "a rate such as 200/s or 90/min"
COUNT_EXPECTED = "a whole number such as 50 or 10k"
SIZE_EXPECTED = "a size such as 64KiB"
PERCENT_EXPECTED = "a percentage such as 1% or 0.5%"


class UnitError(ValueError):
    """Text that is no quantity: what is wrong with it and, where one is known, a hint."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(f"{what}, {hint}" if hint else what)
        self.what = what
        self.hint = hint


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration in Go's spelling: ``200us``, ``1.5s``, ``1m30s``, ``2h``.

    Raises
    ------
    UnitError
        A ValueError: no unit, an unknown one, negative, finer than 1 ns, or longer
        than ``DURATION_MAX_NS``.
    """
    if not re.match(DURATION_PATTERN, text) or text.endswith("\n"):
        raise _not_a_duration(text)
    total = 0
    for number, unit in re.findall(_PART, text):
        whole, _, part = number.partition(".")
        ns, finer = divmod(int(whole + part) * _NS[unit], 10 ** len(part))
        if finer:
            raise UnitError(f"{text} is finer than a nanosecond, expected whole nanoseconds")
        total += ns
    if total > DURATION_MAX_NS:
        raise UnitError(f"{text} is too long, expected at most 2^61 ns (73 years)")
    return total


def exact_duration(ns: int) -> str:
    """The shortest spelling of a duration that reads back as the same nanoseconds."""
    for unit, digits in (("s", 9), ("ms", 6), ("us", 3)):
        if ns >= _NS[unit]:
            whole, rest = divmod(ns, _NS[unit])
            return f"{whole}.{rest:0{digits}d}".rstrip("0").rstrip(".") + unit
    return f"{ns}ns" if ns else "0s"


def parse_rate(text: str) -> Fraction:
    """Requests per second of a rate such as ``200/s``, exactly; ``0/s`` is 0.

    Raises
    ------
    UnitError
        No unit, an unknown one, or neither 0 nor within ``RATE_MIN`` … ``RATE_MAX``.
    """
    if not re.match(RATE_PATTERN, text) or text.endswith("\n"):
        bare = re.fullmatch(_NUMBER, text)
        hint = f"did you mean {text}/s or {text}/min?" if bare else ""
        raise UnitError(f"{_shown(text)} is not a rate, expected {RATE_EXPECTED}", hint)
    number, unit = text.split("/")
    rate = _exact(number) * _PER_S[unit]
    if rate and not RATE_MIN <= rate <= RATE_MAX:
        raise UnitError(f"{text} is out of range, expected one request a day to one a nanosecond")
    return rate


def parse_count(text: str) -> int:
    """A whole number spelt with a suffix: ``10k`` is 10,000, ``1.5M`` is 1,500,000.

    Raises
    ------
    UnitError
        No such spelling, or not whole, or ``UNLIMITED`` and more.
    """
    if not re.match(COUNT_PATTERN, text) or text.endswith("\n"):
        raise UnitError(
            f"{_shown(text)} is not a count, expected {COUNT_EXPECTED}", _count_hint(text)
        )
    count = _exact(text[:-1]) * _COUNTS[text[-1]]
    if count.denominator != 1:
        raise UnitError(f"{text} is not whole, expected {COUNT_EXPECTED}")
    if count >= UNLIMITED:
        raise UnitError(f"{text} is too large, expected less than 2^31")
    return int(count)


def parse_size(text: str) -> int:
    """Bytes of a size such as ``64KiB`` (1024 each) or ``64KB`` (1000 each).

    Raises
    ------
    UnitError
        No unit, an unknown one, or no whole number of bytes.
    """
    if not re.match(SIZE_PATTERN, text) or text.endswith("\n"):
        bare = re.fullmatch(_NUMBER, text)
        hint = f"did you mean {text}KiB or {text}MiB?" if bare else ""
        raise UnitError(f"{_shown(text)} is not a size, expected {SIZE_EXPECTED}", hint)
    number = re.match(_NUMBER, text)
    assert number is not None
    size = _exact(number[0]) * _BYTES[text[number.end() :]]
    if size.denominator != 1:
        raise UnitError(f"{text} is no whole number of bytes, expected {SIZE_EXPECTED}")
    if size > 2**50:
        raise UnitError(f"{text} is too large, expected at most 1 PiB")
    return int(size)


def parse_percent(text: str) -> Fraction:
    """The fraction of a percentage: ``1%`` is 1/100, exactly.

    Raises
    ------
    UnitError
        No such spelling, or above 100%.
    """
    if not re.match(PERCENT_PATTERN, text) or text.endswith("\n"):
        hint = ""
        if re.fullmatch(_NUMBER, text) and len(text) < 20 and _exact(text) <= 1:
            hint = f"did you mean {_decimal(_exact(text) * 100)}%?"
        raise UnitError(f"{_shown(text)} is not a percentage, expected {PERCENT_EXPECTED}", hint)
    return _exact(text[:-1]) / 100


def _exact(number: str) -> Fraction:
    whole, _, part = number.partition(".")
    return Fraction(int(whole + part or "0"), 10 ** len(part))


def _decimal(value: Fraction) -> str:
    """The decimal digits of a fraction whose denominator divides 10⁹."""
    whole, rest = divmod(value.numerator, value.denominator)
    if not rest:
        return str(whole)
    digits = f"{rest * 10**9 // value.denominator:09d}".rstrip("0")
    return f"{whole}.{digits}"


def _not_a_duration(text: str) -> UnitError:
    if re.fullmatch(_NUMBER, text):
        return UnitError(
            f"{text} has no unit, expected {DURATION_EXPECTED}",
            f"did you mean {text}s or {text}ms?",
        )
    if text.startswith("-") and re.match(DURATION_PATTERN, text[1:]):
        return UnitError(f"{text} is negative, expected {DURATION_EXPECTED}")
    return UnitError(
        f"{_shown(text)} is not a duration, expected {DURATION_EXPECTED}", _duration_hint(text)
    )


def _duration_hint(text: str) -> str:
    clock = re.fullmatch(r"([0-9]{1,3}):([0-9]{2})", text)
    if clock:
        return f"did you mean {int(clock[1])}m{int(clock[2])}s?"
    near = re.sub(r"[\s_]", "", text).lower()
    for long, short in (("seconds?|secs?", "s"), ("minutes?|mins?", "m"), ("hours?|hrs?", "h")):
        near = re.sub(rf"(?<=[0-9])(?:{long})$", short, near)
    near = re.sub(r"(?<=[0-9])(?:milliseconds?|msecs?)$", "ms", near)
    return f"did you mean {near}?" if re.match(DURATION_PATTERN, near) else ""


def _count_hint(text: str) -> str:
    near = re.sub(r"[\s_,']", "", text).replace("K", "k").replace("m", "M")
    if re.fullmatch(r"[0-9]{1,10}", near):
        return f"did you mean {int(near)}?"
    return f"did you mean {near}?" if re.match(COUNT_PATTERN, near) else ""


def _shown(text: str) -> str:
    """The user's own spelling, quoted where it would be unclear, cut where it is long."""
    if len(text) > 40:
        text = text[:37] + "..."
    return text if re.fullmatch(r"[!-~µμ]+", text) else repr(text)
