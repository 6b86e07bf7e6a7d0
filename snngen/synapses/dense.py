"""Dense: int8 weights, one row per source neuron, so that an event is a stream of one row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, IntArray, checked, column_magnitudes, column_sums
from snngen.kernels import deliver
from snngen.synapses import Synapse, gains, wide_matmul


@dataclass(frozen=True, eq=False)
class Dense(Synapse):
    """drive[j] = gain[j] * sum over i of code[i] * matrix[i, j].

    matrix: (sources, targets) int8.
    gain: (targets,) int32, >= 1: how many units of the target's grid one unit of this row sum is worth;
        all ones where the target has a threshold of its own.
    """

    matrix: IntArray
    gain: IntArray

    opcode = deliver.DENSE
    weight_fields = ("matrix",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "matrix", checked(self.matrix, np.int8, "Dense.matrix", ndim=2))
        object.__setattr__(self, "gain", checked(self.gain, np.int32, "Dense.gain"))
        if 0 in self.matrix.shape:
            raise NetworkError("Dense.matrix", f"shape {self.matrix.shape}", "at least one source and one target")
        if self.gain.shape != (self.matrix.shape[1],) or self.gain.min() < 1:
            raise NetworkError("Dense.gain", f"shape {self.gain.shape}", f"({self.matrix.shape[1]},), all >= 1")

    @property
    def source_size(self) -> int:
        return int(self.matrix.shape[0])

    @property
    def target_size(self) -> int:
        return int(self.matrix.shape[1])

    @property
    def count(self) -> int:
        return int(self.matrix.size)

    @property
    def weight_bytes(self) -> int:
        return int(self.matrix.nbytes)

    @property
    def weights(self) -> IntArray:
        return self.matrix

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        return wide_matmul(codes, self.matrix) * self.gain

    def bound(self, largest: int, written: int) -> int:
        sums = self._heaviest * largest
        if int(sums.max()) > INT32_MAX:
            raise NetworkError("Dense", f"row sums up to {sums.max()}", f"at most {INT32_MAX}", "use fewer bits")
        return int((sums * self.gain).max())

    def bound_of_one(self, largest: int) -> int:
        return int((column_magnitudes(self.matrix) * self.gain).max()) * largest

    @cached_property
    def _heaviest(self) -> IntArray:
        """(targets,) int64: sum of the magnitudes of the weights of each target."""
        return column_sums(self.matrix)

    def constants(self) -> list[int | IntArray]:
        return [8, self.target_size, *gains(self.gain)]
