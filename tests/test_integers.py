"""The integer arithmetic that everything stands on."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from snngen.errors import NetworkError
from snngen.integers import (
    BLOCK,
    UINT16_ROWS,
    aligned_bytes,
    checked,
    column_magnitudes,
    column_sums,
    divide_rounding,
    magnitude,
    ones,
    row_blocks,
    square_root,
)


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


@pytest.mark.parametrize("given_array", [np.array([[-128, 127]], np.int8), np.array([[7, -9]], np.int8)])
def test_checked_copies_nothing_that_fits(given_array: np.ndarray) -> None:
    assert np.shares_memory(checked(given_array, np.int8, "here", ndim=2), given_array)


@given(st.integers(0, 2**32 - 1), st.integers(1, 3 * UINT16_ROWS), st.integers(1, 9))
def test_magnitudes_of_columns(seed: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(seed).integers(-128, 128, (rows, columns)).astype(np.int8)
    magnitudes = np.abs(matrix.astype(np.int64))
    assert np.array_equal(column_sums(matrix), magnitudes.sum(axis=0))
    assert np.array_equal(column_magnitudes(matrix), magnitudes.max(axis=0))
    assert magnitude(matrix) == magnitudes.max()


def test_sums_of_the_largest_magnitudes_are_exact() -> None:
    """Block by block in uint16, at their limit."""
    for rows in (UINT16_ROWS, 2 * UINT16_ROWS + 1):
        assert column_sums(np.full((rows, 3), -128, dtype=np.int8)).tolist() == [128 * rows] * 3
    assert magnitude(np.zeros((0, 3), dtype=np.int8)) == 0


@given(st.integers(0, 5000), st.integers(0, 3 * 2**20), st.integers(1, 600))
def test_blocks_are_all_rows_in_order(rows: int, columns: int, most: int) -> None:
    blocks = list(row_blocks(rows, columns, most))
    assert [row for block in blocks for row in range(block.start, block.stop)] == list(range(rows))
    assert all(1 <= block.stop - block.start <= most for block in blocks)
    assert all((block.stop - block.start) * columns <= max(BLOCK, columns) for block in blocks)


@given(st.integers(0, 1000))
def test_aligned_bytes_begin_a_line(size: int) -> None:
    buffer = aligned_bytes(size)
    buffer[:] = 1
    assert (buffer.size, buffer.ctypes.data % 64 if size else 0) == (size, 0)
    assert size == 0 or buffer[1:].reshape(-1, 1).base is buffer
