"""One to one: every source neuron reaches the target of the same number."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.dynamics.parameters import checked_floats
from snngen.dynamics.synapses import ONE_TO_ONE, DynamicSynapse, no_integers
from snngen.errors import NetworkError
from snngen.integers import FloatArray, IntArray


@dataclass(frozen=True, eq=False)
class OneToOne(DynamicSynapse):
    """weights: (n,) float64 (NIR's Scale.scale, flat)."""

    weights: FloatArray

    opcode = ONE_TO_ONE

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", checked_floats(self.weights, "OneToOne.weights"))
        if self.weights.size == 0:
            raise NetworkError("OneToOne.weights", "no weights", "one per neuron")

    @property
    def source_size(self) -> int:
        return int(self.weights.size)

    @property
    def target_size(self) -> int:
        return int(self.weights.size)

    @property
    def fan_out(self) -> IntArray:
        return np.ones(self.source_size, dtype=np.int64)

    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        return np.array([neuron]), self.weights[neuron : neuron + 1]

    def apply(self, values: FloatArray) -> FloatArray:
        return np.asarray(values * self.weights.astype(values.dtype, copy=False))

    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        return [], no_integers(np.int64), no_integers(np.int32), self.weights
