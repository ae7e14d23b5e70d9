"""Cores that runnable threads share equally: egalitarian processor sharing.

Imitates a machine (or a container with a CPU limit) under Linux's fair scheduler: up to
``count`` runnable threads have a core each, more of them share all cores in equal parts.
The same model serves the CPU of a database, one backend a thread.

Exact in integers: the attained service V counts 1/1024 ns; whenever the number n of jobs
on c cores changes, V grows by Δt · 1024 if n ≤ c, else by (Δt · 1024 · c) // n. A job that
began at V₀ ends when V reaches V₀ + 1024 · work, its event rounded up to whole units of the
clock. Jobs that end at one instant end in the order of their owners.

Modelled: equal shares, jobs taken off before their end. Not modelled: time slices, the cost
of a context switch, caches, affinity, priorities, hyper-threads.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import simpy

from models.clock import PHASE_END, Owner, after, grant, granted

SHARE = 1024
"""Units of attained service in one unit of the clock's time."""


class Job:
    """Work of one thread; ``left`` says how much is to be done, whether it runs or not."""

    __slots__ = ("_at", "ended", "left", "owner")

    def __init__(self, work: int, owner: Owner | None = None) -> None:
        self.left = work * SHARE  # as of the last time it was taken off; 0 when it has ended
        self.owner = owner
        self.ended: simpy.Event | None = None  # None while it is not on the cores
        self._at = 0  # the V that it ends at

    @property
    def left_ns(self) -> int:
        """``left`` in units of the clock, rounded up."""
        return -(-self.left // SHARE)


class Cores:
    """So many cores, shared by all jobs that are on them.

    Parameters
    ----------
    env : simpy.Environment
        A ``Clock`` for ordered ties, or any SimPy environment with integer time.
    count : int
        How many there are.
    """

    def __init__(self, env: simpy.Environment, count: int) -> None:
        self._env = env
        self._count = count
        self._attained = 0  # V
        self._since = 0  # when V was brought up to date
        self._jobs: list[tuple[int, int, int, Job]] = []  # a heap: (end, owner, entry, job)
        self._entries = 0
        self._running = 0
        self._next: simpy.Event | None = None  # the end of the job that is next to end

    @property
    def count(self) -> int:
        return self._count

    @property
    def running(self) -> int:
        """Jobs on the cores now."""
        return self._running

    def run(self, work: int, owner: Owner | None = None) -> simpy.Event:
        """An event that happens when this work is done, sharing the cores meanwhile."""
        return self.begin(Job(work, owner))

    def begin(self, job: Job) -> simpy.Event:
        """Put a job on the cores, for what is left of it; the event is its end."""
        if job.left <= 0:
            return granted(self._env)
        self._bring_up_to_date()
        job.ended = simpy.Event(self._env)
        job._at = self._attained + job.left
        self._entries += 1
        order = self._entries if job.owner is None else job.owner.key(PHASE_END)
        heappush(self._jobs, (job._at, order, self._entries, job))
        self._running += 1
        self._plan_next()
        return job.ended

    def take_off(self, job: Job) -> None:
        """Take a job off before its end; ``job.left`` is exactly what is left then."""
        if job.ended is None:
            return
        self._bring_up_to_date()
        job.left = max(0, job._at - self._attained)
        self._remove(job)

    def _bring_up_to_date(self) -> None:
        now = int(self._env.now)
        if self._running:
            self._attained += self._gain(now - self._since)
        self._since = now

    def _gain(self, time: int) -> int:
        if self._running <= self._count:
            return time * SHARE
        return time * SHARE * self._count // self._running

    def _remove(self, job: Job) -> None:
        job.ended = None
        entry = next(i for i, (*_, other) in enumerate(self._jobs) if other is job)
        last = self._jobs.pop()
        if entry < len(self._jobs):
            self._jobs[entry] = last
            heapify(self._jobs)
        self._running -= 1
        self._plan_next()

    def _plan_next(self) -> None:
        """Await the end of one job: of those that end first, the one with the lowest owner."""
        self._next = None
        if not self._jobs:
            self._attained = 0  # nobody is left to notice
            return
        missing = max(0, self._jobs[0][0] - self._attained)
        shares, jobs = SHARE, 1
        if self._running > self._count:
            shares, jobs = SHARE * self._count, self._running
        delay = -(-missing * jobs // shares)
        job = self._first_of(self._attained + self._gain(delay))
        self._next = after(self._env, delay, PHASE_END, job.owner)
        self._next.callbacks.append(lambda event: self._end(event, job))

    def _first_of(self, attained: int) -> Job:
        """The job with the lowest owner among those that have ended when V is this much."""
        jobs = self._jobs
        best, todo = jobs[0], [0]
        while todo:
            i = todo.pop()
            if i < len(jobs) and jobs[i][0] <= attained:
                if jobs[i][1:3] < best[1:3]:
                    best = jobs[i]
                todo += (2 * i + 1, 2 * i + 2)
        return best[3]

    def _end(self, event: simpy.Event, job: Job) -> None:
        if event is not self._next:
            return  # the number of jobs has changed since
        ended = job.ended
        assert ended is not None
        self._bring_up_to_date()
        job.left = 0
        if self._jobs[0][3] is job:
            # The usual case: no search through the heap.
            heappop(self._jobs)
            job.ended = None
            self._running -= 1
            self._plan_next()
        else:
            self._remove(job)
        grant(ended)
