"""Broadcast: every neuron drives several neurons with weight 1 (a vector along the rows or columns of a matrix)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import deliver
from snngen.synapses import Synapse


@dataclass(frozen=True, eq=False)
class Broadcast(Synapse):
    """drive[block, copy, i] = code[block, i] for every copy.

    blocks, copies, width: the axes. With width 1 each neuron drives `copies` neighbours; with blocks 1 the whole
    population is laid down `copies` times.
    """

    blocks: int
    copies: int
    width: int

    opcode = deliver.BROADCAST

    def __post_init__(self) -> None:
        if min(self.blocks, self.copies, self.width) < 1:
            raise NetworkError("Broadcast", f"{self.blocks} x {self.copies} x {self.width}", "all at least 1")

    @property
    def source_size(self) -> int:
        return self.blocks * self.width

    @property
    def target_size(self) -> int:
        return self.blocks * self.copies * self.width

    @property
    def count(self) -> int:
        return self.target_size

    @property
    def weight_bytes(self) -> int:
        return 0

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        return np.repeat(codes.reshape(-1, self.blocks, 1, self.width), self.copies, axis=2).reshape(len(codes), -1)

    def bound(self, largest: int, written: int) -> int:
        return largest

    def constants(self) -> list[int | IntArray]:
        return [self.copies, self.width]
