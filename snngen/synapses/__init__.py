"""Synapse models: how the codes of one population become drive in another. One file per model.

Every synapse is linear in the codes that it carries, so every spike code delivers the same drive.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache
from typing import ClassVar

import numpy as np

from snngen import folder
from snngen.integers import IntArray, column_sums, magnitude, row_blocks


class Synapse(ABC):
    """The base of all synapse models.

    opcode: the model's number in `snngen/kernels/deliver.py`.
    persistent: True where the weights stay as they are from token to token, so that a code that did not change
        need not be sent again (the `delta` code); False for weights that depend on the position or are written.
    weight_fields: the fields that `weights` is made of, in its order, each from a multiple of its item's size on. Where
        they lie so, side by side in one array of bytes, `weights` is a view of it and nothing is copied.
    rearranged: True where `weights` has an order of its own; the constructor then takes `room`, (bytes,) int8, where
        they are to lie, and there is one field.
    """

    opcode: ClassVar[int]
    persistent: ClassVar[bool] = True
    weight_fields: ClassVar[tuple[str, ...]] = ()
    rearranged: ClassVar[bool] = False

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
    def memory_room(self) -> int:
        """Bytes that the kernels need to lay out what is written, `memory_bytes` or more."""
        return self.memory_bytes

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


def gains(gain: IntArray) -> list[int | IntArray]:
    """Gains as the kernels read them: 1 and the gains, or 0 where all are one."""
    return [1, gain] if gain.max() > 1 else [0]


def wide_matmul(codes: IntArray, weights: IntArray) -> IntArray:
    """codes @ weights in exact int64, with no wider copy of the whole weights.

    float64 carries every partial sum as long as it stays below 2**53; rows of weights that no code reads are left out.
    """
    used = np.flatnonzero(codes.any(axis=0))
    if 2 * used.size < codes.shape[1]:
        codes, weights = codes[:, used], weights[used]
    largest = magnitude(codes)
    bound = largest * magnitude(weights) * len(weights)
    if bound >= 2**53 and weights.dtype == np.int8:
        bound = largest * int(column_sums(weights).max(initial=0))
    carrier = np.float64 if bound < 2**53 else np.int64
    wide = codes.astype(carrier)
    product = np.empty((len(codes), weights.shape[1]), dtype=np.int64)
    for columns in row_blocks(weights.shape[1], weights.shape[0]):
        product[:, columns] = wide @ weights[:, columns].astype(carrier)
    return product


def kinds() -> list[str]:
    """Names of all synapse models, one per file of this folder."""
    return folder.names(__path__)


@cache
def by_kind(kind: str) -> type[Synapse]:
    """The synapse model that the file `kind` defines."""
    return folder.model(__name__, __path__, kind, Synapse)  # type: ignore[type-abstract]
