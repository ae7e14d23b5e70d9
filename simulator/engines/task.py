"""A request, an attempt or a branch while it runs: its ledger of time and its open visits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.clock import Owner
from simulator.engines.contract import NETWORK
from simulator.trace import NOT_FINISHED, NOT_GRANTED

if TYPE_CHECKING:
    import simpy

    from simulator.engines.recorder import Recorder
    from simulator.engines.transactions import OpenTransaction

IN_CODE = 0
"""What a task does that lets no time pass: any cause will do."""


class Visit:
    """An open visit to a station."""

    __slots__ = ("granted", "queued", "slot", "station", "waited")

    def __init__(self, station: int, queued: int) -> None:
        self.station = station
        self.queued = queued
        self.granted = NOT_GRANTED
        self.slot = NOT_GRANTED
        self.waited = 0  # what the task had waited in all when it was granted


class Task(Owner):
    """A request, one of its attempts or a branch of its gather, with its ledger of time.

    Every span of its life is booked to exactly one cause: ``book`` takes what has
    passed since the last booking, so the sum can't miss or count twice.
    """

    __slots__ = (
        "_clock",
        "_recorder",
        "abandoned",
        "answer",
        "arrival",
        "attempt",
        "branch",
        "branches",
        "doing",
        "done",
        "first_byte",
        "instance",
        "is_request",
        "killed",
        "loop_granted",
        "loop_queued",
        "loop_waited",
        "mark",
        "open",
        "process",
        "request",
        "route",
        "spent",
        "transactions",
        "waited",
    )

    def __init__(
        self, recorder: Recorder, request: int, route: int, branch: int = 0, attempt: int = 0
    ) -> None:
        super().__init__(recorder.first_request + request, branch, attempt)
        self._recorder = recorder
        self._clock = recorder.clock
        self.request = request
        self.route = route
        self.branch = branch
        self.attempt = attempt
        self.process = -1
        self.instance = -1
        self.arrival: int = recorder.clock._now
        self.spent = [0] * recorder.causes
        self.mark: int = recorder.clock._now
        self.waited = 0
        self.doing = IN_CODE  # the cause of the span that is under way
        self.first_byte = NOT_FINISHED
        self.branches: list[Task] = []  # of the gather that is under way
        self.done: simpy.Event | None = None  # for the user who waits for the end
        self.answer: simpy.Event | None = None  # for the client who waits for this attempt
        self.is_request = branch == 0 and attempt == 0  # not an attempt, not a branch of it
        self.abandoned = False  # its client has left
        self.killed = False  # its worker process was killed
        self.open: list[Visit] = []
        self.transactions: list[OpenTransaction] = []  # the innermost last
        self.loop_queued = NOT_GRANTED
        self.loop_granted = NOT_GRANTED
        self.loop_waited = 0

    def book(self, cause: int) -> None:
        """Book all time since the last booking to a cause."""
        now: int = self._clock._now
        if now != self.mark:
            self.book_until(now, cause)

    def book_until(self, until: int, cause: int) -> None:
        """Book the time since the last booking up to an instant to a cause."""
        if self.killed and cause != NETWORK:
            return  # what is left of its work is nobody's; its error is on its way
        span = until - self.mark
        self.spent[cause] += span
        self.mark = until
        if self._recorder.is_wait[cause]:
            self.waited += span

    def absorb(self, other: Task | None) -> None:
        """Take over the ledger of the branch, or the attempt, that was waited for until now."""
        assert other is not None
        self.spent = [a + b for a, b in zip(self.spent, other.so_far(), strict=True)]
        self.waited += other.waited
        self.mark = self._clock._now

    def so_far(self) -> list[int]:
        """The ledger up to now, with the span under way booked to what the task is doing.

        Of a gather under way the running branch with the lowest index counts.
        """
        if self.branches:
            running = next(branch for branch in self.branches if branch in self._recorder.live)
            return [a + b for a, b in zip(self.spent, running.so_far(), strict=True)]
        spent = list(self.spent)
        spent[NETWORK if self.killed else self.doing] += self._clock._now - self.mark
        return spent

    def take_turn_of(self, other: Task) -> None:
        """Go on in the turn of the loop that another task has had so far."""
        self.loop_queued, self.loop_granted = other.loop_queued, other.loop_granted
        self.loop_waited = self.waited - (other.waited - other.loop_waited)
        other.loop_queued = other.loop_granted = NOT_GRANTED

    def queue(self, station: int) -> Visit:
        """Begin a visit."""
        visit = Visit(station, self._clock._now)
        self.open.append(visit)
        return visit

    def granted(self, visit: Visit, slot: int) -> None:
        """The visit has its slot."""
        visit.slot = slot
        visit.granted = self._clock._now
        visit.waited = self.waited

    def overtaken(self, visit: Visit) -> None:
        """What the visit had is another's: its wait ended then, in vain, and another begins."""
        self._recorder.visit(
            visit.station, self, NOT_GRANTED, visit.queued, NOT_GRANTED, visit.granted, 0
        )
        visit.queued, visit.granted, visit.slot = self._clock._now, NOT_GRANTED, NOT_GRANTED

    def released(self, visit: Visit, *, at: int | None = None) -> None:
        """The visit ends, or is given up if it was never granted."""
        self.open.remove(visit)
        released = self._clock._now if at is None else at
        work = 0
        if visit.granted != NOT_GRANTED:
            held = released - visit.granted
            # A branch's lock is its parent's, whose own waits may be those of another branch.
            work = min(max(0, held - (self.waited - visit.waited)), held)
        self._recorder.visit(
            visit.station, self, visit.slot, visit.queued, visit.granted, released, work
        )
