"""Sparse: the synapses that there are, in compressed rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from snngen.dynamics.parameters import checked_floats
from snngen.dynamics.synapses import SPARSE, DynamicSynapse
from snngen.errors import NetworkError
from snngen.integers import FloatArray, IntArray, checked


@dataclass(frozen=True, eq=False)
class Sparse(DynamicSynapse):
    """Compressed rows (CSR): the synapses of source s are pointers[s] to pointers[s + 1] of `targets` and `weights`.

    pointers: (sources + 1,) int64 from 0 to the number of synapses, not descending.
    targets: (synapses,) int32, not descending within a row; a target may stand there twice.
    weights: (synapses,) float64. targets_size: number of target neurons.
    """

    pointers: IntArray
    targets: IntArray
    weights: FloatArray
    targets_size: int

    opcode = SPARSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "pointers", checked(self.pointers, np.int64, "Sparse.pointers"))
        object.__setattr__(self, "targets", checked(self.targets, np.int32, "Sparse.targets"))
        object.__setattr__(self, "weights", checked_floats(self.weights, "Sparse.weights"))
        count = self.targets.size
        if self.weights.size != count:
            raise NetworkError("Sparse", f"{count} targets and {self.weights.size} weights", "as many of both")
        pointers = self.pointers
        if pointers.size < 2 or pointers[0] != 0 or pointers[-1] != count or (np.diff(pointers) < 0).any():
            raise NetworkError("Sparse.pointers", "pointers that are no rows", f"0 to {count}, not descending")
        if not 1 <= self.targets_size < 2**31:
            raise NetworkError("Sparse.targets_size", str(self.targets_size), "1 to 2**31 - 1")
        if count and not 0 <= self.targets.min() <= self.targets.max() < self.targets_size:
            got = f"targets {self.targets.min()}..{self.targets.max()}"
            raise NetworkError("Sparse.targets", got, f"0..{self.targets_size - 1}")
        descents = np.flatnonzero(np.diff(self.targets) < 0) + 1
        if not np.isin(descents, pointers).all():
            raise NetworkError(
                "Sparse.targets", "targets that descend within a row", "not descending", "from_pairs(...)"
            )

    @classmethod
    def from_pairs(
        cls,
        sources: npt.ArrayLike,
        targets: npt.ArrayLike,
        weights: npt.ArrayLike,
        sources_size: int,
        targets_size: int,
    ) -> Sparse:
        """Synapses in any order: sources, targets (m,) integers, weights (m,) numbers.

        raises: NetworkError for neurons that are not there.
        """
        rows = checked(sources, np.int64, "Sparse.sources")
        columns = checked(targets, np.int32, "Sparse.targets")
        if rows.size and not 0 <= rows.min() <= rows.max() < sources_size:
            raise NetworkError("Sparse.sources", f"{rows.min()}..{rows.max()}", f"0..{sources_size - 1}")
        values = np.asarray(weights)
        if not rows.size == columns.size == values.size:
            raise NetworkError("Sparse", f"{rows.size}, {columns.size}, {values.size} values", "as many of each")
        order = np.lexsort((columns, rows))
        pointers = np.zeros(sources_size + 1, dtype=np.int64)
        np.cumsum(np.bincount(rows, minlength=sources_size), out=pointers[1:])
        return cls(pointers, columns[order], values[order], targets_size)

    @property
    def source_size(self) -> int:
        return int(self.pointers.size - 1)

    @property
    def target_size(self) -> int:
        return self.targets_size

    @property
    def fan_out(self) -> IntArray:
        return np.diff(self.pointers)

    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        part = slice(int(self.pointers[neuron]), int(self.pointers[neuron + 1]))
        return self.targets[part].astype(np.int64), self.weights[part]

    def apply(self, values: FloatArray) -> FloatArray:
        sources = np.repeat(np.arange(self.source_size), self.fan_out)
        weights = self.weights.astype(values.dtype, copy=False)
        sums = np.zeros((len(values), self.targets_size), dtype=values.dtype)
        for step in range(len(values)):
            np.add.at(sums[step], self.targets, values[step, sources] * weights)
        return sums

    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        return [], self.pointers, self.targets, self.weights
