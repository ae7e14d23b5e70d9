"""What the visits to a resource come to by equal pieces of time: enough for its intervals.

A run that is too long to keep its visits is cut into pieces as it goes on. How long it will be is
not known: pieces begin short, and whenever there would be too many each two become one. Every
visit adds whole numbers, so that nothing depends on the order in which visits come.

Waits are counted by length, too: 0, and 16 classes from each power of two to the next, of which
the share below a percentile is read off. A percentile lies within its class: what is counted is
the share up to the end of that class, at most 6 % longer.
"""

from __future__ import annotations

import numpy as np

from simulator.analysis.confidence import BATCH_MIN, BATCHES
from simulator.analysis.resources import wait_end_ns
from simulator.arrays import IntArray
from simulator.trace import NOT_GRANTED, ByTime, Visits

PIECES = 2 * BATCHES[0] * BATCH_MIN
"""Pieces at most; at least half as many are there when a run is over."""
_SHIFT = 20  # the first pieces are so many times halved: 2^20 ns, a millisecond
_PER_OCTAVE = 16
_CLASSES = 1 + 63 * _PER_OCTAVE


class TimeSums:
    """Takes up visits, each once, in any order.

    Parameters
    ----------
    origin_ns : int
        Where the first piece begins; what was before does not count.
    waits : bool
        Whether waits of visits are wanted; where visits without any are left out they mean nothing.
    computes : bool
        Whether a visit uses what it works, and not what it holds: it counts where it ends.
    """

    def __init__(self, origin_ns: int, *, waits: bool, computes: bool) -> None:
        self._origin_ns = origin_ns
        self._computes = computes
        self._shift = _SHIFT
        # How many begin in each piece and how far into it, together; the same of ends; work;
        # how many waits begin, and their sum.
        self._sums = np.zeros((7, PIECES), dtype=np.int64)
        self._lengths = np.zeros((PIECES, _CLASSES if waits else 0), dtype=np.int64)

    def add(self, visits: Visits) -> None:
        """More visits: those that are open at the end are closed there."""
        if not len(visits):
            return
        self._reach(int(visits.released_ns.max()))
        begun, into, ended, out_of, worked, waits, waited = self._sums
        held = visits.granted_ns != NOT_GRANTED
        begin, end = visits.granted_ns[held], visits.released_ns[held]
        if self._computes:
            inside = end >= self._origin_ns
            work = np.minimum(visits.work_ns[held], end - begin)[inside]
            np.add.at(worked, self._place(end[inside])[0], work)
        else:
            for at, number, offset in ((begin, begun, into), (end, ended, out_of)):
                place, beyond = self._place(np.maximum(at, self._origin_ns))
                np.add.at(number, place, 1)
                np.add.at(offset, place, beyond)
        if self._lengths.size:
            counted = (visits.request >= 0) & (visits.queued_ns >= self._origin_ns)
            wait = (wait_end_ns(visits) - visits.queued_ns)[counted]
            place, _ = self._place(visits.queued_ns[counted])
            np.add.at(waits, place, 1)
            some = wait > 0
            np.add.at(waited, place[some], wait[some])
            np.add.at(self._lengths, (place[some], class_of(wait[some])), 1)

    def sums(self) -> ByTime:
        """What there is by now."""
        begun, into, ended, out_of, worked, waits, waited = self._sums
        width = 1 << self._shift
        open_before = np.concatenate([[0], np.cumsum(begun - ended)[:-1]])
        held = open_before * width + (begun * width - into) - (ended * width - out_of)
        lengths = self._lengths.copy()
        if lengths.size:
            lengths[:, 0] = waits - lengths.sum(axis=1)
        return ByTime(self._origin_ns, width, held + worked, waits.copy(), waited.copy(), lengths)

    def _place(self, at_ns: IntArray) -> tuple[IntArray, IntArray]:
        """The piece of each instant, and how far into it that is."""
        since = at_ns - self._origin_ns
        place = since >> self._shift
        return place, since - (place << self._shift)

    def _reach(self, at_ns: int) -> None:
        """Make pieces so long that this instant is in one of them."""
        while (at_ns - self._origin_ns) >> self._shift >= PIECES:
            width = 1 << self._shift
            sums = self._sums
            for number, offset in ((0, 1), (2, 3)):
                sums[offset, 1::2] += sums[number, 1::2] * width
            self._sums = _halved(sums.T).T.copy()
            self._lengths = _halved(self._lengths)
            self._shift += 1


def class_of(wait_ns: IntArray) -> IntArray:
    """The class of each wait; 0 of none."""
    mantissa, exponent = np.frexp(wait_ns.astype(np.float64))
    part = ((mantissa - 0.5) * 2 * _PER_OCTAVE).astype(np.int64)
    found: IntArray = np.where(wait_ns > 0, 1 + (exponent - 1) * _PER_OCTAVE + part, 0)
    return found


def _halved(rows: IntArray) -> IntArray:
    """Each two rows as one; as many rows as before, the second half empty."""
    out = np.zeros_like(rows)
    out[: PIECES // 2] = rows[0::2] + rows[1::2]
    return out
