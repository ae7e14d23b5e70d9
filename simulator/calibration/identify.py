"""What limits each route of a server that is known by its URL only.

Black box: single requests, bursts, a ladder of users and mixtures, nothing from inside.
Each question is a ``Probe``; whoever answers it may be a server, a record or the simulator.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from simulator.arrays import FloatArray
from simulator.calibration import shapes
from simulator.calibration.identified import (
    BLOCKS,
    COMPUTES,
    FAILS,
    FREE,
    LIMIT,
    PACED,
    REFUSES,
    Found,
    Route,
    Rung,
)
from simulator.calibration.probe import Answers, Ask, LoadDocument, Probe
from simulator.calibration.shapes import Shape, shape

SINGLES = 24
PHASE_S = 1.5
"""What a probe of one route should take, if its requests are short enough."""
BURSTS = (16, 48, 120)
"""A burst is raised until it shows a limit twice over; the last is the most that is asked."""
VARIED_BURSTS = (120, 300)
"""Where times vary more are needed, if they do not take too long."""
CROWD = 64
"""Users of a route whose times vary: one burst does not show whether they wait."""
FROZEN = 0.2
"""Of the other's time: a request beside it that waits for longer does wait for it."""
SLOWED = 1.25
"""A request that computes takes so much longer beside processes that compute."""
DRIFT = 1.10
"""A route that takes so much longer, or shorter, at the end than in the beginning, drifts."""
NOISE_S = 0.003


def identify(
    ask: Ask,
    labels: Iterable[str],
    reference: str,
    *,
    local: bool = True,
    cores: int = 1,
    say: Callable[[str], None] = lambda text: None,
) -> Found:
    """What limits each of these routes, and which of them share it.

    Parameters
    ----------
    reference : str
        A route that does nothing, such as a path that does not exist.
    local : bool
        Whether it runs on this machine: processes beside it then show who computes.
    cores : int
        Of the machine, if it is this one.
    """
    return _Identification(ask, tuple(labels), reference, local, cores, say).found()


