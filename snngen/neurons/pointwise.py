"""Pointwise: a function of one code, by a table, then a threshold (GELU, sigmoid, tanh, a squared ReLU)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range, check_table, check_thresholds


@dataclass(frozen=True, eq=False)
class Pointwise(Neuron):
    """code = clip(floor((table[drive - first] + theta // 2) / theta), low, high).

    table: (entries,) int32: the function of each code that may arrive, from code `first` on.
    first: the lowest of these codes.
    theta: (n,) int32, > 0, in units of the table.
    low, high: smallest and largest code.
    """

    table: IntArray
    first: int
    theta: IntArray
    low: int
    high: int

    opcode = evaluate.POINTWISE

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", checked(self.table, np.int32, "Pointwise.table"))
        object.__setattr__(self, "theta", checked(self.theta, np.int32, "Pointwise.theta"))
        check_thresholds("Pointwise", self.theta)
        check_table("Pointwise", self.table)
        check_range("Pointwise", self.low, self.high)

    @property
    def size(self) -> int:
        return int(self.theta.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def check_operands(self, bounds: tuple[int, ...]) -> None:
        """Refuse codes that the table does not cover; bounds: the largest magnitude that may arrive."""
        last = self.first + self.table.size - 1
        if self.first > -bounds[0] or last < bounds[0]:
            raise NetworkError("Pointwise.table", f"codes {self.first}..{last}", f"codes {-bounds[0]}..{bounds[0]}")

    def reference(self, *drives: IntArray) -> IntArray:
        (drive,) = drives
        values = self.table.astype(np.int64)[drive - self.first]
        return np.clip(divide_rounding(values, self.theta.astype(np.int64)), self.low, self.high)

    def constants(self) -> list[int | IntArray]:
        return [self.low, self.high, self.first, self.table.size, self.theta, self.table]
