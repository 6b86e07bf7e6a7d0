"""The integer arithmetic that everything stands on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.errors import NetworkError
from snngen.integers import checked, divide_rounding, ones, square_root


@given(st.integers(-(2**40), 2**40), st.integers(1, 2**31))
def test_division_rounds_half_up(numerator: int, denominator: int) -> None:
    got = divide_rounding(np.array([numerator]), np.array([denominator]))[0]
    assert got == (numerator + denominator // 2) // denominator
    assert abs(numerator - int(got) * denominator) <= (denominator + 1) // 2


@given(st.integers(0, 2**62 - 1))
def test_square_root_is_exact(value: int) -> None:
    assert square_root(np.array([value]))[0] == math.isqrt(value)


@given(st.integers(1, 2**31 - 1))
def test_square_root_at_its_edges(root: int) -> None:
    values = np.array([root * root - 1, root * root, root * root + 1])
    assert square_root(values).tolist() == [root - 1, root, root]


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_ones_counts_bits_of_the_magnitude(value: int) -> None:
    assert ones(np.array([value]))[0] == abs(value).bit_count()


@pytest.mark.parametrize(
    "values",
    [np.array([1.5]), np.array([300]), np.array([[1]]), np.array(["a"])],
    ids=["float", "range", "axes", "text"],
)
def test_checked_refuses_what_does_not_fit(values: np.ndarray) -> None:
    with pytest.raises(NetworkError, match="expected"):
        checked(values, np.int8, "here")


def test_checked_arrays_cannot_be_written() -> None:
    given_array = np.array([1, 2], dtype=np.int8)
    array = checked(given_array, np.int8, "here")
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 3
    given_array[0] = 5  # the caller's own array stays writable
