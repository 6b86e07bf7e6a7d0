"""Primed integrate-and-fire: integrate-and-fire whose potential does not start at 0."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from snngen.dynamics.neurons.integrate_and_fire import IntegrateAndFire
from snngen.dynamics.parameters import spread
from snngen.integers import FloatArray


@dataclass(frozen=True, eq=False)
class PrimedIntegrateAndFire(IntegrateAndFire):
    """`IntegrateAndFire` that starts at v_start: (n,) potential.

    Where all weights are integers, half a unit at first makes "above the threshold" into "at or above".
    """

    v_start: FloatArray = field(default_factory=lambda: np.zeros(1))

    def __post_init__(self) -> None:
        spread(self, ("v_threshold", "r", "v_reset", "bias", "v_start"))
        super().__post_init__()

    @property
    def start(self) -> tuple[FloatArray, FloatArray]:
        return self.v_start, np.zeros(self.size)
