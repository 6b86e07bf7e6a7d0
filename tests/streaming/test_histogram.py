"""Latency histogram and the arrival times of events: bounded, and never flattering."""

from __future__ import annotations

import numpy as np
import pytest

from snngen.streaming.heard import MOST, Heard
from snngen.streaming.histogram import OCTAVES, Histogram


def test_percentiles_are_never_below_the_truth_and_at_most_a_32nd_above() -> None:
    rng = np.random.default_rng(3)
    times = np.exp(rng.uniform(0, np.log(1e12), 20_000)).astype(np.int64)
    histogram = Histogram()
    for part in np.array_split(times, 7):
        histogram.add(part, np.ones(part.size, dtype=np.int64))
    assert histogram.total == times.size
    for share in (0.001, 0.01, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0):
        truth = int(np.sort(times)[int(np.ceil(share * times.size)) - 1])
        read = histogram.percentile(share)
        assert read is not None
        assert truth <= round(read * 1e9) <= truth * (1 + 1 / 32) + 1


def test_every_bin_holds_the_times_it_says() -> None:
    for time in [*range(300), *(2**k + d for k in range(9, OCTAVES) for d in (-1, 0, 1)), 2**OCTAVES - 1]:
        histogram = Histogram()
        histogram.add(np.array([time, 2**OCTAVES - 1]), np.array([3, 1]))
        read = histogram.percentile(0.75)
        assert read is not None
        assert time <= round(read * 1e9) <= time + time // 32
        assert np.count_nonzero(histogram.counts) <= 2


def test_times_out_of_range_are_counted_at_the_ends() -> None:
    histogram = Histogram()
    histogram.add(np.array([-5, 2**60]), np.array([2, 1]))
    assert (histogram.counts[0], histogram.counts[-1], histogram.longest_ns) == (2, 1, 2**60)
    assert histogram.percentile(0.5) == 0.0


def test_nothing_added_has_no_percentile() -> None:
    histogram = Histogram()
    histogram.add(np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    assert histogram.percentile(0.5) is None


@pytest.mark.parametrize("repeats", [1, 3])
def test_heard_times_are_bounded_and_become_earlier_never_later(repeats: int) -> None:
    heard = Heard()
    arrivals = np.repeat(np.arange(3 * MOST, dtype=np.int64) * 10, 2)
    for _ in range(repeats):
        heard.add(arrivals)
    assert heard.times_ns.size <= MOST
    assert heard.often.sum() == repeats * arrivals.size
    assert heard.times_ns.min() == 0
    assert (heard.times_ns * heard.often).sum() <= repeats * arrivals.sum()


def test_equal_arrivals_are_kept_as_one() -> None:
    heard = Heard()
    heard.add(np.array([5, 5, 5, 9, 9], dtype=np.int64))
    heard.add(np.zeros(0, dtype=np.int64))
    other = Heard()
    other.add(np.array([9], dtype=np.int64))
    heard.extend(other)
    assert heard.times_ns.tolist() == [5, 9, 9]
    assert heard.often.tolist() == [3, 2, 1]
