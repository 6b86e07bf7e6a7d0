"""Source: neurons whose codes come from outside (a token, a latent vector, a sensor)."""

from __future__ import annotations

from dataclasses import dataclass, field

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import evaluate
from snngen.neurons import Neuron


@dataclass(frozen=True, eq=False)
class Source(Neuron):
    """`count` neurons that emit what they are given, in low..high.

    one_hot: 1 for a source of tokens: at most one neuron is active at once, token `t` is one event of neuron `t`.
    """

    count: int
    low: int = 0
    high: int = 1
    one_hot: int = field(default=0, metadata={"later": True})

    operands = ()
    opcode = evaluate.SOURCE

    def __post_init__(self) -> None:
        if self.one_hot and (self.one_hot, self.low, self.high) != (1, 0, 1):
            raise NetworkError("Source", f"one_hot {self.one_hot}, range {self.low}..{self.high}", "0..1 where one-hot")
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
