"""Heard: the arrival times of events that an output takes in, in bounded memory."""

from __future__ import annotations

import numpy as np

from snngen.integers import IntArray

MOST = 4096  # different times that are kept apart


class Heard:
    """Arrival times and how many events had each.

    Beyond MOST times, neighbours become one, with the earlier time: what is said of latency is then too long, never
    too short.
    """

    def __init__(self) -> None:
        self.times_ns: IntArray = np.zeros(0, dtype=np.int64)
        self.often: IntArray = np.zeros(0, dtype=np.int64)

    def add(self, arrivals_ns: IntArray) -> None:
        """Add events. arrivals_ns: (n,) int64, equal times side by side."""
        if arrivals_ns.size and arrivals_ns[0] == arrivals_ns[-1]:  # all of one read
            self._join(arrivals_ns[:1], np.array([arrivals_ns.size]))
        elif arrivals_ns.size:
            starts = np.flatnonzero(np.diff(arrivals_ns, prepend=arrivals_ns[0] - 1))
            self._join(arrivals_ns[starts], np.diff(starts, append=arrivals_ns.size))

    def extend(self, other: Heard) -> None:
        """Add the events of another, as those of an output that nobody received."""
        self._join(other.times_ns, other.often)

    def _join(self, times_ns: IntArray, often: IntArray) -> None:
        times, counts = np.concatenate((self.times_ns, times_ns)), np.concatenate((self.often, often))
        while times.size > MOST:
            starts = np.arange(0, times.size, 2)
            times, counts = np.minimum.reduceat(times, starts), np.add.reduceat(counts, starts)
        self.times_ns, self.often = times, counts
