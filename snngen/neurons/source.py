"""Source: neurons whose codes come from outside (a token, a latent vector, a sensor)."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import evaluate
from snngen.neurons import Neuron


@dataclass(frozen=True, eq=False)
class Source(Neuron):
    """`count` neurons that emit what they are given, in low..high.

    A token source has low = 0 and high = 1: token `t` is one event of neuron `t`.
    """

    count: int
    low: int = 0
    high: int = 1

    operands = ()
    opcode = evaluate.SOURCE

    def __post_init__(self) -> None:
        if self.count < 1 or self.low > self.high:
            raise NetworkError(
                "Source", f"count {self.count}, range {self.low}..{self.high}", "count >= 1, low <= high"
            )

    @property
    def size(self) -> int:
        return self.count

    @property
    def range(self) -> tuple[int, int]:
        return self.low, self.high

    def reference(self, *drives: IntArray) -> IntArray:
        raise NetworkError("Source.reference", "a call", "codes given from outside", "pass them to Reference.run")

    def constants(self) -> list[int | IntArray]:
        return []
