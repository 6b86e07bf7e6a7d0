"""Synapses in continuous time: float64 weights, one row per source neuron. One file per model, found by file name."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from snngen import folder
from snngen.integers import FloatArray, IntArray

# The number of each model in `snngen/kernels/continuous.py` and `clocked.py`.
DENSE, SPARSE, CONVOLUTION, ONE_TO_ONE = range(4)


class DynamicSynapse(ABC):
    """The base of all synapses in continuous time. opcode: the model's number in the kernels."""

    opcode: ClassVar[int]

    @property
    @abstractmethod
    def source_size(self) -> int:
        """Number of neurons that send."""

    @property
    @abstractmethod
    def target_size(self) -> int:
        """Number of neurons that receive."""

    @property
    @abstractmethod
    def fan_out(self) -> IntArray:
        """(source_size,) int64 synapses of every source neuron."""

    @property
    def count(self) -> int:
        """Number of synapses."""
        return int(self.fan_out.sum())

    @abstractmethod
    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        """Targets (m,) int64, ascending, and weights (m,) float64 of one source neuron's synapses."""

    @abstractmethod
    def apply(self, values: FloatArray) -> FloatArray:
        """(m, target_size) weighted sums, in the type of `values`: (m, source_size) floats."""

    @abstractmethod
    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        """What the kernels need: integers, row pointers int64, targets int32, and weights float64, all flat."""

    @property
    def kind(self) -> str:
        """The name of the file that defines the model."""
        return type(self).__module__.rsplit(".", 1)[-1]


def no_integers(dtype: Any) -> IntArray:
    """An empty array, for models without pointers or targets."""
    return np.zeros(0, dtype=dtype)


def kinds() -> list[str]:
    """Names of all synapses in continuous time, one per file of this folder."""
    return folder.names(__path__)


def by_kind(kind: str) -> type[DynamicSynapse]:
    """The synapse model that the file `kind` defines."""
    return folder.model(__name__, __path__, kind, DynamicSynapse)  # type: ignore[type-abstract]
