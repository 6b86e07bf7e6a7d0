"""Masks find what NumPy finds, at every size around a block and at both ends of the integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from snngen.kernels import masks

EXTREMES = [-(2**31), -1, 0, 1, 2**31 - 1]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), size=st.integers(1, 200), wide=st.booleans(), share=st.sampled_from([0, 0.05, 1])
)
def test_neurons_that_reach_their_bounds(seed: int, size: int, wide: bool, share: float) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice(EXTREMES, size).astype(np.int32)
    bounds = np.where(rng.random(size) < share, values, rng.choice(EXTREMES, size)).astype(np.int64)
    bounds = bounds + wide * rng.integers(-(2**33), 2**33, size) if wide else bounds.astype(np.int32)
    found = np.full(size, -7, dtype=np.int32)
    count = masks.where_at_least(values, bounds, found)
    assert found[:count].tolist() == np.flatnonzero(values >= bounds).tolist()
    assert (found[count:] == -7).all()


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), size=st.integers(1, 200), share=st.sampled_from([0, 0.05, 0.5, 1]))
def test_neurons_that_differ(seed: int, size: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    one = rng.choice(EXTREMES, size).astype(np.int32)
    other = np.where(rng.random(size) < share, rng.choice(EXTREMES, size), one).astype(np.int32)
    found = np.full(size, -7, dtype=np.int32)
    count = masks.where_different(one, other, found)
    assert found[:count].tolist() == np.flatnonzero(one != other).tolist()
    assert (found[count:] == -7).all()


@pytest.mark.parametrize("size", [63, 64, 65, 128])
def test_parts_of_larger_arrays_stay_inside(size: int) -> None:
    values, found = np.full(size + 200, 5, dtype=np.int32), np.full(size + 200, -7, dtype=np.int32)
    count = masks.where_different(values[100 : 100 + size], np.zeros(size, np.int32), found[100 : 100 + size])
    assert count == size
    assert found[100 : 100 + size].tolist() == list(range(size))
    assert (found[:100] == -7).all()
    assert (found[100 + size :] == -7).all()
