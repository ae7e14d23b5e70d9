"""The distributions of times and counts, with the parameters that an engineer has.

Each one of a time is immutable data in nanoseconds. ``sample`` is the only place where
a duration is a float; the workload rounds what it returns to integers.
"""

from __future__ import annotations

import math

import numpy as np

from simulator.arrays import FloatArray
from simulator.record import dataclass

_Z99 = 2.3263478740408408  # the 99th percentile of the standard normal distribution


@dataclass(frozen=True, slots=True)
class Constant:
    """Always the same time."""

    value_ns: int

    @property
    def mean_ns(self) -> float:
        return float(self.value_ns)

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return np.full(size, float(self.value_ns))


@dataclass(frozen=True, slots=True)
class Exponential:
    """Memoryless, with this mean; its coefficient of variation is 1."""

    mean_ns: float

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return rng.standard_exponential(size) * self.mean_ns


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Log-normal through its median and its 99th percentile (both in ns)."""

    p50_ns: float
    p99_ns: float

    @property
    def sigma(self) -> float:
        return math.log(self.p99_ns / self.p50_ns) / _Z99

    @property
    def mean_ns(self) -> float:
        return self.p50_ns * math.exp(self.sigma**2 / 2)

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return self.p50_ns * np.exp(self.sigma * rng.standard_normal(size))


@dataclass(frozen=True, slots=True)
class Gamma:
    """Gamma with this mean and coefficient of variation (standard deviation / mean)."""

    mean_ns: float
    cv: float

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        shape = 1 / self.cv**2
        return rng.standard_gamma(shape, size) * (self.mean_ns / shape)


@dataclass(frozen=True, slots=True)
class Erlang:
    """Sum of ``k`` exponential phases, together of this mean."""

    mean_ns: float
    k: int

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return rng.standard_gamma(self.k, size) * (self.mean_ns / self.k)


@dataclass(frozen=True, slots=True)
class Hyperexponential:
    """Two exponential phases with balanced means, of this mean and a cv above 1."""

    mean_ns: float
    cv: float

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        c2 = self.cv**2
        p = (1 + math.sqrt((c2 - 1) / (c2 + 1))) / 2
        first = rng.random(size) < p
        scale = np.where(first, self.mean_ns / (2 * p), self.mean_ns / (2 * (1 - p)))
        return rng.standard_exponential(size) * scale


@dataclass(frozen=True, slots=True)
class Uniform:
    """Evenly between two times."""

    low_ns: float
    high_ns: float

    @property
    def mean_ns(self) -> float:
        return (self.low_ns + self.high_ns) / 2

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return self.low_ns + rng.random(size) * (self.high_ns - self.low_ns)


@dataclass(frozen=True, slots=True)
class Normal:
    """Normal with this mean and standard deviation, values below 0 set to 0."""

    location_ns: float
    sd_ns: float

    @property
    def mean_ns(self) -> float:
        """Mean after the cut at 0 (a rectified Gaussian), not the parameter."""
        if self.sd_ns == 0:
            return self.location_ns
        z = self.location_ns / self.sd_ns
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        return self.location_ns * math.erfc(-z / math.sqrt(2)) / 2 + self.sd_ns * density

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        drawn = self.location_ns + self.sd_ns * rng.standard_normal(size)
        return np.maximum(drawn, 0.0)


@dataclass(frozen=True, slots=True)
class Pareto:
    """Pareto (type I) through its median and its 99th percentile; heavy-tailed."""

    p50_ns: float
    p99_ns: float

    @property
    def alpha(self) -> float:
        return math.log(0.5 / 0.01) / math.log(self.p99_ns / self.p50_ns)

    @property
    def minimum_ns(self) -> float:
        return float(self.p50_ns * 0.5 ** (1 / self.alpha))

    @property
    def mean_ns(self) -> float:
        """Infinite when the tail index is 1 or less."""
        if self.alpha <= 1:
            return math.inf
        return self.alpha * self.minimum_ns / (self.alpha - 1)

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        uniform = 1.0 - rng.random(size)
        return self.minimum_ns * uniform ** (-1 / self.alpha)


@dataclass(frozen=True, slots=True)
class Empirical:
    """Measured values, each as likely as any other."""

    values_ns: tuple[int, ...]

    @property
    def mean_ns(self) -> float:
        return sum(self.values_ns) / len(self.values_ns)

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        values = np.asarray(self.values_ns, dtype=np.float64)
        return values[rng.integers(0, len(values), size)]


@dataclass(frozen=True, slots=True)
class Mixture:
    """One of several distributions, each with its probability."""

    parts: tuple[tuple[float, Distribution], ...]

    @property
    def mean_ns(self) -> float:
        return sum(p * part.mean_ns for p, part in self.parts)

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        edges = np.cumsum([p for p, _ in self.parts])[:-1]
        chosen = np.searchsorted(edges, rng.random(size), side="right")
        columns = np.stack([part.sample(rng, size) for _, part in self.parts])
        return columns[chosen, np.arange(size)]


@dataclass(frozen=True, slots=True)
class UniformKey:
    """A row's number, 0 … keys - 1, each as likely; not a time."""

    keys: int

    @property
    def mean_ns(self) -> float:
        return (self.keys - 1) / 2

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return rng.integers(0, self.keys, size).astype(np.float64)


@dataclass(frozen=True, slots=True)
class ZipfKey:
    """A row's number, 0 … keys - 1, row i with a weight of 1 / (i + 1)^s; not a time."""

    keys: int
    s: float

    @property
    def mean_ns(self) -> float:
        weights = self._weights()
        return float(np.average(np.arange(self.keys), weights=weights))

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        edges = np.cumsum(self._weights())
        drawn = np.searchsorted(edges, rng.random(size) * edges[-1], side="right")
        return np.minimum(drawn, self.keys - 1).astype(np.float64)  # type: ignore[no-any-return]

    def _weights(self) -> FloatArray:
        return np.asarray(np.arange(1.0, self.keys + 1) ** -self.s, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Geometric:
    """A count, 1 and more, of this mean, each one as likely to be the last; not a time."""

    mean: float

    @property
    def mean_ns(self) -> float:
        return self.mean

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return rng.geometric(1 / self.mean, size).astype(np.float64)


@dataclass(frozen=True, slots=True)
class Chance:
    """1 with this probability, else 0; not a time."""

    p: float

    @property
    def mean_ns(self) -> float:
        return self.p

    def sample(self, rng: np.random.Generator, size: int) -> FloatArray:
        return (rng.random(size) < self.p).astype(np.float64)


Distribution = (
    Constant
    | Exponential
    | Lognormal
    | Gamma
    | Erlang
    | Hyperexponential
    | Uniform
    | Normal
    | Pareto
    | Empirical
    | Mixture
    | UniformKey
    | ZipfKey
    | Geometric
    | Chance
)
