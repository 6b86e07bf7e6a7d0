"""Merging: events of one address that follow each other closely become the first of them."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.integers import IntArray

Flags: TypeAlias = npt.NDArray[np.bool_]
Unsigned: TypeAlias = npt.NDArray[np.unsignedinteger[Any]]


@njit(cache=True, nogil=True)
def first_of_each(
    times: Unsigned, addresses: IntArray, window: int, keys: IntArray, since: Unsigned, kept: Flags
) -> int:
    """Mark the events that stay: the first of its address, and the first after a window from one that stayed.

    times: (m,) uint64, any unit, not descending. addresses: (m,) int64, not negative. window: in the unit of `times`.
    keys, since: (k,) int64 and uint64, k a power of two of at least 2 m: an open hash table; keys must be -1.
    kept: (m,) bool, written. returns: how many stay.
    """
    mask, count = keys.size - 1, 0
    for event in range(times.size):
        address, time = addresses[event], times[event]
        place = ((address * 0x9E3779B1) >> 7) & mask
        while keys[place] != -1 and keys[place] != address:
            place = (place + 1) & mask
        stays = keys[place] == -1 or time - since[place] >= np.uint64(window)
        kept[event] = stays
        if stays:
            keys[place], since[place] = address, time
            count += 1
    return count
