"""Input: events from outside."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron, Form
from snngen.errors import NetworkError
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class Input(DynamicNeuron):
    """Neurons that fire when an event from outside says so, with its weight. neurons: how many, at least 1."""

    neurons: int

    def __post_init__(self) -> None:
        if not 1 <= self.neurons < 2**31:
            raise NetworkError("Input.neurons", str(self.neurons), "1 to 2**31 - 1")

    @property
    def size(self) -> int:
        return self.neurons

    @property
    def jump(self) -> FloatArray:
        return np.zeros(self.size)

    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        return np.zeros_like(v), np.zeros_like(i)

    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        return v, i

    @property
    def form(self) -> Form | None:
        return None
