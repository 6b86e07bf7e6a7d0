"""ProductSum: sums of products of codes, then a threshold: gated sums, the cell of an LSTM, the state of RWKV."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, divide_rounding
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_range, check_thresholds

TERMS = 4


@dataclass(frozen=True, eq=False)
class ProductSum(Neuron):
    """value = clip(floor((sum over k of multiplier[k] * a_k * b_k + theta // 2) / theta), low, high).

    The operands are a0, b0, a1, b1, ... in this order.

    multiplier: (terms, n) int64: what one unit of each product is worth, in units of 1 / theta.
    theta: (n,) int64, > 0. low, high: smallest and largest value.
    state: 1 where the value is a potential that is kept from token to token (sent graded, as accumulators are), 0
        where it is a code.
    """

    multiplier: IntArray
    theta: IntArray
    low: int
    high: int
    state: int = 0

    opcode = evaluate.PRODUCT_SUM

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiplier", checked(self.multiplier, np.int64, "ProductSum.multiplier", ndim=2))
        object.__setattr__(self, "theta", checked(self.theta, np.int64, "ProductSum.theta"))
        check_thresholds("ProductSum", self.theta)
        if not 1 <= len(self.multiplier) <= TERMS or self.multiplier.shape[1] != self.theta.size:
            raise NetworkError(
                "ProductSum.multiplier", f"shape {self.multiplier.shape}", f"(1..{TERMS}, {self.theta.size})"
            )
        check_range("ProductSum", self.low, self.high)
        if max(-self.low, self.high) >= 2**24:
            raise NetworkError("ProductSum", f"range {self.low}..{self.high}", "below 2**24")
        if self.state not in (0, 1):
            raise NetworkError("ProductSum.state", str(self.state), "0 or 1")

    @property
    def operands(self) -> tuple[str, ...]:  # type: ignore[override]
        return tuple(f"{side}{term}" for term in range(len(self.multiplier)) for side in "ab")

    @property
    def size(self) -> int:
        return int(self.theta.size)

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    @property
    def wide(self) -> bool:
        return bool(self.state)

    def check_operands(self, bounds: tuple[int, ...]) -> None:
        """Refuse sums beyond 2**62; bounds: the largest magnitude of each operand."""
        total = int(self.theta.max()) // 2
        for term, row in enumerate(self.multiplier):
            total += int(np.abs(row).max()) * bounds[2 * term] * bounds[2 * term + 1]
        if total >= 2**62:
            raise NetworkError("ProductSum.multiplier", f"a sum of up to {total}", "below 2**62", "use fewer bits")

    def reference(self, *drives: IntArray) -> IntArray:
        total = np.zeros(1, dtype=np.int64)
        for row, a, b in zip(self.multiplier, drives[::2], drives[1::2], strict=True):
            total = total + row * a * b
        return np.clip(divide_rounding(total, self.theta), self.low, self.high)

    def constants(self) -> list[int | IntArray]:
        return [self.low, self.high, len(self.multiplier), self.theta, self.multiplier]
