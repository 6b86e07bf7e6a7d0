"""IntegrateAndFire: the classic neuron that counts spikes over time and takes none back."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.errors import UnsupportedError
from snngen.integers import IntArray, checked
from snngen.kernels import evaluate
from snngen.neurons import Neuron, check_thresholds


@dataclass(frozen=True, eq=False)
class IntegrateAndFire(Neuron):
    """Each tick: potential += drive of the tick; if potential >= theta: one spike, potential -= theta.

    Spikes are never taken back, so the count depends on the order of arrival: such a neuron runs in the ticked engine
    only, and its code is the number of spikes so far.

    theta: (n,) int32, > 0, in units of drive.
    Source: Lapicque 1907; with reset by subtraction as in Rueckauer et al. 2017.
    """

    theta: IntArray

    opcode = evaluate.INTEGRATE_AND_FIRE
    ordered = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "theta", checked(self.theta, np.int32, "IntegrateAndFire.theta"))
        check_thresholds("IntegrateAndFire", self.theta)

    @property
    def size(self) -> int:
        return int(self.theta.size)

    @property
    def range(self) -> tuple[int, int]:
        return 0, 1

    def step(self, potential: IntArray, drive: IntArray) -> tuple[IntArray, IntArray]:
        """One tick in plain NumPy: the specification. potential, drive: (n,); returns (potential, spikes 0 or 1)."""
        potential = potential + drive
        spikes = (potential >= self.theta).astype(np.int64)
        return potential - spikes * self.theta, spikes

    def reference(self, *drives: IntArray) -> IntArray:
        raise UnsupportedError(
            "IntegrateAndFire", "a code that settles", "ticks", "TickedEngine(network).stream(events)"
        )

    def constants(self) -> list[int | IntArray]:
        return [self.theta]
