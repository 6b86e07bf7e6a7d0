"""Accumulator: neurons that only add up (the residual stream, the logits)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked
from snngen.kernels import evaluate
from snngen.neurons import Neuron

POTENTIAL_LIMIT = 2**31 - 1


@dataclass(frozen=True, eq=False)
class Accumulator(Neuron):
    """potential = bias + drive, a 32-bit integer on a fixed grid; it has no threshold and no code.

    bias: (n,) int32, in units of the grid.
    """

    bias: IntArray

    opcode = evaluate.ACCUMULATOR

    def __post_init__(self) -> None:
        object.__setattr__(self, "bias", checked(self.bias, np.int32, "Accumulator.bias"))
        if self.bias.size == 0:
            raise NetworkError("Accumulator.bias", "no neurons", "at least one")

    @property
    def size(self) -> int:
        return int(self.bias.size)

    @property
    def wide(self) -> bool:
        return True

    @property
    def range(self) -> tuple[int, int]:
        return -POTENTIAL_LIMIT, POTENTIAL_LIMIT

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        return drive + self.bias

    def constants(self) -> list[int | IntArray]:
        return [self.bias]
