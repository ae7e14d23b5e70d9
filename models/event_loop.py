"""An event loop: callbacks run one at a time, in turns.

Imitates ``asyncio`` of CPython 3.11 (``BaseEventLoop._run_once``) and uvloop 0.23: each
turn runs the callbacks that were ready when it began. What a callback makes ready
(``call_soon``: a future's result, a new task) belongs to the next turn; what becomes
ready outside meanwhile (a socket, a timer, a thread's result) is picked up by the next
turn's poll, behind those.

Modelled: one callback at a time, turns, their order, and how often what wakes the loop
takes the GIL (uvloop twice: for what the poll returned and for the batch of ready handles;
asyncio about three times). A callback that only reads leaves the last of these to the task
that it starts, one turn later. Not modelled: GIL releases inside a turn that the loop wins
back.
"""

from __future__ import annotations

from collections import deque

import simpy

from models.clock import Clock, Owner, Steps, grant, granted
from models.gil import GIL


class EventLoop:
    """A loop that one callback at a time can be on.

    A task calls ``enter`` to run, and ``leave`` when it awaits or ends.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    gil : GIL, optional
        The lock that a turn must take; none if nothing contends for it. Needs a ``Clock``.
    owner : Owner, optional
        Who waits for the GIL on the loop's behalf.
    gil_takes : int, default 2
        How often a turn takes the GIL if something from outside is in it; once if not.
    """

    def __init__(
        self,
        env: simpy.Environment,
        *,
        gil: GIL | None = None,
        owner: Owner | None = None,
        gil_takes: int = 2,
    ) -> None:
        self._env = env
        self._gil = gil
        self._owner = owner
        self._gil_takes = gil_takes
        self._busy = False
        self._granted = granted(env)  # one for all: an event that has happened never changes
        self._turn: deque[simpy.Event] = deque()
        self._soon: deque[simpy.Event] = deque()
        self._polled: deque[simpy.Event] = deque()
        self._takes = 1  # of the GIL, by the next turn
        self._takes = 1  # of the GIL, by the next turn
        self.gil_waited = (0, 0)
        """From when to when the turn under way waited for the GIL."""

    def enter(self, *, soon: bool = False, reads: bool = False) -> simpy.Event:
        """An event that happens when it is the caller's turn to run.

        ``soon``: it was made ready by a callback of this loop, not from outside.
        ``reads``: it is a callback of the poll itself, whose task runs in the next turn.
        """
        if not soon:
            self._takes = max(self._takes, self._gil_takes - reads)
        if not self._busy:
            self._busy = True
            if self._gil is None:
                return self._granted
            event = simpy.Event(self._env)
            self._turn.append(event)
            self._begin_turn()
            return event
        event = simpy.Event(self._env)
        (self._soon if soon else self._polled).append(event)
        return event

    def next_turn(self) -> simpy.Event:
        """End the caller's callback; the event is its next one, made ready by this one."""
        turn = self.enter(soon=True)
        self.leave()
        return turn

    def leave(self) -> None:
        """End the caller's callback; the next one runs.

        It comes after all that this callback has caused at this instant: whom it has
        made ready is in the queue before the loop polls.
        """
        if isinstance(self._env, Clock) and self._env.is_settled:
            self._advance()
        else:
            end = simpy.Event(self._env)
            end.callbacks.append(self._advance)
            grant(end)

    def _advance(self, _event: simpy.Event | None = None) -> None:
        if self._turn:
            grant(self._turn.popleft())
            return
        if self._gil is not None:
            self._gil.release()
        if self._soon or self._polled:
            self._turn, self._soon = self._soon, self._turn
            self._turn.extend(self._polled)
            self._polled.clear()
            self._begin_turn()
        else:
            self._busy = False

    def _begin_turn(self) -> None:
        if self._gil is None:
            grant(self._turn.popleft())
        else:
            assert isinstance(self._env, Clock)
            self._env.start(self._take_gil(self._gil))

    def _take_gil(self, gil: GIL) -> Steps:
        began = self._env.now
        takes, self._takes = self._takes, 1
        for last in range(takes - 1, -1, -1):
            yield gil.acquire(self._owner)
            if last:
                gil.release()
        self.gil_waited = (int(began), int(self._env.now))
        grant(self._turn.popleft())
