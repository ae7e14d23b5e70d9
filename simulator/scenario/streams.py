"""The streams of a plan, gathered while a document is lowered."""

from __future__ import annotations

from typing import Any

from simulator import plan as p
from simulator.distributions import (
    Constant,
    Distribution,
    Empirical,
    Erlang,
    Exponential,
    Gamma,
    Geometric,
    Hyperexponential,
    Lognormal,
    Mixture,
    Normal,
    Pareto,
    Uniform,
)
from simulator.units import parse_duration


class Streams:
    """Numbers streams in the order in which they are asked for."""

    def __init__(self) -> None:
        self.made: list[p.TimeStream] = []

    def add(self, name: str, distribution: Distribution) -> int:
        """The index of a new stream."""
        self.made.append(p.TimeStream(name, distribution))
        return len(self.made) - 1

    def time(self, name: str, time: Any) -> int:
        """The index of a new stream of a time in a resolved document."""
        return self.add(name, distribution(time))

    def count(self, name: str, count: Any) -> int:
        """The index of a new stream of a count: a number or ``{geometric: mean}``."""
        if isinstance(count, dict):
            return self.add(name, Geometric(float(count["geometric"])))
        return self.add(name, Constant(count))

    def retries(self, name: str, given: Any) -> p.Retries:
        """A stream for the wait before each retry."""
        if given == 0:
            return p.Retries(())
        waits = enumerate(backoffs(given))
        jitter = given["backoff"]["jitter"]
        return p.Retries(
            tuple(
                self.add(f"{name}.backoff[{k}]", Uniform(0, ns) if jitter else Constant(ns))
                for k, ns in waits
            )
        )


def backoffs(given: Any) -> list[int]:
    """The longest wait before each retry in ns: base · factor^k."""
    backoff = given["backoff"]
    base, factor = parse_duration(backoff["base"]), backoff["factor"]
    return [round(base * factor**k) for k in range(given["max"])]


def until(text: str) -> int:
    """The ns of a duration; ``NEVER`` of none."""
    return p.NEVER if text == "none" else parse_duration(text)


def limit(count: Any) -> int:
    """The count; ``UNLIMITED`` of none."""
    return p.UNLIMITED if count == "none" else int(count)


def distribution(time: Any) -> Distribution:
    """The distribution of a time in a resolved document."""
    if isinstance(time, str):
        return Constant(parse_duration(time))
    ((name, given),) = time.items()
    if name == "exp":
        return Exponential(parse_duration(given))
    if name in ("lognormal", "pareto"):
        quantiles = parse_duration(given["p50"]), parse_duration(given["p99"])
        return Lognormal(*quantiles) if name == "lognormal" else Pareto(*quantiles)
    if name == "uniform":
        return Uniform(parse_duration(given[0]), parse_duration(given[1]))
    if name == "empirical":
        return Empirical(tuple(map(parse_duration, given)))
    if name == "mix":
        parts = tuple((float(part["p"]), distribution(part["time"])) for part in given)
        return Mixture(parts)
    mean = parse_duration(given["mean"])
    if name == "gamma":
        return Gamma(mean, float(given["cv"]))
    if name == "hyperexp":
        return Hyperexponential(mean, float(given["cv"]))
    if name == "erlang":
        return Erlang(mean, given["k"])
    return Normal(mean, parse_duration(given["sd"]))
