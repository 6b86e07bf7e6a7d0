"""Packed: weights of 4 or 2 bits, several in a byte, one row per source neuron."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, IntArray, checked, column_magnitudes, column_sums, row_blocks
from snngen.kernels import deliver
from snngen.synapses import Synapse, gains, wide_matmul

BITS = (4, 2)


@dataclass(frozen=True, eq=False)
class Packed(Synapse):
    """drive[j] = gain[j] * sum over i of code[i] * w[i, j], w of -8..7 (4 bits) or -2..1 (2 bits; ternary is -1..1).

    A row is cut into 8 / bits stretches of as many targets as the row has bytes; byte b holds the b-th weight of every
    stretch, the first stretch in its lowest bits, in two's complement. So a stretch unpacks into neighbours.

    packed: (sources, ceil(targets * bits / 8)) int8; bits beyond the last target are zero.
    gain: (targets,) int32, >= 1: see `Dense`.
    bits: 4 or 2.
    """

    packed: IntArray
    gain: IntArray
    bits: int

    opcode = deliver.PACKED
    weight_fields = ("packed",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "packed", checked(self.packed, np.int8, "Packed.packed", ndim=2))
        object.__setattr__(self, "gain", checked(self.gain, np.int32, "Packed.gain"))
        if self.bits not in BITS:
            raise NetworkError("Packed.bits", str(self.bits), "4 or 2")
        if self.gain.size == 0 or self.gain.min() < 1:
            raise NetworkError("Packed.gain", f"{self.gain.size} values, some below 1", "one of 1 or more per target")
        row = -(-self.gain.size * self.bits // 8)
        if self.packed.shape[0] == 0 or self.packed.shape[1] != row:
            raise NetworkError("Packed.packed", f"shape {self.packed.shape}", f"(1 or more, {row}) bytes")
        if any(_field(self.packed, self.bits, column).any() for column in range(self.gain.size, 8 // self.bits * row)):
            raise NetworkError("Packed.packed", "bits beyond the last target", "zeros there")

    @classmethod
    def of(cls, matrix: IntArray, gain: IntArray, bits: int) -> Packed:
        """Pack weights.

        matrix: (sources, targets) integers that `bits` hold. raises: NetworkError where they do not.
        """
        half = 1 << (bits - 1)
        if bits not in BITS or matrix.ndim != 2 or not matrix.size:
            raise NetworkError("Packed.of", f"shape {matrix.shape}, {bits} bits", "a matrix, of 4 or 2 bits")
        if not -half <= int(matrix.min()) <= int(matrix.max()) < half:
            raise NetworkError("Packed.of", f"weights {matrix.min()}..{matrix.max()}", f"{-half}..{half - 1}")
        sources, targets = matrix.shape
        row = -(-targets * bits // 8)
        stretches = np.zeros((sources, 8 // bits * row), dtype=np.uint8)
        stretches[:, :targets] = matrix.astype(np.int8).view(np.uint8) & (2 * half - 1)
        packed = np.zeros((sources, row), dtype=np.uint8)
        for stretch in range(8 // bits):
            packed |= stretches[:, stretch * row : (stretch + 1) * row] << (stretch * bits)
        return cls(packed.view(np.int8), gain, bits)

    @property
    def matrix(self) -> IntArray:
        """(sources, targets) int8 weights, unpacked anew each time."""
        return np.ascontiguousarray(self._rows(slice(None)))

    def _rows(self, sources: slice) -> IntArray:
        """(some sources, targets) int8 weights, unpacked."""
        return _unpack(self.packed[sources], self.bits)[:, : self.gain.size]

    def _blocks(self) -> Iterator[slice]:
        """Sources that are unpacked together."""
        return row_blocks(self.source_size, self.target_size)

    @property
    def source_size(self) -> int:
        return int(self.packed.shape[0])

    @property
    def target_size(self) -> int:
        return int(self.gain.size)

    @property
    def count(self) -> int:
        return self.source_size * self.target_size

    @property
    def weight_bytes(self) -> int:
        return int(self.packed.nbytes)

    @property
    def weights(self) -> IntArray:
        return self.packed

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        drive = np.zeros((len(codes), self.target_size), dtype=np.int64)
        for sources in self._blocks():
            drive += wide_matmul(codes[:, sources], self._rows(sources))
        drive *= self.gain
        return drive

    def bound(self, largest: int, written: int) -> int:
        sums = self._heaviest * largest
        if int(sums.max()) > INT32_MAX:
            raise NetworkError("Packed", f"row sums up to {sums.max()}", f"at most {INT32_MAX}", "use fewer bits")
        return int((sums * self.gain).max())

    def bound_of_one(self, largest: int) -> int:
        heaviest = np.zeros(self.target_size, dtype=np.int64)
        for sources in self._blocks():
            np.maximum(heaviest, column_magnitudes(self._rows(sources)), out=heaviest)
        return int((heaviest * self.gain).max()) * largest

    @cached_property
    def _heaviest(self) -> IntArray:
        """(targets,) int64: sum of the magnitudes of the weights of each target."""
        sums = np.zeros(self.target_size, dtype=np.int64)
        for sources in self._blocks():
            sums += column_sums(self._rows(sources))
        return sums

    def constants(self) -> list[int | IntArray]:
        return [self.bits, self.packed.shape[1], *gains(self.gain)]


def _field(packed: IntArray, bits: int, column: int) -> IntArray:
    """(sources,) uint8: the bits of one column, as `_unpack` numbers them."""
    stretch, byte = divmod(column, packed.shape[1])
    return np.asarray((packed[:, byte].view(np.uint8) >> (stretch * bits)) & ((1 << bits) - 1))


def _unpack(packed: IntArray, bits: int) -> IntArray:
    """(sources, 8 / bits * bytes) int8: every stretch of every row, what lies beyond the last target included."""
    half = 1 << (bits - 1)
    fields = [(packed.view(np.uint8) >> (stretch * bits)) & (2 * half - 1) for stretch in range(8 // bits)]
    unsigned = np.concatenate(fields, axis=1).astype(np.int8)
    return np.asarray((unsigned ^ np.int8(half)) - np.int8(half))
