"""Diagonal: neuron i drives neuron i with a weight of its own (per-channel scales, token shift)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked
from snngen.kernels import deliver
from snngen.synapses import Synapse


@dataclass(frozen=True, eq=False)
class Diagonal(Synapse):
    """drive[i] = weight[i] * code[i].

    weight: (n,) int32.
    """

    weight: IntArray

    opcode = deliver.DIAGONAL

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", checked(self.weight, np.int32, "Diagonal.weight"))
        if self.weight.size == 0:
            raise NetworkError("Diagonal.weight", "no weights", "at least one")

    @property
    def source_size(self) -> int:
        return int(self.weight.size)

    @property
    def target_size(self) -> int:
        return int(self.weight.size)

    @property
    def count(self) -> int:
        return int(self.weight.size)

    @property
    def weight_bytes(self) -> int:
        return int(self.weight.nbytes)

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        return codes * self.weight.astype(np.int64)

    def bound(self, largest: int, written: int) -> int:
        return int(np.abs(self.weight.astype(np.int64)).max()) * largest

    def constants(self) -> list[int | IntArray]:
        return [self.weight]
