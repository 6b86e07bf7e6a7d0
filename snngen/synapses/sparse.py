"""Sparse: int8 weights of the synapses that are there, row after row (CSR); what was pruned costs nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.errors import NetworkError
from snngen.integers import INT32_MAX, IntArray, checked, offset, row_blocks, sealed
from snngen.kernels import deliver
from snngen.synapses import Synapse

ROW_BYTES = 4  # where a row begins, as hardware would hold it
ITEM = 4  # bytes of a target, as the kernels read it


@dataclass(frozen=True, eq=False)
class Sparse(Synapse):
    """drive[j] = gain[j] * sum over the synapses s of source i with target[s] = j of code[i] * weight[s].

    first: (sources + 1,) int32: the synapses of source i are first[i] up to, not including, first[i + 1].
    target: (synapses,) int32, ascending within a source. weight: (synapses,) int8.
    gain: (targets,) int32, >= 1: see `Dense`.
    """

    first: IntArray
    target: IntArray
    weight: IntArray
    gain: IntArray

    opcode = deliver.SPARSE
    weight_fields = ("weight", "target")

    def __post_init__(self) -> None:
        for name, dtype in (("first", np.int32), ("target", np.int32), ("weight", np.int8), ("gain", np.int32)):
            object.__setattr__(self, name, checked(getattr(self, name), dtype, f"Sparse.{name}"))
        if self.gain.size == 0 or self.gain.min() < 1:
            raise NetworkError("Sparse.gain", f"{self.gain.size} values, some below 1", "one of 1 or more per target")
        first, synapses = self.first, self.weight.size
        if first.size < 2 or first[0] != 0 or first[-1] != synapses or (np.diff(first) < 0).any():
            raise NetworkError("Sparse.first", f"{first.size} numbers", f"0, ascending to {synapses}, the synapses")
        if self.target.shape != self.weight.shape:
            raise NetworkError("Sparse.target", f"shape {self.target.shape}", f"{self.weight.shape}, as the weights")
        if synapses:
            if not 0 <= self.target.min() <= self.target.max() < self.gain.size:
                got = f"{self.target.min()}..{self.target.max()}"
                raise NetworkError("Sparse.target", got, f"0..{self.gain.size - 1}")
            after, before = self.target[1:], self.target[:-1]
            falls = [np.flatnonzero(after[at] <= before[at]) + at.start for at in row_blocks(synapses - 1, 1)]
            if falls and not np.isin(np.concatenate(falls) + 1, first).all():  # a new source begins anywhere
                raise NetworkError("Sparse.target", "targets out of order or twice", "ascending within a source")
        object.__setattr__(self, "target", self.weights[-self.target.nbytes or synapses :].view(np.int32))
        object.__setattr__(self, "weight", self.weights[:synapses])

    @cached_property
    def weights(self) -> IntArray:
        """(bytes,) int8: the weights, zeros up to a multiple of 4, then the targets as int32."""
        buffer, weights = self.weight.base, self.count + -self.count % ITEM
        joint = buffer is not None and buffer is self.target.base
        if joint and isinstance(buffer, np.ndarray) and buffer.dtype == np.int8 and buffer.ndim == 1:
            whole = buffer[offset(self.weight, buffer) :][: weights + self.target.nbytes]
            if offset(self.target, whole) == weights and not whole[self.count : weights].any():
                return sealed(whole)
        gap = np.zeros(weights - self.count, dtype=np.int8)
        return sealed(np.concatenate((self.weight, gap, self.target.view(np.int8))))

    @classmethod
    def of(cls, matrix: IntArray, gain: IntArray) -> Sparse:
        """The synapses of a (sources, targets) int8 matrix that are not zero."""
        if matrix.ndim != 2:
            raise NetworkError("Sparse.of", f"shape {matrix.shape}", "a matrix (sources, targets)")
        first = np.concatenate(([0], np.cumsum(np.count_nonzero(matrix, axis=1))))
        target = np.empty(first[-1], dtype=np.int32)
        for rows in row_blocks(*matrix.shape):
            target[first[rows.start] : first[rows.stop]] = np.nonzero(matrix[rows])[1]
        return cls(first, target, matrix[matrix != 0], gain)

    @property
    def matrix(self) -> IntArray:
        """(sources, targets) int8, with zeros where there is no synapse; made anew each time."""
        matrix = np.zeros((self.source_size, self.target_size), dtype=np.int8)
        for block in row_blocks(self.count, 1):
            matrix[self._sources(block), self.target[block]] = self.weight[block]
        return matrix

    def _sources(self, block: slice) -> IntArray:
        """Source of each synapse of a block."""
        return np.searchsorted(self.first, np.arange(block.start, block.stop, dtype=np.int32), side="right") - 1

    @property
    def source_size(self) -> int:
        return int(self.first.size - 1)

    @property
    def target_size(self) -> int:
        return int(self.gain.size)

    @property
    def count(self) -> int:
        return int(self.weight.size)

    @cached_property
    def fan_out(self) -> IntArray:
        """(sources,) int64: synapses of each source."""
        return np.diff(self.first).astype(np.int64)

    @property
    def index_bytes(self) -> int:
        """Bytes that the number of a target takes: the fewest of 1, 2 and 4 that hold it."""
        return 1 if self.target_size <= 2**8 else 2 if self.target_size <= 2**16 else 4

    @property
    def weight_bytes(self) -> int:
        """A weight and a target per synapse, and where each row begins, as hardware would hold them.

        The kernels here read targets of 4 bytes.
        """
        return self.count * (1 + self.index_bytes) + self.first.size * ROW_BYTES

    def reference(self, codes: IntArray, written: IntArray | None) -> IntArray:
        drive = np.zeros((self.target_size, len(codes)), dtype=np.int64)
        for block in row_blocks(self.count, len(codes)):
            carried = codes.T[self._sources(block)] * self.weight[block, None].astype(np.int64)
            np.add.at(drive, self.target[block], carried)
        gained: IntArray = drive.T * self.gain
        return gained

    def bound(self, largest: int, written: int) -> int:
        sums = self._heaviest * largest
        if int(sums.max()) > INT32_MAX:
            raise NetworkError("Sparse", f"row sums up to {sums.max()}", f"at most {INT32_MAX}", "use fewer bits")
        return int((sums * self.gain).max())

    def bound_of_one(self, largest: int) -> int:
        worth = 0
        for block in row_blocks(self.count, 1):
            magnitudes = np.abs(self.weight[block].astype(np.int64))
            worth = max(worth, int((magnitudes * self.gain[self.target[block]]).max()))
        return worth * largest

    @cached_property
    def _heaviest(self) -> IntArray:
        """(targets,) int64: sum of the magnitudes of the weights of each target."""
        sums = np.zeros(self.target_size, dtype=np.int64)
        for block in row_blocks(self.count, 1):
            np.add.at(sums, self.target[block], np.abs(self.weight[block].astype(np.int64)))
        return sums

    def constants(self) -> list[int | IntArray]:
        return [self.fan_out, self.count, self.index_bytes, self.first, self.gain]
