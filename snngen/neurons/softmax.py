"""Softmax: attention probabilities as codes, by a table of powers of two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range
from snngen.powers import TABLE_BITS, power_table

SHIFT = 24
POWER_BITS = 16


@dataclass(frozen=True, eq=False)
class Softmax(Neuron):
    """code[h, t] = floor((high * e[h, t] + z[h] // 2) / z[h]), z[h] = sum over t of e[h, t], over the keys written.

    x = ((max over t of drive[h, t]) - drive[h, t]) * multiplier[h] >> 24, in units of 2**-10 octaves
    e = table[x mod 1024] >> (x div 1024), table[f] = round(2**16 * 2**(-f / 1024)), 0 from 17 octaves down

    multiplier: (heads,) int64 = round(log2(e) * score scale * 2**34), score scale = worth of one unit of drive.
    context: keys that fit; the population has heads * context neurons, row by row.
    high: the code of probability 1.
    """

    multiplier: IntArray
    context: int
    high: int

    opcode = evaluate.SOFTMAX
    positional = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiplier", checked(self.multiplier, np.int64, "Softmax.multiplier"))
        if self.multiplier.size == 0 or self.multiplier.min() < 0:
            raise NetworkError("Softmax.multiplier", "none, or some below 0", "one for each head, 0 or more")
        check_range("Softmax", 0, self.high)
        if not 1 <= self.context <= 2**24 or self.high > 2**15:
            raise NetworkError(
                "Softmax", f"context {self.context}, high {self.high}", "context in 1..2**24, high in 1..2**15"
            )

    @property
    def heads(self) -> int:
        return int(self.multiplier.size)

    @property
    def size(self) -> int:
        return self.heads * self.context

    @property
    def range(self) -> tuple[int, int]:
        return 0, self.high

    def check_operands(self, bounds: tuple[int, ...]) -> None:
        """Refuse scores whose differences, times a multiplier, leave int64."""
        largest = 2 * bounds[0] * int(self.multiplier.max())
        if largest >= 2**63:
            raise NetworkError("Softmax.multiplier", f"a product of up to {largest}", "below 2**63", "use fewer bits")

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        tokens = drive.shape[0]
        scores = drive.reshape(tokens, self.heads, self.context)
        written = np.arange(self.context) <= np.arange(tokens)[:, None, None]
        top = np.where(written, scores, np.iinfo(np.int64).min).max(axis=-1, keepdims=True)
        below = np.where(written, top - scores, 0)
        x = (below * self.multiplier[:, None]) >> SHIFT
        fraction = power_table(POWER_BITS)[x & (2**TABLE_BITS - 1)]
        power = np.where(written, fraction >> np.minimum(x >> TABLE_BITS, POWER_BITS + 1), 0)
        total = power.sum(axis=-1, keepdims=True)
        return divide_rounding(self.high * power, total).reshape(tokens, self.size)

    def constants(self) -> list[int | IntArray]:
        return [self.high, self.heads, self.context, SHIFT, TABLE_BITS, self.multiplier, power_table(POWER_BITS)]