class _Identification:
    def __init__(
        self,
        ask: Ask,
        labels: tuple[str, ...],
        reference: str,
        local: bool,
        cores: int,
        say: Callable[[str], None],
    ) -> None:
        self.ask = ask
        self.labels = labels
        self.reference = reference
        self.local = local
        self.cores = cores
        self.say = say
        self.rungs: list[Rung] = []
        self.problems: list[str] = []
        self.nothing: list[float] = []  # median latencies of the reference, as time goes
        self.singles: dict[str, FloatArray] = {}
        self.pause_s: dict[str, float] = {}  # between those requests
        self.alone: dict[str, FloatArray] = {}  # latencies of all that did not wait
        self.finish: dict[str, FloatArray] = {}  # of the last burst, by index

    def found(self) -> Found:
        self.singles[self.reference] = self._alone(self.reference, 40)
        self._look_at_reference()
        crowd = self._ask("cost", {self.reference: {"users": 16, "requests": 600}})
        self.cost_s = float(crowd.completions[-1]) / max(len(crowd.ok), 1)
        self.single_s = self.nothing[0]
        routes = {}
        for label in self.labels:
            self.say(label)
            routes[label] = self._route(label)
            self._look_at_reference()
        shared = self._shared(routes)
        drifted = tuple(
            route if route.kind == FAILS else self._drifted(route) for route in routes.values()
        )
        self._look_at_reference()
        drift = max(self.nothing) / min(self.nothing)
        return Found(
            drifted, shared, self.cost_s, self.single_s, tuple(self.rungs), drift,
            tuple(self.problems),
        )  # fmt: skip

    def _ask(self, purpose: str, loads: dict[str, LoadDocument], burners: int = 0) -> Answers:
        return self.ask(Probe(purpose, loads, burners))

    def _look_at_reference(self) -> None:
        answers = self._ask("reference", {self.reference: _paced_user(15, 0.004)})
        self.nothing.append(float(np.median(_latencies(answers))))

    def _by_itself(self, label: str) -> float:
        """What one that does nothing takes, in the same seconds and after pauses as long."""
        asked = {self.reference: _paced_user(SINGLES, self.pause_s[label])}
        return float(np.median(_latencies(self._ask("alone", asked))))

    def _alone(self, label: str, most: int) -> FloatArray:
        """Latencies of single requests, with pauses between them."""
        first = _latencies(self._ask("single", {label: _paced_user(4, 0.05)}))
        pause = self.pause_s[label] = max(0.02, 0.5 * float(np.median(first)))
        count = _fitting(PHASE_S, float(np.median(first)) + pause, 5, most)
        answers = self._ask("single", {label: _paced_user(count, pause)})
        found = _latencies(answers)
        if found[-len(found) // 3 :].min() > 2 * first.max() + NOISE_S:
            return first  # a limiter has run dry meanwhile: only the first ones were alone
        return found

    # One route.

    def _route(self, label: str) -> Route:
        first = self._ask("answers", {label: _paced_user(2, 0.02)})
        if first.refused == len(first):
            self.problems.append(f"{label}: no good answer, {first.outcome[0]}")
            self.singles[label] = _latencies(first)
            return Route(label, FAILS, (0.0,))
        singles = self.singles[label] = self._alone(label, SINGLES)
        times = tuple(np.maximum(singles - self._by_itself(label), 0.0).tolist())
        single = float(np.median(singles))
        steady = self._ask("one user", {label: {"users": 1, "requests": _fitting(
            PHASE_S, single, 5, 60)}})  # fmt: skip
        if steady.refused:
            return self._refuses(label, times)
        later = _latencies(steady)[len(steady) // 2 :]
        if np.median(later) > 1.5 * single + NOISE_S and shapes.is_steady(later):
            # Nobody else is there, and yet it waits: for the pace, not for a slot.
            burst = self._fresh_burst(label, singles)
            every = float(np.median(later)) + self.single_s
            paced = burst.kind == shapes.PACED
            return Route(
                label, PACED, times, rate=1 / (burst.every_s if paced else every),
                burst=max(burst.first if paced else 1, 1),
            )  # fmt: skip
        self._rung(label, 1, steady)
        self.alone[label] = np.concatenate([singles, steady.ok])
        if not shapes.is_steady(singles) and self._scales(label):
            return Route(label, FREE, times)
        seen = self._burst(label, singles)
        if seen.kind == shapes.REFUSED:
            return self._refuses(label, times)
        if seen.kind == shapes.FREE:
            return Route(label, FREE, times)
        if seen.kind == shapes.PACED:
            seen = self._fresh_burst(label, singles)
            return Route(label, PACED, times, rate=1 / seen.every_s, burst=seen.first)
        if seen.kind == shapes.SHARED and seen.concurrency < self.cores + 0.5:
            slots = max(round(seen.concurrency), 1)
            return Route(label, COMPUTES, times, on_loop=False, slots=slots)
        if _is_window(seen, single):
            # One disturbed burst of a limit may look so: twice as many, half as often.
            seen = self._fresh_burst(label, singles)
        if _is_window(seen, single):
            window, size = seen.every_s, seen.size
            return Route(label, PACED, times, rate=size / window, burst=size, window_s=window)
        return self._limited(label, times, single, seen)

    def _burst(self, label: str, singles: FloatArray) -> Shape:
        """The shape of the smallest burst that shows a limit twice over."""
        single = float(np.median(singles))
        for n in BURSTS if shapes.is_steady(singles) else VARIED_BURSTS:
            answers = self._ask("burst", {label: {"requests": n, "at": "once"}})
            self.finish[label] = np.asarray(answers.finish_s)
            refused = answers.refused
            seen = shape(answers.completions, refused, singles, self.cost_s)
            at_once = max(seen.size, math.ceil(seen.concurrency))
            shown = seen.kind != shapes.FREE and n >= 2.5 * at_once
            long = refused or 3 * answers.completions[-1] > 4 * PHASE_S
            if long if n in VARIED_BURSTS else (refused or shown):
                break
            if seen.kind == shapes.SERIAL and n * single > 4 * PHASE_S:
                break
        return seen

    def _fresh_burst(self, label: str, singles: FloatArray) -> Shape:
        """A burst at a limiter that has been left alone: how many go at once, and the pace."""
        self._rest()
        answers = self._ask("burst", {label: {"requests": BURSTS[-2], "at": "once"}})
        return shape(answers.completions, answers.refused, singles, self.cost_s)

    def _scales(self, label: str) -> bool:
        """Whether many users get what they get alone, as far as the loop lets them."""
        mean = float(self.alone[label].mean())
        throughput = self._ladder(label, CROWD, mean)
        return throughput > 0.8 * min(CROWD / mean, 0.5 / self.cost_s)

    def _rest(self) -> None:
        """Let a limiter fill up again before it is asked once more."""
        self._ask("rest", {self.reference: {"users": 1, "think": "300ms", "requests": 6}})

    def _limited(self, label: str, times: tuple[float, ...], single: float, seen: Shape) -> Route:
        throughputs = np.asarray(
            [self._ladder(label, users, single) for users in self._rungs_for(label, single, seen)]
        )
        alone = self.alone[label] - self.single_s
        between = shapes.limit(
            throughputs, int(2 * PHASE_S * throughputs.max()), alone,
            float(self.alone[label].mean()), min(self.single_s, self.cost_s),
        )  # fmt: skip
        slots = 1 if seen.kind == shapes.SERIAL else seen.size
        late = seen.kind == shapes.SHARED
        if late:  # answers wait behind handlers: their order says nothing
            slots = self._largest_at_once(label, between, single)
        if not slots:
            slots = shapes.slots_in_line(self.finish[label], alone, between)
        stops = self._stops_all(label, slots, single)
        kind = LIMIT
        if slots == 1 and stops:
            kind = COMPUTES if self.local and self._computes(label, single) else BLOCKS
        return Route(label, kind, times, slots, between, stops_all=stops, answers_late=late)

    def _largest_at_once(self, label: str, between: tuple[float, float], single: float) -> int:
        """The largest burst whose last answer takes no second round; by bisection."""
        least, beyond = max(1, math.floor(0.8 * between[0])), math.ceil(1.25 * between[1]) + 1
        while beyond - least > 1:
            n = (least + beyond) // 2
            answers = self._ask("burst", {label: {"requests": n, "at": "once"}})
            if answers.completions[-1] < 1.5 * single:
                least = n
            else:
                beyond = n
        return least

    def _rungs_for(self, label: str, single: float, seen: Shape) -> list[int]:
        about = max(seen.size, round(seen.concurrency), 1)
        if not seen.size and about > 3:
            # More requests that do not wait: the mean of times that vary needs many.
            users = about // 2
            count = max(_fitting(2 * PHASE_S * users, single, 20, 500), 5 * users)
            answers = self._ask("ladder", {label: {"users": users, "requests": count}})
            self.alone[label] = np.concatenate([self.alone[label], answers.ok])
            self._rung(label, users, answers)
        return sorted({max(about // 2, 2), about + 1, 2 * about})

    def _ladder(self, label: str, users: int, single: float) -> float:
        """The throughput of so many users, without the first and the last of each."""
        rounds = _fitting(PHASE_S, single, 3, 40)
        answers = self._ask("ladder", {label: {"users": users, "requests": users * rounds}})
        return self._rung(label, users, answers)

    def _rung(self, label: str, users: int, answers: Answers) -> float:
        ends = answers.completions
        if len(ends) < 2 * users + 2:
            ends = np.concatenate([[0.0], ends])
            throughput = (len(ends) - 1) / float(ends[-1])
        else:  # from the end of the first round to the end of the last but one
            throughput = (len(ends) - 2 * users) / float(ends[-users - 1] - ends[users - 1])
        latency = float(answers.ok.mean())
        little = shapes.little(users, len(answers.ok) / float(ends[-1]), latency)
        self.rungs.append(Rung(label, users, throughput, latency, little))
        return throughput

    # Beside others.

    def _wait_beside(
        self, label: str, users: int, single: float, other: str, *, pause: float = 0.0
    ) -> float:
        """How much longer the other's requests take while these users are at the route.

        ``pause``: between those requests, in ms.
        """
        rounds = _fitting(PHASE_S, single, 3, 60)
        think = {"think": {"exp": f"{max(5, round(pause or single * 300))}ms"}}
        answers = self._ask("beside", {
            label: {"users": users, "requests": users * rounds},
            other: {"users": 1, **think, "requests": _fitting(PHASE_S, single, 6, 40)},
        })  # fmt: skip
        busy = answers.of(label)
        until = np.nanmax(np.asarray(busy.finish_s)) if len(busy) else 0.0
        beside = answers.of(other)
        alone = self.alone.get(other, self.singles[other])
        waits = np.asarray([
            f - s - float(alone.mean())
            for s, f in zip(beside.sent_s, beside.finish_s, strict=True)
            if s < 0.9 * until and not math.isnan(f)
        ])  # fmt: skip
        if not len(waits):
            return 0.0
        # What times that vary make of it by chance, at most: three sigma.
        chance = 3 * float(alone.std()) * math.sqrt(1 / len(waits) + 1 / len(alone))
        return max(float(waits.mean()) - chance, 0.0)

    def _stops_all(self, label: str, slots: int, single: float) -> bool:
        wait = self._wait_beside(label, slots, single, self.reference)
        return wait > FROZEN * single + self.single_s

    def _computes(self, label: str, single: float) -> bool:
        """Whether it takes longer while all cores are busy with something else."""
        count = _fitting(PHASE_S, 3 * single, 3, 15)
        answers = self._ask("burners", {label: {"users": 1, "requests": count}}, burners=4)
        return float(np.median(_latencies(answers))) > SLOWED * single + NOISE_S

    def _refuses(self, label: str, times: tuple[float, ...]) -> Route:
        """A rate at which it refuses: how many at once, and how many a second."""
        for n in (BURSTS[1], VARIED_BURSTS[-1]):
            self._rest()
            burst = self._ask("burst", {label: {"requests": n, "at": "once"}})
            if burst.refused:
                break
        first = n - burst.refused
        lasting = self._ask("users", {label: {"users": 4, "think": "5ms", "for": "4s"}})
        ends = lasting.completions
        if len(ends) < 3:
            return Route(label, REFUSES, times, burst=first)
        sizes, every = shapes.waves(ends, 0.15)
        if len(sizes) > 2 and max(sizes[1:-1], default=0) > 2:
            return Route(label, REFUSES, times, rate=first / every, burst=first, window_s=every)
        late = ends[ends > ends[0] + 1.0]  # what was left, or came back meanwhile, is used up
        rate = (len(late) - 1) / float(late[-1] - late[0]) if len(late) > 2 else 0.0
        # Some came back while the burst was read.
        first -= int(rate * float(burst.completions[-1])) if first else 0
        return Route(label, REFUSES, times, rate=rate, burst=first)

    def _shared(self, routes: dict[str, Route]) -> tuple[tuple[str, ...], ...]:
        """Groups of routes that wait for one another although each has room of its own."""
        group = {label: {label} for label in self.labels}
        limited = [r for r in routes.values() if r.kind in (LIMIT, PACED) and not r.stops_all]
        for i, one in enumerate(limited):
            for other in limited[i + 1 :]:
                if one.label in group[other.label] or not _alike(one, other):
                    continue
                # The one whose times vary less shows more clearly that it waits.
                steadier, filled = sorted((one, other), key=self._varies)
                if self._waits_for(filled, steadier):
                    union = group[one.label] | group[other.label]
                    group.update(dict.fromkeys(union, union))
        found = {tuple(sorted(union, key=self.labels.index)) for union in group.values()}
        return tuple(sorted(names for names in found if len(names) > 1))

    def _varies(self, route: Route) -> float:
        singles = self.singles[route.label]
        return float(singles.std() / singles.mean())

    def _waits_for(self, one: Route, other: Route) -> bool:
        single = float(np.median(self.singles[one.label]))
        if one.kind == PACED:
            # The other asks so seldom that its own pace is no matter.
            users, pause = one.burst + 4, 3e3 / other.rate
            wait = self._wait_beside(one.label, users, 1 / one.rate, other.label, pause=pause)
            return wait > 0.5 / one.rate
        # Half as many again as there is room: enough to wait, too few for a limit around it.
        users = one.slots + math.ceil(one.slots / 2)
        wait = self._wait_beside(one.label, users, single, other.label)
        return wait > FROZEN * single + NOISE_S

    def _drifted(self, route: Route) -> Route:
        """The route, with its time of now by that of the beginning."""
        before = float(np.median(self.singles[route.label]))
        count = _fitting(PHASE_S / 2, before + 0.02, 4, 12)
        after = _latencies(self._ask("single", {route.label: _paced_user(count, 0.02)}))
        drift = float(np.median(after)) / before
        both = np.concatenate([self.singles[route.label], after])
        # The error of a median is 1.25 times that of a mean.
        chance = 1.25 * float(both.std() / both.mean()) * math.sqrt(2 / len(after))
        drifts = abs(math.log(drift)) > max(math.log(DRIFT), 3 * chance)
        return replace(route, drift=drift, drifts=drifts and route.kind not in (PACED, REFUSES))


def _is_window(seen: Shape, single: float) -> bool:
    """Whether waves come so seldom that a window opens, not that a slot is free again."""
    return seen.kind == shapes.WAVES and seen.size > 0 and seen.every_s > 1.5 * single + 0.02


def _alike(one: Route, other: Route) -> bool:
    """Whether two limits may be one: as many slots, or the same rate."""
    if one.kind != other.kind:
        return False
    if one.kind == PACED:
        return bool(abs(one.rate / other.rate - 1) < 0.1)
    return one.slots == other.slots


def _latencies(answers: Answers) -> FloatArray:
    """Of the good answers; of all, where there is none."""
    ok = answers.ok
    if len(ok):
        return ok
    both = zip(answers.sent_s, answers.finish_s, strict=True)
    return np.asarray([f - s for s, f in both if not math.isnan(f)] or [math.nan])


def _paced_user(count: int, pause_s: float) -> LoadDocument:
    return {"users": 1, "think": f"{max(round(pause_s * 1e3), 1)}ms", "requests": count}


def _fitting(phase_s: float, each_s: float, least: int, most: int) -> int:
    """How many of these fit into a phase."""
    return int(min(max(phase_s / max(each_s, 1e-6), least), most))
