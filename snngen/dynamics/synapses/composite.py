"""Composite: linear maps in a row, with no neurons between them, as the one map that they make."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from snngen.dynamics.parameters import checked_floats
from snngen.dynamics.synapses import SPARSE, DynamicSynapse
from snngen.dynamics.synapses.sparse import Sparse
from snngen.errors import NetworkError, UnsupportedError
from snngen.integers import FloatArray, IntArray

LARGEST = 2**25  # synapses of the whole map
PORTION = 2**22  # weights that are computed at a time


@dataclass(frozen=True, eq=False)
class Composite(DynamicSynapse):
    """A convolution and then a pooling, for example: current = stages[-1](... stages[0](events)).

    An event reaches its targets by the product of the maps, held as compressed rows; targets whose weight is 0 are no
    synapses.

    stages: at least two maps, the first one first. biases: of each stage (its targets,) float64 or None: what the map
    adds beside the events. They are in the neurons' bias already (`constant` is their share) and are kept because a
    library in float32 adds them where they stand.
    """

    stages: tuple[DynamicSynapse, ...]
    biases: tuple[FloatArray | None, ...] = ()

    opcode = SPARSE

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.stages))
        if len(self.stages) < 2 or any(isinstance(stage, Composite) for stage in self.stages):
            raise NetworkError("Composite.stages", f"{len(self.stages)} maps", "two simple ones or more")
        for before, after in zip(self.stages, self.stages[1:], strict=False):
            if before.target_size != after.source_size:
                got = f"{before.target_size} targets, then {after.source_size} sources"
                raise NetworkError("Composite.stages", got, "as many of both")
        biases = tuple(self.biases) or (None,) * len(self.stages)
        if len(biases) != len(self.stages):
            raise NetworkError(
                "Composite.biases", f"{len(biases)} biases", f"{len(self.stages)}, one per stage, or None"
            )
        checked = tuple(None if bias is None else checked_floats(bias, "Composite.biases") for bias in biases)
        for stage, bias in zip(self.stages, checked, strict=True):
            if bias is not None and bias.size != stage.target_size:
                raise NetworkError("Composite.biases", f"{bias.size} values", f"{stage.target_size}, one per target")
        object.__setattr__(self, "biases", checked)
        _ = self.whole  # too large a map is refused here

    @cached_property
    def whole(self) -> Sparse:
        """The one map."""
        return _product(self.stages)

    @property
    def constant(self) -> FloatArray:
        """(targets,) float64: what the biases make of no event."""
        return folded(self.stages, self.biases)

    @property
    def source_size(self) -> int:
        return self.stages[0].source_size

    @property
    def target_size(self) -> int:
        return self.stages[-1].target_size

    @property
    def fan_out(self) -> IntArray:
        return self.whole.fan_out

    def row(self, neuron: int) -> tuple[IntArray, FloatArray]:
        return self.whole.row(neuron)

    def apply(self, values: FloatArray) -> FloatArray:
        return self.whole.apply(values)

    def constants(self) -> tuple[list[int], IntArray, IntArray, FloatArray]:
        return self.whole.constants()


def folded(stages: Sequence[DynamicSynapse], biases: Sequence[FloatArray | None]) -> FloatArray:
    """(targets,) float64: what the biases of maps in a row add up to behind the last one."""
    total = np.zeros(stages[0].source_size)
    for stage, bias in zip(stages, biases, strict=True):
        total = stage.apply(total[None])[0]
        total = total if bias is None else total + bias
    return total


def _product(stages: Sequence[DynamicSynapse]) -> Sparse:
    """The maps as one, a block of source neurons at a time.

    raises: UnsupportedError where it has too many synapses.
    """
    sources, targets = stages[0].source_size, stages[-1].target_size
    widest = max(max(stage.source_size, stage.target_size) for stage in stages)
    block = max(1, PORTION // widest)
    fan_outs, columns, weights, count = [], [], [], 0
    for start in range(0, sources, block):
        values: FloatArray = np.zeros((min(block, sources - start), sources))
        values[np.arange(len(values)), start + np.arange(len(values))] = 1.0
        for stage in stages:
            values = stage.apply(values)
        rows, reached = np.nonzero(values)
        count += len(rows)
        if count > LARGEST:
            got = f"{sources} to {targets} neurons over {len(stages)} maps, more than {LARGEST} synapses"
            raise UnsupportedError("Composite", got, f"at most {LARGEST}", "put neurons between the maps")
        fan_outs.append(np.bincount(rows, minlength=len(values)))
        columns.append(reached.astype(np.int32))
        weights.append(values[rows, reached])
    pointers = np.zeros(sources + 1, dtype=np.int64)
    np.cumsum(np.concatenate(fan_outs), out=pointers[1:])
    return Sparse(pointers, np.concatenate(columns), np.concatenate(weights), targets)
