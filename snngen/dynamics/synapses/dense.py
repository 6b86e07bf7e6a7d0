"""Dense: a synapse from every source to every target."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.dynamics.parameters import checked_floats
from snngen.dynamics.synapses import DENSE, DynamicSynapse, no_integers
from snngen.errors import NetworkError
from snngen.integers import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class Dense(DynamicSynapse):
    """weights: (sources, targets) float64, one row per source neuron (the transpose of NIR's Linear.weight)."""

    weights: FloatArray

    opcode = DENSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_floats(self.weights, "Dense.weights", ndim=2))
        if 0 in self.weights.shape:
            raise NetworkError("Dense.weights", f"shape {self.weights.shape}", "at least one source and one target")

    @property
    def source_size(self) -> int:
        return int(self.weights.shape[0])

    @property
    def target_size(self) -> int:
        return int(self.weights.shape[1])

    @property
    def fan_out(self) -> IntArray:
        return np.full(self.source_size, self.target_size, dtype=np.int64)

    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        return np.arange(self.target_size), self.weights[neuron]

    def apply(self, values: FloatArray) -> FloatArray:
        return np.asarray(values @ self.weights.astype(values.dtype, copy=False))

    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        return [], no_integers(np.int64), no_integers(np.int32), self.weights.reshape(-1)
