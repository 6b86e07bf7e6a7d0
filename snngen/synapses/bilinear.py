"""Bilinear: synapses whose weights are the codes of another population at the same token (the state of RWKV)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray
from snngen.kernels import deliver
from snngen.synapses import Synapse

WEIGHT_BYTES = 2  # of a state, up to 16 bits


@dataclass(frozen=True, eq=False)
class Bilinear(Synapse):
    """drive[h, i] = sum over j of written[h, i, j] * code[h, j].

    heads, rows, columns: axes of the weights, which the writer sets anew at every token.
    """

    heads: int
    rows: int
    columns: int

    opcode = deliver.BILINEAR
    persistent = False

    def __post_init__(self) -> None:
        if min(self.heads, self.rows, self.columns) < 1:
            raise NetworkError("Bilinear", f"{self.heads} x {self.rows} x {self.columns}", "all at least 1")

    @property
    def source_size(self) -> int:
        return self.heads * self.columns

    @property
    def target_size(self) -> int:
        return self.heads * self.rows

    @property
    def writer_size(self) -> int:
        return self.heads * self.rows * self.columns

    @property
    def memory_bytes(self) -> int:
        return 0

    @property
    def count(self) -> int:
        return self.writer_size

    @property
    def weight_bytes(self) -> int:
        return WEIGHT_BYTES * self.writer_size

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        if written is None:
            raise TypeError("Bilinear.reference needs the written weights")
        weights = written.reshape(-1, self.heads, self.rows, self.columns)
        drive: IntArray = np.matmul(weights, codes.reshape(-1, self.heads, self.columns, 1))
        return drive.reshape(-1, self.target_size)

    def bound(self, largest: int, written: int) -> int:
        return self.columns * largest * written

    def constants(self) -> list[int | IntArray]:
        return [self.rows, self.columns]
