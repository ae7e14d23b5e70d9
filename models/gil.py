"""The global interpreter lock of one process.

Imitates ``take_gil`` and ``drop_gil`` of CPython 3.11 (``Python/ceval_gil.h``): a
waiter asks the holder to let go only after a full switch interval of its own wait in
which no switch happened; then it waits anew. A holder that computes lets go at once and
queues again; one waiter is woken, taken at random (measured; FIFO does not fit).

Modelled: quantum, request to drop, forced switching, hand-over; a holder that shares the
cores with others; what an event loop wins back (``models.event_loop``). Not modelled: the
time that a woken waiter takes to get there (some 20 µs a hand-over), one that comes too late
and begins its interval anew, a thread that barges in meanwhile, a woken waiter that has to
wait for a core before it can take the lock.
"""

from __future__ import annotations

from collections.abc import Callable

import simpy

from models.clock import PHASE_END, PHASE_TIMER, Owner, after, grant, granted
from models.cores import Cores, Job


class _Waiter:
    __slots__ = ("event", "owner", "switches")

    def __init__(self, event: simpy.Event, owner: Owner | None, switches: int) -> None:
        self.event = event
        self.owner = owner
        self.switches = switches  # how many there had been when this interval began


class GIL:
    """A lock that its holder can be made to give up while it computes.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment.
    switch_interval : int
        ``sys.getswitchinterval()`` in units of the clock; CPython's default is 5 ms.
    choose : callable, optional
        Index of the waiter to wake, given how many wait; the longest waiter if not given.
    """

    def __init__(
        self,
        env: simpy.Environment,
        *,
        switch_interval: int = 5_000_000,
        choose: Callable[[int], int] | None = None,
    ) -> None:
        self._env = env
        self._interval = switch_interval
        self._choose = choose or (lambda waiting: 0)
        self._locked = False
        self._switches = 0
        self._drop_requested = False
        self._waiters: list[_Waiter] = []
        self._computing: simpy.Event | None = None  # ends the holder's computation

    @property
    def waiting(self) -> int:
        return len(self._waiters)

    def acquire(self, owner: Owner | None = None) -> simpy.Event:
        """An event that happens when the caller holds the lock."""
        if not self._locked:
            self._locked = True
            return granted(self._env)
        waiter = _Waiter(simpy.Event(self._env), owner, self._switches)
        self._waiters.append(waiter)
        self._wait_an_interval(waiter)
        return waiter.event

    def release(self) -> None:
        """Let go; a waiter gets it."""
        self._drop_requested = False
        self._switches += 1
        if not self._waiters:
            self._locked = False
            return
        chosen = self._choose(len(self._waiters)) if len(self._waiters) > 1 else 0
        grant(self._waiters.pop(chosen).event)

    @property
    def asked_to_drop(self) -> bool:
        """True if a waiter has waited long enough that the holder must let go."""
        return self._drop_requested

    def run(self, work: int, owner: Owner | None = None) -> simpy.Event:
        """An event that ends the holder's computation: after ``work``, or when asked to drop.

        How much was done is the time that has passed; the holder then goes on as

        >>> while work > 0:                                      # doctest: +SKIP
        ...     if not gil.asked_to_drop:
        ...         began = env.now
        ...         yield gil.run(work)
        ...         work -= env.now - began
        ...     if work > 0:
        ...         gil.release()
        ...         yield gil.acquire()
        """
        return self._until(after(self._env, work, PHASE_END, owner))

    def run_on(self, cores: Cores, job: Job) -> simpy.Event:
        """The same on cores that others use too; the holder takes its job off afterwards.

        How much was done is what ``job.left`` has come down by.
        """
        return self._until(cores.begin(job))

    def _until(self, end: simpy.Event) -> simpy.Event:
        stop = simpy.Event(self._env)
        self._computing = stop
        end.callbacks.append(lambda _: self._stop(stop))
        return stop

    def _stop(self, stop: simpy.Event) -> None:
        if self._computing is stop:
            self._computing = None
            grant(stop)

    def _wait_an_interval(self, waiter: _Waiter) -> None:
        waiter.switches = self._switches
        timer = after(self._env, self._interval, PHASE_TIMER, waiter.owner)
        timer.callbacks.append(lambda _: self._interval_over(waiter))

    def _interval_over(self, waiter: _Waiter) -> None:
        if waiter.event.triggered:
            return
        if waiter.switches == self._switches:
            self._drop_requested = True
            if self._computing is not None:
                self._stop(self._computing)
        self._wait_an_interval(waiter)
