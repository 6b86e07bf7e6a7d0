"""Loops that measure a machine: reading of a buffer and nothing else, and deliveries over and over.

They let go of Python's lock, so that Python's threads run them side by side.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from numba import njit

from snngen.kernels import deliver

Ints: TypeAlias = npt.NDArray[np.integer[Any]]


@njit(cache=True, nogil=True)
def read(buffer: Ints, passes: int) -> int:
    """The exclusive or of all int64 of the buffer, each pass's plus its number, summed. One stream, vectors of it.

    A pass does no more with what it reads than a program has to for the reading to take place.
    """
    total = 0
    for number in range(passes):
        mixed = 0
        for i in range(buffer.size):
            mixed ^= buffer[i]
        total += mixed ^ number
    return total


@njit(cache=True, nogil=True)
def dense(
    event: Ints, payload: Ints, weights: Ints, width: int, bits: int, gain: Ints, scratch: Ints, drive: Ints,
    passes: int,
) -> None:  # fmt: skip
    """Deliver the same events through weights, `passes` times. See `deliver.dense`."""
    for _ in range(passes):
        deliver.dense(event, payload, 0, weights, width, bits, gain, scratch, drive)
