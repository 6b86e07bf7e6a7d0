"""The threshold is the quantizer: a firing neuron settles at the formula, whatever the order of arrival."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.errors import NetworkError
from snngen.neurons.threshold import Threshold


def fire_until_quiet(theta: int, bias: int, low: int, high: int, arrivals: list[int]) -> int:
    """A signed integrate-and-fire neuron, event by event: one spike at most per tick."""
    potential, count = theta // 2 + bias, 0
    pending = list(arrivals)
    while True:
        if pending:
            potential += pending.pop()
        if potential >= theta and count < high:
            potential, count = potential - theta, count + 1
        elif potential < 0 and count > low:
            potential, count = potential + theta, count - 1
        elif not pending:
            return count


@given(
    theta=st.integers(1, 50),
    bias=st.integers(-100, 100),
    low=st.integers(-9, 0),
    high=st.integers(1, 9),
    arrivals=st.lists(st.integers(-60, 60), max_size=12),
    seed=st.integers(0, 9),
)
def test_firing_settles_at_the_formula(theta, bias, low, high, arrivals, seed) -> None:
    shuffled = list(np.random.default_rng(seed).permutation(arrivals).astype(int))
    neuron = Threshold(np.array([theta]), np.array([bias]), low, high)
    expected = int(neuron.reference(np.array([[sum(arrivals)]]))[0, 0])
    assert fire_until_quiet(theta, bias, low, high, arrivals) == expected
    assert fire_until_quiet(theta, bias, low, high, shuffled) == expected


@pytest.mark.parametrize(
    ("theta", "bias", "low", "high"),
    [([0], [0], -1, 1), ([-3], [0], -1, 1), ([1], [0, 0], -1, 1), ([1], [0], 1, 2), ([1], [0], 0, 0), ([], [], -1, 1)],
)
def test_bad_parameters_are_refused(theta, bias, low, high) -> None:
    with pytest.raises(NetworkError):
        Threshold(np.array(theta, dtype=np.int64), np.array(bias, dtype=np.int64), low, high)
