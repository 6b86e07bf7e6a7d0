"""OneToOne: neuron i drives neuron i with weight 1."""

from __future__ import annotations

from dataclasses import dataclass

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import deliver
from snngen.synapses import Synapse


@dataclass(frozen=True, eq=False)
class OneToOne(Synapse):
    """drive[i] = code[i].

    neurons: how many.
    """

    neurons: int

    opcode = deliver.ONE_TO_ONE

    def __post_init__(self) -> None:
        if self.neurons < 1:
            raise NetworkError("OneToOne.neurons", str(self.neurons), "at least 1")

    @property
    def source_size(self) -> int:
        return self.neurons

    @property
    def target_size(self) -> int:
        return self.neurons

    @property
    def count(self) -> int:
        return self.neurons

    @property
    def weight_bytes(self) -> int:
        return 0

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        return codes

    def bound(self, largest: int, written: int) -> int:
        return largest

    def constants(self) -> list[int | IntArray]:
        return []
