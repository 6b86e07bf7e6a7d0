"""Synapse models: how the codes of one population become drive in another. One file per model.

Every synapse is linear in the codes that it carries, so every spike code delivers the same drive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

from snngen import folder
from snngen.integers import IntArray


class Synapse(ABC):
    """The base of all synapse models.

    opcode: the model's number in `snngen/kernels/deliver.py`.
    persistent: True where the weights stay as they are from token to token, so that a code that did not change
        need not be sent again (the `delta` code); False for weights that depend on the position or are written.
    """

    opcode: ClassVar[int]
    persistent: ClassVar[bool] = True

    @property
    @abstractmethod
    def source_size(self) -> int:
        """Number of neurons that send."""

    @property
    @abstractmethod
    def target_size(self) -> int:
        """Number of neurons that receive."""

    @property
    def writer_size(self) -> int:
        """Number of neurons that write the weights while the network runs; 0 for constant weights."""
        return 0

    @property
    @abstractmethod
    def count(self) -> int:
        """Number of synapses."""

    @property
    @abstractmethod
    def weight_bytes(self) -> int:
        """Bytes that the weights occupy, the whole of a written memory included."""

    @property
    def memory_bytes(self) -> int:
        """Bytes of int8 weights that are written while the network runs and kept; 0 for constant weights."""
        return self.weight_bytes if self.writer_size else 0

    @property
    def fan_out(self) -> IntArray | None:
        """(source_size,) int64 synapses of every neuron where they differ, else None."""
        return None

    @abstractmethod
    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        """Drive of every target.

        codes: (tokens, source_size) int64. written: (tokens, writer_size) int64 where the weights are written.
        returns: (tokens, target_size) int64.
        """

    @abstractmethod
    def bound(self, largest: int, written: int) -> int:
        """Largest magnitude of drive for codes up to `largest` (and written weights up to `written`)."""

    def bound_of_one(self, largest: int) -> int:
        """Largest magnitude of drive where a single source neuron is active, with a code up to `largest`."""
        return self.bound(largest, 0)

    @abstractmethod
    def constants(self) -> list[int | IntArray]:
        """What the kernel needs beside the weights, in the order in which its branch reads it."""

    @property
    def weights(self) -> IntArray | None:
        """Constant int8 weights, one row per source neuron, or None."""
        return None

    @property
    def kind(self) -> str:
        """The name of the file that defines the model."""
        return type(self).__module__.rsplit(".", 1)[-1]


def wide_matmul(codes: IntArray, weights: IntArray) -> IntArray:
    """codes @ weights in exact int64: float64 carries every partial sum as long as it stays below 2**53."""
    largest = int(np.abs(codes).max(initial=0))
    heaviest = int(np.abs(weights.astype(np.int64)).sum(axis=0).max(initial=0))
    if largest * heaviest < 2**53:
        product = codes.astype(np.float64) @ weights.astype(np.float64)
        return np.asarray(product.astype(np.int64))
    return np.asarray(codes.astype(np.int64) @ weights.astype(np.int64))


def kinds() -> list[str]:
    """Names of all synapse models, one per file of this folder."""
    return folder.names(__path__)


def by_kind(kind: str) -> type[Synapse]:
    """The synapse model that the file `kind` defines."""
    return folder.model(__name__, __path__, kind, Synapse)  # type: ignore[type-abstract]
