"""Integrate-and-fire: the sum of what came in, until it is above the threshold (NIR IF)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.neurons import DynamicNeuron, Form
from snngen.dynamics.parameters import check_reset, spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class IntegrateAndFire(DynamicNeuron):
    """dv/dt = r (I + bias); fires where v > v_threshold. An event of weight w raises v by r * w; v starts at 0.

    v_threshold, v_reset: (n,) potentials. r: (n,) resistance. bias: (n,) constant current.
    reset: "value" (v = v_reset, as in NIR) or "subtract" (v -= v_threshold).
    Source: NIR primitive IF; `bias` is that of an Affine node before it.
    """

    v_threshold: FloatArray
    r: FloatArray = field(default_factory=lambda: np.ones(1))
    v_reset: FloatArray = field(default_factory=lambda: np.zeros(1))
    bias: FloatArray = field(default_factory=lambda: np.zeros(1))
    reset: str = "value"

    fires = True

    def __post_init__(self) -> None:
        spread(self, ("v_threshold", "r", "v_reset", "bias"))
        check_reset(self)

    @property
    def size(self) -> int:
        return int(self.v_threshold.size)

    @property
    def jump(self) -> FloatArray:
        return self.r

    def slope(self, v: FloatArray, i: FloatArray, current: FloatArray) -> tuple[FloatArray, FloatArray]:
        return self.r * (current + self.bias), np.zeros_like(i)

    def evolve(self, v: FloatArray, i: FloatArray, seconds: float | FloatArray) -> tuple[FloatArray, FloatArray]:
        return v + self.r * self.bias * seconds, i

    @property
    def form(self) -> Form | None:
        zeros = np.zeros(self.size)
        return Form(None, None, zeros, self.r * self.bias, self.r, zeros)
