"""Exact integer arithmetic shared by every part: rounding division, square roots, checked arrays."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from snngen.errors import NetworkError

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]

INT32_MAX = 2**31 - 1


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
    if given.size and (int(given.min()) < limits.min or int(given.max()) > limits.max):
        raise NetworkError(
            where, f"values from {given.min()} to {given.max()}", f"{limits.dtype}: {limits.min} to {limits.max}"
        )
    array = np.ascontiguousarray(given, dtype=dtype)
    if array is values and array.flags.writeable:
        array = array.view()
    array.flags.writeable = False
    return array


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
