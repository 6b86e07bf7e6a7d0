"""Gate: the product of a table's value and a code, then a threshold (SwiGLU and its kin)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, IntArray, checked, divide_rounding
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range, check_table, check_thresholds


@dataclass(frozen=True, eq=False)
class Gate(Neuron):
    """code = clip(floor((table[gate - first] * value + theta // 2) / theta), low, high).

    table: (entries,) int32: the pointwise function (SiLU, GELU, sigmoid) of each gate code, from code `first` on.
    first: the lowest gate code.
    theta: (n,) int32, > 0, in units of table * value.
    low, high: smallest and largest code.
    """

    table: IntArray
    first: int
    theta: IntArray
    low: int
    high: int

    operands = ("gate", "value")
    opcode = evaluate.GATE

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", checked(self.table, np.int32, "Gate.table"))
        object.__setattr__(self, "theta", checked(self.theta, np.int32, "Gate.theta"))
        check_thresholds("Gate", self.theta)
        check_table("Gate", self.table)
        check_range("Gate", self.low, self.high)

    @property
    def size(self) -> int:
        return int(self.theta.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def check_operands(self, bounds: tuple[int, ...]) -> None:
        """Refuse gates that the table does not cover and products beyond int32; bounds: largest |gate|, |value|."""
        gate, value = bounds
        if self.first > -gate or self.first + self.table.size - 1 < gate:
            last = self.first + self.table.size - 1
            raise NetworkError("Gate.table", f"codes {self.first}..{last}", f"codes {-gate}..{gate}")
        if int(np.abs(self.table.astype(np.int64)).max()) * value > INT32_MAX:
            raise NetworkError("Gate", "a product beyond int32", "a coarser table or fewer bits")

    def reference(self, *drives: IntArray) -> IntArray:
        gate, value = drives
        product = self.table.astype(np.int64)[gate - self.first] * value
        return np.clip(divide_rounding(product, self.theta.astype(np.int64)), self.low, self.high)

    def constants(self) -> list[int | IntArray]:
        return [self.low, self.high, self.first, self.table.size, self.theta, self.table]
