"""Position: synapses whose weights are a row of a table, by the token's position (learned positions)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import IntArray, checked, column_magnitudes
from snngen.kernels import deliver
from snngen.synapses import Synapse


@dataclass(frozen=True, eq=False)
class Position(Synapse):
    """drive[j] = gain[j] * table[p, j] * sum over i of code[i] at position p: one token event brings its row.

    Every source neuron has a synapse to every target; at one position all of them share one row of weights.

    sources: neurons that send (the vocabulary). table: (context, targets) int8. gain: (targets,) int32, >= 1.
    """

    sources: int
    table: IntArray
    gain: IntArray

    opcode = deliver.POSITION
    weight_fields = ("table",)
    persistent = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "table", checked(self.table, np.int8, "Position.table", ndim=2))
        object.__setattr__(self, "gain", checked(self.gain, np.int32, "Position.gain"))
        if self.sources < 1 or 0 in self.table.shape:
            raise NetworkError("Position", f"{self.sources} sources, table {self.table.shape}", "at least one of each")
        if self.gain.shape != (self.table.shape[1],) or self.gain.min() < 1:
            raise NetworkError("Position.gain", f"shape {self.gain.shape}", f"({self.table.shape[1]},), all >= 1")

    @property
    def context(self) -> int:
        return int(self.table.shape[0])

    @property
    def source_size(self) -> int:
        return self.sources

    @property
    def target_size(self) -> int:
        return int(self.table.shape[1])

    @property
    def count(self) -> int:
        return self.sources * self.target_size

    @property
    def weight_bytes(self) -> int:
        return int(self.table.nbytes)

    @property
    def weights(self) -> IntArray:
        return self.table

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        rows = self.table[: len(codes)].astype(np.int64) * self.gain
        drive: IntArray = rows * codes.sum(axis=1, keepdims=True)
        return drive

    def bound(self, largest: int, written: int) -> int:
        return int((column_magnitudes(self.table) * self.gain).max()) * largest * self.sources

    def bound_of_one(self, largest: int) -> int:
        return int((column_magnitudes(self.table) * self.gain).max()) * largest

    def constants(self) -> list[int | IntArray]:
        return [self.gain]
