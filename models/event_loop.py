"""An event loop: callbacks run one at a time, in turns.

Imitates ``asyncio`` of CPython 3.11 (``BaseEventLoop._run_once``) and uvloop 0.23: each
turn runs the callbacks that were ready when it began. What a callback makes ready
(``call_soon``: a future's result, a new task) belongs to the next turn; what becomes
ready outside meanwhile (a socket, a timer, a thread's result) is picked up by the next
turn's poll, behind those.

Where a loop lets go of the GIL
-------------------------------
A loop that had nothing to do waits in ``epoll_wait`` without the GIL and takes it when
something arrives. While it has work it lets go only for moments: between two turns (uvloop:
from the end of a libuv callback to the idle handle's, ``with gil`` each; asyncio:
``select(0)``), in each read of a request (uvloop: ``read`` between the callbacks alloc_cb
and read_cb; asyncio: ``recv``), and, in asyncio only, in each ``send`` of an answer
(uvloop's write keeps it). Nobody waiting: nothing happens. Else a waiter is signalled, and
if it gets there within that moment the release is *lost*: the loop queues for the GIL
again. Otherwise the loop wins it back, and the waiter waits on. A release while a waiter's
request to drop is pending is always lost (``FORCE_SWITCHING``).

What a pause costs
------------------
A loop that has waited in ``epoll_wait`` finds its processor cold: caches, branch predictors
and clock speed are those of an idle machine, or of whoever ran there meanwhile. uvicorn 0.54
on a virtual machine with 2 cores took .3 ms for a request that does nothing where one came
after the other, .6 ms after a pause of 2 ms and 1.1 ms after 4 ms or more, all of it CPU of the
server; of ten after a pause the second took 1.6 times as long as the last, the third 1.3 times.
Of 600 pauses half cost between .87 and 1.15 of the median, nine in ten between .7 and 1.5.

Modelled: one callback at a time, turns, their order; the releases above; what a pause costs,
all before the first callback after it. Not modelled: that the callbacks after the first are
slower too, and that one that does more suffers more; releases in reads and writes of other
sockets than the requests' (drivers, streams), the second ``send`` of an answer, and that a
waiter that came too late begins its interval anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import IntEnum

import simpy

from models.clock import PHASE_TIMER, Clock, Owner, Steps, after, grant, granted
from models.gil import GIL

FOREVER = 2**62
"""The pause before the first callback."""


class Release(IntEnum):
    """Where a loop with work to do lets go of the GIL for a moment."""

    TURN = 0
    READ = 1
    WRITE = 2


class EventLoop:
    """A loop that one callback at a time can be on.

    A task calls ``enter`` to run, and ``leave`` when it awaits or ends.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    gil : GIL, optional
        The lock that the loop needs; none if nothing contends for it. Needs a ``Clock``.
    owner : Owner, optional
        Who waits for the GIL on the loop's behalf.
    lost : callable, optional
        Whether this release is lost, asked only while somebody waits for the GIL and has
        not asked for it; never if not given.
    writes_release : bool, default False
        Whether writing an answer lets go of the GIL (asyncio).
    wake : callable, optional
        What the first callback after a pause of so long takes longer, in units of the clock;
        nothing if not given. Nothing came before the first pause: it is ``FOREVER``.
    """

    def __init__(
        self,
        env: simpy.Environment,
        *,
        gil: GIL | None = None,
        owner: Owner | None = None,
        lost: Callable[[Release], bool] | None = None,
        writes_release: bool = False,
        wake: Callable[[int], int] | None = None,
    ) -> None:
        self._env = env
        self._gil = gil
        self._owner = owner
        self._lost = lost or (lambda release: False)
        self._writes_release = writes_release
        self._wake = wake or (lambda pause: 0)
        self._idle_from = -FOREVER
        self._busy = False
        self._granted = granted(env)  # one for all: an event that has happened never changes
        self._turn: deque[simpy.Event] = deque()
        self._soon: deque[simpy.Event] = deque()
        self._polled: deque[simpy.Event] = deque()
        self._reads: set[simpy.Event] = set()  # of those, what reads a request
        self.gil_waited = (0, 0)
        """From when to when the loop last waited for the GIL."""

    def enter(self, *, soon: bool = False, reads: bool = False) -> simpy.Event:
        """An event that happens when it is the caller's turn to run.

        ``soon``: it was made ready by a callback of this loop, not from outside.
        ``reads``: it reads a request, which lets go of the GIL for a moment.
        """
        wake = 0 if self._busy else self._wake(int(self._env.now) - self._idle_from)
        if self._gil is None and not self._busy and not wake:
            self._busy = True
            return self._granted
        event = simpy.Event(self._env)
        if self._gil is not None and reads:
            self._reads.add(event)
        if self._busy:
            (self._soon if soon else self._polled).append(event)
        else:
            self._busy = True
            self._turn.append(event)
            if wake:
                awake = after(self._env, wake, PHASE_TIMER, self._owner)
                awake.callbacks.append(self._begin)
            else:
                self._begin()
        return event

    def _begin(self, _event: simpy.Event | None = None) -> None:
        """Run the first callback after a pause."""
        if self._gil is None:
            self._next()
        else:
            self._then_next(self._take())

    def next_turn(self) -> simpy.Event:
        """End the caller's callback; the event is its next one, made ready by this one."""
        turn = self.enter(soon=True)
        self.leave()
        return turn

    def write(self) -> simpy.Event:
        """An event that happens when the caller's callback has written an answer."""
        if not self._writes_release or not self._loses(Release.WRITE):
            return self._granted
        written = simpy.Event(self._env)
        self._then(self._retake(), written)
        return written

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
            self._next()
        elif self._soon or self._polled:
            self._turn, self._soon = self._soon, self._turn
            self._turn.extend(self._polled)
            self._polled.clear()
            if self._loses(Release.TURN):
                self._then_next(self._retake())
            else:
                self._next()
        else:
            if self._gil is not None:
                self._gil.release()
            self._busy = False
            self._idle_from = int(self._env.now)

    def _next(self) -> None:
        callback = self._turn.popleft()
        if callback in self._reads:
            self._reads.remove(callback)
            if self._loses(Release.READ):
                self._then(self._retake(), callback)
                return
        grant(callback)

    def _loses(self, release: Release) -> bool:
        gil = self._gil
        return gil is not None and gil.waiting > 0 and (gil.asked_to_drop or self._lost(release))

    def _take(self) -> Steps:
        assert self._gil is not None
        began = self._env.now
        yield self._gil.acquire(self._owner)
        self.gil_waited = (int(began), int(self._env.now))

    def _retake(self) -> Steps:
        assert self._gil is not None
        self._gil.release()
        return self._take()

    def _then(self, steps: Steps, callback: simpy.Event) -> None:
        def run() -> Steps:
            yield from steps
            grant(callback)

        assert isinstance(self._env, Clock)
        self._env.start(run())

    def _then_next(self, steps: Steps) -> None:
        def run() -> Steps:
            yield from steps
            self._next()

        assert isinstance(self._env, Clock)
        self._env.start(run())
