"""All randomness of a run: draws by address, never in the order of events (law 3).

A draw is a pure function of (seed, replication, stream, attempt, sub) and an index.
Each stream is a Philox generator keyed by a hash of that address, with one counter
block per ``BLOCK`` draws, so that any block can be made at any time and in any order.
What the run itself decides (an accept split, a random hand-over) comes from streams
of the station, by decision number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from simulator.arrays import FloatArray, IntArray
from simulator.distributions import Constant, Distribution, Exponential, Gamma
from simulator.plan import Load, LoadKind, Plan, Stage

BLOCK = 4096
"""Draws made at a time; part of the meaning of a seed, never tuned per run."""

LONGEST_NS = 2.0**60
"""Longest time drawn, 36 years: what a heavy tail gives beyond it is cut."""

Draw = Callable[[int], int]
"""The drawn time in ns for the request of this index."""


class Workload:
    """The randomness of one run of one plan, bound to a seed and a replication.

    Parameters
    ----------
    plan : Plan
        Whose loads and streams are drawn.
    seed : int, optional
        Default: the plan's own seed.
    replication : int, default 0
        Independent repetitions of the same scenario differ only here.
    """

    def __init__(self, plan: Plan, *, seed: int | None = None, replication: int = 0) -> None:
        self.seed = plan.seed if seed is None else seed
        self.replication = replication
        self.drew = False  # whether anything was left to chance so far
        self._plan = plan
        self._times: dict[tuple[int, int, int], _Column] = {}
        self._decisions: dict[str, _Column] = {}
        self._scripted_arrivals: tuple[IntArray, IntArray] | None = None

    @classmethod
    def scripted(
        cls,
        plan: Plan,
        *,
        arrival: Sequence[int] | None = None,
        route: Sequence[int] | None = None,
        times: Mapping[str, Sequence[int]] | None = None,
    ) -> Workload:
        """A workload whose draws are written by hand: the test double of chance.

        Parameters
        ----------
        arrival : sequence of int, optional
            Arrival instants in ns, not decreasing; drawn as usual if not given.
        route : sequence of int, optional
            Index of each request's route; all 0 if not given.
        times : mapping of stream name to sequence of int, optional
            Times in ns by index of the request. Streams not named are drawn.

        Raises
        ------
        KeyError
            If the plan has no stream of that name.
        """
        self = cls(plan)
        if arrival is not None:
            at = np.asarray(arrival, dtype=np.int64)
            routes = np.asarray([0] * len(at) if route is None else route, dtype=np.int64)
            self._scripted_arrivals = (at, routes)
        names = {stream.name: i for i, stream in enumerate(plan.streams)}
        for name, values in (times or {}).items():
            self._times[names[name], 0, 0] = _Scripted(values)
        return self

    def arrivals(self) -> tuple[IntArray, IntArray]:
        """Arrival instants in ns (not decreasing) and route indices, each of shape (n,).

        The index of a request is its place in these arrays. Several loads are merged
        by time; at one instant the load that stands first comes first.
        """
        if self._scripted_arrivals is not None:
            return self._scripted_arrivals
        times = [np.zeros(0, dtype=np.int64)]
        routes = [np.zeros(0, dtype=np.int64)]
        for i, load in enumerate(self._plan.loads):
            if load.kind is LoadKind.CLOSED:
                continue  # its users arrive as the run goes
            at = self._load_arrivals(i, load)
            times.append(at)
            routes.append(self._load_routes(i, load, len(at)))
        if len(times) == 2:
            return times[1], routes[1]
        all_times = np.concatenate(times)
        order = np.argsort(all_times, kind="stable")
        return all_times[order], np.concatenate(routes)[order]

    def route(self, load: int, index: int) -> int:
        """The route of a closed load's request, by the index of the request."""
        source = self._plan.loads[load]
        if len(source.routes) == 1:
            return source.routes[0]
        return source.routes[self.decide_by_weight(f"load[{load}].route", index, source.weights)]

    def time(self, stream: int, attempt: int = 0, sub: int = 0) -> Draw:
        """The draw function of a time stream: index of the request -> ns."""
        address = (stream, attempt, sub)
        column = self._times.get(address)
        if column is None:
            spec = self._plan.streams[stream]
            column = self._column(f"{spec.name}/{attempt}/{sub}", spec.distribution)
            self._times[address] = column
        return column.draw

    def times(self, stream: int, attempt: int, sub: int, block: int) -> IntArray:
        """The times of ``time(stream, attempt, sub)`` at the indices of one block.

        Shape (BLOCK,), in ns: number i is that of index block · BLOCK + i. Of a stream that is
        written by hand only what there is of it.
        """
        self.time(stream, attempt, sub)
        return self._times[stream, attempt, sub].block(block)

    def uniforms(self, station: str, block: int) -> FloatArray:
        """What a station decides by: uniform in [0, 1), shape (BLOCK,), of one block."""
        return self._generator(f"decide/{station}")(block).random(BLOCK)

    def is_scripted(self, stream: int) -> bool:
        """Whether the times of a stream are written by hand."""
        return isinstance(self._times.get((stream, 0, 0)), _Scripted)

    def decide(self, station: str, number: int, options: int) -> int:
        """Decision ``number`` of a station: 0 … options - 1, each as likely."""
        return min(int(self._uniform(station).value(number) * options), options - 1)

    def decide_by_weight(self, station: str, number: int, weights: Sequence[float]) -> int:
        """Decision ``number`` of a station, option i with probability ``weights[i]``."""
        at = self._uniform(station).value(number)
        for i, weight in enumerate(weights):
            at -= weight
            if at < 0:
                return i
        return len(weights) - 1

    def _uniform(self, station: str) -> _Uniform:
        column = self._decisions.get(station)
        if column is None:
            column = _Uniform(self._generator(f"decide/{station}"))
            self._decisions[station] = column
        assert isinstance(column, _Uniform)
        return column

    def _column(self, name: str, distribution: Distribution) -> _Column:
        if isinstance(distribution, Constant):
            return _Fixed(distribution.value_ns)
        return _Drawn(self._generator(name), distribution)

    def _generator(self, name: str) -> Callable[[int], np.random.Generator]:
        def generator(block: int) -> np.random.Generator:
            self.drew = True
            return _block_generator(self.seed, self.replication, name, block)

        return generator

    def _load_arrivals(self, i: int, load: Load) -> IntArray:
        if load.kind is LoadKind.BURST:
            return np.zeros(load.count, dtype=np.int64)
        if load.kind is LoadKind.RECORDED:
            at = np.asarray([at for at, _ in load.recorded], dtype=np.int64)
        elif load.kind is LoadKind.CONSTANT:
            return _evenly(load)
        elif load.kind is LoadKind.STAGES:
            at = self._staged(i, load)
        else:
            at = self._renewal(i, load)
        return at[: load.count][at[: load.count] < load.until_ns]

    def _renewal(self, i: int, load: Load) -> IntArray:
        """Arrivals with independent gaps: exponential (Poisson) or gamma."""
        numerator, denominator = load.rate
        gap = Exponential(1e9 * denominator / numerator)
        source = Gamma(gap.mean_ns, load.cv) if load.kind is LoadKind.GAMMA else gap
        blocks: list[IntArray] = []
        last, drawn = 0, 0
        while drawn < load.count and last < load.until_ns:
            gaps = np.rint(source.sample(self._gaps(i)(len(blocks)), BLOCK)).astype(np.int64)
            blocks.append(last + np.cumsum(gaps))
            last, drawn = int(blocks[-1][-1]), drawn + BLOCK
        return np.concatenate(blocks) if blocks else np.zeros(0, dtype=np.int64)

    def _staged(self, i: int, load: Load) -> IntArray:
        """Arrivals whose expected number by any instant is the integral of the rate.

        Arrival k is where the integral reaches k (evenly), or the k-th arrival of a
        Poisson process of rate 1: raising a target leaves the order of the draws.
        """
        total = sum(_arrivals_in(stage) for stage in load.stages)
        if load.evenly:
            reached = np.arange(int(np.floor(total)) + 1, dtype=np.float64)
        else:
            blocks: list[FloatArray] = []
            last = 0.0
            while last < total:
                gaps = self._gaps(i)(len(blocks)).standard_exponential(BLOCK)
                blocks.append(last + np.cumsum(gaps))
                last = float(blocks[-1][-1])
            reached = np.concatenate(blocks) if blocks else np.zeros(0)
        out, began_ns, done = [], 0, 0.0
        for stage in load.stages:
            expected = _arrivals_in(stage)
            here = reached[(reached >= done) & (reached < done + expected)] - done
            out.append(began_ns + _when(stage, here))
            began_ns, done = began_ns + stage.duration_ns, done + expected
        return np.concatenate(out)

    def _gaps(self, i: int) -> Callable[[int], np.random.Generator]:
        return self._generator(f"load[{i}].gap")

    def _load_routes(self, i: int, load: Load, count: int) -> IntArray:
        if load.kind is LoadKind.RECORDED:
            return np.asarray([route for _, route in load.recorded][:count], dtype=np.int64)
        if len(load.routes) == 1:
            # One number in memory, however many there are.
            return np.broadcast_to(np.int64(load.routes[0]), (count,))
        uniform, edges = self._generator(f"load[{i}].route"), np.cumsum(load.weights)[:-1]
        routes = np.asarray(load.routes, dtype=np.int64)
        out = np.empty(count, dtype=np.int64)
        for block in range(-(-count // BLOCK)):
            here = out[block * BLOCK : (block + 1) * BLOCK]
            drawn = uniform(block).random(BLOCK)[: len(here)]
            here[:] = routes[np.searchsorted(edges, drawn, "right")]
        return out


def _evenly(load: Load) -> IntArray:
    # The k-th at floor(k · 10⁹ · denominator / numerator), exactly.
    numerator, denominator = load.rate
    period = 10**9 * denominator
    count = min(load.count, -(-load.until_ns * numerator // period))
    if count * period < 2**62:
        return np.arange(count, dtype=np.int64) * period // numerator
    return np.asarray([k * period // numerator for k in range(count)], dtype=np.int64)


def _rates(stage: Stage) -> tuple[float, float]:
    (a, b), (c, d) = stage.from_rate, stage.to_rate
    return a / b, c / d


def _arrivals_in(stage: Stage) -> float:
    first, last = _rates(stage)
    return (first + last) / 2 * stage.duration_ns / 1e9


def _when(stage: Stage, reached: FloatArray) -> IntArray:
    """The instants in a stage at which the integral of its rate reaches these values."""
    first, last = _rates(stage)
    slope = (last - first) / (stage.duration_ns / 1e9)
    # The root of first·t + slope·t²/2 = reached, in the form that is exact at slope 0.
    root = np.sqrt(np.maximum(first**2 + 2 * slope * reached, 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        seconds = np.where(reached > 0, 2 * reached / (first + root), 0.0)
    at = np.floor(seconds * 1e9).astype(np.int64)
    return np.minimum(at, max(stage.duration_ns - 1, 0))


def _block_generator(seed: int, replication: int, name: str, block: int) -> np.random.Generator:
    from hashlib import blake2b  # loads OpenSSL: only a run that draws needs it

    digest = blake2b(f"{seed}/{replication}/{name}".encode(), digest_size=16).digest()
    # The block number is the third word of the counter: blocks can't run into one another.
    counter = np.array([0, 0, block, 0], dtype=np.uint64)
    return np.random.Generator(
        np.random.Philox(key=int.from_bytes(digest, "little"), counter=counter)
    )


class _Column:
    """Times of one stream by index."""

    def draw(self, index: int) -> int:
        raise NotImplementedError

    def block(self, block: int) -> IntArray:
        raise NotImplementedError


class _Fixed(_Column):
    def __init__(self, value: int) -> None:
        self._value = value

    def draw(self, index: int) -> int:
        return self._value

    def block(self, block: int) -> IntArray:
        return np.full(BLOCK, self._value, dtype=np.int64)


class _Scripted(_Column):
    def __init__(self, values: Sequence[int]) -> None:
        self._values = values

    def draw(self, index: int) -> int:
        return self._values[index]

    def block(self, block: int) -> IntArray:
        return np.asarray(self._values[block * BLOCK : (block + 1) * BLOCK], dtype=np.int64)


class _Drawn(_Column):
    """Blocks made on demand; the one used last is kept at hand."""

    def __init__(
        self, generator: Callable[[int], np.random.Generator], distribution: Distribution
    ) -> None:
        self._generator = generator
        self._distribution = distribution
        self._blocks: dict[int, list[int]] = {}

    def draw(self, index: int) -> int:
        block, offset = divmod(index, BLOCK)
        values = self._blocks.get(block)
        if values is None:
            values = self._blocks[block] = self.block(block).tolist()
        return values[offset]

    def block(self, block: int) -> IntArray:
        drawn = self._distribution.sample(self._generator(block), BLOCK)
        return np.rint(np.minimum(drawn, LONGEST_NS)).astype(np.int64)


class _Uniform(_Column):
    """Uniform numbers in [0, 1) by decision number."""

    def __init__(self, generator: Callable[[int], np.random.Generator]) -> None:
        self._generator = generator
        self._blocks: dict[int, list[float]] = {}

    def value(self, number: int) -> float:
        block, offset = divmod(number, BLOCK)
        if block not in self._blocks:
            self._blocks[block] = self._generator(block).random(BLOCK).tolist()
        return self._blocks[block][offset]
