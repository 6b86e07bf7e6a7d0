"""Histogram: times in a fixed number of bins, so that a stream may run for ever."""

from __future__ import annotations

import numpy as np

from snngen.integers import IntArray

PARTS = 32  # bins for each doubling: what is read from them is at most 1/32 = 3.1 % too large
OCTAVES = 45  # from below 1 us to 2**45 ns = 9.8 hours; longer times are in the last bin


class Histogram:
    """How often a time was how long, in bins that are equally wide for each doubling (as of HdrHistogram).

    Times below 32 ns are exact, all others are known to 3.1 %; 1,312 counters hold it whatever is added.
    """

    def __init__(self) -> None:
        self.counts: IntArray = np.zeros((OCTAVES - 4) * PARTS, dtype=np.int64)
        self.longest_ns = 0

    def add(self, times_ns: IntArray, often: IntArray) -> None:
        """Add times. times_ns: (m,) int64, negative ones count as 0. often: (m,) int64, how often each."""
        if times_ns.size == 0:
            return
        times = np.clip(times_ns, 0, 2**OCTAVES - 1)
        # floats of 53 bits hold these integers exactly, and frexp gives the position of the highest bit
        shifts = np.maximum(np.frexp(times.astype(np.float64))[1].astype(np.int64) - 6, 0)
        np.add.at(self.counts, shifts * PARTS + (times >> shifts), often)
        self.longest_ns = max(self.longest_ns, int(times_ns.max()))

    @property
    def total(self) -> int:
        """How many times were added."""
        return int(self.counts.sum())

    def percentile(self, share: float) -> float | None:
        """Seconds within which a share (0..1) of all times lies: never less than the truth, at most 3.1 % more.

        None where nothing was added.
        """
        sums = np.cumsum(self.counts)
        if sums[-1] == 0:
            return None
        bin_ = int(np.searchsorted(sums, max(1, np.ceil(share * sums[-1]))))
        shift = max(bin_ // PARTS - 1, 0)
        last = ((bin_ - shift * PARTS + 1) << shift) - 1  # the largest time of the bin
        return min(last, self.longest_ns) * 1e-9
