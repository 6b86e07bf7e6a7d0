"""Euler: forward Euler steps of the differential equations, as NIR's conformance tests make them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from snngen.dynamics.neurons import DynamicNeuron
from snngen.dynamics.rules import Floats, Rule, fire
from snngen.integers import IntArray
from snngen.kernels import clocked as kernel


class Euler(Rule):
    """state += dt * slope(state), then the threshold (strict), then the reset.

    An event of weight w is the current w / dt for one step.
    """

    def __init__(self, neuron: DynamicNeuron, dt: float) -> None:
        super().__init__(neuron, dt)
        zeros, ones = np.zeros(neuron.size), np.ones(neuron.size)
        # the slope is linear: its value at the origin, and what each state and the input add
        at_rest = neuron.slope(zeros, zeros, zeros)
        columns = [at_rest] + [
            tuple(slope - rest for slope, rest in zip(neuron.slope(*unit), at_rest, strict=True))
            for unit in ((ones, zeros, zeros), (zeros, ones, zeros), (zeros, zeros, ones))
        ]
        gain = np.array([dt, dt, dt, 1.0])[:, None]
        of_v: npt.NDArray[Any] = np.array([column[0] for column in columns]) * gain
        of_i: npt.NDArray[Any] = np.array([column[1] for column in columns]) * gain
        self.constants: Floats = np.concatenate([of_v, of_i[[0, 2, 3]]]).astype(self.dtype)

    def step(self, drive: Floats) -> IntArray:
        kernel.euler(drive, self.constants, self.v, self.i)
        return fire(self)
