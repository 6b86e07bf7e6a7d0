"""Exact integer arithmetic shared by every part: rounding division, square roots, checked arrays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.errors import NetworkError

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

INT32_MAX = 2**31 - 1
LINE = 64  # bytes of a cache line, and of the widest vector that a kernel reads
BLOCK = 2**18  # elements that are looked at together, so that no copy of a whole matrix is made
UINT16_ROWS = 511  # so many magnitudes of 128 at most add up to what uint16 holds


def checked(values: npt.ArrayLike, dtype: npt.DTypeLike, where: str, ndim: int = 1) -> IntArray:
    """Read-only copy-free view of `values` as integers of `dtype`.

    Raises NetworkError where a value is not an integer that `dtype` holds, or the number of axes is not `ndim`.
    """
    given = np.asarray(values)
    if given.ndim != ndim:
        raise NetworkError(where, f"an array with {given.ndim} axes", f"{ndim} axes")
    if given.dtype.kind not in "iu":
        raise NetworkError(where, f"dtype {given.dtype}", "integers", f"{where.rsplit('.', 1)[-1]}.astype('int32')")
    limits = np.iinfo(np.dtype(dtype))
    fits = np.can_cast(given.dtype, limits.dtype)  # whatever the values are
    if given.size and not fits and (int(given.min()) < limits.min or int(given.max()) > limits.max):
        raise NetworkError(
            where, f"values from {given.min()} to {given.max()}", f"{limits.dtype}: {limits.min} to {limits.max}"
        )
    array = np.ascontiguousarray(given, dtype=dtype)
    if array is values and array.flags.writeable:
        array = array.view()
    array.flags.writeable = False
    return array


def aligned_bytes(size: int) -> npt.NDArray[np.int8]:
    """(size,) int8, not filled, that begins at a multiple of 64 bytes; it is the `base` of all its views."""
    whole = np.empty(size + LINE, dtype=np.int8)
    start = -whole.ctypes.data % LINE
    return np.frombuffer(whole[start : start + size].data, dtype=np.int8)


def lines(count: int, entries: int) -> npt.NDArray[np.int32]:
    """(count, entries or a few more) int32 zeros, of which every row begins at a multiple of 64 bytes."""
    pitch = entries + -entries % (LINE // 4)
    room = aligned_bytes(4 * count * pitch).view(np.int32)
    room[:] = 0
    return room.reshape(count, pitch)


def offset(part: IntArray, buffer: IntArray) -> int:
    """Bytes from the beginning of `buffer` to that of `part`."""
    return int(part.ctypes.data - buffer.ctypes.data)


def sealed(array: IntArray) -> IntArray:
    """The same array, read-only from now on."""
    array.flags.writeable = False
    return array


def row_blocks(rows: int, columns: int, most: int = BLOCK) -> Iterator[slice]:
    """Slices of rows, in order and all of them, of about BLOCK elements and at most `most` rows each."""
    step = max(1, min(most, BLOCK // max(1, columns)))
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def magnitude(values: IntArray) -> int:
    """Largest magnitude of any value, 0 where there is none."""
    return max(-int(values.min(initial=0)), int(values.max(initial=0)))


def column_magnitudes(matrix: IntArray) -> IntArray:
    """(columns,) int64: largest magnitude in each column of a matrix with one row or more."""
    low, high = matrix.min(axis=0).astype(np.int64), matrix.max(axis=0).astype(np.int64)
    largest: IntArray = np.maximum(np.abs(low), np.abs(high))
    return largest


def column_sums(matrix: IntArray) -> IntArray:
    """(columns,) int64: sum of the magnitudes in each column of an int8 matrix, with no wider copy of it.

    |-128| is 128 as uint8 once the sign is dropped; 511 of them fit uint16.
    """
    sums = np.zeros(matrix.shape[1], dtype=np.int64)
    for rows in row_blocks(len(matrix), matrix.shape[1], UINT16_ROWS):
        sums += np.add.reduce(np.abs(matrix[rows]).view(np.uint8), axis=0, dtype=np.uint16)
    return sums


def divide_rounding(numerator: IntArray, denominator: IntArray | int) -> IntArray:
    """floor((numerator + denominator // 2) / denominator), the rounding of every threshold; denominator > 0."""
    rounded: IntArray = (numerator + denominator // 2) // denominator
    return rounded


def square_root(values: IntArray) -> IntArray:
    """floor(sqrt(v)) for each non-negative int64 `v`, exact.

    The float estimate is off by at most one for v < 2**62; one step in either direction mends it.
    """
    wide = np.asarray(values, dtype=np.int64)
    root = np.sqrt(wide.astype(np.float64)).astype(np.int64)
    root -= root * root > wide
    root += (root + 1) * (root + 1) <= wide
    return root


def ones(values: IntArray) -> IntArray:
    """Number of one bits in the magnitude of each value."""
    magnitude = np.abs(np.asarray(values, dtype=np.int64)).astype(np.uint64)
    count = np.zeros(magnitude.shape, dtype=np.int64)
    while magnitude.any():
        count += (magnitude & np.uint64(1)).astype(np.int64)
        magnitude = magnitude >> np.uint64(1)
    return count
