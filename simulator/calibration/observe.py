"""Who answers probes: a live server, and a file of what one has answered.

A record is a file of lines: a head that says of what, then each probe with its answers, as
soon as they are there. So what was measured until a server died, a disk was full or Ctrl-C
is kept, and the rest of the work can be done from the file alone.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from simulator.calibration import machine_use
from simulator.calibration.generator import Budget, CouldNotKeepUp, GeneratorError, Live, drive
from simulator.calibration.probe import OK, Answers, Ask, Probe
from simulator.record import dataclass
from simulator.scenario import loads
from simulator.trace import NOT_FINISHED
from simulator.workload import Workload

TRIES = 6
"""Of a probe that the generator could not send on time."""
FORMAT = "sim calibrate observations 1"


class Stopped(Exception):
    """No more can be observed; the message says why, what there is was kept."""


@dataclass(slots=True)
class LiveServer:
    """Sends probes to a URL and gives back what came; ``reference``: whose 404 is an answer."""

    url: str
    reference: str
    budget: Budget
    allow_remote: bool = False
    pids: Collection[int] = ()  # of the server, where they are known
    asked: int = 0
    requests: int = 0
    late: int = 0  # probes that the generator could not send on time, and sent again

    def __call__(self, probe: Probe) -> Answers:
        """Send it.

        Raises
        ------
        GeneratorError
            It could not be sent, or not be sent on time.
        Stopped
            The server no longer answers, or the budget is used up.
        """
        self.asked += 1
        plan = loads(probe.scenario()).plan
        left = Budget(self.budget.requests - self.requests, self.budget.rate, self.budget.time_ns)
        if left.requests <= 0:
            raise Stopped(f"the {self.budget.requests} requests of the budget are sent")
        for again in range(TRIES - 1, -1, -1):
            try:
                before = machine_use.used(self.pids)
                with burning(probe.burners):
                    live = drive(
                        plan, Workload(plan, replication=self.asked), self.url,
                        budget=left, allow_remote=self.allow_remote,
                    )  # fmt: skip
                break
            except CouldNotKeepUp as late:
                # Something else has had the processor: that is no news of the server.
                self.late += 1
                self.requests += len(late.live.trace)
                if not again:
                    raise
                time.sleep(0.3 * (TRIES - again))
        self.requests += len(live.trace)
        if live.partial:
            raise Stopped(f"probe '{probe.purpose}': {live.partial}")
        answers = answers_of(live, list(probe.loads), self.reference)
        if not self.pids:
            return answers
        ran_ns = machine_use.used(self.pids).ran_ns - before.ran_ns
        return replace(answers, server_cpu_s=ran_ns / 1e9)


def answers_of(live: Live, labels: list[str], reference: str) -> Answers:
    """What a client saw; an answer that says there is nothing is what a reference asks for."""
    trace = live.trace

    def named(route: int, outcome: str) -> str:
        return OK if labels[route] == reference and outcome.startswith("http_4") else outcome

    routes = trace.route.tolist()
    return Answers(
        [labels[route] for route in routes],
        [round(s / 1e9, 7) for s in trace.arrival_ns.tolist()],
        [
            round(f / 1e9, 7) if f != NOT_FINISHED else float("nan")
            for f in trace.finish_ns.tolist()
        ],
        [named(r, trace.outcomes[o]) for r, o in zip(routes, trace.outcome.tolist(), strict=True)],
        [round(max(s, a) / 1e9, 7) for s, a in zip(live.sent_ns, trace.arrival_ns, strict=True)],
    )


class Record:
    """A file of probes and their answers, written as they come."""

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._line({"format": FORMAT, **about})

    def recording(self, ask: Ask) -> Ask:
        """The same, and every answer is written down."""

        def recorded(probe: Probe) -> Answers:
            answers = ask(probe)
            self._line({"probe": _plain(probe), "answers": _plain(answers)})
            return answers

        return recorded

    def _line(self, document: dict[str, Any]) -> None:
        self._file.write(json.dumps(document, ensure_ascii=False) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more comes."""
        self._file.close()


def replayed(path: Path) -> tuple[dict[str, Any], Ask]:
    """What a record says it is of, and who answers the same probes from it.

    Raises
    ------
    ValueError
        If the file is no such record.
    OSError
        If it can't be read.
    """
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        documents = [json.loads(line) for line in lines if line]
        if not documents or documents[0].get("format") != FORMAT:
            raise ValueError
        kept = [(Probe(**d["probe"]), Answers(**d["answers"])) for d in documents[1:]]
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ValueError(f"{path}: no record of sim calibrate, expected one of --observe") from None

    def ask(probe: Probe) -> Answers:
        for i, (asked, answers) in enumerate(kept):
            if asked.purpose == probe.purpose and asked.loads == probe.loads:
                del kept[: i + 1]  # the same question may come again later
                return answers
        raise Stopped(f"{path} ends before probe '{probe.purpose}': it is partial")

    return documents[0], ask


def _plain(record: Any) -> dict[str, Any]:
    return {name: getattr(record, name) for name in type(record).__dataclass_fields__}


@contextmanager
def burning(count: int) -> Iterator[None]:
    """Processes that compute all the time while the block lasts."""
    context = multiprocessing.get_context("fork")
    burners = [context.Process(target=_burn, daemon=True) for _ in range(count)]
    try:
        for burner in burners:
            burner.start()
        if burners:
            time.sleep(0.1)
        yield
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def _burn() -> None:
    while True:
        pass


def noted(ask: Ask, note: Callable[[Probe], None]) -> Ask:
    """The same, and ``note`` hears of each probe before it is sent."""

    def heard(probe: Probe) -> Answers:
        note(probe)
        return ask(probe)

    return heard


__all__ = ["Answers", "GeneratorError", "LiveServer", "Record", "Stopped", "burning", "replayed"]
