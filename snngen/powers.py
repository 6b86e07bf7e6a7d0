"""Powers of two by table, computed in integers only, so that they are the same on every machine."""

from __future__ import annotations

from functools import cache
from math import isqrt

import numpy as np

from snngen.integers import IntArray

TABLE_BITS = 10
_PRECISION = 128  # bits of the working fraction


@cache
def power_table(bits: int) -> IntArray:
    """(1024,) int64: round(2**bits * 2**(-f / 1024)) for f = 0..1023; bits up to 60."""
    step = 1 << (_PRECISION - 1)  # 2**-1
    for _ in range(TABLE_BITS):
        step = isqrt(step << _PRECISION)  # after all: 2**(-1/1024)
    value, entries = 1 << _PRECISION, []
    for _ in range(2**TABLE_BITS):
        entries.append((value + (1 << (_PRECISION - bits - 1))) >> (_PRECISION - bits))
        value = value * step >> _PRECISION
    table = np.array(entries, dtype=np.int64)
    table.flags.writeable = False
    return table
